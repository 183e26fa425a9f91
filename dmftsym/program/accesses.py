"""What statements read: which array, at which time relative to the step, and at which of its elements."""

from dataclasses import dataclass

from sympy import Expr

from dmftsym.derivation.functional import strictly_before
from dmftsym.language.symbols import Entry, Index, Kind
from dmftsym.language.terms import Before, entries_of
from dmftsym.program.times import When, latest

Reading = tuple[Expr, tuple[Before, ...]]  # an expression, and the limits on the times that it sums over


@dataclass(frozen=True)
class Access:
    """One entry that a statement reads, and the latest time at which it does (None for what has no time).

    `row`: whether it stands at (t, s) with s strictly before the present time t.
    """

    entry: Entry
    when: When | None
    row: bool = False

    @property
    def name(self) -> str:
        """The name of the array."""
        return self.entry.tensor.name


def accesses_of(readings, now: Index, where: str) -> tuple[Access, ...]:
    """The entries in expressions, other than data, each once for every time at which it is read."""
    found = []
    for body, limits in readings:
        for entry in entries_of(body):
            if entry.tensor.kind != Kind.DATA:
                found.append(Access(entry, latest(entry, now, limits, where), _is_row(entry, now, limits)))
    return tuple(found)


def _is_row(entry: Entry, now: Index, limits: tuple[Before, ...]) -> bool:
    if len(entry.times) != 2 or entry.times[0] != now:
        return False
    return strictly_before(entry.times[1], now, limits)


def places(entry: Entry) -> tuple[Expr, ...]:
    """The index map of an access: its arguments other than times."""
    return tuple(a for slot, a in zip(entry.tensor.indices, entry.indices, strict=True) if not slot.is_time)


def reads_elsewhere(expression: Expr, written: Entry) -> bool:
    """Whether an update reads the array of `written`, its target, at an element other than that its loop stands at."""
    target = places(written)
    return any(e.tensor == written.tensor and places(e) != target for e in entries_of(expression))
