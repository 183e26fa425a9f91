"""What random matrices do in a step: they act, forward or transposed, and they learn (theory 6.8)."""

from collections.abc import Iterator
from dataclasses import dataclass

from sympy import Add, Expr

from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.language.terms import Term, as_expression, entries_of
from dmftsym.program.axes import has_columns
from dmftsym.program.matrices import HeldMatrix, LearnedPart
from dmftsym.program.statements.base import BackwardPrimitive, Primitive, Statement, Transposition, Update
from dmftsym.program.tangents import Tangents


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
    def fluctuates(self) -> bool:
        """Always: averages with the functions that the matrix was asked do."""
        return True

    def tangent(self, along: Tangents) -> "MatrixChange":
        """The matrix, as it was when the program ran, applied to the change of the query."""
        target = along.change(self.target)
        query = along.change_of(self.query)
        return MatrixChange(target=target, query=query, product=self, equation=f"change of {self.equation}")

    def transpose(self, back: Transposition) -> list[Statement]:
        """To the query, and to the weights of the paths of both sites."""
        influences = tuple(back.influenced(site) for site in (self.matrix.rows, self.matrix.columns))
        changes = back.tangents.change_of(self.query) is not None
        query = back.adjoint(self.query) if changes else None
        equation = f"adjoint of {self.equation}"
        return [
            AdjointProduct(
                product=self, target=back.adjoint(self.target), query=query, influences=influences, equation=equation
            )
        ]

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

    def tangent(self, along: Tangents) -> "LearningChange":
        """What changes of the rates and of both sides do to what is learned."""
        changes = tuple(
            ChangedPart(
                part=part,
                rates=along.vary((Term(part.rate * part.deltas),)),
                left=along.change_of(part.left),
                right=along.change_of(part.right),
            )
            for part in self.learned
        )
        return LearningChange(matrix=self.matrix, changes=changes, equation=f"change of {self.equation}")

    def transpose(self, back: Transposition) -> list[Statement]:
        """To the rates, and to what both sides are made of."""
        result: list[Statement] = []
        for number in reversed(range(len(self.learned))):
            result += self._transposed(back, number)
        if self.matrix.decay != 1:
            line = f"adjoint of {self.matrix.name} *= {self.matrix.decay}"
            result.append(AdjointDecay(matrix=self.matrix, equation=line))
        return result

    def _transposed(self, back: Transposition, number: int) -> list[Statement]:
        part = self.learned[number]
        tensor = back.of_rates(f"adj_rates_{self.matrix.name}{number or ''}", part.axes)
        target = tensor[tensor.indices]
        sides = tuple(
            back.adjoint(e) if back.tangents.change_of(e) is not None else None for e in (part.left, part.right)
        )
        line = f"adjoint of what {self.matrix.name} learned from {part.left} and {part.right}"
        passed: list[Statement] = []
        for term in back.tangents.vary((Term(part.rate * part.deltas),)):
            for piece in Add.make_args(term.body):
                change = next(e for e in entries_of(piece) if has_columns(e.tensor))
                passed.append(back.add(back.adjoint(back.canonical(change)), piece / change * target, term.constraints))
        pulled = AdjointLearning(
            matrix=self.matrix, part=part, target=target, left=sides[0], right=sides[1], equation=line
        )
        return [pulled, *passed]


@dataclass(frozen=True, kw_only=True)
class MatrixChange(Primitive, Update):
    """target = W change of the query, in a second run beside the recorded one (theory 6.9); None for no change.

    W is what was known of it at the end of the run; with it goes what it learned otherwise from what changed before.
    """

    target: Entry
    query: Entry | None
    product: MatrixProduct
    equation: str

    def reads(self, now: Index):
        """The change of the query."""
        if self.query is not None:
            yield self.query, ()

    def text(self) -> list[str]:
        """The product."""
        name = f"{self.product.matrix.name}{'.T' if self.product.transposed else ''}"
        return [f"{self.target} = {name} @ {self.query or 0} + change of {name} @ {self.product.query}"]

    def run(self, state) -> None:
        """Every member of a family by itself."""
        state.store(self.target, state.matrices.change(self))


@dataclass(frozen=True, kw_only=True)
class ChangedPart:
    """The changes of the rates at which a matrix learned, and of its two sides; None for a side that stays."""

    part: LearnedPart
    rates: tuple[Term, ...]
    left: Entry | None
    right: Entry | None


@dataclass(frozen=True, kw_only=True)
class LearningChange(Primitive):
    """The change of what a matrix learned at the end of a step, in a second run beside the recorded one."""

    matrix: HeldMatrix
    changes: tuple[ChangedPart, ...]
    equation: str

    def reads(self, now: Index) -> Iterator:
        """The changes of the rates and of the functions of both sides."""
        for change in self.changes:
            for term in change.rates:
                yield term.body, term.constraints
            yield from ((side, ()) for side in (change.left, change.right) if side is not None)

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """Nothing that has a name in the model: the change of the matrix."""
        return ()

    def text(self) -> list[str]:
        """The changes."""
        name, decay = self.matrix.name, self.matrix.decay
        lines = [f"change of {name} *= {decay}"] * (decay != 1)
        for change in self.changes:
            part, rates = change.part, as_expression(change.rates)
            lines.append(f"change of {name} += {rates} * {part.left} {part.right}^T/N")
            sides = ((change.left, f"{change.left} {part.right}"), (change.right, f"{part.left} {change.right}"))
            lines += [f"change of {name} += {part.rate} * {both}^T/N" for side, both in sides if side is not None]
        return lines

    def run(self, state) -> None:
        """Every member of a family by itself."""
        state.matrices.learn_change(self)


@dataclass(frozen=True, kw_only=True)
class AdjointProduct(BackwardPrimitive):
    """Passes the adjoint of what a matrix gave on to its query, if that changes, and to the weights of both sites."""

    product: MatrixProduct
    target: Entry
    query: Entry | None
    influences: tuple[Tensor, ...]
    equation: str

    def reads(self, now: Index):
        """The adjoint of the target."""
        yield self.target, ()

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """The adjoint of the query."""
        return (self.query.tensor,) if self.query is not None else ()


@dataclass(frozen=True, kw_only=True)
class AdjointLearning(BackwardPrimitive):
    """The adjoint of the rates at which a matrix learned, and of its sides where these are no queries of the step."""

    matrix: HeldMatrix
    part: LearnedPart
    target: Entry
    left: Entry | None
    right: Entry | None
    equation: str

    def reads(self, now: Index):
        """Nothing: the adjoint of the matrix belongs to it."""
        yield from ()

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """The adjoints of the rates and of the sides."""
        return (self.target.tensor, *(e.tensor for e in (self.left, self.right) if e is not None))


@dataclass(frozen=True, kw_only=True)
class AdjointDecay(BackwardPrimitive):
    """The adjoint of a matrix before it decayed."""

    matrix: HeldMatrix
    equation: str

    def reads(self, now: Index):
        """Nothing."""
        yield from ()

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """Nothing that has a name in the model."""
        return ()
