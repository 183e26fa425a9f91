"""Memories of random matrices, as the averages of whitened functions (theory 6.6), and their adjoints.

Random matrices that are said replace them by one statement of fixed size.
"""

from dataclasses import dataclass

from sympy import Expr

from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements.base import BackwardPrimitive, Primitive, Statement, Transposition, Update


@dataclass(frozen=True)
class ExtendBasis(Primitive):
    """Whitened functions on the paths of `site`: `values = L e` with the Cholesky factor L of `sources = L n`."""

    group: SourceGroup
    site: str
    values: tuple[Entry, ...]
    equation: str

    def reads(self, now: Index):
        """The values."""
        for value in self.values:
            yield value, ()

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """Nothing that has a name in the model."""
        return ()

    def text(self) -> list[str]:
        """What the functions are."""
        values = ", ".join(map(str, self.values))
        return [f"basis of {self.group.name} on the paths of {self.site}: {values} = L e"]

    def run(self, state) -> None:
        """Solve for one more function for every column that the draw opened."""
        state.draws.whiten(self.group, self.values)

    def transpose(self, back: Transposition) -> list[Statement]:
        """From the adjoints of the functions to those of the values, and of the factor."""
        values = tuple(back.adjoint(v) for v in self.values)
        return [AdjointBasis(self, values, back.recalls_of(self.group), f"adjoint of {self.equation}")]


@dataclass(frozen=True)
class RecallMemory(Primitive, Update):
    """target = coefficient Σ_j <observable n_j> e_j with the normals n of a group and the functions e of its basis.

    `instant`: those that were opened at this step count; `correlation`: of the entries J_ij and J_ji of the matrix, if
    the memory drives the field that the group drives.
    """

    target: Entry
    observable: Entry
    coefficient: Expr
    group: SourceGroup
    instant: bool
    equation: str
    correlation: Expr | None = None

    def reads(self, now: Index):
        """The observable; normals and functions belong to the group."""
        yield self.observable, ()

    def text(self) -> list[str]:
        """The sum."""
        front = "" if self.coefficient == 1 else f"{self.coefficient} * "
        normals = f"normals of {self.group.name} {'up to now' if self.instant else 'before'}"
        return [f"{self.target} = {front}sum <{self.observable} n> e over the {normals}"]

    def run(self, state) -> None:
        """Averages with the normals times the whitened functions."""
        found = state.draws.recalled(self.group, self.observable, self.instant)
        state.store(self.target, state.value(self.coefficient, (), ()) * found)

    def transpose(self, back: Transposition) -> list[Statement]:
        """To the observable, to the whitened functions, and to the other use of the matrix."""
        memory, observable = back.adjoint(self.target), back.adjoint(self.observable)
        back.keep(memory)
        back.influenced(self.observable.tensor.site)
        dual = back.dual(self.group, self.equation)
        return [
            AdjointRecall(
                recall=self, memory=memory, observable=observable, dual=dual, equation=f"adjoint of {self.equation}"
            )
        ]


@dataclass(frozen=True)
class AdjointRecall(BackwardPrimitive):
    """Passes the adjoint of a recalled memory on to its observable, to the basis, and to the dual group.

    `dual`: the two groups that stand for one matrix, used forward and backward; twice the same one for a square matrix
    whose entries J_ij and J_ji are correlated.
    """

    recall: RecallMemory
    memory: Entry
    observable: Entry
    dual: tuple[SourceGroup, SourceGroup]
    equation: str

    def reads(self, now: Index):
        """The adjoint of the memory, and the observable."""
        yield self.memory, ()
        yield self.recall.observable, ()

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """The adjoint of the observable."""
        return (self.observable.tensor,)


@dataclass(frozen=True)
class AdjointBasis(BackwardPrimitive):
    """Passes the adjoint of the functions of a basis on to the `values` that they are made of, and to the factor."""

    basis: ExtendBasis
    values: tuple[Entry, ...]
    recalls: tuple[RecallMemory, ...]
    equation: str

    def reads(self, now: Index):
        """The values; the adjoints of the functions belong to the group."""
        for value in self.basis.values:
            yield value, ()

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """The adjoints of the values."""
        return tuple(v.tensor for v in self.values)
