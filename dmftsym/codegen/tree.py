"""Array operations as data: a small tree whose nodes know the indices of their axes; text comes last.

`arrays` and `pieces` turn expressions into trees, which is the same for every target; `array_printer` prints them. What
a formula reads, whether it needs the previous time, and whether it waits for a history is asked of the tree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from enum import Enum

from sympy import Expr, Symbol, preorder_traversal

from dmftsym.codegen.places import Length, Place, is_before, names_in
from dmftsym.errors import CodegenError
from dmftsym.language.symbols import Axis, Index, Parameter, Size, Tensor
from dmftsym.program.axes import PARTS

_PATHS = "(path)"  # which no user's axis is called


def path_index(site: str) -> Index:
    """The index of the sample paths of a site, which is the last one of its arrays."""
    return Index("path", Axis(_PATHS, f"paths_{site}"))


def weights_of(site: str) -> "Named":
    """The weights of the sample paths of a site."""
    return Named((path_index(site),), f"weight_{site}")


def is_part(index: Index) -> bool:
    """Whether an index runs over the independent parts of the sample paths."""
    return isinstance(index, Index) and index.axis == PARTS  # a time such as t - 1 is no index


def is_path(index: Index) -> bool:
    """Whether an index runs over the sample paths of a site."""
    return index.axis.name == _PATHS


def history_of(tensor: Tensor) -> str:
    """The array that keeps all times of a site array."""
    return f"{tensor.name}_history"


@dataclass(frozen=True)
class Array:
    """An array; `indices` are those of its axes, in order."""

    indices: tuple[Index, ...]

    def own(self) -> list:
        """What it is made of: other arrays, places, lengths, expressions."""
        waiting, found = [getattr(self, f.name) for f in fields(self)[1:]], []
        for value in waiting:
            waiting.extend(value) if isinstance(value, tuple) else found.append(value)
        return found

    def own_names(self) -> list[str]:
        """The names that it reads beside those of the arrays that it is made of."""
        return [name for part in self.own() for name in names_in(part)]

    def walk(self) -> Iterator["Array"]:
        """The node, and all below it."""
        yield self
        for part in self.own():
            if isinstance(part, Array):
                yield from part.walk()

    def names(self) -> tuple[str, ...]:
        """The arrays, sizes and numbers that it reads, each once."""
        return tuple(dict.fromkeys(name for node in self.walk() for name in node.own_names()))

    def spans(self) -> set[Index]:
        """The indices along which it has all its entries, instead of one that stands for them."""
        return set(self.indices)

    def reads_before(self) -> bool:
        """Whether it reads the previous time."""
        return any(is_before(p) for node in self.walk() if isinstance(node, Cut) for p in node.places)

    def reads_history(self) -> bool:
        """Whether it reads an array that keeps all times of the sample paths."""
        return any(isinstance(node, Named) and node.history for node in self.walk())

    def over_parts(self) -> bool:
        """Whether it differs between the parts of the sample paths."""
        return any(is_part(index) for node in self.walk() for index in node.indices)

    def over_paths(self) -> bool:
        """Whether sample paths take part in it."""
        return any(is_path(index) for node in self.walk() for index in node.indices)


@dataclass(frozen=True)
class Named(Array):
    """A whole array; `history`: it keeps all times of the sample paths."""

    name: str
    history: bool = False

    def own_names(self) -> list[str]:
        """Its name."""
        return [self.name]


@dataclass(frozen=True)
class Cut(Array):
    """A slice: what stands in its places; axes without a place are whole. An index can be that of two axes."""

    of: Named
    places: tuple[Place, ...]


@dataclass(frozen=True)
class _Of(Array):
    """An operation on one array."""

    of: Array


@dataclass(frozen=True)
class BeforeStart(_Of):
    """Values at the previous time, which are zero before time 0."""

    now: Index


@dataclass(frozen=True)
class Diagonal(_Of):
    """The entries at equal indices."""


@dataclass(frozen=True)
class LinedUp(_Of):
    """The axes in another order, and new ones of length one."""

    def spans(self) -> set[Index]:
        """Those of the array."""
        return self.of.spans()


@dataclass(frozen=True)
class OverPaths(_Of):
    """The same on every sample path (of a part): the axis of the paths, that of `weights`, is new."""

    weights: Named


@dataclass(frozen=True)
class Totalled(_Of):
    """The sum over the last axes."""

    def spans(self) -> set[Index]:
        """Those of the array that are left."""
        return self.of.spans() & set(self.indices)


class MatrixFunction(Enum):
    """Functions of symmetric matrices, on the last two axes."""

    LARGEST_EIGENVALUE = "largest_eigenvalue"
    LEADING_PROJECTOR = "leading_projector"


@dataclass(frozen=True)
class OfMatrix(_Of):
    """A matrix function."""

    function: MatrixFunction


@dataclass(frozen=True)
class Identity(Array):
    """One at equal indices, or where the only index has a value, else zero."""

    axis: Axis
    value: int | None = None


@dataclass(frozen=True)
class Formula(Array):
    """An elementwise formula; `leaves` are the parts of it that are arrays."""

    body: Expr
    leaves: tuple[tuple[Expr, Array], ...]

    def spans(self) -> set[Index]:
        """Those of all its arrays."""
        return {index for _, leaf in self.leaves for index in leaf.spans()}

    def own_names(self) -> list[str]:
        """The numbers that stand in the formula itself."""
        found: set[str] = set()
        walk = preorder_traversal(self.body)
        leaves = {part for part, _ in self.leaves}
        for part in walk:
            if part in leaves:
                walk.skip()
            elif isinstance(part, Parameter | Size | Symbol):
                found.add(part.name)
        return sorted(found)


@dataclass(frozen=True)
class Scaled(_Of):
    """A number (or an array with some of the axes) times an array."""

    factor: Formula

    def spans(self) -> set[Index]:
        """Those of the factor and the array."""
        return self.factor.spans() | self.of.spans()


@dataclass(frozen=True)
class Many(Array):
    """An operation on several arrays."""

    parts: tuple[Array, ...]


@dataclass(frozen=True)
class Sum(Many):
    """The sum of arrays, zero without any."""

    def spans(self) -> set[Index]:
        """Those of all arrays."""
        return {index for part in self.parts for index in part.spans()}


@dataclass(frozen=True)
class Einsum(Many):
    """The product of arrays, summed over the indices that the result lacks."""


@dataclass(frozen=True)
class Average(Einsum):
    """The product of arrays, summed over the weighted paths and the other indices that the result lacks.

    `smallest` of the arrays best takes the weights.
    """

    weights: Named
    smallest: int


@dataclass(frozen=True)
class Weighted(_Of):
    """An array times the weights of its paths."""

    weights: Named


@dataclass(frozen=True)
class TensorDot(_Of):
    """`factor` times an array over sample paths, summed over its last axes and the first `count` of the array."""

    factor: Array
    count: int


# --- blocks of matrices: their axes are groups of indices ---------------------------------------------------------


@dataclass(frozen=True)
class Shaped(_Of):
    """The same numbers in another shape."""

    shape: tuple[Length, ...]


@dataclass(frozen=True)
class Broadcast(Shaped):
    """An array repeated along the axes that it lacks."""


@dataclass(frozen=True)
class Zeros(Array):
    """An array of zeros."""

    shape: tuple[Length, ...]


@dataclass(frozen=True)
class Concatenated(Many):
    """Arrays one after the other along an axis."""

    axis: int


def lined_up(node: Array, indices: tuple[Index, ...]) -> Array:
    """The array with the given axes: in this order, new ones where it has none. Raises `CodegenError` if one lacks."""
    if node.indices == indices:
        return node
    if not set(node.indices) <= set(indices):
        name = next(each.name for each in node.walk() if isinstance(each, Named))
        raise CodegenError(f"{name} has an index that {[str(i) for i in indices]} lacks")
    return LinedUp(indices, node)


def before_start(node: Array, now: Index) -> Array:
    """The array, zero before time 0 if it reads the previous time; a function of such an array is one of zeros."""
    if isinstance(node, Formula):
        return replace(node, leaves=tuple((part, before_start(leaf, now)) for part, leaf in node.leaves))
    return BeforeStart(node.indices, node, now) if node.reads_before() else node
