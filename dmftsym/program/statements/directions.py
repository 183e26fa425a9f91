"""Directions in which the observables of averages scatter: random combinations of them, and influence functions."""

from dataclasses import dataclass

from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.program.statements.base import Primitive, Update
from dmftsym.program.statements.pieces import Piece


@dataclass(frozen=True)
class Sketch(Primitive, Update):
    """Adds random combinations of the observables that a site average averages: target += Σ omega·observable.

    Every step fills some of the target's columns, chosen at random. `feeds_back`: whether the average does.
    """

    target: Entry
    omega: Tensor
    pieces: tuple[Piece, ...]
    equation: str
    feeds_back: bool

    def reads(self, now: Index):
        """The observables."""
        for piece in self.pieces:
            yield piece.reading(())

    def text(self) -> list[str]:
        """Of what they are combinations."""
        return [f"{self.target} += {self.equation}"]

    def run(self, state) -> None:
        """Every observable in every column: which columns are filled is the caller's choice."""
        state.sketch(self.target, self.omega, self.pieces)


@dataclass(frozen=True)
class Influence(Primitive, Update):
    """target += Σ piece: what the weight of every path does to an average directly, one value per column and path."""

    target: Entry
    piece: Piece
    equation: str

    def reads(self, now: Index):
        """The adjoint of the average, and its observable."""
        yield self.piece.reading(())

    def text(self) -> list[str]:
        """The product."""
        return [f"{self.target} += {self.piece.text(False)}  ({self.equation})"]

    def run(self, state) -> None:
        """The product, without the sum over paths."""
        body, limits = self.piece.reading(())
        found = state.summed(body, state.free(self.target), limits, self.target.tensor.site)
        state.store(self.target, found, True)
