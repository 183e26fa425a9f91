"""Random matrices in an averaged action: the inverse of the average, as far as it is certain.

A random matrix leaves three things in the equations (theory 8): evolving noise k <psi psi'>, see `noise`; where its
transpose acts too, or its entries ij and ji are correlated, memories whose kernels respond to the noise at the other
end; and where it learns, drifts. For what is found at all its places, with factors that one matrix explains, the
equations of the finite system are written: a product with the matrix in place of all three.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import count

from sympy import Expr, Integer, KroneckerDelta, Mul, Tuple

from dmftsym.averaging.products import Product
from dmftsym.derivation.averages import Average
from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.finite_system import FiniteSystem
from dmftsym.derivation.process import EffectiveProcess, FieldEquation
from dmftsym.derivation.responses import affected
from dmftsym.language.disorder import Applied, Learned, RandomMatrix
from dmftsym.language.site import Site
from dmftsym.language.sums import SiteSymbol
from dmftsym.language.symbols import Index, Kind, Tensor
from dmftsym.language.terms import Before, Term, collapse_deltas, entries_of, indices_of
from dmftsym.lowering.kernels import (
    Piece,
    by_time,
    distributed,
    equal_under,
    heads,
    is_zero,
    local_parts,
    piece_of,
    ratio,
    renaming,
    times_of,
    written_out,
)
from dmftsym.lowering.noise import Drive, Group, find_groups

Place = tuple[str, int]  # a field, and the number of a term in its equation
PART = -1  # of a term that is the sum of several


@dataclass(frozen=True, kw_only=True)
class Use:
    """A drive by a matrix, with its factor; `transposed`: by the transpose."""

    drive: Drive
    factor: Expr
    transposed: bool


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A matrix with all its uses, and the terms that are its memories and drifts."""

    uses: tuple[Use, ...]
    variance: Expr
    symmetry: Expr = Integer(0)
    memories: tuple[Place, ...] = ()
    learned: tuple[Learned, ...] = ()
    drifts: tuple[Place, ...] = ()

    @property
    def reference(self) -> Drive:
        """Its first drive forward."""
        return next(u.drive for u in self.uses if not u.transposed)

    @property
    def sources(self) -> set[Tensor]:
        """The sources that it drives."""
        return {u.drive.source.tensor for u in self.uses}


def recognise(equations: Derivation, closed: Iterable[str], learning: bool) -> FiniteSystem | None:
    """The finite system of which these equations are the average, in as far as it is certain; None if nothing is.

    `closed`: sites that are closed exactly, between which none is looked for; `learning`: whether drifts are taken for
    what a matrix has learned. Cost: milliseconds a term of the equations.
    """
    groups = find_groups(equations, tuple(closed))
    found = _Recognition(equations, groups).matrices(learning) if groups else []
    return _finite_system(equations, found) if found else None


@dataclass
class _Recognition:
    """Which groups of noise belong to one matrix, and which terms are its memories and drifts."""

    equations: Derivation
    groups: tuple[Group, ...]
    pieces: dict[str, list[tuple[int, Piece]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sizes = {s.name: s.weight for s in self.equations.action.sites}
        self.process = {p.site: p for p in self.equations.process}
        for process in self.equations.process:
            for equation in process.equations:
                pieces = self.pieces[equation.field.name] = []
                for number, term in enumerate(_terms(equation)):
                    parts = [piece_of(part) for part in written_out(term, self.equations)]
                    alone = len(parts) == 1
                    pieces += [(number if alone else PART, piece) for piece in parts if piece.averages]

    def matrices(self, learning: bool) -> list[Matrix]:
        """All matrices whose memories are complete; sources with parts of other kinds are left out."""
        found = [m for m in map(self._with_memories, *self._partners()) if m is not None]
        found = [self._with_drifts(m) for m in found] if learning else found
        while True:  # a source is recognised with all its parts, a matrix with all its sources
            parts = [u.drive for m in found for u in m.uses]
            whole = {
                d.source.tensor for g in self.groups for d in g.drives if all(x in parts for x in self._parts(d))
            }
            memories = {place for m in found for place in m.memories}
            kept = [m for m in found if m.sources <= whole and not self._left_over(m, memories)]
            if len(kept) == len(found):
                return kept
            found = kept

    def _parts(self, drive: Drive) -> list[Drive]:
        """All parts of the source of a drive."""
        return [d for g in self.groups for d in g.drives if d.source == drive.source]

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
        variance = ratio(group.strength, self.sizes[group.far])
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
        scale = ratio(known[0][2], group.strength * known[0][0] * known[0][1])
        if scale is None or not all(is_zero(k - scale * a * b * group.strength) for a, b, k in known):
            return None
        if not is_zero(partner.strength - scale**2 * group.strength * there / here):
            return None
        forward = [Use(drive=d, factor=f, transposed=False) for d, f in zip(group.drives, group.factors, strict=True)]
        back = zip(partner.drives, partner.factors, strict=True)
        backward = [Use(drive=d, factor=scale * f, transposed=True) for d, f in back]
        variance = ratio(group.strength, here)
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
                    values.append(ratio(memory[1], group.strength * i.factor * j.factor))
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
        for number, piece in self.pieces[drive.source.field.name]:
            if number != PART and piece.responds and (names := equal_under(piece, expected)) is not None:
                time = names[s[other.time]]
                limits = [c for c in piece.constraints if c.time == time]
                if piece.constraints == tuple(limits) and _is_past(limits, drive.time, instant):
                    return (drive.source.field.name, number), piece.number
        return None

    def _instant(self, drive: Drive, driven: Tensor) -> bool:
        """Whether the function of a drive feels a source of the same time."""
        found = [r for r in self.equations.responses if r.responder.tensor == driven.tilde]
        return any(r.instant for r in found if heads(r.observable) == heads(drive.query))

    def _vanishes(self, drive: Drive, other: Drive) -> bool:
        """Whether the function of a drive never feels the noise of the other one."""
        felt = affected(self.process[drive.far], other.source.field)
        return not any(e.tensor in felt for e in entries_of(drive.query))

    def _left_over(self, matrix: Matrix, memories: set[Place]) -> bool:
        """Whether a response to its noise stands in an equation otherwise than as a memory of a matrix."""
        tildes = {u.drive.source.field.tilde for u in matrix.uses}
        for name, pieces in self.pieces.items():
            for number, piece in pieces:
                responding = {e.tensor for a in piece.averages for e in entries_of(a, Kind.RESPONSE_FIELD)}
                if responding & tildes and (name, number) not in memories:
                    return True
        return False

    # --- what a matrix has learned ------------------------------------------------------------------------

    def _with_drifts(self, matrix: Matrix) -> Matrix:
        """The matrix with the drifts that stand in all equations that it drives."""
        use = matrix.uses[0]
        if not any(u.transposed for u in matrix.uses) or matrix.symmetry != 0:
            return matrix
        for _, piece in self.pieces[use.drive.source.field.name]:
            learned = self._learned(use, piece)
            if learned is None:
                continue
            places = [self._drift(u, learned) for u in matrix.uses]
            if all(place is not None and place not in matrix.drifts for place in places):
                matrix = replace(matrix, learned=(*matrix.learned, learned), drifts=(*matrix.drifts, *places))
        return matrix

    def _learned(self, use: Use, piece: Piece) -> Learned | None:
        """What a matrix has learned if this is its drift: rate(s) <query(t) right(s)> left(s)."""
        drive, limits = use.drive, piece.constraints
        if piece.responds or len(piece.averages) != 1 or not _is_past(limits, drive.time, strict=True):
            return None
        (average,), time = piece.averages, limits[0].time
        sorted_factors = by_time(average.observable, (drive.time, time))
        if average.site != drive.far or sorted_factors is None:
            return None
        asked, right = sorted_factors
        names = renaming(drive.query, drive.bound, asked, piece.bound)
        if names is None:
            return None
        left, rest = local_parts(piece.body / average, drive.near)
        rate, left, right = (e.xreplace(names) for e in (rest / drive.outer.xreplace(names), left, right))
        number = ratio(piece.number, use.factor * self.sizes[drive.far])
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
        for number, piece in self.pieces[drive.source.field.name]:
            names = None if piece.responds or number == PART else equal_under(piece, expected)
            if names is None or not is_zero(piece.number - expected.number):
                continue
            if _is_past(piece.constraints, drive.time, strict=True) and piece.constraints[0].time == names[s[learned.time]]:
                return drive.source.field.name, number
        return None


def _terms(equation: FieldEquation) -> list[Term]:
    """The terms of an equation, sums of kernels as several terms."""
    return [part for term in equation.terms for part in distributed(term)]


def _second(index: Index) -> Index:
    """An index of the other end."""
    return Index(f"{index.name}~", index.axis)


def _same(members: Iterable[Index], others: Iterable[Index]) -> Expr:
    """One for the same member of a family."""
    return Mul(*[KroneckerDelta(i, j) for i, j in zip(members, others, strict=True)])


def _is_past(limits: Iterable[Before], now: Index, instant: bool = False, strict: bool = False) -> bool:
    """Whether limits say that a time is earlier than `now`, or not later if the present counts."""
    limits = list(limits)
    if len(limits) != 1 or limits[0].upper != now:
        return False
    return not limits[0].inclusive if strict else limits[0].inclusive or not instant


def _local(expr: Expr) -> bool:
    return any(e.tensor.site for e in entries_of(expr)) or expr.has(Average)


# --- the finite system ------------------------------------------------------------------------------------


def _finite_system(equations: Derivation, found: list[Matrix]) -> FiniteSystem:
    """The equations with products of named matrices."""
    action = equations.action
    taken = {*(t.name for t in action.tensors), *action.declared.names, *(s.name for s in action.sites)}
    matrices, products = [], []
    for matrix in found:
        named = _named(matrix, taken, {s.name: s.weight for s in action.sites})
        matrices.append(named)
        products += [(use, _product(use, named, number, action.declared.indices)) for number, use in enumerate(matrix.uses)]
    dropped = {place for m in found for place in (*m.memories, *m.drifts)}
    return FiniteSystem(
        processes=tuple(_rewritten(p, products, dropped) for p in equations.process),
        matrices=tuple(matrices),
        products=tuple(product for _, product in products),
        sizes=tuple((s.name, s.weight) for s in action.sites),
        added=(),
    )


def _named(matrix: Matrix, taken: set[str], sizes: dict[str, Expr]) -> RandomMatrix:
    """The matrix as it would have been said, named after the field that it drives: J where it is square, else W."""
    drive = matrix.reference
    stem = f"{'J' if drive.near == drive.far else 'W'}_{drive.source.field.name}"
    names = (stem if k == 1 else f"{stem}_{k}" for k in count(1))
    name = next(n for n in names if n not in taken)
    taken.add(name)
    return RandomMatrix(
        name=name,
        rows=Site(drive.near, None, sizes[drive.near]),
        columns=Site(drive.far, None, sizes[drive.far]),
        variance=matrix.variance,
        symmetry=matrix.symmetry,
        indices=drive.member,
        learned=list(matrix.learned),
    )


def _product(use: Use, matrix: RandomMatrix, number: int, declared: tuple[Index, ...]) -> Product:
    drive = use.drive
    applied = Applied(matrix.symbol, Integer(use.transposed), Tuple(*drive.member), drive.query)
    rank = lambda i: (i.is_time, declared.index(i) if i in declared else len(declared), i.name)
    indices = sorted({*indices_of(drive.query), *drive.member}, key=rank)
    tensor = Tensor(f"product {number} of {matrix.name}", Kind.DEFINITION, tuple(indices), drive.near)
    return Product(tensor=tensor, applied=applied, matrix=matrix)


def _rewritten(process: EffectiveProcess, products: list[tuple[Use, Product]], dropped: set[Place]) -> EffectiveProcess:
    """A process with products in place of sources, memories and drifts."""
    mine = [(use, product) for use, product in products if use.drive.near == process.site]
    replaced = {use.drive.source.tensor for use, _ in mine}
    equations = []
    for equation in process.equations:
        new = []
        for use, product in mine:
            if use.drive.source.field == equation.field:
                front = use.drive.source.amplitude * use.drive.outer * use.factor
                body = front * product.tensor[product.tensor.indices]
                new.append(collapse_deltas(Term(body, use.drive.bound)))
        kept = equation.terms
        if any(name == equation.field.name for name, _ in dropped):
            kept = [t for k, t in enumerate(_terms(equation)) if (equation.field.name, k) not in dropped]
        sources = tuple(s for s in equation.sources if s.tensor not in replaced)
        equations.append(replace(equation, terms=(*new, *kept), sources=sources))
    covariances = tuple(c for c in process.covariances if c.left.tensor not in replaced)
    return replace(process, equations=tuple(equations), covariances=covariances)
