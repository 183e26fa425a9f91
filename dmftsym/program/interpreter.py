"""Programs run in plain NumPy, statement by statement: what generated code is tested against.

Every array keeps all times, every average is a sum over paths; nothing is fused, compiled or saved. A program costs
about a hundred times as much as its generated code.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from sympy import Expr, KroneckerDelta, Symbol, lambdify

from dmftsym.language.matrices import LargestEigenvalue, LeadingProjector
from dmftsym.language.sums import IndexSum
from dmftsym.language.symbols import Axis, Entry, Index, Parameter, Size, Tensor
from dmftsym.language.terms import Before, Term, entries_of, flatten, outermost, substitute_activations
from dmftsym.program.axes import COLUMNS, KICKS, PASSES, TIME_STEP
from dmftsym.program.buffers import Role
from dmftsym.program.draws import Draws
from dmftsym.program.operations import PathSum, Store
from dmftsym.program.program import Program
from dmftsym.program.times import When, when

Limits = tuple[Before, ...]
_OWN = {"logistic": lambda x: 0.5 * (1.0 + np.tanh(0.5 * x)), "softplus": lambda x: np.logaddexp(0.0, x)}


def interpret(
    program: Program,
    values: Mapping,
    factors: Mapping[str, np.ndarray],
    normals: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
    steps: int,
    dt: float,
    given: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Run a program and return its arrays by name, those of sites with the paths last.

    Arguments as those of a generated sweep; `given`: arrays that the caller provides, relative changes of the weights
    by the name of their array. Raises NotImplementedError for the adjoints of recalled matrices.
    """
    state = State(program, values, normals, weights, steps, dt)
    state.arrays |= dict(given or {})
    state.prepare(factors)
    for constant in program.sweep.constants:
        constant.run(state)
    for step in range(steps):
        state.now = step
        state.carry_on()
        for back, reach, blend in state.passes():
            state.numbers |= {"back": back, "reach": reach, "blend": blend}
            for statement in program.sweep.step:
                statement.run(state)
        for statement in program.sweep.epilogue:
            statement.run(state)
    return state.arrays


class State:
    """The arrays of a sweep at a step; statements ask it for values of expressions and give it what they update."""

    def __init__(self, program: Program, values: Mapping, normals: Mapping, weights: Mapping, steps: int, dt: float):
        self.program, self.values, self.normals, self.weights = program, dict(values), normals, weights
        self.steps, self.dt, self.now, self.index = steps, dt, 0, program.grid.now
        self.numbers: dict[str, float] = {}
        self.starts: dict[str, np.ndarray] = {}
        data = [d.tensor.name for d in program.facts.data if d.tensor.name in values]
        self.arrays: dict[str, np.ndarray] = {name: values[name] for name in data}
        self.draws = Draws(self, program, normals)

    # --- before the first step --------------------------------------------------------------------

    def prepare(self, factors: Mapping[str, np.ndarray]) -> None:
        """Allocate all arrays, draw static sources and initial values."""
        for buffer in self.program.sweep.buffers:
            if buffer.tensor.name not in self.arrays:
                self.arrays[buffer.tensor.name] = self._made(buffer.tensor, buffer.role)
        for site in self.program.sampling.affine:
            self.arrays[f"constant_{site}"] = self.normals[f"constant_{site}"]
        self.draws.prepare(factors)
        for start in self.program.sampling.starts:
            free = tuple(i for i in start.field.indices if not i.is_time)
            mean, variance = (self.value(m, free)[..., None] for m in (start.mean, start.variance))
            spread = self.normals[f"{start.field}_start"].reshape(*(self.length(i) for i in free), -1)
            one = self.arrays.get(f"constant_{start.field.site}", 1.0)
            self.starts[start.field.name] = mean * one + np.sqrt(variance) * spread

    def _made(self, tensor: Tensor, role: Role) -> np.ndarray:
        steps, unit = self.steps, 1.0 / self.dt if self.program.grid.continuous else 1.0
        made: dict[Role, Callable[[], np.ndarray]] = {
            Role.CLOCK: lambda: (self.dt if self.program.grid.continuous else 1.0) * np.arange(steps, dtype=float),
            Role.IMPULSE: lambda: np.eye(steps) * unit,
            Role.ONSET: lambda: np.eye(steps),
            Role.HALF_ONSET: lambda: np.where(np.eye(steps) * (np.arange(steps) > 0), 0.5, 1.0),
            Role.SECOND_TIME: lambda: (np.arange(steps) == 1).astype(float),
            Role.PAST_WEIGHT: lambda: np.where(np.arange(steps) == 0, self.dt / 2, self.dt),
            Role.END_WEIGHT: lambda: np.where(np.arange(steps) == 0, 0.0, self.dt / 2),
        }
        return made[role]() if role in made else np.zeros(self.shape(tensor))

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """The lengths of all axes of an array."""
        paths = (len(self.weights[tensor.site]),) if tensor.site else ()
        return (*(self._size(i.axis) for i in tensor.indices), *paths)

    def _size(self, axis: Axis) -> int:
        if axis.is_time or axis == KICKS:
            return self.steps
        if axis == COLUMNS:
            return int(self.values["(columns)"])
        return int(axis.size) if axis.size.isdigit() else int(self.values[axis.size])

    def passes(self) -> tuple[tuple[float, float, float], ...]:
        """(time of the pass before, how far this one reaches, weight of both) for every pass of a step."""
        if self.program.grid.passes == 1:
            return ((self.now - 1, self.dt, 0.0),)
        both = ((self.now - 1, self.dt, 0.0), (self.now, self.dt / 2, 0.5))
        return both[1:] if self.now == 0 else both

    def carry_on(self) -> None:
        """Sums that grow from step to step begin with what they were at the last one."""
        sweep = self.program.sweep
        for statement in (s for s in (*sweep.step, *sweep.epilogue) if s.accumulates and self.now > 0):
            for target in statement.updated:
                if target.times == (self.index,):
                    slot = target.tensor.time_slots[0]
                    array = np.moveaxis(self.arrays[target.tensor.name], slot, 0)
                    array[self.now] = array[self.now - 1]

    def start(self, entry: Entry) -> np.ndarray:
        """The initial value of an array: that of a field, zero for tangents and first-order changes."""
        return self.starts.get(entry.tensor.name, np.zeros(()))

    # --- values -----------------------------------------------------------------------------------

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
            hide(delta, _lined_up(np.eye(self._size(delta.args[0].axis)), delta.args, axes, bool(site)))
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
            result = result + self.summed(term.body, axes, (*limits, *term.constraints), site, False, term.bound)
        return result

    def summed(
        self,
        body: Expr,
        axes: tuple[Index, ...],
        limits: Limits,
        site: str,
        averaged: bool,
        bound: tuple[Index, ...] | None = None,
    ) -> np.ndarray:
        """The body summed over its other indices and, if it is averaged, over the weighted paths of a site."""
        if bound is None:
            loose = body.atoms(Index) - {self.index, *axes}
            bound = tuple(sorted((i for i in loose if i.axis != PASSES), key=lambda i: i.name))
        value = self.value(body, (*axes, *bound), limits, site)
        value = value.sum(axis=tuple(range(len(axes), len(axes) + len(bound)))) if bound else value
        return value @ self.weights[site] if averaged and site else value

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
            return _lined_up(found, (*kept, None), (*axes, None), False)
        return _lined_up(found, tuple(kept), axes, bool(site))

    # --- updates ----------------------------------------------------------------------------------

    def perform(self, operation: Store) -> None:
        """Sum the values of a target and store them."""
        target, limits, free = operation.target, operation.constraints, self.free(operation.target)
        starting = operation.first is not None and self.now == 0
        values = (operation.first,) if starting else operation.values
        site = target.tensor.site
        total = np.zeros([self.length(i, limits) for i in free] + ([len(self.weights[site])] if site else []))
        for value in values:
            if isinstance(value, PathSum):
                body, within = value.piece.reading(limits)
                over = value.piece.site if value.piece.operands else site
                total = total + self.summed(body, free, within, over, value.averaged)
            elif value is not None:
                found = self.total(value.terms, free, limits)
                total = total + (found[..., None] if site else found)
        self.store(target, total, operation.accumulate, limits)
        if operation.mirror:
            self.mirror(target, limits)

    def store(self, target: Entry, value: np.ndarray, accumulate: bool = False, limits: Limits = ()) -> None:
        """Replace the elements of a target, or add to them; before time 0 there are none."""
        places, _ = self._places(target, limits)
        slots = target.tensor.indices
        if any(place == -1 and slot.is_time for place, slot in zip(places, slots, strict=True)):
            return
        array = self.arrays[target.tensor.name]
        array[tuple(places)] = array[tuple(places)] + value if accumulate else value

    def mirror(self, target: Entry, limits: Limits) -> None:
        """The entries with exchanged ends take the same values."""
        column = [k for k, i in enumerate(target.indices) if isinstance(i, Index) and i.axis == COLUMNS]
        ends = [i for k, i in enumerate(target.indices) if k not in column]
        exchanged = [*ends[len(ends) // 2 :], *ends[: len(ends) // 2]]
        for k in column:
            exchanged.insert(k, target.indices[k])
        other = target.tensor[tuple(exchanged)]
        row = self.arrays[target.tensor.name][tuple(self._places(target, limits)[0])]
        self.store(other, _lined_up(row, self.free(target), self.free(other), False), False, limits)

    def sketch(self, target: Entry, omega: Tensor, pieces) -> None:
        """Random combinations of observables, in some of the columns chosen at random."""
        random, columns = self.values["(generator)"], int(self.values["(columns)"])
        sizes = [self._size(i.axis) for i in omega.indices[:-1]]
        chosen = random.permutation(columns)[: 16 + math.prod(sizes)]
        self.arrays[omega.name] = np.zeros((*sizes, columns))
        self.arrays[omega.name][..., chosen] = random.standard_normal((*sizes, len(chosen)))
        axes, site = self.free(target), target.tensor.site
        rows = np.sum([self.summed(p.body, axes, p.constraints, site, False) for p in pieces], axis=0)[chosen]
        self.arrays[target.tensor.name][chosen] += rows / (rows.std() or 1.0)


def _lined_up(array: np.ndarray, labels: tuple, axes: tuple, paths: bool) -> np.ndarray:
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
