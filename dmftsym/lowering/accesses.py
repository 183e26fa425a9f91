"""What an elementwise update reads, with index maps: whether two updates may run in one loop over their indices."""

from sympy import Expr

from dmftsym.language.symbols import Entry
from dmftsym.language.terms import entries_of
from dmftsym.lowering.ir import Assign


def places(entry: Entry) -> tuple[Expr, ...]:
    """The index map of an access: its arguments other than times."""
    return tuple(a for slot, a in zip(entry.tensor.indices, entry.indices, strict=True) if not slot.is_time)


def reads_elsewhere(reader: Assign, written: Entry) -> bool:
    """Whether an update reads the array of `written` at an element other than the one that its own loop stands at."""
    target = places(written)
    return any(e.tensor == written.tensor and places(e) != target for e in entries_of(reader.expression))


def crossed(one: Assign, other: Assign) -> bool:
    """Whether one of two updates over the same indices reads what the other writes at another turn of the loop."""
    return reads_elsewhere(one, other.target) or reads_elsewhere(other, one.target)
