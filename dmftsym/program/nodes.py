"""The nodes of the causal schedule."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dmftsym.language.symbols import Entry, Index, Kind
from dmftsym.program.accesses import Access, accesses_of
from dmftsym.program.statements import Statement
from dmftsym.program.times import When


@dataclass(frozen=True)
class Node:
    """One quantity of the causal schedule: its updates, what it reads and when, and where it belongs in a step.

    `rows`: two-time quantities of which it reads the row (t, s < t) alone; `sources`: the sources that it reads.
    """

    name: str
    label: str
    statements: tuple[Statement, ...]
    reads: tuple[tuple[str, When | None], ...]
    site: str = ""
    epilogue: bool = False
    auxiliary: bool = False
    rows: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def writes(self) -> set[str]:
        """Its name, and those of the arrays that its updates write."""
        return {self.name, *(t.name for s in self.statements for t in s.writes)}

    @property
    def reads_now(self) -> set[str]:
        """What it reads at this step."""
        return {name for name, moment in self.reads if moment is not None and moment.same_step}

    @property
    def starts(self) -> bool:
        """Whether a value of it is given before the first step."""
        return any(s.starts for s in self.statements)


def statements_of(nodes: Iterable[Node]) -> tuple[Statement, ...]:
    """The statements of all nodes, in order."""
    return tuple(s for n in nodes for s in n.statements)


def node_of(
    name: str,
    label: str,
    statements: tuple[Statement, ...],
    now: Index,
    drawn: Mapping[str, str],
    after: Iterable[Entry] = (),
    **options,
) -> Node:
    """A node with what its updates read, and what they come `after`; `drawn` names the group of every drawn source."""
    found = [a for s in statements for a in s.accesses(now, label)]
    found += accesses_of([(entry, ()) for entry in after], now, label)
    sources = [a.name for a in found if a.entry.tensor.kind == Kind.SOURCE]
    named = [(drawn.get(a.name) if a.entry.tensor.kind == Kind.SOURCE else a.name, a) for a in found]
    reads = [(name, a.when) for name, a in named if name]
    rows = [name for name, only in rows_alone((name, a) for name, a in named if name).items() if only]
    return Node(
        name,
        label,
        statements,
        tuple(dict.fromkeys(reads)),
        rows=tuple(rows),
        sources=tuple(dict.fromkeys(sources)),
        **options,
    )


def rows_alone(named: Iterable[tuple[str, Access]]) -> dict[str, bool]:
    """Of which quantities nothing but the row (t, s < t) is read."""
    rows: dict[str, bool] = {}
    for name, access in named:
        rows[name] = rows.get(name, True) and access.row
    return rows
