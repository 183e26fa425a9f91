"""Terms with their two-time kernels written out as averages, and whether two terms are equal up to names of indices."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import permutations, product

from sympy import Add, Expr, Integer, Mul, Symbol, cancel, simplify

from dmftsym.derivation.averages import Average
from dmftsym.derivation.derive import Derivation
from dmftsym.language.sums import SiteSymbol
from dmftsym.language.symbols import Entry, Index, Kind
from dmftsym.language.terms import Before, Term, all_indices, avoid, collapse_deltas, entries_of, rename

MOST = 4  # summed indices of one axis whose arrangements are tried


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A term as number times body: `number` holds parameters alone, `body` what has indices, and averages."""

    number: Expr
    body: Expr
    bound: tuple[Index, ...] = ()
    constraints: tuple[Before, ...] = ()

    @property
    def averages(self) -> list[Average]:
        """The averages that stand as factors."""
        return [f for f in Term(self.body).factors if isinstance(f, Average)]

    @property
    def responds(self) -> bool:
        """Whether one of its averages is a response function."""
        return any(entries_of(a.observable, Kind.RESPONSE_FIELD) for a in self.averages)


def piece_of(term: Term) -> Piece:
    """A term with its number taken out; sums that a Kronecker delta fixes are carried out."""
    term = collapse_deltas(term)
    numbers = [f for f in term.factors if not f.has(Index, Entry, Average)]
    others = [f for f in term.factors if f.has(Index, Entry, Average)]
    return Piece(number=Mul(*numbers), body=Mul(*others), bound=term.bound, constraints=term.constraints)


def written_out(term: Term, equations: Derivation) -> tuple[Term, ...]:
    """A term with its two-time order parameters and definitions, where they are factors, replaced by their averages."""
    parts = distributed(term)
    if len(parts) > 1:
        return tuple(w for part in parts for w in written_out(part, equations))
    for factor in term.factors:
        found = _formula(factor, equations) if isinstance(factor, Entry) else None
        if found is None:
            continue
        rest = replace(term, body=term.body / factor)
        given = dict(zip(factor.tensor.indices, factor.indices, strict=True))
        taken = [*all_indices(term), *given]
        result: list[Term] = []
        for part in found:
            part = rename(avoid(part, taken), given)
            limits = (*rest.constraints, *part.constraints)
            joined = Term(rest.body * part.body, rest.bound + part.bound, limits)
            result += written_out(joined, equations)
        return tuple(result)
    return (term,)


def _formula(entry: Entry, equations: Derivation) -> tuple[Term, ...] | None:
    """What an entry with two times is: averages and functions of others; None for all else."""
    tensor, saddle = entry.tensor, equations.saddle_point
    if len(tensor.time_slots) != 2 or tensor.site:
        return None
    if tensor.kind == Kind.DEFINITION:
        return next((d.terms for d in saddle.definitions if d.tensor == tensor), None)
    found = next((e for e in saddle.equations if e.tensor == tensor), None)
    if found is None:
        return None
    averaged = [_averaged(t.times(a.coefficient), a.site) for a in found.averages for t in a.terms]
    return (*averaged, *found.explicit)


def _averaged(term: Term, site: str) -> Term:
    """The average of a term over a site as a factor."""
    local = [f for f in term.factors if any(e.tensor.site for e in entries_of(f))]
    rest = [f for f in term.factors if f not in local]
    return replace(term, body=Mul(*rest) * Average(Mul(*local), SiteSymbol(site)))


def distributed(term: Term) -> tuple[Term, ...]:
    """A term as several, where a factor is a sum that holds two-time quantities."""
    for factor in term.factors:
        if isinstance(factor, Add) and any(len(e.tensor.time_slots) == 2 for e in entries_of(factor)):
            rest = term.body / factor
            return tuple(d for part in factor.args for d in distributed(replace(term, body=rest * part)))
    return (term,)


def equal_under(one: Piece, other: Piece) -> dict[Index, Expr] | None:
    """How the summed indices of `other` are to be named for its body to be that of `one`; None if they differ."""
    if len(one.averages) != len(other.averages) or heads(one.body) != heads(other.body):
        return None
    return renaming(one.body, one.bound, other.body, other.bound)


def heads(expr: Expr) -> list[str]:
    """The names of all entries, sorted: the same for expressions that differ by indices alone."""
    return sorted(f"{e.tensor.kind} {e.tensor.name}" for e in expr.atoms(Entry))


def renaming(one: Expr, own: Iterable[Index], other: Expr, bound: Iterable[Index]) -> dict[Index, Index] | None:
    """New names for the `bound` indices of an expression, all among `own`, for which it equals `one`."""
    own, bound = [i for i in own if one.has(i)], [i for i in bound if other.has(i)]
    axes = list(dict.fromkeys(i.axis for i in own))
    groups = [([i for i in own if i.axis == a], [i for i in bound if i.axis == a]) for a in axes]
    if len(own) != len(bound) or any(len(o) != len(b) or len(b) > MOST for o, b in groups):
        return None
    names = [i for mine, _ in groups for i in mine]
    for arrangement in product(*[permutations(theirs) for _, theirs in groups]):
        mapping = dict(zip((i for theirs in arrangement for i in theirs), names, strict=True))
        if other.xreplace(mapping) == one:
            return mapping
    return None


def is_zero(value: Expr) -> bool:
    """Whether a number made of parameters vanishes identically."""
    return value == 0 or cancel(value) == 0 or simplify(value) == 0


def sizes_of(equations: Derivation) -> dict[Expr, Symbol]:
    """A positive number for every size of a site that is not known to be one by its form, such as 1 - nu."""
    weights = {s.weight: s.name for s in equations.action.sites}
    return {w: Symbol(f"size of {name}", positive=True) for w, name in weights.items() if not w.is_positive}


def ratio(one: Expr, other: Expr, sizes: dict[Expr, Symbol]) -> Expr | None:
    """one/other without common factors; None where the quotient could be one by zero."""
    if other == 0:
        return None
    value = cancel((one / other).xreplace(sizes))
    denominator = value.as_numer_denom()[1]
    return value.xreplace({number: size for size, number in sizes.items()}) if denominator.is_zero is False else None


def local_parts(body: Expr, site: str) -> tuple[Expr, Expr]:
    """The factors with fields of a site, and all others."""
    mine = [f for f in Term(body).factors if not isinstance(f, Average) and _sites(f) == {site}]
    others = [f for f in Term(body).factors if isinstance(f, Average) or _sites(f) != {site}]
    return Mul(*mine), Mul(*others)


def _sites(factor: Expr) -> set[str]:
    return {e.tensor.site for e in entries_of(factor) if e.tensor.site}


def times_of(expr: Expr) -> set[Expr]:
    """The times at which the fields of an expression stand."""
    return {t for e in entries_of(expr) if e.tensor.site for t in e.times}


def by_time(body: Expr, times: tuple[Expr, ...]) -> list[Expr] | None:
    """The factors of a product of fields, sorted by the time at which they stand; None if one stands at several."""
    result = [Integer(1) for _ in times]
    for factor in Term(body).factors:
        at = times_of(factor)
        if len(at) != 1 or not at <= set(times):
            return None
        result[times.index(at.pop())] *= factor
    return result
