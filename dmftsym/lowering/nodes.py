"""The nodes of the causal schedule."""

from dataclasses import dataclass

from dmftsym.lowering.ir import Statement
from dmftsym.lowering.times import When


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
