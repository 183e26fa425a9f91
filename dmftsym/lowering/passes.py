"""What a scheme that predicts and corrects every step cannot do, said before anything is computed."""

from sympy import Add

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.process import SourceKind
from dmftsym.errors import LoweringError
from dmftsym.language.terms import Term, entries_of
from dmftsym.lowering.schemes import Scheme


def check_passes(equations: Derivation, scheme: Scheme) -> None:
    """Raise `LoweringError` for a model that only a scheme with one pass a step can discretise."""
    if scheme.passes == 1:
        return
    action = equations.action
    if not action.is_continuous:
        raise LoweringError(f"scheme {scheme.name}: {action.name} has discrete time, there is nothing to discretise")
    responses = {r.tensor for r in equations.causal}
    for where, term in _terms(equations):
        for entry in entries_of(term.body):
            if any(isinstance(t, Add) for t in entry.times):
                raise LoweringError(
                    f"scheme {scheme.name}: {where} reads {entry}, one step earlier, which is right to first order in "
                    f"the time step; use scheme euler"
                )
            if entry.tensor in responses and len(set(entry.times)) < 2:
                raise LoweringError(
                    f"scheme {scheme.name}: {where} reads {entry}, a response at equal times, which is 0 (Itô) where a "
                    f"source acts on the next step only; use scheme euler"
                )
    for process in equations.process:
        for equation in process.equations:
            if not equation.derivative and any(s.kind is SourceKind.WHITE for s in equation.sources):
                raise LoweringError(
                    f"scheme {scheme.name}: the white noise of {equation.field} drives no time derivative; where it "
                    f"multiplies a field, prediction and correction would turn Itô into Stratonovich: use scheme euler"
                )


def _terms(equations: Derivation):
    """All terms of a model with what they belong to."""
    for process in equations.process:
        for equation in process.equations:
            yield from ((f"the equation of {equation.field}", t) for t in equation.terms)
            yield from ((f"the noise of {equation.field}", Term(s.amplitude)) for s in equation.sources)
        for definition in process.definitions:
            yield from ((f"the definition of {definition.tensor}", t) for t in definition.terms)
        for block in process.covariances:
            yield from ((f"the covariance of {block.left}", t) for t in block.terms)
    for equation in equations.saddle_point.equations:
        where = f"the equation of {equation.tensor}"
        yield from ((where, t) for average in equation.averages for t in average.terms)
        yield from ((where, t) for t in equation.explicit)
    for definition in equations.saddle_point.definitions:
        yield from ((f"the definition of {definition.tensor}", t) for t in definition.terms)
