"""The terms of first-order changes one by one, as the transposition of a program needs them."""

from dataclasses import dataclass

from sympy import Add, Expr, KroneckerDelta, Mul

from dmftsym.derivation.process import Covariance
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Before, Term, entries_of, fresh_index
from dmftsym.lowering.ir import Assign, Contract, Evaluate, Piece, SourceGroup, Statement, is_variation


@dataclass(frozen=True)
class Link:
    """One term of a first-order change: change of `target` += coefficient · change of `source`, over all indices."""

    target: Entry
    source: Entry
    coefficient: Expr
    constraints: tuple[Before, ...]


def rows(group: SourceGroup, changed: tuple[Covariance, ...]):
    """Which covariances the rows of a step hold: of one member now with itself or another one up to now.

    The block of two different members holds both orders of their times.
    """
    for block, change in zip(group.blocks, changed, strict=True):
        yield block.left, block.right, change.terms
        if block.left.tensor != block.right.tensor:
            (now,), (earlier,) = block.left.times, block.right.times
            swap = {now: earlier, earlier: now}
            moved = lambda term, swap=swap: Term(
                term.body.xreplace(swap),
                term.bound,
                tuple(Before(c.time.xreplace(swap), c.upper.xreplace(swap), c.inclusive) for c in term.constraints),
            )
            yield block.right.xreplace(swap), block.left.xreplace(swap), tuple(map(moved, change.terms))


def apart(target: Entry, body: Expr) -> tuple[Entry, Expr]:
    """A target with different indices at all its places; where they were equal a Kronecker delta says so."""
    indices: list[Expr] = []
    for index in target.indices:
        if isinstance(index, Index) and not index.is_time and index in indices:
            other = fresh_index(index, [*target.atoms(Index), *body.atoms(Index)])
            body *= KroneckerDelta(index, other)
            index = other
        indices.append(index)
    return target.tensor[tuple(indices)], body


def is_mode(piece: Piece) -> bool:
    """Whether a piece holds the weights of the paths."""
    return any(o.tensor.name.startswith("mode_") for o in piece.operands)


def links(changed: Statement) -> list[Link]:
    """The terms of a first-order change, each with the one entry whose change it holds."""
    if not isinstance(changed, Assign | Contract | Evaluate):
        return []
    found: list[tuple[Expr, tuple[Before, ...]]] = []
    match changed:
        case Assign():
            found += [(part, ()) for part in Add.make_args(changed.expression)]
        case Contract():
            for piece in (p for p in changed.pieces if not is_mode(p)):
                body = piece.scalar * piece.coefficient * Mul(*piece.operands)
                found.append((body, (*changed.constraints, *piece.constraints)))
            found += [(t.body, (*changed.constraints, *t.constraints)) for t in changed.explicit]
        case Evaluate():
            found += [(t.body, (*changed.constraints, *t.constraints)) for t in changed.terms]
    links = []
    for body, constraints in found:
        if body != 0:
            source = next(e for e in entries_of(body) if is_variation(e.tensor))
            links.append(Link(changed.target, source, body / source, constraints))
    return links
