"""Functional derivatives of sums of products, with respect to any indexed quantity."""

from collections.abc import Callable
from dataclasses import replace

from sympy import Dummy, Expr, Integer, KroneckerDelta

from dmftsym.language.action import Action
from dmftsym.language.matrices import LargestEigenvalue
from dmftsym.language.sums import IndexSum
from dmftsym.language.symbols import Entry, Index, Kind, Tensor, split_index
from dmftsym.language.terms import (
    Before,
    Term,
    avoid,
    collapse_deltas,
    entries_of,
    flatten,
    gather_powers,
    indices_of,
    keep_inner_sums_apart,
    outermost,
    rename,
    substitute,
)


def functional_derivative(terms: tuple[Term, ...], tensor: Tensor, at: tuple[Expr, ...], action: Action):
    """δ(Σ terms)/δ tensor[at], with definitions differentiated by the chain rule.

    Sums collapse onto the indices `at`; where an index is already fixed a Kronecker delta remains. `at` must not
    collide with the free indices of the terms unless that is meant. Cost: linear in the number of entries.
    """
    taken = tuple(i for a in at for i in a.atoms(Index))
    result = []
    for term in terms:
        term = avoid(term, taken)
        sums = outermost(term.body, IndexSum, LargestEigenvalue)
        hidden = {n: Dummy(real=True) for n in sums}
        for entry in entries_of(term.body.xreplace(hidden)):
            if entry.tensor == tensor:
                result.append(_collapse(_partial(term, entry, hidden), entry, at))
            elif entry.tensor.kind in (Kind.DEFINITION, Kind.OBSERVABLE):
                inner = _derivative_of_definition(entry, tensor, at, action)
                outer = _partial(term, entry, hidden) if inner else term
                result += [collapse_deltas(_chain(outer, term)) for term in inner]
        for node in sums:
            inner = _through(node, lambda terms: functional_derivative(terms, tensor, at, action))
            outer = _partial(term, node, {n: d for n, d in hidden.items() if n != node}) if inner else term
            result += [collapse_deltas(_chain(outer, term)) for term in inner]
    return tuple(t for t in result if t.body != 0)


def variation(terms: tuple[Term, ...], change_of: Callable[[Entry], Expr | None]) -> tuple[Term, ...]:
    """The first-order change of Σ terms when every entry changes by `change_of(entry)` (None: it does not change).

    Entries of definitions count as quantities of their own. Cost: linear in the number of entries.
    """
    result = []
    for term in terms:
        brought = _brought_along(term, change_of)
        term = avoid(replace(term, body=keep_inner_sums_apart(term.body, set(brought))), brought)
        sums = outermost(term.body, IndexSum, LargestEigenvalue)
        hidden = {n: Dummy(real=True) for n in sums}
        for entry in entries_of(term.body.xreplace(hidden)):
            change = change_of(entry)
            if change is not None:
                result.append(_partial(term, entry, hidden).times(change))
        for node in sums:
            inner = _through(node, lambda terms: variation(terms, change_of))
            outer = _partial(term, node, {n: d for n, d in hidden.items() if n != node}) if inner else term
            result += [_chain(outer, term) for term in inner]
    return tuple(t for t in result if t.body != 0)


def _brought_along(term: Term, change_of: Callable[[Entry], Expr | None]) -> list[Index]:
    """Indices that the changes of a term's entries carry beyond those of the entries themselves."""
    found: set[Index] = set()
    for entry in entries_of(term.body):
        apart = entry.xreplace({i: Index(f"{i.name}'", i.axis) for i in entry.atoms(Index)})
        change = change_of(apart)
        if change is not None:
            found |= change.atoms(Index) - apart.atoms(Index)
    return sorted(found, key=str)


def _through(node: Expr, derivative: Callable) -> tuple[Term, ...]:
    """The derivative of a sum, or of an eigenvalue: that of the matrix between its eigenvectors."""
    if isinstance(node, IndexSum):
        return derivative(flatten(node))
    inner = (avoid(t, node.bound) for t in derivative(flatten(node.body)))
    return tuple(Term(node.projector() * t.body, (*node.bound, *t.bound), t.constraints) for t in inner)


def _partial(term: Term, part: Expr, hidden: dict[Expr, Expr]) -> Term:
    """The sum with the product differentiated by one of its parts; `hidden` parts are held fixed."""
    symbol = Dummy(real=True)
    replaced = {**hidden, part: symbol}
    back = {dummy: original for original, dummy in replaced.items()}
    return replace(term, body=gather_powers(term.body.xreplace(replaced).diff(symbol)).xreplace(back))


def _chain(outer: Term, inner: Term) -> Term:
    """Outer times inner derivative; the free indices of the inner one are those that the outer one sums."""
    inner = avoid(inner, [*indices_of(outer.body), *outer.bound])
    return Term(outer.body * inner.body, outer.bound + inner.bound, outer.constraints + inner.constraints)


def _derivative_of_definition(entry: Entry, tensor: Tensor, at: tuple[Expr, ...], action: Action):
    definition = action.definition(entry.tensor.name)
    taken = entry.atoms(Index)
    terms = []
    for term in definition.terms:
        term = avoid(term, taken)
        terms.append(rename(term, dict(zip(entry.tensor.indices, entry.indices, strict=True))))
    return functional_derivative(tuple(terms), tensor, at, action)


def _collapse(term: Term, entry: Entry, at: tuple[Expr, ...]) -> Term:
    """Identify the indices of an entry with `at`: bound ones are replaced, others leave a Kronecker delta."""
    arguments = list(entry.indices)
    for position, target in enumerate(at):
        argument = arguments[position]
        index, shift = split_index(argument)
        if index is not None and index in term.bound:
            value = target - shift
            remaining = replace(term, bound=tuple(i for i in term.bound if i != index))
            term = substitute(remaining, index, value)
            arguments = [a.xreplace({index: value}) for a in arguments]
        elif argument != target:
            term = replace(term, body=term.body * KroneckerDelta(argument, target))
    return term


def without(terms: tuple[Term, ...], *kinds: Kind) -> tuple[Term, ...]:
    """The terms that hold no entry of the given kinds (their value where those entries vanish)."""
    return tuple(t for t in terms if not entries_of(t.body, *kinds))


def strictly_before(early: Expr, late: Expr, constraints: tuple[Before, ...]) -> bool:
    """Whether the constraints imply early < late."""
    return _ordered(early, late, constraints, strict=True)


def not_after(early: Expr, late: Expr, constraints: tuple[Before, ...]) -> bool:
    """Whether the constraints imply early ≤ late."""
    return _ordered(early, late, constraints, strict=False)


def _ordered(early: Expr, late: Expr, constraints: tuple[Before, ...], strict: bool) -> bool:
    gap = late - early
    if gap.is_Integer:
        return gap >= (1 if strict else 0)
    if early == Integer(0):
        return not strict
    for constraint in constraints:
        offset = constraint.time - early
        if offset.is_Integer and offset >= 0:
            still = strict and constraint.inclusive and offset == 0
            if _ordered(constraint.upper, late, tuple(c for c in constraints if c != constraint), still):
                return True
    return False
