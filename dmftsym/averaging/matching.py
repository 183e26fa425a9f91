"""Expressions that are equal up to the names of their indices."""

from collections.abc import Callable, Iterable
from itertools import permutations, product

from sympy import Expr

from dmftsym.language.model import Model
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import indices_of

Rank = Callable[[Index], tuple[bool, int, str]]


def declared_order(model: Model) -> Rank:
    """A key that sorts indices as a model declares them, times last."""
    place = {name: k for k, name in enumerate(model.index_symbols)}
    return lambda i: (i.is_time, place.get(i.name, len(place)), i.name)


def matched(pattern: Expr, body: Expr, order: Iterable[Index], rank: Rank) -> dict[Index, Index] | None:
    """What stands in an expression for the indices of another one that is equal otherwise.

    Where several arrangements are possible, indices in their `order` get those that come first by `rank`.
    """
    own, other = [i for i in order if pattern.has(i)], sorted(indices_of(body), key=rank)
    if len(own) != len(other) or _skeleton(pattern) != _skeleton(body):
        return None
    axes = list(dict.fromkeys(i.axis for i in own))
    groups = [([i for i in own if i.axis == a], [i for i in other if i.axis == a]) for a in axes]
    if any(len(ours) != len(theirs) for ours, theirs in groups):
        return None
    ours = [i for mine, _ in groups for i in mine]
    for arrangement in product(*[permutations(theirs) for _, theirs in groups]):
        mapping = dict(zip(ours, (j for theirs in arrangement for j in theirs), strict=True))
        if pattern.xreplace(mapping) == body:
            return mapping
    return None


def _skeleton(expr: Expr) -> tuple[str, ...]:
    """The heads of all entries, sorted: equal for expressions that differ by indices only."""
    return tuple(sorted(str(e.tensor) for e in expr.atoms(Entry)))
