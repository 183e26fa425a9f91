"""Random matrices as a sweep holds them (theory 6.8).

Between the paths of two sites a matrix W is known by what it was asked: it is a sum over pairs of functions of the
paths, W = above^T core below. A pair is a function e that W acted on with its image N = W e, or a function d that the
transpose acted on with V = W^T d, or two constants where the entries have a mean. Functions asked are orthonormal under
the averages of their site; what they leave of their images is fresh noise. What W has learned changes the core alone.
"""

from dataclasses import dataclass

from sympy import Expr, KroneckerDelta, Mul

from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import fresh_index


@dataclass(frozen=True, kw_only=True)
class LearnedPart:
    """W += rate · left rightᵀ/N at the end of a step, summed over all indices but those of the member of a family."""

    rate: Expr
    left: Entry
    right: Entry
    member: tuple[Expr, ...] = ()

    def rows(self, side: Entry) -> tuple[Index, ...]:
        """The indices of one side, other than the time and those of the member."""
        found = (i for i in side.indices if isinstance(i, Index) and not i.is_time)
        return tuple(i for i in dict.fromkeys(found) if i not in self.member)

    @property
    def paired(self) -> bool:
        """Whether both sides have the same rows: there is one rate for each, else one for each pair of rows."""
        return set(self.rows(self.left)) == set(self.rows(self.right))

    @property
    def axes(self) -> tuple[Index, ...]:
        """The indices of the rates: of the member, of the rows of the left side, and of those of the right one."""
        rows = self.rows(self.left)
        return (*self.members, *rows, *(() if self.paired else self._others().values()))

    @property
    def deltas(self) -> Expr:
        """What makes indices that both sides share equal, where the rates are those of pairs of rows."""
        shared = {} if self.paired else {i: j for i, j in self._others().items() if i != j}
        return Mul(*[KroneckerDelta(i, j) for i, j in shared.items()])

    def _others(self) -> dict[Index, Index]:
        """The indices of the right side, with names of their own where the left side has them too."""
        rows, columns = self.rows(self.left), self.rows(self.right)
        return {i: fresh_index(i, (*rows, *columns)) if i in rows else i for i in columns}

    @property
    def members(self) -> tuple[Index, ...]:
        """The indices of the member of a family."""
        return tuple(i for i in self.member if isinstance(i, Index))


@dataclass(frozen=True, kw_only=True)
class HeldMatrix:
    """A random matrix with rows and columns the units of two sites, entries of mean/N and variance/N.

    `symmetry`: the correlation of J_ij and J_ji; `family`: its own indices; `decay`: what is left of it after a step.
    """

    name: str
    rows: str
    columns: str
    mean: Expr
    variance: Expr
    symmetry: Expr
    family: tuple[Index, ...]
    decay: Expr

    def side(self, transposed: bool) -> str:
        """The site of the functions that the matrix, or its transpose, acts on."""
        return self.rows if transposed else self.columns


@dataclass(frozen=True, kw_only=True)
class Directions:
    """Standard normals for the images of a matrix, or of its transpose, on the paths of a site."""

    name: str
    matrix: HeldMatrix
    transposed: bool
    antithetic: bool = False

    @property
    def site(self) -> str:
        """On whose paths the images are."""
        return self.matrix.side(not self.transposed)
