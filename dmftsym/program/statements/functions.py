"""Functions of quantities without sample paths: definitions, coefficients, tangents that are the same on every path."""

from dataclasses import dataclass, replace

from sympy import Expr

from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Before, Term, as_expression
from dmftsym.program.operations import Formula, Store
from dmftsym.program.statements.base import Link, Statement, Tangents, Transposition, Update
from dmftsym.program.statements.elementwise import links_of


@dataclass(frozen=True)
class Evaluate(Update):
    """target = Σ terms, a function of quantities without sample paths; if it `starts`, it is `initial` (or 0) at 0."""

    target: Entry
    terms: tuple[Term, ...]
    equation: str
    constraints: tuple[Before, ...] = ()
    starts: bool = False
    accumulate: bool = False
    initial: Expr | None = None

    def reads(self, now: Index):
        """What stands in its terms."""
        for term in self.terms:
            yield term.body, (*self.constraints, *term.constraints)

    @property
    def is_function(self) -> bool:
        """It is one."""
        return True

    def text(self) -> list[str]:
        """Target and terms."""
        after = " (after its start)" if self.starts else ""
        return [f"{self.target} {'+=' if self.accumulate else '='} {as_expression(self.terms)}{after}"]

    def operations(self) -> tuple[Store]:
        """The sum of its terms, or the initial value."""
        initial = () if self.initial is None else (Term(self.initial),)
        first = Formula(initial) if self.starts else None
        values = (Formula(self.terms),)
        return (
            Store(
                target=self.target,
                values=values,
                equation=self.equation,
                accumulate=self.accumulate,
                constraints=self.constraints,
                first=first,
            ),
        )

    def run(self, state) -> None:
        """The same."""
        state.perform(self.operations()[0])

    def tangent(self, along: Tangents) -> "Evaluate":
        """The chain rule."""
        target = along.change(self.target)
        terms = (*along.vary(self.terms), *along.noise(self.target))
        line = f"{target} = {as_expression(terms)}"
        return replace(self, target=target, terms=terms, equation=line, initial=None)

    def links(self) -> list[Link]:
        """One for every term."""
        return links_of(self.target, [(t.body, (*self.constraints, *t.constraints)) for t in self.terms])

    def transpose(self, back: Transposition) -> list[Statement]:
        """Adjoints of what it reads."""
        return [*super().transpose(back), *back.pairings(self.target)]
