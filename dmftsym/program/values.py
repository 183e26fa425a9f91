"""The values of expressions on the arrays of a sweep, in plain NumPy: every axis of an array carries its index."""

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from sympy import Expr, KroneckerDelta, Symbol, lambdify

from dmftsym.language.matrices import LargestEigenvalue, LeadingProjector
from dmftsym.language.sums import IndexSum
from dmftsym.language.symbols import Axis, Entry, Index, Parameter, Size, Tensor
from dmftsym.language.terms import Before, Term, entries_of, flatten, outermost, substitute_activations
from dmftsym.program.axes import BATCH, COLUMNS, KICKS, PASSES, TIME_STEP
from dmftsym.program.times import When, when

Limits = tuple[Before, ...]
_OWN = {"logistic": lambda x: 0.5 * (1.0 + np.tanh(0.5 * x)), "softplus": lambda x: np.logaddexp(0.0, x)}


class Values:
    """The arrays of a sweep at a step, and the values of expressions on them.

    `values`: parameters, data and sizes by name; `weights`: of the sample paths, by site; `index`: that of the step.
    """

    def __init__(self, values: Mapping, weights: Mapping, index: Index, steps: int, dt: float):
        self.values, self.weights, self.index = dict(values), weights, index
        self.steps, self.dt, self.now = steps, dt, 0
        self.numbers: dict[str, float] = {}  # of a pass
        self.arrays: dict[str, np.ndarray] = {}

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """The lengths of all axes of an array."""
        paths = (len(self.weights[tensor.site]),) if tensor.site else ()
        return (*(self._size(i.axis) for i in tensor.indices), *paths)

    def _size(self, axis: Axis) -> int:
        if axis.is_time or axis == KICKS:
            return self.steps
        if axis in (BATCH, COLUMNS):
            return int(self.values[f"({axis.size})"])
        return int(axis.size) if axis.size.isdigit() else int(self.values[axis.size])

    def free(self, target: Entry) -> tuple[Index, ...]:
        """The indices of a target that its slice keeps, in order."""
        return tuple(i for i in target.indices if isinstance(i, Index) and i not in (self.index,))

    def length(self, index: Index, limits: Limits = ()) -> int:
        """How many values an index takes."""
        if not index.is_time:
            return self._size(index.axis)
        return len(range(self.steps)[self._times(index, limits)])

    def value(self, expr: Expr, axes: tuple[Index, ...], limits: Limits = (), site: str = "") -> np.ndarray:
        """An expression with the given axes, and the sample paths of `site` last."""
        arrays: dict[str, np.ndarray] = {str(TIME_STEP): np.asarray(self.dt)}
        arrays |= {name: np.asarray(number) for name, number in self.numbers.items()}
        hidden: dict[Expr, Expr] = {}

        def hide(part: Expr, array: np.ndarray) -> None:
            hidden[part] = Symbol(f"a{len(hidden)}", real=True)
            arrays[str(hidden[part])] = array

        expr = substitute_activations(expr)
        for node in outermost(expr, IndexSum, LargestEigenvalue, LeadingProjector):
            hide(node, self._nested(node, axes, limits, site))
        expr = expr.xreplace(hidden)
        for delta in sorted(expr.atoms(KroneckerDelta), key=str):
            indices = tuple(i for i in delta.args if isinstance(i, Index))
            identity = np.eye(self._size(indices[0].axis))
            identity = identity[int(next(i for i in delta.args if i.is_Integer))] if len(indices) == 1 else identity
            hide(delta, lined_up(identity, indices, axes, bool(site)))
        for entry in entries_of(expr):
            hide(entry, self._entry(entry, axes, limits, site))
        for number in sorted(expr.atoms(Parameter, Size), key=str):
            hide(number, np.asarray(self.values[number.name], dtype=float))
        plain = expr.xreplace(hidden)
        free = tuple(sorted(plain.free_symbols, key=str))
        found = np.asarray(_function(plain, free)(*[arrays[str(s)] for s in free]), dtype=float)
        lengths = [self.length(i, limits) for i in axes] + ([len(self.weights[site])] if site else [])
        return np.broadcast_to(found, lengths)

    def _nested(self, node, axes: tuple[Index, ...], limits: Limits, site: str) -> np.ndarray:
        """A sum or matrix function that stands inside a formula."""
        if isinstance(node, IndexSum):
            return self.total(flatten(node), axes, limits, site)
        matrix = self.value(node.body, (*axes, *node.bound), limits)
        vectors = np.linalg.eigh(matrix)
        if isinstance(node, LargestEigenvalue):
            return vectors[0][..., -1]
        leading = vectors[1][..., -1]
        projector = leading[..., :, None] * leading[..., None, :]
        return self._picked(projector, axes, node.place)

    def _picked(self, matrix: np.ndarray, axes: tuple[Index, ...], place) -> np.ndarray:
        """matrix[..., i, j] where i and j are among the axes."""
        at = tuple(axes.index(i) for i in place)
        grid = np.indices(matrix.shape[: len(axes)])
        return matrix[(*grid, grid[at[0]], grid[at[1]])]

    def total(
        self, terms: tuple[Term, ...], axes: tuple[Index, ...], limits: Limits = (), site: str = ""
    ) -> np.ndarray:
        """Σ terms with the given axes."""
        result = np.zeros([self.length(i, limits) for i in axes] + ([len(self.weights[site])] if site else []))
        for term in terms:
            result = result + self.summed(term.body, axes, (*limits, *term.constraints), site, term.bound)
        return result

    def summed(
        self,
        body: Expr,
        axes: tuple[Index, ...],
        limits: Limits,
        site: str,
        bound: tuple[Index, ...] | None = None,
    ) -> np.ndarray:
        """The body summed over its other indices, with the paths of a site last."""
        if bound is None:
            loose = body.atoms(Index) - {self.index, *axes}
            bound = tuple(sorted((i for i in loose if i.axis != PASSES), key=lambda i: i.name))
        value = self.value(body, (*axes, *bound), limits, site)
        return value.sum(axis=tuple(range(len(axes), len(axes) + len(bound)))) if bound else value

    def _times(self, argument: Expr, limits: Limits):
        """The times at which an argument of a time slot stands."""
        if isinstance(argument, Index) and argument.axis == KICKS:
            return slice(None)
        if isinstance(argument, Index) and argument.axis == PASSES:
            return int(self.numbers["back"])
        t = self.now
        return {
            When.NOW: t,
            When.LAG: t - 1,
            When.INITIAL: 0,
            When.PAST: slice(0, t),
            When.UPTO: slice(0, t + 1),
            When.FUTURE: slice(t + 1, None),
            When.FROM: slice(t, None),
        }[when(argument, self.index, limits, str(argument))]

    def _places(self, entry: Entry, limits: Limits) -> tuple[list, list[Index]]:
        """What stands in every place of a subscript, and the indices of the axes that remain."""
        places, kept = [], []
        for slot, argument in zip(entry.tensor.indices, entry.indices, strict=True):
            if slot.is_time:
                place = self._times(argument, limits)
            elif argument.is_Integer:
                place = int(argument)
            else:
                place = self._part(slot.axis, argument.axis)
            places.append(place)
            kept += [argument] if isinstance(place, slice) else []
        return places, kept

    def _part(self, whole: Axis, part: Axis) -> slice:
        if whole == part:
            return slice(None)
        position = whole.parts.index(part)
        start = sum(self._size(a) for a in whole.parts[:position])
        return slice(start, start + self._size(part))

    def _entry(self, entry: Entry, axes: tuple[Index, ...], limits: Limits, site: str) -> np.ndarray:
        places, kept = self._places(entry, limits)
        array = self.arrays[entry.tensor.name]
        early = any(place == -1 and slot.is_time for place, slot in zip(places, entry.tensor.indices, strict=True))
        found = array[tuple(places)] if not early else np.zeros_like(array[tuple(places)])
        if entry.tensor.site:
            return lined_up(found, (*kept, None), (*axes, None), False)
        return lined_up(found, tuple(kept), axes, bool(site))


def lined_up(array: np.ndarray, labels: tuple, axes: tuple, paths: bool) -> np.ndarray:
    """An array whose axes carry labels, with the given axes; repeated labels are a diagonal, others are added."""
    assert set(labels) <= set(axes), f"{labels} do not fit {axes}"
    letters = {label: chr(97 + k) for k, label in enumerate(dict.fromkeys(labels))}
    kept = [label for label in axes if label in letters]
    source, target = "".join(letters[i] for i in labels), "".join(letters[i] for i in kept)
    found = np.einsum(f"{source}->{target}", array)
    found = found[tuple(slice(None) if label in letters else None for label in axes)]
    return found[..., None] if paths else found


@lru_cache(maxsize=4096)
def _function(expression: Expr, symbols: tuple[Symbol, ...]) -> Callable:
    return lambdify(symbols, expression, modules=[_OWN, "scipy", "numpy"])
