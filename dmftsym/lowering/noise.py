"""Evolving noise whose covariance is that of a random matrix times functions of the units of a site.

A source of field x of site a with the covariance k <psi psi'>_b is J psi, with independent entries of variance
k/(nu_b N). Sources with k_ij <psi_i psi_j'>, k_ij = o_i o_j k, are o_i J psi_i with one matrix; a Kronecker delta of
two indices, or a sum over one, says that there is a matrix for each of their values.
"""

from dataclasses import dataclass, replace

from sympy import Expr, Integer, KroneckerDelta, Symbol

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.process import Covariance, EffectiveProcess, Source, SourceKind
from dmftsym.language.symbols import Index
from dmftsym.language.terms import Term
from dmftsym.lowering.kernels import by_time, is_zero, piece_of, ratio, renaming, sizes_of, written_out


@dataclass(frozen=True, kw_only=True)
class Drive:
    """A part outer · sum over `bound` of J[member] query of a source; strength · outer² <query query'> covariance.

    Indices are those of the field of the source, at its declared time, and `bound`.
    """

    source: Source
    far: str
    strength: Expr
    outer: Expr
    query: Expr
    member: tuple[Index, ...]
    bound: tuple[Index, ...]

    @property
    def near(self) -> str:
        """The site of the source."""
        return self.source.field.site

    @property
    def time(self) -> Index:
        """The time at which the source acts."""
        (slot,) = self.source.field.time_slots
        return self.source.field.indices[slot]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Drives by one matrix, used one way: the covariance of two is factor · factor · strength of the first."""

    drives: tuple[Drive, ...]
    factors: tuple[Expr, ...]

    @property
    def near(self) -> str:
        """The site that is driven."""
        return self.drives[0].near

    @property
    def far(self) -> str:
        """The site of the functions that the matrix acts on."""
        return self.drives[0].far

    @property
    def strength(self) -> Expr:
        """That of the first drive."""
        return self.drives[0].strength


@dataclass(frozen=True)
class _Part:
    """One term of a covariance: number · left(indices, t) right(indices', t') <psi psi'> of two sources."""

    number: Expr
    far: str
    outer: tuple[Expr, Expr]
    queries: tuple[Expr, Expr]
    members: tuple[tuple[Index, ...], tuple[Index, ...]]
    bound: tuple[Index, ...]


def find_groups(equations: Derivation, closed: tuple[str, ...]) -> tuple[Group, ...]:
    """The drives by random matrices of all evolving sources, all parts of a source or none.

    None with a part between two `closed` sites.
    """
    groups: list[Group] = []
    for process in equations.process:
        for blocks in _connected(process):
            found = _groups(process, blocks, equations)
            if not any({g.near, g.far} <= set(closed) for g in found):
                groups += found
    return tuple(groups)


def _connected(process: EffectiveProcess) -> list[list[Covariance]]:
    """The covariances of evolving sources, those that share sources together."""
    kinds = {s.tensor: s.kind for e in process.equations for s in e.sources}
    result: list[list[Covariance]] = []
    for block in (c for c in process.covariances if kinds[c.left.tensor] is SourceKind.EVOLVING):
        ends = {block.left.tensor, block.right.tensor}
        linked = [g for g in result if any(ends & {c.left.tensor, c.right.tensor} for c in g)]
        joined = [c for g in linked for c in g]
        result = [g for g in result if g not in linked] + [[*joined, block]]
    return result


def _groups(process: EffectiveProcess, blocks: list[Covariance], equations: Derivation) -> list[Group]:
    """The groups of jointly Gaussian sources; none if one term of their covariances is not that of a matrix."""
    sources, sizes = {s.tensor: s for e in process.equations for s in e.sources}, sizes_of(equations)
    parts: list[tuple[Source, Source, _Part]] = []
    for block in blocks:
        for term in block.terms:
            for written in written_out(term, equations):
                part = _read(written, block)
                if part is None:
                    return []
                parts.append((sources[block.left.tensor], sources[block.right.tensor], part))
    drives: list[Drive] = []
    links: dict[tuple[int, int], Expr] = {}
    for left, right, part in parts:
        if left == right and _is_own(part, left):
            if part.number.xreplace(sizes).is_nonnegative is not True:
                return []
            _add_drive(drives, left, part)
    for left, right, part in parts:
        if left == right and _is_own(part, left):
            continue
        ends = _ends(part, left, right, drives)
        if ends is None:
            return []
        links[ends] = links.get(ends, Integer(0)) + part.number
    return _joined(drives, links, sizes)


def _read(term: Term, block: Covariance) -> _Part | None:
    """A term of a covariance as one average of a function at each end, and what stands in front of it."""
    piece = piece_of(term)
    if piece.constraints or len(piece.averages) != 1 or piece.responds:
        return None
    (average,) = piece.averages
    ends = [tuple(i for i in c.indices if isinstance(i, Index)) for c in (block.left, block.right)]
    times = tuple(next(i for i in end if i.is_time) for end in ends)
    queries = by_time(average.observable, times)
    if queries is None or any(i.is_time for i in piece.bound):
        return None
    outer: list[Expr] = [Integer(1), Integer(1)]
    members: tuple[list[Index], list[Index]] = ([], [])
    for factor in (f for f in Term(piece.body / average).factors if f != 1):
        held = factor.atoms(Index)
        if isinstance(factor, KroneckerDelta) and all(isinstance(i, Index) for i in factor.args):
            pairs = [[i for i in factor.args if i in end] for end in ends]
            if any(len(one) != 1 for one in pairs):
                return None
            for mine, one in zip(members, pairs, strict=True):
                mine += one
        elif held and (end := next((k for k in (0, 1) if held <= set(ends[k])), None)) is not None:
            outer[end] *= factor
        else:
            return None
    for k in (0, 1):  # an index that equals one of this end is that one
        same = dict(zip(members[1 - k], members[k], strict=True))
        queries[k], outer[k] = queries[k].xreplace(same), outer[k].xreplace(same)
    shared = tuple(i for i in piece.bound if all(q.has(i) for q in queries))
    allowed = [{*end, *shared} for end in ends]
    if len(shared) < len(piece.bound) or not all(q.atoms(Index) <= a for q, a in zip(queries, allowed, strict=True)):
        return None
    first, second = ((*m, *shared) for m in members)
    return _Part(piece.number, average.site, tuple(outer), tuple(queries), (first, second), shared)


def _primes(source: Source) -> dict[Index, Index]:
    """The declared indices of a source by those of the second end of a covariance."""
    return {i.primed: i for i in source.tensor.indices}


def _at_declared(part: _Part, right: Source) -> _Part:
    """A part with the declared indices at both ends."""
    back = _primes(right)
    moved = lambda pair: (pair[0], pair[1].xreplace(back))
    members = (part.members[0], tuple(back.get(i, i) for i in part.members[1]))
    return replace(part, outer=moved(part.outer), queries=moved(part.queries), members=members)


def _is_own(part: _Part, source: Source) -> bool:
    """Whether both ends of a part hold the same function."""
    part = _at_declared(part, source)
    return all(pair[0] == pair[1] for pair in (part.outer, part.queries, part.members))


def _add_drive(drives: list[Drive], source: Source, part: _Part) -> None:
    order = {i: k for k, i in enumerate((*source.tensor.indices, *part.bound))}
    drive = Drive(
        source=source,
        far=part.far,
        strength=part.number,
        outer=part.outer[0],
        query=part.queries[0],
        member=tuple(sorted(part.members[0], key=lambda i: order[i])),
        bound=part.bound,
    )
    for k, other in enumerate(drives):
        if replace(other, strength=drive.strength) == drive:
            drives[k] = replace(drive, strength=other.strength + drive.strength)
            return
    drives.append(drive)


def _ends(part: _Part, left: Source, right: Source, drives: list[Drive]) -> tuple[int, int] | None:
    """Which drives the ends of a part are."""
    part = _at_declared(part, right)
    found = []
    for k, source in enumerate((left, right)):
        for number, drive in enumerate(drives):
            if drive.source != source or drive.far != part.far or drive.outer != part.outer[k]:
                continue
            names = renaming(drive.query, drive.bound, part.queries[k], part.bound)
            if names is not None:
                found.append((number, [names.get(i, i) for i in part.members[k]]))
                break
        else:
            return None
    (i, one), (j, other) = found
    # the members of both correspond in the order in which they were declared
    if set(one) != set(drives[i].member) or set(other) != set(drives[j].member) or i == j:
        return None
    pairs = dict(zip(one, other, strict=True))
    return (i, j) if tuple(pairs[m] for m in drives[i].member) == drives[j].member else None


def _joined(drives: list[Drive], links: dict[tuple[int, int], Expr], sizes: dict[Expr, Symbol]) -> list[Group]:
    """Drives that are correlated as by one matrix each; none if some are correlated in another way."""
    sets: list[set[int]] = [{k} for k in range(len(drives))]
    for i, j in links:
        linked = [s for s in sets if i in s or j in s]
        sets = [s for s in sets if s not in linked] + [set().union(*linked)]
    groups = []
    for numbers in sorted(sorted(s) for s in sets):
        first, factors = numbers[0], [Integer(1)]
        for k in numbers[1:]:
            link = links.get((first, k), links.get((k, first)))
            factor = link if link is None else ratio(link, drives[first].strength, sizes)
            if factor is None:
                return []
            factors.append(factor)
        values = dict(zip(numbers, factors, strict=True))
        for i in numbers:
            for j in (n for n in numbers if n >= i):
                expected = values[i] * values[j] * drives[first].strength
                both = [drives[i].strength] if i == j else _both(links, drives, i, j)
                if not both or not all(is_zero(expected - given) for given in both):
                    return []
        groups.append(Group(drives=tuple(drives[k] for k in numbers), factors=tuple(factors)))
    return groups


def _both(links: dict[tuple[int, int], Expr], drives: list[Drive], i: int, j: int) -> list[Expr]:
    """The covariance of two drives; of one source both ways."""
    found = [links[pair] for pair in ((i, j), (j, i)) if pair in links]
    return found if len(found) == 1 or drives[i].source == drives[j].source else []
