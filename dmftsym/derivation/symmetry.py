"""Which two-point quantities are symmetric: q(i,t,j,s) = q(j,s,i,t)."""

from sympy import Expr

from dmftsym.language.action import Action
from dmftsym.language.symbols import Entry, Kind, Tensor
from dmftsym.language.terms import Term, entries_of, indices_of


def ends_of(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The slots of the two ends of a two-point tensor, such as (mu, t | nu, s), or None if it has no two ends."""
    half, odd = divmod(len(tensor.indices), 2)
    first, second = tensor.indices[:half], tensor.indices[half:]
    if odd or not half or any(a.axis != b.axis for a, b in zip(first, second, strict=True)):
        return None
    return tuple(range(half)), tuple(range(half, 2 * half))


def _ends(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    ends = ends_of(tensor)
    assert ends is not None, f"{tensor} has no two ends"
    return ends


def exchange_ends(entry: Entry) -> Entry:
    """The entry with its two ends exchanged."""
    first, second = _ends(entry.tensor)
    return entry.tensor[tuple(entry.indices[k] for k in (*second, *first))]


def ordered_ends(expr: Expr, symmetric: frozenset[Tensor]) -> Expr:
    """The expression with the two ends of every symmetric entry in a fixed order."""
    swaps = {}
    for entry in entries_of(expr):
        if entry.tensor in symmetric and ends_of(entry.tensor):
            swaps[entry] = min(entry, exchange_ends(entry), key=lambda e: [str(i) for i in e.indices])
    return expr.xreplace(swaps)


def symmetric_tensors(action: Action) -> frozenset[Tensor]:
    """Data that are the covariance of a field (checked at run time) and order parameters shown to be symmetric.

    Data are such a covariance if their two ends carry the indices of two response fields of the same field.
    An order parameter is symmetric if every term of the action that holds its conjugate is unchanged when the two
    ends of the conjugate are exchanged together with the indices of the rest.
    """
    data = {tensor for site in action.sites for term in site.terms for tensor in _covariances(term)}
    shown = {q for q in action.order_parameters if ends_of(q) and _has_hat(q, action) and _is_symmetric(q, action)}
    return frozenset(data | shown)


def _has_hat(q: Tensor, action: Action) -> bool:
    return action.conjugate(q).tensor == q.hat


def _covariances(term: Term) -> set[Tensor]:
    """The data of a noise term whose two ends carry the indices of its two response fields."""
    responses = [f for f in term.factors if isinstance(f, Entry) and f.tensor.kind == Kind.RESPONSE_FIELD]
    if len(responses) != 2 or responses[0].tensor != responses[1].tensor or entries_of(term.body, Kind.CONJUGATE):
        return set()
    spatial = [{i for i in indices_of(r) if not i.is_time} for r in responses]
    found = set()
    for entry in entries_of(term.body, Kind.DATA):
        if ends_of(entry.tensor):
            slots = [[k for k in end if not entry.tensor.indices[k].is_time] for end in _ends(entry.tensor)]
            ends = [{entry.indices[k] for k in end} for end in slots]
            if ends in (spatial, spatial[::-1]) and ends[0] != ends[1]:
                found.add(entry.tensor)
    return found


def _is_symmetric(q: Tensor, action: Action) -> bool:
    terms = [t for site in action.sites for t in site.terms] + [t for t in action.pair_terms if not t.body.has(q)]
    for term in terms:
        hats = [e for e in entries_of(term.body, Kind.CONJUGATE) if e.tensor == q.hat]
        if not hats:
            continue
        if len(hats) > 1 or term.constraints:
            return False
        one, other = (tuple(hats[0].indices[k] for k in ends) for ends in _ends(q))
        exchange = dict(zip(one, other, strict=True)) | dict(zip(other, one, strict=True))
        rest = term.body / hats[0]
        if rest.xreplace(exchange) != rest:
            return False
    return True
