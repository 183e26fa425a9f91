"""Random matrices in an averaged action: the inverse of the average, as far as it is certain.

A random matrix leaves three things in the equations (theory 8): evolving noise k <psi psi'>, see `noise`; where its
transpose acts too, or its entries ij and ji are correlated, memories whose kernels respond to the noise at the other
end; and where it learns, drifts. For what is found at all its places, with factors that one matrix explains, the
equations of the finite system are written: a product with the matrix in place of all three.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sympy import Expr, Integer, KroneckerDelta, Mul

from dmftsym.derivation.averages import Average
from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.finite_system import FiniteSystem
from dmftsym.derivation.responses import affected
from dmftsym.language.disorder import Learned
from dmftsym.language.sums import SiteSymbol
from dmftsym.language.symbols import Index, Kind, Tensor
from dmftsym.language.terms import Before, Term, entries_of, indices_of
from dmftsym.lowering.found import Matrix, Place, Use, finite_system_of, terms_of
from dmftsym.lowering.kernels import (
    Piece,
    by_time,
    equal_under,
    heads,
    is_zero,
    local_parts,
    piece_of,
    ratio,
    renaming,
    sizes_of,
    times_of,
    written_out,
)
from dmftsym.lowering.noise import Drive, Group, find_groups


def recognise(equations: Derivation, closed: Iterable[str], learning: bool) -> FiniteSystem | None:
    """The finite system of which these equations are the average, in as far as it is certain; None if nothing is.

    `closed`: sites that are closed exactly, between which none is looked for; `learning`: whether drifts are taken for
    what a matrix has learned. Cost: milliseconds a term of the equations.
    """
    groups = find_groups(equations, tuple(closed))
    found = _Recognition(equations, groups).matrices(learning) if groups else []
    return finite_system_of(equations, found) if found else None


@dataclass
class _Recognition:
    """Which groups of noise belong to one matrix, and which terms are its memories and drifts."""

    equations: Derivation
    groups: tuple[Group, ...]
    pieces: dict[str, dict[Place, Piece]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sizes = {s.name: s.weight for s in self.equations.action.sites}
        self.stand_ins = sizes_of(self.equations)
        self.process = {p.site: p for p in self.equations.process}
        for process in self.equations.process:
            for equation in process.equations:
                name = equation.field.name
                self.pieces[name] = {
                    (name, number, k): piece_of(part)
                    for number, term in enumerate(terms_of(equation))
                    for k, part in enumerate(written_out(term, self.equations))
                }

    def matrices(self, learning: bool) -> list[Matrix]:
        """All matrices whose memories are complete; sources with parts of other kinds are left out."""
        found = [m for m in map(self._with_memories, *self._partners()) if m is not None]
        found = [self._with_drifts(m) for m in found] if learning else found
        while True:
            kept = self._whole(found)
            if kept == found:
                return kept
            found = kept

    def _whole(self, found: list[Matrix]) -> list[Matrix]:
        """The matrices with all their sources and memories, of which all parts are those of matrices."""
        parts = [u.drive for m in found for u in m.uses]
        drives = [d for g in self.groups for d in g.drives]
        whole = {d.source.tensor for d in drives if all(x in parts for x in drives if x.source == d.source)}
        claimed = {place for m in found for place in (*m.memories, *m.drifts)}
        terms = [[p for p in pieces if p[:2] == q[:2]] for pieces in self.pieces.values() for q in pieces if q[2] == 0]
        complete = {p for term in terms if claimed.issuperset(term) for p in term}
        kept = [m for m in found if m.sources <= whole and complete.issuperset(m.memories) and not self._left_over(m)]
        return [m if complete.issuperset(m.drifts) else replace(m, learned=(), drifts=()) for m in kept]

    def _partners(self) -> tuple[list[Group], list[list[Group]]]:
        """The groups that act forward, each with those that its matrix may drive backward, or itself."""
        order = [s.name for s in self.equations.action.sites]
        later = lambda g: (order.index(g.near) < order.index(g.far), self.groups.index(g))
        forward: list[Group] = []
        partners: list[list[Group]] = []
        taken: list[Group] = []
        for group in sorted(self.groups, key=later):
            if group in taken:
                continue
            mine = [g for g in self.groups if (g.near, g.far) == (group.far, group.near)]
            linked = [g for g in mine if self._linked(group, g)]
            taken += [group, *linked]
            forward.append(group)
            partners.append(linked)
        return forward, partners

    def _linked(self, one: Group, other: Group) -> bool:
        """Whether a field of one group remembers what the other group asked."""
        pairs = [(i, j) for i in one.drives for j in other.drives]
        return any(self._memory(i, j) or self._memory(j, i) for i, j in pairs)

    def _with_memories(self, group: Group, partners: list[Group]) -> Matrix | None:
        """The matrix of a group, if its memories are those of one matrix."""
        variance = self._ratio(group.strength, self.sizes[group.far])
        if variance is None or len(partners) > 1:
            return None
        forward = [Use(drive=d, factor=f, transposed=False) for d, f in zip(group.drives, group.factors, strict=True)]
        matrix = Matrix(uses=tuple(forward), variance=variance)
        if not partners:
            return matrix
        (partner,) = partners
        if partner == group:
            return self._with_symmetry(matrix, group)
        return self._both_ways(group, partner) or self._both_ways(partner, group)

    def _both_ways(self, group: Group, partner: Group) -> Matrix | None:
        """The matrix of two groups, one driven forward and one backward."""
        places: list[Place] = []
        known: list[tuple[Expr, Expr, Expr]] = []  # factors of both ends, what the memory has in front
        here, there = self.sizes[group.far], self.sizes[group.near]
        for i, one in zip(group.drives, group.factors, strict=True):
            for j, other in zip(partner.drives, partner.factors, strict=True):
                for ends, share in (((i, j), Integer(1)), ((j, i), there / here)):
                    memory = self._memory(*ends)
                    if memory is None and not self._vanishes(*ends):
                        return None
                    if memory is not None:
                        places.append(memory[0])
                        known.append((one, other, memory[1] / share))
        # scale: the backward factor of the partner's first drive
        scale = self._ratio(known[0][2], group.strength * known[0][0] * known[0][1])
        if scale is None or not all(is_zero(k - scale * a * b * group.strength) for a, b, k in known):
            return None
        if not is_zero(partner.strength - scale**2 * group.strength * there / here):
            return None
        forward = [Use(drive=d, factor=f, transposed=False) for d, f in zip(group.drives, group.factors, strict=True)]
        back = zip(partner.drives, partner.factors, strict=True)
        backward = [Use(drive=d, factor=scale * f, transposed=True) for d, f in back]
        variance = self._ratio(group.strength, here)
        return Matrix(uses=(*forward, *backward), variance=variance, memories=tuple(places))

    def _with_symmetry(self, matrix: Matrix, group: Group) -> Matrix | None:
        """A square matrix with correlated entries ij and ji, by the memories of all its uses."""
        places, values = [], []
        for i in matrix.uses:
            for j in matrix.uses:
                memory = self._memory(i.drive, j.drive)
                if memory is None and not self._vanishes(i.drive, j.drive):
                    return None
                if memory is not None:
                    places.append(memory[0])
                    values.append(self._ratio(memory[1], group.strength * i.factor * j.factor))
        symmetry = values[0]
        if symmetry is None or any(v is None or not is_zero(v - symmetry) for v in values):
            return None
        if symmetry.is_number and abs(symmetry) > 1:
            return None
        return replace(matrix, symmetry=symmetry, memories=tuple(places))

    def _memory(self, drive: Drive, other: Drive) -> tuple[Place, Expr] | None:
        """The term in which one drive remembers what the other asked, and the number in front of it."""
        if drive.source.amplitude != 1 or other.source.amplitude != 1:
            return None
        s = {i: _second(i) for i in (*other.source.field.indices, *other.bound)}
        driven = other.source.field
        response = driven.tilde[tuple(s[i] for i in driven.indices)]
        body = _same(drive.member, [s[i] for i in other.member]) * drive.outer * (other.outer * other.query).xreplace(s)
        body *= Average(drive.query * response, SiteSymbol(drive.far))
        expected = piece_of(Term(body, (*drive.bound, *s.values())))
        instant = self._instant(drive, driven)
        for place, piece in self.pieces[drive.source.field.name].items():
            if piece.responds and (names := equal_under(piece, expected)) is not None:
                if _is_past(piece, names[s[other.time]], drive.time, instant):
                    return place, piece.number
        return None

    def _ratio(self, one: Expr, other: Expr) -> Expr | None:
        return ratio(one, other, self.stand_ins)

    def _instant(self, drive: Drive, driven: Tensor) -> bool:
        """Whether the function of a drive feels a source of the same time."""
        found = [r for r in self.equations.responses if r.responder.tensor == driven.tilde]
        return any(r.instant for r in found if heads(r.observable) == heads(drive.query))

    def _vanishes(self, drive: Drive, other: Drive) -> bool:
        """Whether the function of a drive never feels the noise of the other one."""
        felt = affected(self.process[drive.far], other.source.field)
        return not any(e.tensor in felt for e in entries_of(drive.query))

    def _left_over(self, matrix: Matrix) -> bool:
        """Whether a response to its noise, or of what it was asked, stands in an equation as none of its memories."""
        tildes = {u.drive.source.field.tilde for u in matrix.uses}
        asked = {(u.drive.source.field.name, *heads(u.drive.query)) for u in matrix.uses}
        for name, pieces in self.pieces.items():
            for place, piece in pieces.items():
                for average in piece.averages if piece.responds and place not in matrix.memories else ():
                    responding = {e.tensor for e in entries_of(average.observable, Kind.RESPONSE_FIELD)}
                    plain = Mul(
                        *[f for f in Term(average.observable).factors if f.atoms(Tensor).isdisjoint(responding)]
                    )
                    if responding & tildes or (name, *heads(plain)) in asked:
                        return True
        return False

    # --- what a matrix has learned ------------------------------------------------------------------------

    def _with_drifts(self, matrix: Matrix) -> Matrix:
        """The matrix with the drifts that stand in all equations that it drives."""
        use = matrix.uses[0]
        if not any(u.transposed for u in matrix.uses) or matrix.symmetry != 0:
            return matrix
        for piece in self.pieces[use.drive.source.field.name].values():
            learned = self._learned(use, piece)
            if learned is None:
                continue
            places = [place for u in matrix.uses if (place := self._drift(u, learned)) is not None]
            if len(places) == len(matrix.uses) and not {*places} & {*matrix.drifts}:
                matrix = replace(matrix, learned=(*matrix.learned, learned), drifts=(*matrix.drifts, *places))
        return matrix

    def _learned(self, use: Use, piece: Piece) -> Learned | None:
        """What a matrix has learned if this is its drift: rate(s) <query(t) right(s)> left(s)."""
        drive = use.drive
        time = piece.constraints[0].time if piece.constraints else drive.time
        if piece.responds or len(piece.averages) != 1 or not _is_past(piece, time, drive.time, strict=True):
            return None
        (average,) = piece.averages
        sorted_factors = by_time(average.observable, (drive.time, time))
        if average.site != drive.far or sorted_factors is None:
            return None
        asked, right = sorted_factors
        names = renaming(drive.query, drive.bound, asked, piece.bound)
        if names is None:
            return None
        left, rest = local_parts(piece.body / average, drive.near)
        rate, left, right = (e.xreplace(names) for e in (rest / drive.outer.xreplace(names), left, right))
        number = self._ratio(piece.number, use.factor * self.sizes[drive.far])
        if number is None or times_of(left) != {time} or entries_of(left, Kind.RESPONSE_FIELD) or _local(rate):
            return None
        own = {*drive.source.field.indices, *drive.bound} - {*drive.member}
        if own & {*indices_of(rate * left * right)}:
            return None
        now = {time: self.equations.action.time}
        told = (e.xreplace(now) for e in (number * rate, left, right))
        rate, left, right = told
        return Learned(time=self.equations.action.time, rate=rate, left=left, right=right, member=drive.member)

    def _drift(self, use: Use, learned: Learned) -> Place | None:
        """The term of an equation that is the drift by what a matrix has learned."""
        drive = use.drive
        inside = [*indices_of(learned.rate * learned.left * learned.right), *learned.member, learned.time]
        s = {i: _second(i) for i in dict.fromkeys(inside)}
        rate, near, far = (e.xreplace(s) for e in (learned.rate, learned.left, learned.right))
        near, far = (far, near) if use.transposed else (near, far)
        body = _same(drive.member, [s[i] for i in learned.member]) * drive.outer * rate * near
        body *= Average(drive.query * far, SiteSymbol(drive.far)) * use.factor * self.sizes[drive.far]
        expected = piece_of(Term(body, (*drive.bound, *s.values())))
        for place, piece in self.pieces[drive.source.field.name].items():
            names = None if piece.responds else equal_under(piece, expected)
            if names is None or not is_zero(piece.number - expected.number):
                continue
            if _is_past(piece, names[s[learned.time]], drive.time, strict=True):
                return place
        return None


def _second(index: Index) -> Index:
    """An index of the other end."""
    return Index(f"{index.name}~", index.axis)


def _same(members: Iterable[Index], others: Iterable[Index]) -> Expr:
    """One for the same member of a family."""
    return Mul(*[KroneckerDelta(i, j) for i, j in zip(members, others, strict=True)])


def _is_past(piece: Piece, time: Index, now: Index, instant: bool = False, strict: bool = False) -> bool:
    """Whether a term is a sum over all times before `now`, with the present if that counts (not if `strict`)."""
    limits = [replace(c, inclusive=False) for c in piece.constraints]
    if limits != [Before(time, now)]:
        return False
    inclusive = piece.constraints[0].inclusive
    return not inclusive if strict else inclusive or not instant


def _local(expr: Expr) -> bool:
    return any(e.tensor.site for e in entries_of(expr)) or expr.has(Average)
