"""The storage of a sweep as one plan: every array that it holds, forward in time, along directions, or backward.

Targets print from it both what allocates the arrays and how much memory they take.
"""

from dataclasses import dataclass, replace

from dmftsym.language.symbols import Tensor
from dmftsym.language.terms import entries_of
from dmftsym.program.axes import COLUMNS, length_of
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.program import Program
from dmftsym.program.sources import SourceGroup, times_size
from dmftsym.program.statements import AdjointRecall, DrawVariation, MatrixProduct, RecallMemory

_BACKWARD = (Role.ADJOINT, Role.ASSIGNED_ADJOINT, Role.RUNNING_ADJOINT, Role.INFLUENCE, Role.PAIRING)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An array of a sweep: what it is for, and the names of the lengths of its axes.

    `site`: whose sample paths are its last axis; `kept`: it has all times of a path, and `at_step` is the name of its
    row at a step, if it has rows; `of`: the quantity whose change it holds, if a caller gives it.
    """

    name: str
    role: Role
    shape: tuple[str, ...]
    site: str = ""
    kept: bool = False
    at_step: str = ""
    of: str = ""

    @property
    def columns(self) -> bool:
        """Whether it has one entry for each column."""
        return COLUMNS.size in self.shape

    @property
    def backward(self) -> bool:
        """Whether it holds derivatives, to which every step backward in time adds."""
        return self.role in _BACKWARD

    def numbers(self) -> str:
        """How many numbers it holds, for each sample path and for each column."""
        sizes = [s for s in self.shape if s not in (f"paths_{self.site}", COLUMNS.size)]
        return "*".join(f"({s})" if " + " in s and len(sizes) > 1 else s for s in sizes) or "1"


def storage_of(program: Program) -> tuple[Stored, ...]:
    """The arrays of the sweep of a program: those without sample paths first, and none that the time grid fixes."""
    shared = [a for a in program.sweep.buffers if not a.site and a.tensor.time_slots and not a.role.of_grid]
    fleeting = fleeting_of(program)
    paths = [a for a in program.sweep.buffers if a.site and a.tensor not in fleeting]
    return tuple(_stored(a) for a in (*shared, *paths))


def fleeting_of(program: Program) -> tuple[Tensor, ...]:
    """What random matrices give and only the same step reads: it is made anew at every step."""
    now, statements = (program.grid.now,), (*program.sweep.step, *program.sweep.epilogue)
    given = [s.target.tensor for s in statements if isinstance(s, MatrixProduct)]
    if not given or program.grid.passes > 1:
        return ()
    read = [e for s in statements for body, _ in s.reads(program.grid.now) for e in entries_of(body)]
    kept = {a.tensor for a in program.sweep.buffers if a.history} | {e.tensor for e in read if e.times != now}
    return tuple(tensor for tensor in given if tensor not in kept)


def _stored(array: Buffer) -> Stored:
    name, site = array.tensor.name, array.site
    of = array.of.name if array.of is not None and array.role is Role.GIVEN else ""
    if not site:
        return Stored(name=name, role=array.role, shape=_lengths(array.tensor, times=True), of=of)
    shape = (*_lengths(array.tensor, times=array.role is Role.PAIRING), f"paths_{site}")
    if array.history and array.role not in (Role.MODE, Role.PAIRING, Role.INFLUENCE):
        kept = Stored(name=f"{name}_history", role=array.role, shape=("steps", *shape), site=site, kept=True)
        return replace(kept, at_step=name)
    return Stored(name=name, role=array.role, shape=shape, site=site, kept=array.role is Role.PAIRING)


def storage_of_noise(program: Program, group: SourceGroup) -> tuple[Stored, ...]:
    """What a sweep keeps of an evolving group of sources: its factor, the change of it, the functions it whitens."""
    size = times_size("steps", group.size)
    arrays = [Stored(name="factor", role=Role.NOISE, shape=(size, size))]
    if any(isinstance(s, DrawVariation) and s.group.name == group.name for s in program.sweep.step):
        arrays.append(Stored(name="changes", role=Role.NOISE, shape=(COLUMNS.size, size, size)))
    if group.basis:
        shape = (size, f"paths_{group.basis}")
        arrays.append(Stored(name="basis", role=Role.NOISE, shape=shape, site=group.basis, kept=True))
    return tuple(arrays)


def storage_of_matrices(program: Program, backward: bool = False) -> tuple[Stored, ...]:
    """What random matrices hold of the paths of both their sites, as many functions as they usually are asked.

    Backward in time it is what answers recalled, for every column.
    """
    arrays = []
    for matrix in dict.fromkeys(d.matrix for d in program.sampling.directions):
        count = "*".join([*(length_of(i.axis) for i in matrix.family), "2" if backward else "3", "DIRECTIONS"])
        for site in dict.fromkeys((matrix.rows, matrix.columns)):
            shape = (count, *([COLUMNS.size] if backward else []), f"paths_{site}")
            name = f"functions_{matrix.name}_{site}"
            arrays.append(Stored(name=name, role=Role.MATRIX, shape=shape, site=site, kept=True))
    return tuple(arrays)


def storage_of_draws(program: Program) -> tuple[Stored, ...]:
    """The values that are drawn: of every group of sources at one time, and of the fields that start at random."""
    drawn = [
        Stored(name=g.name, role=Role.NOISE, shape=(g.size, f"paths_{g.site}"), site=g.site)
        for g in program.sampling.groups
    ]
    for field in (start.field for start in program.sampling.starts):
        shape = (*_lengths(field), f"paths_{field.site}")
        drawn.append(Stored(name=f"{field}_start", role=Role.NOISE, shape=shape, site=field.site))
    return tuple(drawn)


# --- backward in time ---------------------------------------------------------------------------------------------


def storage_of_adjoint_noise(program: Program, group: SourceGroup) -> tuple[Stored, ...]:
    """The adjoints of an evolving group of sources: of its factor, of its basis, and of what recalls it."""
    name, size, opened = group.name, times_size("steps", group.size), _opened(group)
    arrays = [Stored(name=f"adj_factor_{name}", role=Role.ADJOINT, shape=(COLUMNS.size, size, size))]
    if group.basis:
        shape = (opened, COLUMNS.size, f"paths_{group.basis}")
        arrays.append(Stored(name=f"adj_basis_{name}", role=Role.ADJOINT, shape=shape, site=group.basis, kept=True))
    for target in (r.target.tensor for r in recalls_of(program, group)):
        shape = ("steps", "*".join(_lengths(target)) or "1", opened)
        arrays.append(Stored(name=f"coefficients_{target.name}", role=Role.ADJOINT, shape=shape))
    return tuple(arrays)


def storage_of_fresh(first: SourceGroup, second: SourceGroup) -> Stored:
    """The adjoints of the averages <e n> of functions e of one use of a matrix and new normals n of the other."""
    shape = (COLUMNS.size, _opened(first), _opened(second))
    return Stored(name=f"adj_fresh_{first.name}_{second.name}", role=Role.ADJOINT, shape=shape)


def recalls_of(program: Program, group: SourceGroup) -> list[RecallMemory]:
    """The memories that a group of sources is recalled in, by the statements of a sweep backward in time."""
    found = [s.recall for s in program.sweep.step if isinstance(s, AdjointRecall)]
    return [r for r in found if r.group.name == group.name]


def at_most(array: Stored, groups: tuple[SourceGroup, ...]) -> Stored:
    """The array with the largest numbers of directions that its groups of sources can have opened."""
    bounds = {_opened(g): times_size("steps", g.size) for g in groups}
    return replace(array, shape=tuple(bounds.get(s, s) for s in array.shape))


def _opened(group: SourceGroup) -> str:
    return f"ranks_{group.name}[steps]"


def _lengths(tensor: Tensor, times: bool = False) -> tuple[str, ...]:
    return tuple(length_of(i.axis) for i in tensor.indices if times or not i.is_time)
