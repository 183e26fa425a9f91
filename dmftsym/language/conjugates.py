"""Which variable is conjugate to an order parameter: its own q.hat, or another order parameter (a pair A, B)."""

from sympy import Expr, Mul

from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Term, entries_of


def conjugate_entry(pair_terms: tuple[Term, ...], q: Tensor) -> Entry | None:
    """The variable whose saddle-point equation determines q at its declared indices, or None if there is none.

    It is q.hat where an explicit term −q̂ q stands in the action; where instead an explicit term c·q·p without
    conjugates stands there, such as −A[mu, t, nu, s]*B[nu, s, mu, t], it is p (for a single response function, p = q).
    """
    for term in pair_terms:
        if term.body.has(q) and any(e.tensor == q.hat for e in entries_of(term.body, Kind.CONJUGATE)):
            return q.hat[q.indices]
    for term in pair_terms:
        partner = _partner(term, q)
        if partner is not None:
            return partner
    return q.hat[q.indices] if is_multiplier(pair_terms, q) else None


def is_multiplier(pair_terms: tuple[Term, ...], q: Tensor) -> bool:
    """Whether q̂ stands in explicit terms, but never with q: these terms are a constraint, which determines q."""
    held = [t for t in pair_terms if any(e.tensor == q.hat for e in entries_of(t.body, Kind.CONJUGATE))]
    return bool(held) and not any(t.body.has(q) for t in held)


def _partner(term: Term, q: Tensor) -> Entry | None:
    """The other factor of c·q·p, with the indices of q as declared."""
    if term.constraints:
        return None
    entries = [f for f in term.factors if isinstance(f, Entry)]
    rest: Expr = term.body / Mul(*entries)
    kinds = {e.tensor.kind for e in entries}
    if len(entries) != 2 or kinds != {Kind.ORDER_PARAMETER} or entries_of(rest):
        return None
    for own, other in (entries, entries[::-1]):
        plain = all(isinstance(i, Index) for e in entries for i in e.indices)
        if own.tensor == q and plain and len(set(own.indices)) == len(own.indices):
            if set(own.indices) == set(other.indices) == set(term.bound):
                return other.xreplace(dict(zip(own.indices, q.indices, strict=True)))
    return None
