"""Averages over the sample paths of a site, and sums that keep the paths."""

from dataclasses import dataclass, replace

from sympy import Expr, KroneckerDelta

from dmftsym.language.sums import IndexSum
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Before, Term, as_expression, entries_of
from dmftsym.program.operations import Formula, PathSum, Store
from dmftsym.program.statements.base import Link, Statement, Tangents, Transposition, Update
from dmftsym.program.statements.elementwise import links_of
from dmftsym.program.statements.pieces import Piece


@dataclass(frozen=True)
class Contract(Update):
    """target = Σ pieces (+ explicit), a site average if `averaged`, else a sum that keeps the paths.

    `accumulate` adds to the target instead of replacing it; `mirror` also fills the exchanged two-time entry.
    """

    target: Entry
    pieces: tuple[Piece, ...]
    explicit: tuple[Term, ...]
    averaged: bool
    equation: str
    accumulate: bool = False
    mirror: bool = False
    constraints: tuple[Before, ...] = ()

    def reads(self, now: Index):
        """Coefficients and operands of its pieces, and what stands in explicit terms."""
        for piece in self.pieces:
            yield piece.reading(self.constraints)
        for term in self.explicit:
            yield term.body, (*self.constraints, *term.constraints)

    @property
    def averages(self) -> bool:
        """Whether it is a site average."""
        return self.averaged

    @property
    def fluctuates(self) -> bool:
        """An average over sample paths does."""
        return self.averaged and bool(self.pieces)

    @property
    def loop_site(self) -> str | None:
        """The one site of its operands, if all stands at the current step and no index needs a sum of its own."""
        if any(t.is_Add for t in self.target.times):
            return None  # written to the time before
        sites = {o.tensor.site for p in self.pieces for o in p.factors} or {self.target.tensor.site}
        if len(sites) != 1 or self.mirror or (self.averaged and len(self._spatial()) > 2):
            return None  # a matrix of averages is a matrix product
        for piece in self.pieces:
            times = {t for e in entries_of(piece.body) for t in e.times}
            if len(times) > 1 or any(not isinstance(t, Index) for t in times):
                return None
            if piece.body.has(KroneckerDelta, IndexSum):
                return None
        return sites.pop() if len(set(self.target.times)) <= 1 else None

    def _spatial(self) -> list[Expr]:
        return [i for i in self.target.indices if not i.is_time]

    def text(self) -> list[str]:
        """Target and sum."""
        parts = [p.text(self.averaged) for p in self.pieces]
        parts += [str(as_expression(self.explicit))] if self.explicit else []
        mirrored = "  (and its mirror image)" if self.mirror else ""
        return [f"{self.target} {'+=' if self.accumulate else '='} {' + '.join(parts) or '0'}{mirrored}"]

    def operations(self) -> tuple[Store]:
        """The sum of all pieces and terms."""
        values = [PathSum(piece, self.averaged) for piece in self.pieces]
        formula = [Formula(self.explicit)] if self.explicit else []
        return (
            Store(
                target=self.target,
                values=(*values, *formula),
                equation=self.equation,
                accumulate=self.accumulate,
                constraints=self.constraints,
                mirror=self.mirror,
            ),
        )

    def run(self, state) -> None:
        """The same."""
        state.perform(self.operations()[0])

    def tangent(self, along: Tangents) -> "Contract":
        """The change of every piece, and what changed weights of the paths do to an average."""
        pieces = [p for piece in self.pieces for p in piece.tangent(along)]
        if self.averaged:
            # weights are linear in all directions: a piece that holds one does not change by another
            modes = [(piece, along.mode(piece.site)) for piece in self.pieces if piece.mode is None]
            pieces += [replace(piece, mode=mode) for piece, mode in modes if mode is not None]
        target = along.change(self.target)
        explicit = (*along.vary(self.explicit), *along.noise(self.target))
        line = _equation(target, pieces, explicit)
        return replace(self, target=target, pieces=tuple(pieces), explicit=explicit, equation=line)

    def links(self) -> list[Link]:
        """One for every piece without changed weights, and every explicit term."""
        found = [p.reading(self.constraints) for p in self.pieces if p.mode is None]
        found += [(t.body, (*self.constraints, *t.constraints)) for t in self.explicit]
        return links_of(self.target, found)

    def transpose(self, back: Transposition) -> list[Statement]:
        """Adjoints of what it reads; for an average, the influence of the weights of the paths too."""
        changed = self.tangent(back.tangents)
        result = [moved for link in changed.links() for moved in back.flip(link)]
        if self.averaged:
            result += [back.influence(changed, p) for p in changed.pieces if p.mode is not None]
        result += back.pairings(self.target)
        if self.accumulate:
            back.running(self.target)
        return result


def _equation(target: Entry, pieces: list[Piece], explicit: tuple[Term, ...]) -> str:
    inside = " + ".join(str(p.body) for p in pieces).replace("+ -", "- ")
    return f"{target}: change by {inside}" + (f" + {as_expression(explicit)}" if explicit else "")
