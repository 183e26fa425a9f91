"""Statements that share one loop over columns and blocks of sample paths."""

from dataclasses import dataclass

from dmftsym.language.symbols import Index, Tensor
from dmftsym.program.statements.base import Primitive
from dmftsym.program.statements.contraction import Contract
from dmftsym.program.statements.elementwise import Assign


@dataclass(frozen=True)
class TangentKernel(Primitive):
    """First-order changes of one site, updated and averaged in one loop over columns and blocks of sample paths.

    `updates` are elementwise changes, sums that keep the paths, and site averages, all at the current step.
    """

    name: str
    site: str
    updates: tuple[Assign | Contract, ...]
    starts: bool = False

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
    def updated(self):
        """Those of its updates that add to what is there."""
        return tuple(u.target for u in self.updates if u.accumulates)

    @property
    def sums(self) -> tuple[Tensor, ...]:
        """The averages that the loop is still adding up while it runs."""
        return tuple(u.target.tensor for u in self.updates if isinstance(u, Contract) and u.averaged)

    def text(self) -> list[str]:
        """One line for the loop, one for each update."""
        updates = [f"  {line}" for u in self.updates for line in u.text()]
        return [f"for every column and path of {self.site} ({self.name}):", *updates]
