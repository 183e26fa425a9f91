"""Products over sample paths as array operations: site arrays as slices, averages, and sums that keep the paths."""

from dataclasses import replace

from sympy import Integer

from dmftsym.codegen import tree
from dmftsym.codegen.arrays import Arrays, Indices, Limits
from dmftsym.codegen.places import SEVERAL, All, place_of
from dmftsym.codegen.tree import Array, lined_up, path_index
from dmftsym.language.symbols import Entry, Index
from dmftsym.program.program import Program
from dmftsym.program.statements import Piece
from dmftsym.program.times import When, when


class Pieces:
    """Products over sample paths in one program."""

    def __init__(self, program: Program, arrays: Arrays):
        self.now, self.passes, self.arrays = program.grid.now, program.grid.passes, arrays
        self.parts = (program.sampling.parts,) if program.sampling.parts is not None else ()
        self.histories = frozenset(a.tensor.name for a in program.sweep.buffers if a.history)

    def operand(self, entry: Entry, limits: Limits = ()) -> Array:
        """A site array as a slice: the time axis (if any) is first, the paths are last."""
        tensor, moment = entry.tensor, self._moment(entry, limits)
        slots = [(s, a) for s, a in zip(tensor.indices, entry.indices, strict=True) if not s.is_time]
        cuts = [place_of(slot, argument, self.now, limits, str(entry)) for slot, argument in slots]
        indices = [argument for (_, argument), cut in zip(slots, cuts, strict=True) if cut.keeps]
        cuts = [] if all(isinstance(cut, All) for cut in cuts) else cuts
        path = path_index(tensor.site)
        whole = tuple(slot for slot, _ in slots)
        kept = moment in SEVERAL or moment is When.INITIAL
        if not kept and (moment is not When.LAG or tensor.name not in self.histories):
            if not cuts:
                return tree.Named((*indices, path), tensor.name)
            return tree.Cut((*indices, path), tree.Named((*whole, path), tensor.name), tuple(cuts))
        (time,) = entry.times
        place = place_of(tensor.indices[tensor.time_slots[0]], time, self.now, limits, str(entry))
        history = tree.Named((time, *whole, path), tree.history_of(tensor), True)
        found = tree.Cut((*([time] if place.keeps else []), *indices, path), history, (place, *cuts))
        return found if self.passes > 1 else tree.before_start(found, self.now)

    def _moment(self, entry: Entry, limits: Limits) -> When:
        return when(entry.times[0], self.now, limits, str(entry)) if entry.times else When.NOW

    def piece(self, piece: Piece, free: Indices, averaged: bool, site: str = "") -> Array:
        """One term of a contraction, with the axes `free` (and the paths of a site, unless it is averaged)."""
        if not averaged and set(self.parts) & piece.scalar.atoms(Index):  # it differs along the paths
            piece = replace(piece, scalar=Integer(1), coefficient=piece.scalar * piece.coefficient)
        found = None if averaged else self._matrix_product(piece, free)
        found = found or self._product(piece, free, averaged, site)
        return found if piece.scalar == 1 else self.scaled(piece, found)

    def scaled(self, piece: Piece, node: Array) -> Array:
        """An array times the number in front of a piece."""
        axes = node.indices if set(self.parts) & piece.scalar.atoms(Index) else ()
        return tree.Scaled(node.indices, node, self.arrays.formula(piece.scalar, axes, piece.constraints))

    def coefficient(self, piece: Piece, indices: Indices) -> Array:
        """What multiplies a piece and has indices."""
        return self.arrays.formula(piece.coefficient, indices, piece.constraints)

    def axes(self, piece: Piece, free: Indices) -> Indices:
        """The axes of a coefficient: those of the target first, then the summed ones."""
        rank = {index: k for k, index in enumerate((*self.parts, *free))}
        return tuple(sorted(self.arrays.free(piece.coefficient), key=lambda i: rank.get(i, len(free))))

    def factors(self, piece: Piece, free: Indices) -> tuple[Array, ...]:
        """All that is multiplied and has indices: the coefficient, if there is one, and the site arrays."""
        coefficient = () if piece.coefficient == 1 else (self.coefficient(piece, self.axes(piece, free)),)
        return (*coefficient, *(self.operand(o, piece.constraints) for o in piece.factors))

    def _product(self, piece: Piece, free: Indices, averaged: bool, site: str) -> Array:
        parts = self.factors(piece, free)
        if not piece.operands:
            return tree.OverPaths(parts[0].indices, parts[0], tree.weights_of(site))  # the same on every path
        path = path_index(piece.site)
        covered = {i for part in parts for i in part.indices} | set(self.parts)
        present = tuple(i for i in free if i in covered)
        if averaged:
            product: Array = tree.Average(present, parts, tree.weights_of(piece.site), self._smallest(piece, parts))
        elif len(parts) == 1 and parts[0].indices == (*present, path):
            product = parts[0]
        else:
            product = tree.Einsum((*present, path), parts)
        # the same for every value of an index that it lacks
        return lined_up(product, free if averaged else (*free, path)) if present else product

    def _smallest(self, piece: Piece, parts: tuple[Array, ...]) -> int:
        """Which part takes the weights of the paths."""
        first = len(parts) - len(piece.factors)
        now = [k for k, o in enumerate(piece.factors) if self._moment(o, piece.constraints) is When.NOW] or [0]
        return first + min(now, key=lambda k: len(parts[first + k].indices))

    def _matrix_product(self, piece: Piece, free: Indices) -> Array | None:
        """A coefficient times one site array, summed over the leading axes of the array: one matrix product."""
        if len(piece.operands) != 1 or piece.coefficient == 1:
            return None
        array = self.operand(piece.operands[0], piece.constraints)
        *axes, path = array.indices
        summed = tuple(i for i in axes if i not in free)
        own = self.axes(piece, free)
        if set(self.parts) & set(own):
            return None
        kept, rest = tuple(i for i in own if i not in summed), tuple(axes[len(summed) :])
        leading = tuple(axes[: len(summed)]) == summed and set(summed) <= set(own)
        if not summed or not leading or len(set(axes)) < len(axes) or (*kept, *rest) != free:
            return None
        factor = self.coefficient(piece, (*kept, *summed))
        return tree.TensorDot((*free, path), array, factor, len(summed))
