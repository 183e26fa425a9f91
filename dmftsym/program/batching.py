"""Independent parts of the sample paths side by side: a program with one axis more.

Each part has order parameters, fields and draws of its own; parameters, data, the time grid and the weights of the
paths are shared. A program is batched last, after its tangents and adjoints have been taken.

There are two layouts. In a batched program every array has the axis of the parts first, those over sample paths too. In
a parted one, which is printed, the paths of all parts stand one after the other on the axis that they have anyway: only
what has no paths gets an axis more, and a sum over paths is one for each part.
"""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from sympy import Basic

from dmftsym.language.symbols import Axis, Entry, Index, Kind, Tensor
from dmftsym.program.axes import BATCH, PARTS
from dmftsym.program.program import Program
from dmftsym.program.statements import EachPart, Statement


class Batching:
    """Gives what is not `shared` one index more, the first one: what the batching rules of statements ask.

    `side_by_side`: the paths of all parts share the axis of the paths, arrays over them get no index.
    """

    def __init__(self, index: Index, shared: set[str], side_by_side: bool = False):
        self.index, self.shared, self.side_by_side = index, shared, side_by_side

    def each(self, statement: Statement) -> Statement:
        """The statement on every part by itself."""
        return self.record(statement) if self.side_by_side else EachPart(statement, self.index, statement.equation)

    def record(self, record: Any) -> Any:
        """A record with the index in all its fields."""
        return replace(record, **{f.name: self.of(getattr(record, f.name)) for f in fields(record) if f.init})

    def of(self, value: Any) -> Any:
        """A value of any kind with the index in all its entries."""
        if isinstance(value, Statement):
            return value.batched(self)
        if isinstance(value, Tensor):
            if value.kind == Kind.DATA or value.name in self.shared or (value.site and self.side_by_side):
                return value
            return Tensor(value.name, value.kind, (self.index, *value.indices), value.site, value.latex_name)
        if isinstance(value, Basic):
            found = {e: self.of(e.tensor) for e in value.atoms(Entry)}
            return value.xreplace({e: t[(self.index, *e.indices)] for e, t in found.items() if t != e.tensor})
        if isinstance(value, tuple):
            return tuple(self.of(item) for item in value)
        return self.record(value) if is_dataclass(value) and not isinstance(value, type | Axis) else value


def batched_program(program: Program, axis: Axis = BATCH) -> Program:
    """The program of independent parts of the paths, along an axis: every array that is not shared has it first.

    The interpreter takes normals (and given arrays) with that axis first, and its length as "(batches)" among the
    values.
    """
    return _along(program.with_axis(axis), axis, False)


def parted_program(program: Program, axis: Axis = PARTS) -> Program:
    """The program whose order parameters and functions have one value for each part of the paths, along an axis.

    Its paths are those of all parts, of equal numbers, one part after the other.
    """
    return _along(program, axis, True)


def _along(program: Program, axis: Axis, side_by_side: bool) -> Program:
    sweep, index = program.sweep, Index("part", axis)
    shared = {t.name for s in sweep.constants for t in s.writes} | {b.tensor.name for b in sweep.buffers if b.fixed}
    along = Batching(index, shared, side_by_side)
    buffers = tuple(replace(b, tensor=along.of(b.tensor)) for b in sweep.buffers)
    more = program.with_sweep(
        buffers=buffers,
        step=tuple(s.batched(along) for s in sweep.step),
        epilogue=tuple(s.batched(along) for s in sweep.epilogue),
        closing=tuple(s.batched(along) for s in sweep.closing),
    )
    return replace(more, sampling=replace(program.sampling, parts=index))
