"""When a quantity is needed, relative to the current step."""

from enum import Enum

from sympy import Expr, Integer

from dmftsym.derivation.functional import not_after, strictly_before
from dmftsym.errors import LoweringError
from dmftsym.language.symbols import PASSES, Entry, Index, split_index
from dmftsym.language.terms import Before


class When(Enum):
    """The time of an argument relative to the step: at it, one step earlier, at all earlier steps, up to it, at 0."""

    NOW = "t"
    LAG = "t-1"
    PAST = "s<t"
    UPTO = "s<=t"
    INITIAL = "0"
    FUTURE = "s>t"
    FROM = "s>=t"

    @property
    def same_step(self) -> bool:
        """Whether a value of the current step is among those needed."""
        return self in (When.NOW, When.UPTO, When.INITIAL)


def when(argument: Expr, now: Index, constraints: tuple[Before, ...], where: str) -> When:
    """Classify one time argument. Raises `LoweringError` for a time in the future or without bound."""
    index, shift = split_index(argument)
    if index is None:
        if argument != Integer(0):
            raise LoweringError(f"{where}: the fixed time {argument} is not 0, the only one that can be named")
        return When.INITIAL
    if index.axis == PASSES:
        return When.LAG
    if index == now:
        if shift == 0:
            return When.NOW
        if shift == -1:
            return When.LAG
        if shift > 0:
            raise LoweringError(f"acausal: {where} at time {now} needs the future time {argument}")
        raise LoweringError(f"{where}: {argument} reaches back more than one step; give the delayed value a field")
    if shift:
        raise LoweringError(f"{where}: only the time {now} of an equation can be shifted, found {argument}")
    if strictly_before(argument, now, constraints):
        return When.PAST
    if not_after(argument, now, constraints):
        return When.UPTO
    if strictly_before(now, argument, constraints):
        return When.FUTURE
    if not_after(now, argument, constraints):
        return When.FROM
    raise LoweringError(
        f"acausal: {where} at time {now} needs every time {argument}, later ones too; "
        f"sum over the past with ds.past({argument})(...)"
    )


def latest(entry: Entry, now: Index, constraints: tuple[Before, ...], where: str) -> When | None:
    """The latest time at which an entry is needed, or None if it has no time."""
    found = [when(t, now, constraints, f"{where} (which reads {entry})") for t in entry.times]
    order = (When.NOW, When.UPTO, When.INITIAL, When.PAST, When.LAG)
    return min(found, key=order.index) if found else None
