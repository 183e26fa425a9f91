"""The arrays of a sweep: what each is for, and of what it is the tangent or the adjoint."""

from dataclasses import dataclass
from enum import StrEnum

from dmftsym.language.symbols import Tensor


class Role(StrEnum):
    """What an array is for."""

    FIELD = "field"  # a site field, one value per sample path
    DEFINITION = "definition"  # a site definition named by the user, one value per sample path
    FACTOR = "factor"  # a function of site fields that several sums need, one value per sample path
    RATE = "rate"  # the time derivative of a field, one value per sample path
    BASE = "base"  # where the passes of a step start from, one value per sample path
    MEMORY = "memory"  # a sum over the past or over indices, one value per sample path
    TANGENT = "tangent"  # the change of a field that an impulse in a source makes, one value per sample path
    ORDER_PARAMETER = "order parameter"  # a site average
    FUNCTION = "function"  # a definition, observable or coefficient: a function of order parameters and data
    CLOCK = "clock"  # the times of all steps
    IMPULSE = "impulse"  # a unit impulse at every time
    SECOND_TIME = "second time"  # one at the second time, zero at others
    ONSET = "onset"  # one at the time of an impulse, zero at others
    HALF_ONSET = "half onset"  # half at the time of an impulse, where integrals over it begin, one at others
    PAST_WEIGHT = "past weight"  # the weights of an integral over the past at its earlier times
    END_WEIGHT = "end weight"  # the weights of an integral over the past at its upper end
    SLOPE = "slope"  # the partial derivative of an update, one value per sample path
    VARIATION = "variation"  # the first-order change of a quantity, one value per column
    EXCESS = "excess"  # what fluctuations of its arguments add to the mean of a function, times N
    GIVEN = "given"  # computed by another sweep
    ADJOINT = "adjoint"  # the derivative of given quantities with respect to a quantity, one value per column
    ASSIGNED_ADJOINT = "assigned adjoint"  # the same, written in one piece at every step
    RUNNING_ADJOINT = "running adjoint"  # the same for a sum that grows from step to step
    INFLUENCE = "influence"  # the derivative of given quantities with respect to the weight of a path
    PAIRING = "pairing"  # what the fluctuations of a response function pair with the kicks of its source
    SHIFT = "shift"  # what noise of its own adds to an order parameter, one value per column
    MODE = "mode"  # relative changes of the path weights, one value per column and sample path
    SKETCH = "sketch"  # random combinations of observables that feed back, one value per column and sample path
    OBSERVED_SKETCH = "observed sketch"  # the same of observables that feed nothing back
    MATRIX = "matrix"  # functions of sample paths that a random matrix was asked, and their images
    NOISE = "noise"  # values of Gaussian sources, and what is kept to draw them step by step

    @property
    def of_grid(self) -> bool:
        """Whether such arrays hold numbers of the time grid of a scheme with two passes."""
        return self in (Role.SECOND_TIME, Role.ONSET, Role.HALF_ONSET, Role.PAST_WEIGHT, Role.END_WEIGHT)


_WEIGHTS = (Role.PAST_WEIGHT, Role.END_WEIGHT)
_FIXED = (Role.CLOCK, Role.IMPULSE, Role.SECOND_TIME, Role.ONSET, Role.HALF_ONSET, *_WEIGHTS)
_FROM_CALLER = (Role.MODE, Role.GIVEN, Role.SHIFT)


@dataclass(frozen=True)
class Buffer:
    """An array: its head, its role, and for site arrays whether all times are kept (`history`).

    `of`: the quantity whose tangent, adjoint, excess or kick it holds, if any.
    """

    tensor: Tensor
    role: Role
    history: bool = False
    of: Tensor | None = None

    @property
    def site(self) -> str:
        """The site of a per-path array, empty for others."""
        return self.tensor.site

    @property
    def fixed(self) -> bool:
        """Whether the time grid alone fixes its numbers."""
        return self.role in _FIXED

    @property
    def given(self) -> bool:
        """Whether the caller provides the array."""
        return self.role in _FROM_CALLER
