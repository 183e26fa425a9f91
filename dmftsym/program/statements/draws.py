"""Draws of Gaussian sources at a step, their first-order changes, and the adjoints of both.

Random matrices that are said replace these for matrices; they stay for noise whose covariance is an order parameter.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sympy import Add

from dmftsym.derivation.process import Covariance
from dmftsym.errors import LoweringError
from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.language.terms import Before, Term, as_expression, entries_of
from dmftsym.program.axes import has_columns
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements.base import BackwardPrimitive, Primitive, Statement, Tangents, Transposition


@dataclass(frozen=True)
class Draw(Primitive):
    """Values at this step of an evolving or white group of sources, or of its member `part` alone, members in order."""

    group: SourceGroup
    equation: str
    part: int | None = None

    def reads(self, now: Index):
        """The covariances, of evolving sources those with earlier values too."""
        yield from _covariances(self.group.blocks, self.group.evolving, now)

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """The sources."""
        members = self.group.members if self.part is None else (self.group.members[self.part],)
        return tuple(m.tensor for m in members)

    def text(self) -> list[str]:
        """The sources that are drawn."""
        return [f"draw {', '.join(str(m.tensor[m.tensor.indices]) for m in self.group.members)}"]

    def run(self, state) -> None:
        """Factor of the covariance times standard normals."""
        state.draws.draw(self.group, self.part)

    def tangent(self, along: Tangents) -> "DrawVariation":
        """The change that those of the covariances make."""
        blocks = tuple(replace(b, terms=along.vary(b.terms)) for b in self.group.blocks)
        targets = tuple(along.change(m.tensor[m.tensor.indices]) for m in self.group.members)
        line = "; ".join(f"change of <{b.left} {b.right}>: {as_expression(b.terms)}" for b in blocks if b.terms)
        return DrawVariation(self.group, blocks, targets, line)

    def transpose(self, back: Transposition) -> list[Statement]:
        """Through the factor to the covariances, and from there to what they are made of."""
        changed = self.tangent(back.tangents)
        if not self.group.evolving:
            if any(b.terms for b in changed.blocks):
                raise LoweringError(
                    f"covariances: white noise {self.group.name} of a covariance that fluctuates is not supported"
                )
            return []
        sources = tuple(back.adjoint(m.tensor[m.tensor.indices]) for m in self.group.members)
        targets: list[Entry] = []
        passed: list[Statement] = []
        for left, right, terms in changed.rows():
            target = back.covariance(left, right)
            targets.append(target)
            earlier = tuple(Before(t, back.tangents.now, True) for t in right.times if t != back.tangents.now)
            for term in terms:
                for part in Add.make_args(term.body):
                    change = next(e for e in entries_of(part) if has_columns(e.tensor))
                    body = part / change * target
                    adjoint = back.adjoint(back.canonical(change))
                    passed.append(back.add(adjoint, body, (*term.constraints, *earlier)))
        ends = tuple((left.tensor.name, right.tensor.name) for left, right, _ in changed.rows())
        line = f"adjoint of the draw: {changed.equation}"
        return [
            AdjointDraw(group=self.group, sources=sources, covariances=tuple(targets), ends=ends, equation=line),
            *passed,
        ]


@dataclass(frozen=True)
class DrawVariation(Primitive):
    """First-order change of the values that a `Draw` gave: `blocks` hold the changes of its covariances."""

    group: SourceGroup
    blocks: tuple[Covariance, ...]
    targets: tuple[Entry, ...]
    equation: str

    def reads(self, now: Index):
        """The changes of the covariances."""
        yield from _covariances(self.blocks, True, now)

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """The changes of the sources."""
        return tuple(t.tensor for t in self.targets)

    def text(self) -> list[str]:
        """The changes of the covariances."""
        return [f"change of the draw: {self.equation}"]

    def run(self, state) -> None:
        """First-order change of the factor times the same normals."""
        state.draws.vary(self.group, self.blocks, self.targets)

    def rows(self) -> Iterator[tuple[Entry, Entry, tuple[Term, ...]]]:
        """The changes of the covariances that one step adds: each member at t with every member at s ≤ t.

        A block of two different members gives two of them, for it holds both orders of their times.
        """
        for block in self.blocks:
            yield block.left, block.right, block.terms
            if block.left.tensor != block.right.tensor:
                (now,), (earlier,) = block.left.times, block.right.times
                swap = {now: earlier, earlier: now}
                moved = tuple(_swapped(term, swap) for term in block.terms)
                yield block.right.xreplace(swap), block.left.xreplace(swap), moved


@dataclass(frozen=True)
class AdjointDraw(BackwardPrimitive):
    """Passes the adjoints of drawn sources on to their factor and from there to their covariances.

    `covariances` are those of a member at this step with another one at this and earlier times: `ends` name the two.
    """

    group: SourceGroup
    sources: tuple[Entry, ...]
    covariances: tuple[Entry, ...]
    ends: tuple[tuple[str, str], ...]
    equation: str

    def reads(self, now: Index):
        """The adjoints of the sources."""
        for source in self.sources:
            yield source, ()

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """The adjoints of the covariances."""
        return tuple(c.tensor for c in self.covariances)


def _covariances(blocks: tuple[Covariance, ...], evolving: bool, now: Index):
    for block in blocks:
        earlier = tuple(Before(t, now, True) for t in block.right.times if t != now) if evolving else ()
        for term in block.terms:
            yield term.body, (*term.constraints, *earlier)


def _swapped(term: Term, swap: dict) -> Term:
    limits = tuple(Before(c.time.xreplace(swap), c.upper.xreplace(swap), c.inclusive) for c in term.constraints)
    return Term(term.body.xreplace(swap), term.bound, limits)
