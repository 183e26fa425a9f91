"""What random matrices do in a step: they act, forward or transposed, and they learn (theory 6.8)."""

from collections.abc import Iterator
from dataclasses import dataclass

from sympy import Expr

from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.program.matrices import HeldMatrix, LearnedPart
from dmftsym.program.statements.base import Primitive, Update


@dataclass(frozen=True, kw_only=True)
class MatrixProduct(Primitive, Update):
    """target = W query, or with the transpose: noise, memory and what was learned, in one.

    `query`: a function of the paths of the other site at this step; `member`: which matrix of a family.
    """

    target: Entry
    query: Entry
    matrix: HeldMatrix
    transposed: bool
    member: tuple[Expr, ...]
    equation: str

    def reads(self, now: Index):
        """The query."""
        yield self.query, ()

    def text(self) -> list[str]:
        """The product."""
        return [f"{self.target} = {self.matrix.name}{'.T' if self.transposed else ''} @ {self.query}"]

    def run(self, state) -> None:
        """Every member of a family by itself."""
        state.store(self.target, state.matrices.act(self))

    @property
    def places(self) -> tuple[Index, ...]:
        """The indices of the target that are no time, those of the member first."""
        own = [i for i in self.target.indices if isinstance(i, Index) and not i.is_time]
        first = [i for i in self.member if isinstance(i, Index)]
        return (*first, *(i for i in own if i not in first))


@dataclass(frozen=True, kw_only=True)
class Learning(Primitive):
    """What changes a matrix at the end of a step: it decays, and it learns."""

    matrix: HeldMatrix
    learned: tuple[LearnedPart, ...]
    equation: str

    def reads(self, now: Index) -> Iterator:
        """The rates, and the functions of both sides."""
        for part in self.learned:
            yield part.rate, ()
            yield part.left, ()
            yield part.right, ()

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """Nothing that has a name in the model: the matrix."""
        return ()

    def text(self) -> list[str]:
        """The changes."""
        name, decay = self.matrix.name, self.matrix.decay
        lines = [f"{name} *= {decay}"] * (decay != 1)
        return lines + [f"{name} += {part.rate} * {part.left} {part.right}^T/N" for part in self.learned]

    def run(self, state) -> None:
        """Every member of a family by itself."""
        state.matrices.learn(self)
