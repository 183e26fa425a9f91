"""Covariances of groups of Gaussian sources as array operations: blocks of pairs of sources as one matrix."""

from dmftsym.codegen import tree
from dmftsym.codegen.arrays import Arrays, Indices
from dmftsym.codegen.places import REST, Length, length, size_code
from dmftsym.codegen.tree import Array
from dmftsym.derivation.process import Source
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Before, Term
from dmftsym.program.sources import SourceGroup


def length_of(*sources: Source) -> Length:
    """The number of values of some sources at one time."""
    spatial = [[size_code(i.axis) for i in s.tensor.indices if not i.is_time] for s in sources]
    return Length(tuple(map(tuple, spatial)))


class Covariances:
    """The covariances of the sources of a program at a step; rows of evolving ones hold all times up to now.

    `lead` are indices in front: the parts of the paths; the columns, if the blocks hold first-order changes.
    """

    def __init__(self, now: Index, arrays: Arrays):
        self.now, self.arrays = now, arrays
        self.upto_now = Length(((now.name,), ("1",)))

    def matrix(self, group: SourceGroup, lead: Indices = (), flat: bool = True) -> Array:
        """All blocks of a group; `flat`: as one matrix for each value of `lead`."""
        shape = (*(length(i.axis) for i in lead), length_of(*group.members), REST)
        if len(group.members) == 1:
            whole = self._block(group, *group.members * 2, lead)
            return tree.Shaped((), whole, shape) if flat else whole
        rows = tuple(self._row(group, member, lead) for member in group.members)
        whole = tree.Concatenated((), rows, len(lead))
        return tree.Shaped((), whole, shape) if flat else whole

    def rows(self, group: SourceGroup, member: Source, lead: Indices = ()) -> Array:
        """The blocks of one source of a group with all of them, as a matrix for each value of `lead`."""
        shape = (*(length(i.axis) for i in lead), length_of(member), REST)
        return tree.Shaped((), self._row(group, member, lead), shape)

    def _row(self, group: SourceGroup, left: Source, lead: Indices) -> Array:
        blocks = [
            tree.Shaped((), self._block(group, left, right, lead), self._shape(group, left, right, lead))
            for right in group.members
        ]
        return tree.Concatenated((), tuple(blocks), -1)

    def _shape(self, group: SourceGroup, left: Source, right: Source, lead: Indices) -> tuple[Length, ...]:
        times = [self.upto_now] if group.evolving else []
        return (*(length(i.axis) for i in lead), length_of(left), *times, length_of(right))

    def _block(self, group: SourceGroup, left: Source, right: Source, lead: Indices) -> Array:
        evolving = group.evolving
        for block in group.blocks:
            if (block.left.tensor, block.right.tensor) == (left.tensor, right.tensor):
                return self._entries(block.left, block.right, block.terms, evolving, lead)
            if (block.left.tensor, block.right.tensor) == (right.tensor, left.tensor):
                if not evolving:
                    return self._entries(block.right, block.left, block.terms, False, lead)
                (now,), (earlier,) = block.left.times, block.right.times
                swap = {now: earlier, earlier: now}
                terms = tuple(Term(t.body.xreplace(swap), t.bound, t.constraints) for t in block.terms)
                return self._entries(block.right.xreplace(swap), block.left.xreplace(swap), terms, True, lead)
        return tree.Zeros((), self._shape(group, left, right, lead))

    def _entries(self, left: Entry, right: Entry, terms, evolving: bool, lead: Indices) -> Array:
        """One block with the axes of both ends (and the earlier time between them)."""
        limits = (Before(right.times[0], self.now, True),) if evolving else ()
        spatial = [[i for i in e.indices if not (isinstance(i, Index) and i.is_time)] for e in (left, right)]
        target = (*lead, *spatial[0], *(right.times[:1] if evolving else ()), *spatial[1])
        found = self.arrays.total(terms, target, limits)
        if target and set(target) <= found.spans():
            return found
        return tree.Broadcast(target, found, tuple(self.upto_now if i.is_time else length(i.axis) for i in target))
