"""Gaussian closure: sites that are linear in their fields, with averages of up to second order, need no sampling.

Their fields are linear combinations of the standard normals of their sources. With one path for every normal, on which
that normal is one and all others are zero, the linear updates give the coefficients and <x y> = Σ over paths of x·y.
Constants (an offset, the mean of an initial value) are taken along as one more such number, which is one on a path of
its own: then the updates are linear still, <x y> is right with the means in it, and <x> is <x·1>.
"""

from dataclasses import dataclass, replace

from sympy import Add, Expr, Integer

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.process import EffectiveProcess, Processes
from dmftsym.language.activations import ActivationValue
from dmftsym.language.display import Displayed
from dmftsym.language.symbols import Entry, Kind, Tensor
from dmftsym.language.terms import Term, entries_of

SAMPLED = "a random matrix joins it to a site that is sampled, and covariances are asked for"
MAX_DEGREE = 4  # of activations that are written out: of a linear one, multiplied with others


@dataclass(frozen=True)
class Closure(Displayed):
    """For every site, why its averages cannot be closed exactly; an empty reason where they can.

    `affine` sites are closed with a path for their constants.
    """

    reasons: tuple[tuple[str, str], ...]
    affine: tuple[str, ...] = ()

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


def close_linear_sites(equations: Derivation, sampled: tuple[str, ...] = ()) -> tuple[Derivation, Closure]:
    """Find the linear sites, but for those that are `sampled`, and write out their (linear) activations. Cheap."""
    reasons, processes, affine = [], [], []
    for process in equations.process:
        written = _write_out_process(process)
        reason = SAMPLED if process.site in sampled else _why_not(written, equations)
        reasons.append((process.site, reason))
        if not reason and _has_constants(written, equations):
            affine.append(process.site)
            written = _with_constants(written)
        processes.append(process if reason else written)
    closure = Closure(tuple(reasons), tuple(affine))

    def inside(average):
        if average.site not in closure.sites:
            return average
        terms = _write_out(average.terms)
        return replace(average, terms=_quadratic(terms, average.site) if average.site in affine else terms)

    saddle = replace(
        equations.saddle_point,
        equations=tuple(replace(e, averages=tuple(map(inside, e.averages))) for e in equations.saddle_point.equations),
    )
    # what responds is of first order, and stands beside a response field
    responses = tuple(
        replace(r, terms=_write_out(r.terms)) if r.site in closure.sites else r for r in equations.responses
    )
    return replace(equations, process=Processes(processes), saddle_point=saddle, responses=responses), closure


def as_closed(process: EffectiveProcess, closure: Closure) -> EffectiveProcess:
    """A process, written as that of a site that is closed exactly if it is one."""
    if process.site not in closure.sites:
        return process
    written = _write_out_process(process)
    return _with_constants(written) if process.site in closure.affine else written


def linear_form(body: Expr) -> Expr | None:
    """A function of the fields of a site that is closed exactly as a linear combination; None if it is none."""
    terms = _write_out((Term(body),))
    return Add(*[t.body for t in terms]) if all(_degree(t) == 1 for t in terms) else None


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
            if _degree(term) not in (0, 1):
                return f"the equation of {tensor} is not linear in the fields: {term}"
    for equation in process.equations:
        for source in equation.sources:
            if source.amplitude != 1:
                return f"the noise of {equation.field} is multiplied by {source.amplitude}"
    for quantity in equations.saddle_point.equations:
        for average in quantity.averages:
            for term in _write_out(average.terms) if average.site == process.site else ():
                responding = entries_of(term.body, Kind.RESPONSE_FIELD)
                if _degree(term) not in ((1,) if responding else (0, 1, 2)):
                    return f"{quantity.tensor} averages something that is not of second order: {term}"
    return ""


def _degree(term: Term) -> int | None:
    """How many factors of a term are fields or definitions of a site; None if a factor is a function of them."""
    degree = 0
    for factor in term.factors:
        local = [e for e in entries_of(factor) if e.tensor.site and e.tensor.kind != Kind.RESPONSE_FIELD]
        if local and not isinstance(factor, Entry):
            return None
        degree += bool(local)
    return degree


# --- constants ------------------------------------------------------------------------------------------


def constant_of(site: str) -> Entry:
    """The number 1 of a site, as an array over its paths: where the site is closed, it is 1 on one path alone."""
    return Tensor(f"constant_{site}", Kind.SOURCE, (), site)[()]


def _has_constants(process: EffectiveProcess, equations: Derivation) -> bool:
    terms = [t for e in process.equations for t in e.terms] + [t for d in process.definitions for t in d.terms]
    averages = [a for q in equations.saddle_point.equations for a in q.averages if a.site == process.site]
    missing = any(_missing(t) for a in averages for t in _write_out(a.terms))
    return missing or any(_degree(t) == 0 for t in terms) or any(s.mean != 0 for s in process.starts)


def _with_constants(process: EffectiveProcess) -> EffectiveProcess:
    """The process with its constants times the number 1 of the site."""
    linear = lambda terms: tuple(t if _degree(t) else t.times(constant_of(process.site)) for t in terms)
    return replace(
        process,
        equations=tuple(replace(e, terms=linear(e.terms)) for e in process.equations),
        definitions=tuple(replace(d, terms=linear(d.terms)) for d in process.definitions),
    )


def _quadratic(terms: tuple[Term, ...], site: str) -> tuple[Term, ...]:
    """Averages of lower order as averages of second order."""
    return tuple(t.times(constant_of(site) ** _missing(t)) for t in terms)


def _missing(term: Term) -> int:
    """How many factors an averaged term lacks for second order."""
    return 0 if entries_of(term.body, Kind.RESPONSE_FIELD) else 2 - (_degree(term) or 0)
