"""`average_disorder`: a model with random matrices becomes a model without, with the action that a user would write.

With M_ij = Σ left_i right_j, summed over all uses of a matrix J of mean μ/N, variance σ²/N and symmetry ρ,

    <exp(Σ_ij J_ij M_ij)> = exp( μ/N Σ_ij M_ij + σ²/2N Σ_ij M_ij² + ρσ²/2N Σ_ij M_ij M_ji ),

a sum over pairs of uses of products of two site averages (theory.md §8). A pair that drives twice on one side is noise,
with the average on the other side as kernel; a pair that drives once on either side is a memory, opened with two
response functions that are each other's conjugates. What a matrix has learned adds a drift.
"""

import copy
from dataclasses import dataclass, field, replace

from sympy import Expr, Integer, KroneckerDelta, Mul, Rational, S, exp

from dmftsym.averaging.influence import Influence
from dmftsym.averaging.kernels import Averages
from dmftsym.averaging.products import Product, with_products
from dmftsym.averaging.uses import Use, check_matrices, find_uses, give_fields
from dmftsym.errors import LanguageError
from dmftsym.language.disorder import Learned, RandomMatrix
from dmftsym.language.model import Model
from dmftsym.language.site import Site
from dmftsym.language.sums import LogZ, past
from dmftsym.language.symbols import Index, Kind
from dmftsym.language.terms import (
    Term,
    as_expression,
    collapse_deltas,
    count_indices,
    entries_of,
    flatten,
    fresh_indices,
    indices_of,
)


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """A model averaged over its random matrices; `finite` is the model before, with the products of the matrices.

    A model without matrices is its own average, and `finite` is None.
    """

    model: Model
    finite: Model | None = None
    products: tuple[Product, ...] = ()

    @property
    def matrices(self) -> tuple[RandomMatrix, ...]:
        """The random matrices of the finite system."""
        return tuple(self.finite.matrices.values()) if self.finite else ()


def average_disorder(model: Model) -> Averaged:
    """Average a model over its random matrices.

    Raises `LanguageError` for uses that are not functions of the units of a site. Cost: a pair of uses of one matrix
    each a few milliseconds. Source: Sompolinsky, Crisanti & Sommers, Phys. Rev. Lett. 61, 259; Helias & Dahmen,
    arXiv:1901.10416.
    """
    if not isinstance(model, Model):
        return Averaged(model=model)
    check_matrices(model)
    if not model.matrices:
        return Averaged(model=model)
    said = _copied(model)
    give_fields(said)
    finite, products = with_products(_copied(said))
    return Averaged(model=_Average(said).model, finite=finite, products=products)


def _copied(model: Model) -> Model:
    """A model that can be changed without changing the given one."""
    new = copy.copy(model)
    for name, value in vars(model).items():
        if isinstance(value, dict | list):
            setattr(new, name, copy.copy(value))
    new.sites = {}
    for name, site in model.sites.items():
        new.sites[name] = copy.copy(site)
        new.sites[name].model = new
        for part in ("tensors", "definitions", "starts", "terms"):
            setattr(new.sites[name], part, copy.copy(getattr(site, part)))
    new.matrices = {name: copy.copy(matrix) for name, matrix in model.matrices.items()}
    for matrix in new.matrices.values():
        matrix.rows, matrix.columns = (new.sites[s.name] for s in (matrix.rows, matrix.columns))
        matrix.learned = list(matrix.learned)
    return new


@dataclass
class _Average:
    """Carries out the average: takes the matrices out of the sites, and adds what they leave."""

    model: Model
    pairs: Expr = S.Zero
    averages: Averages = field(init=False)

    def __post_init__(self) -> None:
        model = self.model
        base, self.sizes = model.action, _sizes(model)
        self.declared = tuple(model.index_symbols.values())
        self.averages, self.influence = Averages(model, self.sizes), Influence(model)
        uses: list[Use] = []
        for site in model.sites.values():
            found, rest = find_uses(model, site)
            uses += found
            site.terms = [rest] if rest != 0 else []
        for matrix in model.matrices.values():
            self._average(matrix, [u for u in uses if u.matrix is matrix])
        base = self._without_replaced(base)
        new = [a for a in self.averages.added if a.tensor not in self.averages.paired]
        for average in new:
            q, site = average.tensor, model.sites[average.site]
            base -= self.sizes[site.name] * q.hat[q.indices] * q[q.indices]
            site.observe(q[q.indices], average.body)
        model.action = base + self.pairs
        model.matrices = {}

    def _without_replaced(self, action: Expr) -> Expr:
        """The action without the conjugates of response functions that have another conjugate now."""
        known = [a for a in self.averages.known if a.term is not None]
        gone = {a.tensor.hat for a in known if a.tensor in self.averages.paired}
        drop = lambda e: e.xreplace({h: Integer(0) for h in entries_of(e, Kind.CONJUGATE) if h.tensor in gone})
        for site in self.model.sites.values():
            site.terms = [left for term in site.terms if (left := drop(term)) != 0]
        return drop(action)

    def _average(self, matrix: RandomMatrix, uses: list[Use]) -> None:
        for use in uses:
            self._mean(matrix, use)
            for learned in matrix.learned:
                self._drift(matrix, use, learned)
        for k, one in enumerate(uses):
            for other in uses[k:]:
                half = Rational(1, 2) if one is other else Integer(1)
                if one.transposed == other.transposed:
                    self._noise(matrix, one, other, half)
                else:
                    self._memories(matrix, one, other)
                if matrix.symmetry != 0 and one.transposed == other.transposed:
                    self._symmetric_memories(matrix, one, other, half)
                elif matrix.symmetry != 0:
                    self._symmetric_noise(matrix, one, other)

    def _mean(self, matrix: RandomMatrix, use: Use) -> None:
        if matrix.mean == 0:
            return
        site = matrix.rows if use.transposed else matrix.columns
        value = self.averages.of(use.query, site, "m", matrix.name)
        strength = matrix.mean * self.sizes[site.name] * _decayed(matrix, use.time)
        self._add(_driven_site(matrix, use), strength * use.outer * use.driven * value, use)

    def _drift(self, matrix: RandomMatrix, use: Use, learned: Learned) -> None:
        """What the matrix has learned: outer · driven Σ_{s<t} rate(s) <learned function · query> other function."""
        spatial = [i for i in count_indices(learned.rate * learned.left * learned.right) if not i.is_time]
        times = [i for i in self.declared if i.is_time and i != use.time]
        time = times[0] if times else Index(f"{use.time.name}1", use.time.axis)
        taken = (*use.bound, *_used(use))
        mapping = {learned.time: time}
        mapping |= fresh_indices([i for i in spatial if i in taken], (*taken, *spatial), self.declared)
        rate, left, right = (e.xreplace(mapping) for e in (learned.rate, learned.left, learned.right))
        near, far = (right, left) if not use.transposed else (left, right)
        site, stem = (matrix.rows, "G") if use.transposed else (matrix.columns, "C")
        kernel = self.averages.of(use.query * near, site, stem, matrix.name)
        weight = Mul(*[KroneckerDelta(i.xreplace(mapping), j) for i, j in zip(learned.member, use.member, strict=True)])
        weight *= self.sizes[site.name] * _decayed_since(matrix, use.time, time)
        bound = [mapping.get(i, i) for i in spatial]
        drift = past(time, *bound)(rate * kernel * far * weight)
        self._add(_driven_site(matrix, use), use.outer * use.driven * drift, use)

    def _noise(self, matrix: RandomMatrix, one: Use, other: Use, half: Expr) -> None:
        """σ² (left left')(right right') of two uses that drive the same side: noise, its kernel from the other side."""
        other = self._apart(other, one)
        far, stem = (matrix.rows, "G") if one.transposed else (matrix.columns, "C")
        kernel = self.averages.of(one.query * other.query, far, stem, matrix.name)
        strength = half * matrix.variance * self.sizes[far.name] * _strength(matrix, one, other)
        self._add(_driven_site(matrix, one), strength * one.driven * other.driven * kernel, one, other)

    def _memories(self, matrix: RandomMatrix, one: Use, other: Use) -> None:
        """σ² (left left')(right right') of a use forward and one backward: each remembers what the other asked.

        A = <query forward · response backward> and B = <query backward · response forward> are each other's
        conjugates, if neither vanishes; where what stands in front has indices, B takes it in.
        """
        forward, backward = (other, one) if one.transposed else (one, other)
        rows, columns = (self.sizes[s.name] for s in (matrix.rows, matrix.columns))
        b, f = self._apart(backward, forward), self._apart(forward, backward)
        strength = matrix.variance * _strength(matrix, forward, b)
        A = self._response(forward.query, b.driven, matrix.columns, "A", matrix.name)
        indexed = bool(strength.atoms(Index) - {forward.time, b.time})
        taken_in = indexed and A != 0 and self.influence.reaches(forward.driven, b.query)
        if taken_in:
            B = self.averages.partner(A, matrix.name)
        else:
            B = self._response(b.query, forward.driven, matrix.rows, "B", matrix.name)
        self._claim(A, B, matrix)
        self._add_pair(-A * B if taken_in else -strength * rows * columns * A * B, forward, b)
        self._add(matrix.rows, strength * columns * forward.driven * b.query * A, forward, b)
        strength = 1 / columns if taken_in else matrix.variance * rows * _strength(matrix, f, backward)
        B = B.xreplace(_renamed(forward, f) | _renamed(b, backward))
        self._add(matrix.columns, strength * backward.driven * f.query * B, backward, f)

    def _symmetric_noise(self, matrix: RandomMatrix, one: Use, other: Use) -> None:
        """ρσ² (left right')(right left') of a use forward and one backward: their noise is correlated."""
        site, other = matrix.rows, self._apart(other, one)
        kernel = self.averages.of(one.query * other.query, site, "C", matrix.name)
        strength = matrix.symmetry * matrix.variance * self.sizes[site.name] * _strength(matrix, one, other)
        self._add(site, strength * one.driven * other.driven * kernel, one, other)

    def _symmetric_memories(self, matrix: RandomMatrix, one: Use, other: Use, half: Expr) -> None:
        """ρσ² (left right')(right left') of two uses forward: each remembers what both asked."""
        site = matrix.rows
        for driven, asking in ((one, other), (other, one))[: 1 if one is other else 2]:
            both = _of_one_member(driven, self._apart(asking, driven))
            if both is None:
                continue
            member, asking = both
            response, partner = (
                self._response(a.query, b.driven, site, "R", matrix.name)
                for a, b in ((member, asking), (asking, member))
            )
            self._claim(response, partner, matrix)
            strength = matrix.symmetry * matrix.variance * self.sizes[site.name] * _strength(matrix, member, asking)
            where = f"matrix {matrix.name}: its entries ij and ji are correlated, so "
            if strength.atoms(Index) - {driven.time, asking.time}:
                raise LanguageError(
                    f"{where}what stands in front of it may have no index but the time, found {strength}; put it into "
                    f"what the matrix acts on"
                )
            if 0 not in (response, partner) and response.atoms(Index) != partner.atoms(Index):
                raise LanguageError(
                    f"{where}what it acts on has the indices of what it drives, here <{driven.query}> and "
                    f"<{asking.query}>; give it fields of their own"
                )
            self._add(site, strength * member.driven * asking.query * response, member, asking)
            if driven is one:
                self._add_pair(-half * strength * self.sizes[site.name] * response * partner, member, asking)

    def _response(self, query: Expr, driven: Expr, site: Site, stem: str, matrix: str) -> Expr:
        """The average of a function of units and a response field; zero if what it drives is not in the function."""
        if not self.influence.reaches(driven, query):
            return Integer(0)
        return self.averages.of(query * driven, site, stem, matrix)

    def _claim(self, response: Expr, partner: Expr, matrix: RandomMatrix) -> None:
        """Two responses are each other's conjugates, unless one of them vanishes: then the other has its own."""
        if response != 0 and partner != 0:
            for entry in (response, partner):
                self.averages.claim(entry.tensor, matrix.name)

    def _apart(self, use: Use, other: Use) -> Use:
        """A use with other indices than those of another one."""
        return use.renamed((*other.bound, *_used(other)), self.declared)

    def _add(self, site: Site, body: Expr, *uses: Use) -> None:
        """Add a term to the action of a site, summed over what the uses sum over."""
        site = self.model.sites[site.name]
        bound = tuple(i for use in uses for i in use.bound)
        limits = tuple(c for use in uses for c in use.constraints)
        time = uses[0].time
        for term in flatten(body, time):
            site.terms.append(_written(collapse_deltas(Term(term.body, bound + term.bound, limits + term.constraints))))

    def _add_pair(self, body: Expr, *uses: Use) -> None:
        self.pairs += _written(collapse_deltas(Term(body, tuple(i for use in uses for i in use.bound))))


def _written(term: Term) -> Expr:
    """A term as a user writes it: times, and indices that stand twice, are summed silently."""
    counts = count_indices(term.body)
    held = {c.time for c in term.constraints}
    silent = [i for i in term.bound if i not in held and (counts[i] == 2 or i.is_time)]
    silent = [i for i in silent if not any(i in indices_of(c.upper) for c in term.constraints) or i.is_time]
    return as_expression((Term(term.body, tuple(i for i in term.bound if i not in silent), term.constraints),))


def _sizes(model: Model) -> dict[str, Expr]:
    """The relative size of every site: the factor of its log_Z in the action."""
    sizes = {name: site.size for name, site in model.sites.items()}
    for term in flatten(model.action):
        for node in (f for f in term.factors if isinstance(f, LogZ)):
            sizes[node.site] = term.body / node
    return sizes


def _driven_site(matrix: RandomMatrix, use: Use) -> Site:
    return matrix.columns if use.transposed else matrix.rows


def _strength(matrix: RandomMatrix, one: Use, other: Use) -> Expr:
    """What stands in front of two uses; zero if they are of different matrices of a family."""
    same = Mul(*[KroneckerDelta(i, j) for i, j in zip(one.member, other.member, strict=True)])
    return same * one.outer * other.outer * _decayed(matrix, one.time) * _decayed(matrix, other.time)


def _of_one_member(one: Use, other: Use) -> tuple[Use, Use] | None:
    """Two uses where they are of the same member of a family, which only the first one sums over; None if never."""
    for k in range(len(one.member)):
        i, j = one.member[k], other.member[k]
        if isinstance(i, Index) != isinstance(j, Index):
            raise LanguageError(
                f"matrix {one.matrix.name}: its entries ij and ji are correlated, so its members are named by indices "
                f"that run over all of them, or all by numbers; found {i} and {j}"
            )
        if i != j and not isinstance(i, Index):
            return None
        other = other.where({j: i})
    return one, replace(other, bound=tuple(i for i in other.bound if i not in one.bound))


def _renamed(use: Use, other: Use) -> dict[Index, Index]:
    """The indices of the same use under other names."""
    return dict(zip(use.bound, other.bound, strict=True))


def _used(use: Use) -> list[Index]:
    return indices_of(use.outer * use.driven * use.query)


def _decayed(matrix: RandomMatrix, time: Index) -> Expr:
    """What is left of the drawn matrix at a time."""
    rate = matrix.decay_rate
    return exp(-rate * time) if time.axis.continuous else (1 - rate) ** time if rate != 0 else Integer(1)


def _decayed_since(matrix: RandomMatrix, time: Index, since: Index) -> Expr:
    """What is left at a time of what was learned before."""
    rate = matrix.decay_rate
    if rate == 0:
        return Integer(1)
    return exp(-rate * (time - since)) if time.axis.continuous else (1 - rate) ** (time - since - 1)
