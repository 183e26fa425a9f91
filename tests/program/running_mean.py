"""A statement that the compiler does not know: a running mean m(t) = (1 - a) m(t-1) + a x(t) on every sample path.

This is the whole of it; test_added_statement.py gives it to the compiler and compares with what it is made of.
"""

from dataclasses import dataclass

from sympy import Expr

from dmftsym.language.symbols import Entry, Index
from dmftsym.program.statements import Assign
from dmftsym.program.statements.base import Tangents, Update


@dataclass(frozen=True)
class RunningMean(Update):
    """target(t) = (1 - rate) target(t - 1) + rate · source(t); at the start it is the initial value of the field."""

    target: Entry
    source: Entry
    rate: Expr
    equation: str
    starts: bool = True

    def reads(self, now: Index):
        """The source now, and its own value at the previous time."""
        yield self.parts[0].expression, ()

    @property
    def parts(self) -> tuple[Assign]:
        """One elementwise update."""
        now = self.target.times[0]
        value = (1 - self.rate) * self.target.xreplace({now: now - 1}) + self.rate * self.source
        return (Assign(self.target, value, self.equation, self.starts),)

    def tangent(self, along: Tangents) -> "RunningMean | Assign":
        """A running mean of the changes of its source: it is linear."""
        source = along.change_of(self.source)
        if source is None:
            return self.parts[0].tangent(along)
        return RunningMean(along.change(self.target), source, self.rate, f"running mean of {source}", self.starts)

    def text(self) -> list[str]:
        """Of what it is the mean."""
        return [f"{self.target} = running mean of {self.source} with rate {self.rate}"]
