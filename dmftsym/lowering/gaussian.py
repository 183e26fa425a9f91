"""Gaussian closure: sites that are linear in their fields, with averages of second order, need no sampling.

Their fields are linear combinations of the standard normals of their sources. With one path for every normal, on which
that normal is one and all others are zero, the linear updates give the coefficients and <x y> = Σ over paths of x·y.
"""

from dataclasses import dataclass, replace

from sympy import Add, Expr, Integer

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.process import EffectiveProcess, Processes
from dmftsym.language.activations import ActivationValue
from dmftsym.language.display import Displayed
from dmftsym.language.symbols import Entry
from dmftsym.language.terms import Term, entries_of

MAX_DEGREE = 4  # of activations that are written out: of a linear one, multiplied with others


@dataclass(frozen=True)
class Closure(Displayed):
    """For every site, why its averages cannot be closed exactly; an empty reason where they can."""

    reasons: tuple[tuple[str, str], ...]

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites whose averages are exact matrix algebra."""
        return tuple(site for site, reason in self.reasons if not reason)

    def reason(self, site: str) -> str:
        """Why a site cannot be closed, or an empty text."""
        return dict(self.reasons)[site]

    def text(self) -> str:
        """One line a site."""
        return "\n".join(f"{s}: {r or 'Gaussian, closed exactly'}" for s, r in self.reasons)

    def latex_lines(self) -> list[str]:
        """The same as text."""
        return [rf"\text{{{line}}}".replace("_", r"\_") for line in self.text().splitlines()]


def close_linear_sites(equations: Derivation) -> tuple[Derivation, Closure]:
    """Find the linear sites, and write out their (linear) activations. Cost: negligible."""
    reasons, processes = [], []
    for process in equations.process:
        written = _write_out_process(process)
        reason = _why_not(written, equations)
        reasons.append((process.site, reason))
        processes.append(process if reason else written)
    closure = Closure(tuple(reasons))
    inside = lambda a: replace(a, terms=_write_out(a.terms)) if a.site in closure.sites else a
    saddle = replace(
        equations.saddle_point,
        equations=tuple(replace(e, averages=tuple(map(inside, e.averages))) for e in equations.saddle_point.equations),
    )
    responses = tuple(map(inside, equations.responses))
    return replace(equations, process=Processes(processes), saddle_point=saddle, responses=responses), closure


def _write_out(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """Terms with their activations replaced by formulas, products of sums multiplied out where fields stand in them."""
    result = []
    for term in terms:
        front: list[Expr] = []
        rest: list[Expr] = []
        for factor in term.factors:
            (rest if any(e.tensor.site for e in entries_of(factor)) else front).append(factor)
        body = Integer(1)
        for factor in rest:
            body *= _written_out(factor)
        for part in Add.make_args(body.expand()):
            for factor in front:
                part *= factor
            result.append(replace(term, body=part))
    return tuple(t for t in result if t.body != 0)


def _written_out(factor: Expr) -> Expr:
    """A factor with the formulas of those activations that may be linear; a formula of another kind, or of a high
    degree, cannot be and is left alone: multiplied out it could have any size.
    """
    low = lambda e: isinstance(e, ActivationValue) and e.activation.degree(e.order) <= MAX_DEGREE
    while any(low(e) for e in factor.atoms(ActivationValue)):
        factor = factor.replace(low, lambda e: e.expanded())
    return factor


def _write_out_process(process: EffectiveProcess) -> EffectiveProcess:
    return replace(
        process,
        equations=tuple(replace(e, terms=_write_out(e.terms)) for e in process.equations),
        definitions=tuple(replace(d, terms=_write_out(d.terms)) for d in process.definitions),
    )


def _why_not(process: EffectiveProcess, equations: Derivation) -> str:
    """Why a site is not Gaussian with zero mean, in the user's symbols; empty if it is."""
    for tensor, terms in [(e.field, e.terms) for e in process.equations] + [
        (d.tensor, d.terms) for d in process.definitions
    ]:
        for term in terms:
            if _degree(term) != 1:
                return f"the equation of {tensor} is not linear in the fields: {term}"
    for equation in process.equations:
        for source in equation.sources:
            if source.amplitude != 1:
                return f"the noise of {equation.field} is multiplied by {source.amplitude}"
    for start in process.starts:
        if start.mean != 0:
            return f"the initial value of {start.field} has the mean {start.mean}"
    for quantity in equations.saddle_point.equations:
        for average in quantity.averages:
            for term in _write_out(average.terms) if average.site == process.site else ():
                responding = entries_of(term.body, "response field")
                if _degree(term) != (1 if responding else 2):
                    return f"{quantity.tensor} averages something that is not of second order: {term}"
    return ""


def _degree(term: Term) -> int | None:
    """How many factors of a term are fields or definitions of a site; None if a factor is a function of them."""
    degree = 0
    for factor in term.factors:
        local = [e for e in entries_of(factor) if e.tensor.site and e.tensor.kind != "response field"]
        if local and not isinstance(factor, Entry):
            return None
        degree += bool(local)
    return degree
