"""Places of subscripts as data: times relative to the present one, parts of stacked axes; and lengths of axes."""

from dataclasses import dataclass

from sympy import Expr

from dmftsym.language.symbols import KICKS, PASSES, Axis, Index
from dmftsym.language.terms import Before
from dmftsym.program.times import When, when

SEVERAL = (When.PAST, When.UPTO, When.FUTURE, When.FROM)


@dataclass(frozen=True)
class Moment:
    """Times relative to the present one: a single one, or all before or after it."""

    when: When
    now: Index

    @property
    def keeps(self) -> bool:
        """Whether the axis remains."""
        return self.when in SEVERAL


@dataclass(frozen=True)
class PassBefore:
    """The time of the pass before, of a step with several passes."""

    index: Index
    keeps = False


@dataclass(frozen=True)
class Number:
    """One position, given as a number."""

    value: int
    keeps = False


@dataclass(frozen=True)
class Part:
    """The positions of a stacked axis that belong to one of its parts."""

    whole: Axis
    part: Axis
    keeps = True

    @property
    def before(self) -> tuple[Axis, ...]:
        """The parts that stand before it."""
        return self.whole.parts[: self.whole.parts.index(self.part)]


@dataclass(frozen=True)
class All:
    """All positions."""

    keeps = True


Place = Moment | PassBefore | Number | Part | All


def place_of(slot: Index, argument: Expr, now: Index, limits: tuple[Before, ...], where: str) -> Place:
    """What an argument stands for in a slot of a tensor. Raises `LoweringError` for a time that is not known."""
    if not slot.is_time:
        if argument.is_Integer:
            return Number(int(argument))
        return All() if slot.axis == argument.axis else Part(slot.axis, argument.axis)
    if isinstance(argument, Index) and argument.axis == KICKS:
        return All()
    if isinstance(argument, Index) and argument.axis == PASSES:
        return PassBefore(argument)
    return Moment(when(argument, now, limits, where), now)


def is_before(place: Place) -> bool:
    """Whether a place is the previous time, which the first step lacks."""
    return isinstance(place, PassBefore) or (isinstance(place, Moment) and place.when is When.LAG)


# --- lengths ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Length:
    """The length of an axis: a sum of products of sizes; without any, whatever is left."""

    products: tuple[tuple[str, ...], ...] = ()

    @property
    def names(self) -> list[str]:
        """The sizes that are not numbers."""
        return [size for product in self.products for size in product if not size.isdigit()]

    def __str__(self) -> str:
        return " + ".join("*".join(product) or "1" for product in self.products) or "-1"


REST = Length()


def size_code(axis: Axis) -> str:
    """The variable (or number) that holds the length of an axis; the time axis has ``steps``."""
    return "steps" if axis.is_time else axis.size


def length(*axes: Axis) -> Length:
    """The number of entries of an array with the given axes."""
    return Length((tuple(size_code(axis) for axis in axes),))


def names_in(part) -> list[str]:
    """The names that a place, a length, an axis or a time reads; of anything else none."""
    match part:
        case Length():
            return part.names
        case Axis():
            return length(part).names
        case Part():
            last = part.part == part.whole.parts[-1]
            return [name for axis in (*part.before, *[part.part] * (not last)) for name in length(axis).names]
        case Moment():
            return [] if part.when is When.INITIAL else [part.now.name]
        case PassBefore():
            return [part.index.name]
        case Index():
            return [part.name]
    return []
