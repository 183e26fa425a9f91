"""What a target prints and the interpreter does: array operations as data.

Every statement says of which operations it consists (`Statement.operations`); a target gives each kind its text, the
interpreter its NumPy meaning. So a statement that consists of these needs neither.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmftsym.language.symbols import Entry
from dmftsym.language.terms import Before, Term

if TYPE_CHECKING:
    from dmftsym.program.statements.elementwise import Assign
    from dmftsym.program.statements.pieces import Piece


@dataclass(frozen=True)
class Formula:
    """Σ terms, a function of quantities without sample paths."""

    terms: tuple[Term, ...]


@dataclass(frozen=True)
class PathSum:
    """A product over sample paths, summed over what the target lacks: over the weighted paths too if it is averaged."""

    piece: "Piece"
    averaged: bool


@dataclass(frozen=True)
class Store:
    """target = Σ values, or += if it accumulates; `first` is the value at the first step, where it differs.

    `mirror` also fills the entry with exchanged ends; `constraints` limit the times of the target.
    """

    target: Entry
    values: tuple[Formula | PathSum, ...]
    equation: str
    accumulate: bool = False
    constraints: tuple[Before, ...] = ()
    mirror: bool = False
    first: Formula | None = None


@dataclass(frozen=True)
class Elementwise:
    """Elementwise updates of site arrays in one loop over the sample paths of a site."""

    name: str
    site: str
    updates: tuple["Assign", ...]
