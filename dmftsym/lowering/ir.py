"""The typed intermediate representation: what a generated solver does, in order, without saying in which language.

Expressions are SymPy; arrays are `Tensor` heads; indices keep the user's names. `now` is the time index of the step.
"""

from dataclasses import dataclass

from sympy import Expr, Symbol

from dmftsym.derivation.hessian import ExplicitNoise
from dmftsym.derivation.process import Covariance, Source
from dmftsym.language.action import Data, Start
from dmftsym.language.symbols import Axis, Entry, Index, Parameter, Tensor
from dmftsym.language.terms import Before, Term

TIME_STEP = Symbol("dt", positive=True)

COLUMNS = Axis("column", "columns")  # the independent directions in which a tangent sweep perturbs the path weights


@dataclass(frozen=True)
class Array:
    """An array of the solver: head, role, and for site arrays whether all times are kept (`history`)."""

    tensor: Tensor
    role: str
    history: bool = False

    @property
    def site(self) -> str:
        """The site of a per-path array, empty for others."""
        return self.tensor.site

    @property
    def given(self) -> bool:
        """Whether the caller provides the array."""
        return self.role in ("mode", "given", "shift")


@dataclass(frozen=True)
class Assign:
    """Elementwise update of a site array: target[indices] = expression, for every sample path.

    `starts`: at the first step the target takes its initial value instead, or that of the field `initial`.
    """

    target: Entry
    expression: Expr
    equation: str
    starts: bool = False
    initial: Entry | None = None


@dataclass(frozen=True)
class Kernel:
    """Elementwise updates of one site that run in one loop over sample paths."""

    name: str
    site: str
    assignments: tuple[Assign, ...]


@dataclass(frozen=True)
class Piece:
    """scalar · Σ coefficient · Π operands, summed over every index that the target does not carry."""

    scalar: Expr
    coefficient: Expr
    operands: tuple[Entry, ...]
    constraints: tuple[Before, ...] = ()


@dataclass(frozen=True)
class Contract:
    """target = Σ pieces (+ explicit), a site average if `site` is set in `averaged`, else a sum that keeps the paths.

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


@dataclass(frozen=True)
class Evaluate:
    """target = Σ terms, a function of quantities without sample paths; if it `starts`, it is `initial` (or 0) at 0."""

    target: Entry
    terms: tuple[Term, ...]
    equation: str
    constraints: tuple[Before, ...] = ()
    starts: bool = False
    accumulate: bool = False
    initial: Expr | None = None


@dataclass(frozen=True)
class Draw:
    """Values at this step of an evolving or white group of sources, or of its member `part` alone, members in order."""

    group: "SourceGroup"
    equation: str
    part: int | None = None


@dataclass(frozen=True)
class ExtendBasis:
    """Functions e of the paths of `site` that stand to the `values` as the normals of a group to its sources.

    values = L e where sources = L n with the same factor L: one more function for every normal that the draw opened.
    """

    group: "SourceGroup"
    site: str
    values: tuple[Entry, ...]
    equation: str


@dataclass(frozen=True)
class RecallMemory:
    """target = coefficient Σ_j <observable n_j> e_j with the normals n of a group and the functions e of its basis.

    `instant`: those that were opened at this step count; `correlation`: of the entries J_ij and J_ji of the matrix, if
    the memory drives the field that the group drives.
    """

    target: Entry
    observable: Entry
    coefficient: Expr
    group: "SourceGroup"
    instant: bool
    equation: str
    correlation: Expr | None = None


@dataclass(frozen=True)
class DrawVariation:
    """First-order change of the values that a `Draw` gave: `blocks` hold the changes of its covariances."""

    group: "SourceGroup"
    blocks: tuple[Covariance, ...]
    equation: str


@dataclass(frozen=True)
class Influence:
    """target += Σ piece: what the weight of every path does to an average directly, one value per column and path."""

    target: Entry
    piece: Piece
    equation: str


@dataclass(frozen=True)
class AdjointRecall:
    """Passes the adjoint of a recalled memory on to its observable, to the basis, and to the dual group.

    `dual`: the two groups that stand for one matrix, used forward and backward; twice the same one for a square matrix
    whose entries J_ij and J_ji are correlated.
    """

    recall: RecallMemory
    memory: Entry
    observable: Entry
    dual: tuple["SourceGroup", "SourceGroup"]
    equation: str


@dataclass(frozen=True)
class AdjointBasis:
    """Passes the adjoint of the functions of a basis on to the `values` that they are made of, and to the factor."""

    basis: ExtendBasis
    values: tuple[Entry, ...]
    recalls: tuple[RecallMemory, ...]
    equation: str


@dataclass(frozen=True)
class AdjointDraw:
    """Passes the adjoints of drawn sources on to their factor and from there to their covariances.

    `covariances` are those of a member at this step with another one at this and earlier times: `ends` name the two.
    """

    group: "SourceGroup"
    sources: tuple[Entry, ...]
    covariances: tuple[Entry, ...]
    ends: tuple[tuple[str, str], ...]
    equation: str


@dataclass(frozen=True)
class TangentKernel:
    """First-order changes of one site, updated and averaged in one loop over columns and blocks of sample paths.

    `updates` are elementwise changes, sums that keep the paths, and site averages, all at the current step.
    """

    name: str
    site: str
    updates: tuple[Assign | Contract, ...]
    starts: bool = False


@dataclass(frozen=True)
class Sketch:
    """Adds random combinations of the observables that a site average averages: target += Σ omega·observable.

    Every step fills some of the target's columns, chosen at random.
    """

    target: Entry
    omega: Tensor
    pieces: tuple[Piece, ...]
    equation: str


Statement = (
    Kernel
    | Assign
    | Contract
    | Evaluate
    | Draw
    | ExtendBasis
    | RecallMemory
    | DrawVariation
    | TangentKernel
    | Sketch
    | Influence
    | AdjointRecall
    | AdjointBasis
    | AdjointDraw
)


def is_variation(tensor: Tensor) -> bool:
    """Whether a quantity has one value per column of a tangent sweep."""
    return any(i.axis == COLUMNS for i in tensor.indices)


@dataclass(frozen=True)
class SourceGroup:
    """Jointly Gaussian sources of one site: members and the blocks of their covariance.

    Flipping the sign of an `antithetic` group flips the sign of an observable at the start. `basis` is the site on
    whose paths the functions live that stand to the covariance's factors as the normals to the sources, if any.
    `shares`: the larger group of another program whose normals it takes.
    """

    name: str
    site: str
    kind: str
    members: tuple[Source, ...]
    blocks: tuple[Covariance, ...]
    antithetic: bool = False
    basis: str = ""
    shares: str = ""


@dataclass(frozen=True, repr=False)
class Program:
    """A discretised, scheduled model: what the code generator prints.

    `order`: of the error in the time step, None for discrete time; `passes`: how often a step is evaluated.
    """

    name: str
    description: str
    now: Index
    continuous: bool
    scheme: str
    time_step: float | None
    axes: tuple[Axis, ...]
    parameters: tuple[Parameter, ...]
    data: tuple[Data, ...]
    symmetric_data: tuple[str, ...]
    arrays: tuple[Array, ...]
    groups: tuple[SourceGroup, ...]
    starts: tuple[Start, ...]
    constants: tuple[Evaluate, ...]
    step: tuple[Statement, ...]
    epilogue: tuple[Statement, ...]
    outputs: tuple[Tensor, ...]
    sites: tuple[str, ...]
    smooth: bool
    equations: tuple[str, ...]
    closure: tuple[tuple[str, str], ...] = ()
    affine: tuple[str, ...] = ()
    order: int | None = None
    passes: int = 1
    weights: tuple[tuple[str, Expr], ...] = ()

    def array(self, name: str) -> Array:
        """The array of that name."""
        return next(a for a in self.arrays if a.tensor.name == name)

    def __repr__(self) -> str:
        return f"<Program {self.name}: {len(self.arrays)} arrays, {len(self.step)} statements a step>"

    def __str__(self) -> str:
        from dmftsym.lowering.ir_printer import program_text  # which imports this module

        return program_text(self)


@dataclass(frozen=True, repr=False)
class Fluctuations:
    """The linear response of a program to changes of its path weights, which is what a finite width is.

    `plain` is the program of all that the covariances need, `tangent` the same with the first-order change of every
    active quantity, `direct` the part of it that remains when the averages that feed back do not change (None if there
    is nothing else). `sketch` combines the observables of the averages at random, to find the directions that matter;
    `chain` passes the changes of the averages on to functions of them. `covariances` are the requested quantities with
    their changes, `averages` all that fluctuate, `following` the requested ones that `direct` computes; `weights` give
    the relative size ν of every site; `jumps` are the updates that jump, so that `tangent` misses a part; `noise` is
    what explicit terms add to κ.
    """

    plain: Program
    tangent: Program
    direct: Program | None
    sketch: Program
    chain: Program
    column: Index
    covariances: tuple[tuple[Tensor, Tensor], ...]
    averages: tuple[tuple[Tensor, Tensor], ...]
    following: tuple[str, ...]
    weights: tuple[tuple[str, Expr], ...]
    jumps: tuple[str, ...]
    noise: tuple[ExplicitNoise, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities whose covariances are computed."""
        return tuple(tensor.name for tensor, _ in self.covariances)

    def __repr__(self) -> str:
        return f"<Fluctuations of {', '.join(self.names)} in {self.plain.name}>"

    def __str__(self) -> str:
        from dmftsym.lowering.ir_printer import fluctuation_text  # which imports this module

        return fluctuation_text(self)


@dataclass(frozen=True, repr=False)
class Influences:
    """The derivatives of requested quantities with respect to the path weights, by a sweep backward in time.

    `record` is the program with all its path arrays kept, `adjoint` the statements of one step backward. `duals` are
    the pairs of source groups that stand for one random matrix, used forward and backward; `symmetric` names the
    quantities of which the rows up to the present time hold everything; `jumps` are updates that jump, whose jumps are
    not seen.
    """

    record: Program
    adjoint: Program
    column: Index
    covariances: tuple[Tensor, ...]
    weights: tuple[tuple[str, Expr], ...]
    jumps: tuple[str, ...]
    duals: tuple[tuple[SourceGroup, SourceGroup], ...]
    symmetric: tuple[str, ...]
    noise: tuple[ExplicitNoise, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities whose covariances are computed."""
        return tuple(tensor.name for tensor in self.covariances)

    def __repr__(self) -> str:
        return f"<Influences on {', '.join(self.names)} in {self.record.name}>"

    def __str__(self) -> str:
        from dmftsym.lowering.ir_printer import fluctuation_text  # which imports this module

        return fluctuation_text(self)
