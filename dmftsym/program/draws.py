"""Gaussian sources and recalled memories of the interpreter: covariances as matrices, factors, whitened functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dmftsym.derivation.process import Covariance, Source
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Before, Term
from dmftsym.program.axes import COLUMNS
from dmftsym.program.factors import Factor, square_root, varied_square_root
from dmftsym.program.sources import SourceGroup

if TYPE_CHECKING:
    from dmftsym.program.interpreter import State
    from dmftsym.program.program import Program


class Draws:
    """The sources of a sweep: their normals, and for evolving groups the factor of their covariance."""

    def __init__(self, state: State, program: Program, normals: Mapping[str, np.ndarray]):
        self.state, self.normals, self.groups = state, normals, program.sampling.groups
        self.factors: dict[str, Factor] = {}
        self.roots: dict[str, np.ndarray] = {}

    def prepare(self, factors: Mapping[str, np.ndarray]) -> None:
        """Static sources, whose factors are given, and empty factors for evolving ones."""
        for group in self.groups:
            for member in group.members:
                self.state.arrays.setdefault(member.tensor.name, np.zeros(self.state.shape(member.tensor)))
            if group.static:
                self._hand_out(group, factors[group.name] @ self.normals[group.name])
            elif group.evolving:
                rows = self.state.steps * self.size(group)
                columns = self.state.values.get("(columns)")
                change = None if columns is None else np.zeros((int(columns), rows, rows))
                self.factors[group.name] = Factor(np.zeros((rows, rows)), change)

    def size(self, group: SourceGroup) -> int:
        """The number of jointly Gaussian values at one time."""
        return sum(map(self._size, group.members))

    def _size(self, member: Source) -> int:
        return int(np.prod([self.state.length(i) for i in _spatial(member)], dtype=int))

    def _normals(self, group: SourceGroup) -> np.ndarray:
        """The standard normals of a group: its own, or some of those of a larger one."""
        if not group.shares:
            return self.normals[group.name]
        before = [g for g in self.groups[: self.groups.index(group)] if g.shares == group.shares]
        first = sum(map(self.size, before))
        if group.white:
            return self.normals[group.shares][:, first : first + self.size(group)]
        return self.normals[group.shares][self.state.steps * first :]

    # --- draws ------------------------------------------------------------------------------------

    def draw(self, group: SourceGroup, part: int | None = None) -> None:
        """The values of a group at this step, or of one of its members given those before it."""
        step = self.state.now
        if group.white:
            self.roots[group.name] = square_root(self._rows(group, group.blocks, group.members))
            time = step if self.state.program.grid.passes == 1 else int(self.state.numbers["back"])
            self._hand_out(group, self.roots[group.name] @ self._normals(group)[time])
            return
        factor, size = self.factors[group.name], self.size(group)
        members = group.members if part is None else (group.members[part],)
        first = step * size + sum(map(self._size, group.members[: part or 0]))
        covariance = self._rows(group, group.blocks, members)
        factor.ranks = factor.ranks[: step + 1]
        known = sum(row < first for row in factor.opened)
        factor.opened = factor.opened[:known]
        for k, row in enumerate(covariance):
            factor.rows[first + k] = 0.0
            factor.extend(first + k, row)
        factor.ranks.append(len(factor.opened))
        drawn = factor.rows[first : first + len(covariance), : factor.ranks[-1]]
        self._hand_out(group, drawn @ self._normals(group)[: factor.ranks[-1]], members)

    def vary(self, group: SourceGroup, blocks: tuple[Covariance, ...], targets: tuple[Entry, ...]) -> None:
        """The first-order change of a draw, in every column, from those of the covariances."""
        step, column = self.state.now, next(i for i in targets[0].tensor.indices if i.axis == COLUMNS)
        changed = self._rows(group, blocks, group.members, (column,))
        if group.white:
            root = varied_square_root(self.roots[group.name], changed)
            time = step if self.state.program.grid.passes == 1 else int(self.state.numbers["back"])
            drawn = root @ self._normals(group)[time]
        else:
            factor, size = self.factors[group.name], self.size(group)
            assert factor.change is not None
            for k in range(size):
                factor.change[:, step * size + k] = 0.0
                factor.vary(step * size + k, changed[:, k])
            rank = factor.ranks[step + 1]
            drawn = factor.change[:, step * size : (step + 1) * size, :rank] @ self._normals(group)[:rank]
        start = 0
        for member, target in zip(group.members, targets, strict=True):
            rows = drawn[:, start : start + self._size(member)]
            start += self._size(member)
            lengths = [self.state.length(i) for i in _spatial(member)]
            moved = np.moveaxis(rows.reshape(len(rows), *lengths, -1), 0, len(lengths))
            self.state.store(target, moved)

    def _hand_out(self, group: SourceGroup, drawn: np.ndarray, members: tuple[Source, ...] = ()) -> None:
        start = 0
        for member in members or group.members:
            rows = drawn[start : start + self._size(member)]
            start += self._size(member)
            tensor = member.tensor
            value = rows.reshape(*(self.state.length(i) for i in _spatial(member)), -1)
            self.state.store(tensor[tuple(self.state.index if i.is_time else i for i in tensor.indices)], value)

    # --- covariances as matrices ------------------------------------------------------------------

    def covariance(self, group: SourceGroup) -> np.ndarray:
        """The covariance of a group at one time."""
        return self._rows(group, group.blocks, group.members)

    def _rows(self, group: SourceGroup, blocks, members, lead: tuple[Index, ...] = ()) -> np.ndarray:
        """The covariances of members now with all members, of evolving groups at all times up to now."""
        columns = [np.concatenate([self._block(group, blocks, one, other, lead) for other in group.members], axis=-1)
                   for one in members]  # fmt: skip
        rows = np.concatenate(columns, axis=len(lead))
        return rows.reshape(*rows.shape[: len(lead) + 1], -1)

    def _block(self, group: SourceGroup, blocks, one: Source, other: Source, lead) -> np.ndarray:
        times = (self.state.now + 1,) if group.evolving else ()
        shape = (*(self.state.length(i) for i in lead), self._size(one), *times, self._size(other))
        for block in blocks:
            ends = (block.left.tensor, block.right.tensor)
            if ends == (one.tensor, other.tensor):
                return self._covariance(group, block.left, block.right, block.terms, lead).reshape(shape)
            if ends == (other.tensor, one.tensor):
                left, right, terms = block.right, block.left, block.terms
                if group.evolving:
                    swap = {block.left.times[0]: block.right.times[0], block.right.times[0]: block.left.times[0]}
                    left, right = left.xreplace(swap), right.xreplace(swap)
                    terms = tuple(Term(t.body.xreplace(swap), t.bound, t.constraints) for t in terms)
                return self._covariance(group, left, right, terms, lead).reshape(shape)
        return np.zeros(shape)

    def _covariance(self, group: SourceGroup, left: Entry, right: Entry, terms, lead) -> np.ndarray:
        time = (right.times[0],) if group.evolving else ()
        limits = (Before(right.times[0], self.state.index, True),) if group.evolving else ()
        ends = [tuple(i for i in e.indices if not (isinstance(i, Index) and i.is_time)) for e in (left, right)]
        return self.state.total(terms, (*lead, *ends[0], *time, *ends[1]), limits)

    # --- memories ---------------------------------------------------------------------------------

    def whiten(self, group: SourceGroup, values: tuple[Entry, ...]) -> None:
        """One more whitened function for every column that the draw of this step has opened."""
        paths = len(self.state.weights[group.basis])
        rows = [self.state.value(v, self.state.free(v), (), group.basis).reshape(-1, paths) for v in values]
        factor = self.factors[group.name]
        del factor.basis[factor.ranks[self.state.now] :]
        factor.whiten(np.concatenate(rows), self.state.now)

    def recalled(self, group: SourceGroup, observable: Entry, instant: bool) -> np.ndarray:
        """Σ_j <observable n_j> e_j, over the normals up to now or before."""
        factor, site = self.factors[group.name], observable.tensor.site
        count = factor.ranks[self.state.now + (1 if instant else 0)]
        observed = self.state.value(observable, self.state.free(observable), (), site) * self.state.weights[site]
        averages = observed @ self._normals(group)[:count].T
        basis = np.array(factor.basis[:count]).reshape(count, len(self.state.weights[group.basis]))
        return averages @ basis


def _spatial(member: Source) -> list[Index]:
    return [i for i in member.tensor.indices if not i.is_time]
