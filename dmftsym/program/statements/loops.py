"""Statements that share one loop over sample paths."""

from dataclasses import dataclass

from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.program.axes import has_columns
from dmftsym.program.operations import Elementwise
from dmftsym.program.statements.base import Statement
from dmftsym.program.statements.contraction import Contract
from dmftsym.program.statements.elementwise import Assign


@dataclass(frozen=True, kw_only=True)
class PathLoop(Statement):
    """Updates of one site that run in one loop over its sample paths, all at the current step.

    They are elementwise ones, or first-order changes and adjoints with their averages and sums that keep the paths;
    these have columns, and loop over blocks of paths. `starts`: at the first step they take initial values instead.
    """

    name: str
    site: str
    updates: tuple[Assign | Contract, ...]
    starts: bool = False

    @property
    def has_columns(self) -> bool:
        """Whether it loops over columns too."""
        return any(has_columns(tensor) for tensor in self.writes)

    def takes(self, update: Statement) -> bool:
        """Whether another update runs over the same paths, and starts as these do."""
        return (update.loop_site, update.starts) == (self.site, self.starts)

    def reads(self, now: Index):
        """What its updates read."""
        for update in self.updates:
            yield from update.reads(now)

    @property
    def parts(self) -> tuple[Assign | Contract, ...]:
        """Its updates."""
        return self.updates

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """What its updates write."""
        return tuple(t for u in self.updates for t in u.writes)

    @property
    def accumulates(self) -> bool:
        """Whether one of its updates adds to what it updates."""
        return any(u.accumulates for u in self.updates)

    @property
    def updated(self) -> tuple[Entry, ...]:
        """Those of its updates that add to what is there."""
        return tuple(u.target for u in self.updates if u.accumulates)

    def operations(self) -> tuple["Elementwise | PathLoop"]:
        """A loop over paths; itself if it has columns too."""
        if self.has_columns:
            return (self,)
        return (Elementwise(self.name, self.site, tuple(u for u in self.updates if isinstance(u, Assign))),)

    def text(self) -> list[str]:
        """One line for the loop, one for each update."""
        updates = [f"  {line}" for u in self.updates for line in u.text()]
        return [f"for every {'column and ' * self.has_columns}path of {self.site} ({self.name}):", *updates]
