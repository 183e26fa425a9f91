"""What every statement of a sweep says of itself: what it reads and writes, and its rules.

A statement is an immutable record. The compiler asks it instead of looking at its type: schedule and fusion for its
accesses, the linearisation for its tangent and its transpose, the interpreter for its meaning. Rules that a statement
does not have are refused in the user's words.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sympy import Expr

from dmftsym.errors import LoweringError
from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.language.terms import Before
from dmftsym.program.accesses import Access, Reading, accesses_of
from dmftsym.program.tangents import Tangents

if TYPE_CHECKING:
    from dmftsym.program.interpreter import State


@dataclass(frozen=True)
class Link:
    """One term of a first-order change: change of `target` += coefficient · change of `source`, over all indices."""

    target: Entry
    source: Entry
    coefficient: Expr
    constraints: tuple[Before, ...]


class Transposition(Protocol):
    """What the transpose rule of a statement asks for: adjoints, one value per column."""

    @property
    def tangents(self) -> Tangents:
        """The first-order changes that are transposed."""

    def adjoint(self, entry: Entry) -> Entry:
        """The adjoint of an entry, at the same indices and the column."""

    def keep(self, entry: Entry) -> None:
        """All times of this adjoint are needed at once."""

    def flip(self, link: Link) -> list["Statement"]:
        """Add coefficient · adjoint of target to the adjoint of source."""

    def add(self, target: Entry, body: Expr, constraints: tuple[Before, ...]) -> "Statement":
        """Add a sum to an adjoint, an average over paths if it has none."""

    def influence(self, changed: Any, piece: Any) -> "Statement":
        """What the weight of a path does to an average directly: adjoint of the average times its observable."""

    def pairings(self, target: Entry) -> list["Statement"]:
        """What the fluctuations of a response function of a closed site pair with the kicks of its source."""

    def running(self, target: Entry) -> None:
        """Note that an adjoint grows from step to step."""

    def canonical(self, change: Entry) -> Entry:
        """The change of a symmetric quantity in the row of its later time."""

    def covariance(self, left: Entry, right: Entry) -> Entry:
        """The adjoint of a covariance of sources, one value per column."""

    def of_rates(self, name: str, axes: tuple[Index, ...]) -> Tensor:
        """The adjoint of the rates at which a random matrix learns, one value per column."""

    def dual(self, group: Any, equation: str) -> Any:
        """The two uses of the random matrix that a group of sources is one of."""

    def influenced(self, site: str) -> Tensor:
        """The influence functions of the paths of a site."""

    def recalls_of(self, group: Any) -> tuple[Any, ...]:
        """The memories that a group of sources is recalled in."""


class Batching(Protocol):
    """What the batching rule of a statement asks for: independent parts of the sample paths along one more index."""

    def record(self, record: Any) -> Any:
        """A record with the index in all its entries."""

    def each(self, statement: "Statement") -> "Statement":
        """The statement on every part by itself."""


class Statement(ABC):
    """One update of a sweep; `equation` is the line above it in generated code."""

    equation: str
    starts: bool = False  # whether at the first step the target takes its initial value instead
    elementwise: ClassVar[bool] = False  # whether it updates every sample path by itself

    @abstractmethod
    def reads(self, now: Index) -> Iterable[Reading]:
        """The expressions that it reads, with the limits on their times."""

    @property
    @abstractmethod
    def writes(self) -> tuple[Tensor, ...]:
        """The arrays that it updates."""

    @abstractmethod
    def text(self) -> list[str]:
        """The statement as lines of plain text."""

    @property
    def parts(self) -> tuple["Statement", ...]:
        """The plain statements of which it consists: itself, unless it is made of others."""
        return (self,)

    def operations(self) -> tuple:
        """The array operations that do it; a statement that is none of the plain ones consists of theirs."""
        return tuple(operation for update in self._plain() for operation in update.operations())

    def run(self, state: "State") -> None:
        """What it does to the arrays of a step, in plain NumPy."""
        for update in self._plain():
            update.run(state)

    def _plain(self) -> tuple["Statement", ...]:
        assert self.parts != (self,), f"{type(self).__name__} says neither what it does nor of what it consists"
        return self.parts

    def accesses(self, now: Index, where: str) -> tuple[Access, ...]:
        """Every entry that it reads, with the time and the elements at which it does."""
        return accesses_of(self.reads(now), now, where)

    def tangent(self, along: Tangents) -> "Statement":
        """The statement that updates the first-order change of what this one updates."""
        if len(self.parts) == 1 and self.parts != (self,):
            return self.parts[0].tangent(along)
        raise LoweringError(f"covariances: {self.equation} has no first-order change")

    def links(self) -> list[Link]:
        """A first-order change term by term: each holds the change of one entry."""
        if self.parts == (self,):
            raise LoweringError(f"covariances: {self.equation} has no transpose")
        return [link for update in self.parts for link in update.links()]

    def transpose(self, back: Transposition) -> list["Statement"]:
        """The statements that pass the adjoint of what this one updates on to what it reads."""
        return [moved for link in self.tangent(back.tangents).links() for moved in back.flip(link)]

    def batched(self, along: Batching) -> "Statement":
        """The statement on independent parts of the paths: one index more in all its entries."""
        return along.record(self)

    @property
    def accumulates(self) -> bool:
        """Whether it adds to what it updates."""
        return getattr(self, "accumulate", False)

    @property
    def updated(self) -> tuple[Entry, ...]:
        """The entries that it updates one by one."""
        return ()

    @property
    def averages(self) -> bool:
        """Whether it is a site average."""
        return False

    @property
    def fluctuates(self) -> bool:
        """Whether what it updates fluctuates because sample paths, or the units of a network, are finitely many."""
        return False

    @property
    def is_function(self) -> bool:
        """Whether it is a function of order parameters and data."""
        return False

    @property
    def reads_its_neighbours(self) -> bool:
        """Whether it reads its own array at elements that its loop has overwritten or will."""
        return False

    @property
    def loops(self) -> tuple[str, ...]:
        """The indices, other than times, over which it loops."""
        return ()

    @property
    def is_constant(self) -> bool:
        """Whether what it updates has no time."""
        return False

    @property
    def loop_site(self) -> str | None:
        """The site in a loop over whose paths its first-order change can stand: all at the current step; else None."""
        sites = {update.loop_site for update in self.parts if update is not self}
        return sites.pop() if len(sites) == 1 else None


class Update(Statement):
    """A statement that updates one array."""

    target: Entry

    @property
    def updated(self) -> tuple[Entry, ...]:
        """The target."""
        return (self.target,)

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """The target."""
        return (self.target.tensor,)

    @property
    def loops(self) -> tuple[str, ...]:
        """The indices of the target."""
        return tuple(i.name for i in self.target.indices if isinstance(i, Index) and not i.is_time)

    @property
    def is_constant(self) -> bool:
        """Whether the target has no time."""
        return not self.target.tensor.time_slots


class Primitive(Statement):
    """A statement that is an array operation by itself, for which every target has a rule."""

    def operations(self) -> tuple["Statement"]:
        """Itself."""
        return (self,)

    def batched(self, along: Batching) -> Statement:
        """Part by part."""
        return along.each(self)


class BackwardPrimitive(Primitive):
    """One of a sweep backward in time that random matrices, once they are said, replace; it is not interpreted."""

    def text(self) -> list[str]:
        """What it is the adjoint of."""
        return [self.equation]

    def run(self, state: "State") -> None:
        """Raises NotImplementedError."""
        raise NotImplementedError(self.equation)
