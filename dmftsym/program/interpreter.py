"""Programs run in plain NumPy, statement by statement: what generated code is tested against.

Every array keeps all times, every average is a sum over paths; nothing is fused, compiled or saved. A program costs
about a hundred times as much as its generated code.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.program.axes import COLUMNS
from dmftsym.program.buffers import Role
from dmftsym.program.draws import Draws
from dmftsym.program.matrix_states import Matrices
from dmftsym.program.operations import PathSum, Store
from dmftsym.program.program import Program
from dmftsym.program.values import Limits, Values, lined_up


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


class State(Values):
    """The arrays of a sweep at a step; statements ask it for values of expressions and give it what they update."""

    def __init__(self, program: Program, values: Mapping, normals: Mapping, weights: Mapping, steps: int, dt: float):
        super().__init__(values, weights, program.grid.now, steps, dt)
        self.program, self.normals = program, normals
        self.starts: dict[str, np.ndarray] = {}
        data = [d.tensor.name for d in program.facts.data if d.tensor.name in values]
        self.arrays |= {name: values[name] for name in data}
        self.draws = Draws(self, program, normals)
        self.matrices = Matrices(self, program, normals)
        self.parts: list[State] = []

    # --- before the first step --------------------------------------------------------------------

    def prepare(self, factors: Mapping[str, np.ndarray]) -> None:
        """Allocate all arrays, draw static sources and initial values."""
        for buffer in self.program.sweep.buffers:
            if buffer.tensor.name not in self.arrays:
                self.arrays[buffer.tensor.name] = self._made(buffer.tensor, buffer.role)
        if self.program.sampling.parts is None:
            self._sample(factors)
        else:
            self._divide(factors, self.program.sampling.parts)

    def _sample(self, factors: Mapping[str, np.ndarray]) -> None:
        for site in self.program.sampling.affine:
            self.arrays[f"constant_{site}"] = self.normals[f"constant_{site}"]
        self.draws.prepare(factors)
        for start in self.program.sampling.starts:
            free = tuple(i for i in start.field.indices if not i.is_time)
            mean, variance = (self.value(m, free)[..., None] for m in (start.mean, start.variance))
            spread = self.normals[f"{start.field}_start"].reshape(*(self.length(i) for i in free), -1)
            one = self.arrays.get(f"constant_{start.field.site}", 1.0)
            self.starts[start.field.name] = mean * one + np.sqrt(variance) * spread

    def _divide(self, factors: Mapping[str, np.ndarray], index: Index) -> None:
        """Parts of the paths with their own normals, factors and initial values; their arrays are slices of these."""
        sampling, count = self.program.sampling, self._size(index.axis)
        members = [member.tensor for group in sampling.groups for member in group.members]
        self.arrays |= {tensor.name: np.zeros((count, *self.shape(tensor))) for tensor in members}
        self.arrays |= {f"constant_{site}": self.normals[f"constant_{site}"] for site in sampling.affine}
        own = {b.tensor.name for b in self.program.sweep.buffers if index in b.tensor.indices}
        own |= {*(tensor.name for tensor in members), *(f"constant_{site}" for site in sampling.affine)}
        alone = replace(self.program, sampling=replace(sampling, parts=None))
        for k in range(count):
            normals = {name: array[k] for name, array in self.normals.items()}
            part = State(alone, self.values, normals, self.weights, self.steps, self.dt)
            part.arrays |= {name: array[k] if name in own else array for name, array in self.arrays.items()}
            part._sample(factors)
            self.parts.append(part)
        fields = [start.field.name for start in sampling.starts]
        self.starts = {name: np.stack([part.starts[name] for part in self.parts]) for name in fields}

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
                found = self.summed(body, free, within, over)
                total = total + (found @ self.weights[over] if value.averaged and over else found)
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
        no_ends = (COLUMNS, self.program.sampling.parts and self.program.sampling.parts.axis)
        column = [k for k, i in enumerate(target.indices) if isinstance(i, Index) and i.axis in no_ends]
        ends = [i for k, i in enumerate(target.indices) if k not in column]
        exchanged = [*ends[len(ends) // 2 :], *ends[: len(ends) // 2]]
        for k in column:
            exchanged.insert(k, target.indices[k])
        other = target.tensor[tuple(exchanged)]
        row = self.arrays[target.tensor.name][tuple(self._places(target, limits)[0])]
        self.store(other, lined_up(row, self.free(target), self.free(other), False), False, limits)

    def sketch(self, target: Entry, omega: Tensor, pieces) -> None:
        """Random combinations of observables, in some of the columns chosen at random."""
        random, columns = self.values["(generator)"], int(self.values["(columns)"])
        sizes = [self._size(i.axis) for i in omega.indices[:-1]]
        chosen = random.permutation(columns)[: 16 + math.prod(sizes)]
        self.arrays[omega.name] = np.zeros((*sizes, columns))
        self.arrays[omega.name][..., chosen] = random.standard_normal((*sizes, len(chosen)))
        axes, site = self.free(target), target.tensor.site
        rows = np.sum([self.summed(p.body, axes, p.constraints, site) for p in pieces], axis=0)[chosen]
        self.arrays[target.tensor.name][chosen] += rows / (rows.std() or 1.0)
