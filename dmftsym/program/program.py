"""A program: what is known of a model, its time grid, how its paths are sampled, and one sweep over time."""

from dataclasses import dataclass, replace

from sympy import Expr

from dmftsym.language.action import Data, Start
from dmftsym.language.symbols import Axis, Index, Parameter, Tensor
from dmftsym.program.buffers import Buffer
from dmftsym.program.matrices import Directions
from dmftsym.program.printer import program_text
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements import Contract, Evaluate, Statement


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a user declares: names, axes, parameters, data; the results, and the equations that are solved."""

    name: str
    description: str
    axes: tuple[Axis, ...]
    parameters: tuple[Parameter, ...]
    data: tuple[Data, ...]
    symmetric_data: tuple[str, ...]
    outputs: tuple[Tensor, ...]
    equations: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The time grid: the index of the step, the scheme, its time step, the order of its error, passes a step.

    `order` is None for discrete time.
    """

    now: Index
    continuous: bool
    scheme: str
    time_step: float | None
    order: int | None
    passes: int


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The sites and what their paths are made of: sources, initial values; which sites are closed exactly, and why not.

    `weights`: the relative size of every site; `affine`: closed sites with constants; `smooth`: whether no update has
    a kink; `directions`: what the images of random matrices are made of; `parts`: the index of independent parts of the
    paths, if they run side by side (see `batching`).
    """

    sites: tuple[str, ...]
    weights: tuple[tuple[str, Expr], ...]
    groups: tuple[SourceGroup, ...]
    starts: tuple[Start, ...]
    closure: tuple[tuple[str, str], ...]
    affine: tuple[str, ...]
    smooth: bool
    directions: tuple[Directions, ...] = ()
    parts: Index | None = None


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One causal pass over time: its arrays, what does not depend on time, the statements of a step and of its end.

    `closing`: averages over pairs of times that are made after the last step (see `deferral`).
    """

    buffers: tuple[Buffer, ...]
    constants: tuple[Evaluate, ...]
    step: tuple[Statement, ...]
    epilogue: tuple[Statement, ...]
    closing: tuple[Contract, ...] = ()

    def buffer(self, name: str) -> Buffer:
        """The array of that name."""
        return next(b for b in self.buffers if b.tensor.name == name)


@dataclass(frozen=True, kw_only=True, repr=False)
class Program:
    """A discretised, scheduled model: what the code generator prints, and the interpreter runs."""

    facts: Facts
    grid: Grid
    sampling: Sampling
    sweep: Sweep

    def with_sweep(self, **changes) -> "Program":
        """The same model with another sweep over its time grid."""
        return replace(self, sweep=replace(self.sweep, **changes))

    def with_axis(self, axis: Axis) -> "Program":
        """The same program with one axis more."""
        return replace(self, facts=replace(self.facts, axes=(*self.facts.axes, axis)))

    def __repr__(self) -> str:
        sweep = self.sweep
        return f"<Program {self.facts.name}: {len(sweep.buffers)} arrays, {len(sweep.step)} statements a step>"

    def __str__(self) -> str:
        return program_text(self)
