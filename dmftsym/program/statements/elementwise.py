"""Elementwise updates of site arrays: every sample path by itself."""

from dataclasses import dataclass
from typing import ClassVar

from sympy import Add, Dummy, Expr

from dmftsym.derivation.jumps import has_jump, without_jumps
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import entries_of
from dmftsym.program.accesses import reads_elsewhere
from dmftsym.program.axes import has_columns
from dmftsym.program.operations import Elementwise
from dmftsym.program.statements.base import Link, Tangents, Update


@dataclass(frozen=True)
class Assign(Update):
    """Elementwise update of a site array: target[indices] = expression, for every sample path.

    `starts`: at the first step the target takes its initial value instead, or that of the field `initial`.
    """

    target: Entry
    expression: Expr
    equation: str
    starts: bool = False
    initial: Entry | None = None
    elementwise: ClassVar[bool] = True

    def reads(self, now: Index):
        """What stands in the expression."""
        yield self.expression, ()

    @property
    def site(self) -> str:
        """The site over whose paths it runs."""
        return self.target.tensor.site

    @property
    def loop_site(self) -> str:
        """Its site."""
        return self.target.tensor.site

    @property
    def reads_its_neighbours(self) -> bool:
        """Whether it reads its own array at elements that its loop has overwritten or will."""
        return reads_elsewhere(self.expression, self.target)

    def crosses(self, other: "Assign") -> bool:
        """Whether one of two updates over the same indices reads what the other writes at another turn of the loop."""
        return reads_elsewhere(self.expression, other.target) or reads_elsewhere(other.expression, self.target)

    def text(self) -> list[str]:
        """Target and expression."""
        return [f"{self.target} = {self.expression}{' (after its start)' if self.starts else ''}"]

    def operations(self) -> tuple[Elementwise]:
        """A loop of its own."""
        return (Elementwise(f"update_{self.target.tensor.name}", self.site, (self,)),)

    def run(self, state) -> None:
        """The expression on all paths, or the initial value."""
        if self.starts and state.now == 0:
            state.store(self.target, state.start(self.initial or self.target))
        else:
            state.store(self.target, state.value(self.expression, state.free(self.target), (), self.site))

    def tangent(self, along: Tangents) -> "Assign":
        """Σ partial derivative · change, over everything that it reads."""
        total: list[Expr] = []
        for entry in entries_of(self.expression):
            change = along.change_of(entry)
            if change is None:
                continue
            symbol = Dummy(real=True)
            partial = self.expression.xreplace({entry: symbol}).diff(symbol).xreplace({symbol: entry})
            if has_jump(self.expression):
                along.jumps(self.target)
            total.append(along.slope(without_jumps(partial), self.target, entry) * change)
        target, expression = along.change(self.target), Add(*total)
        return Assign(target, expression, f"{target} = {expression}", self.starts)

    def links(self) -> list[Link]:
        """One for every term of the expression."""
        return links_of(self.target, [(part, ()) for part in Add.make_args(self.expression)])


def links_of(target: Entry, found) -> list[Link]:
    """The terms of a first-order change, each with the one entry whose change it holds."""
    links = []
    for body, constraints in found:
        if body != 0:
            source = next(e for e in entries_of(body) if has_columns(e.tensor))
            links.append(Link(target, source, body / source, constraints))
    return links
