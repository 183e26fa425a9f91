"""The arrays of a sweep backward in time as one plan, like those of `storage`."""

from dmftsym.codegen.arrays import size_code
from dmftsym.codegen.sources import group_size, times_size
from dmftsym.codegen.storage import Amounts, Stored, amounts_of_arrays, replace_sizes, tuple_code
from dmftsym.codegen.targets import Target
from dmftsym.linearise.records import Influences
from dmftsym.program.axes import COLUMNS
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements import AdjointRecall, RecallMemory


def adjoint_amounts(sweep: str, influences: Influences, target: Target) -> Amounts:
    """What the sweep holds beside what was recorded; pairs of paths of closed sites are not among it."""
    program = influences.adjoint
    arrays = [s for a in program.sweep.buffers if a.role is not Role.GIVEN for s in stored_adjoint(a, target)]
    for group in (g for g in program.sampling.groups if g.evolving):
        stored = stored_adjoints_of_group(influences, group, target)
        arrays += [replace_sizes(a, f"size_{group.name}", group_size(group)) for a in stored]
    arrays += [
        Stored(a.name, (COLUMNS.size, *(times_size("steps", group_size(g)) for g in pair)), a.made)
        for pair in influences.duals
        for a in stored_fresh(*pair, target)
    ]
    return amounts_of_arrays(sweep, arrays, program.sampling.sites)


def stored_adjoint(array: Buffer, target: Target) -> tuple[Stored, ...]:
    """The array of an adjoint that the sweep itself allocates."""
    name, tensor, site = array.tensor.name, array.tensor, array.site
    if not site:
        shape = tuple(size_code(i.axis) for i in tensor.indices)
        return (Stored(name, shape, f"{target.xp}.zeros({tuple_code(shape)})"),)
    late = array.role is Role.PAIRING
    shape = (*(size_code(i.axis) for i in tensor.indices if late or not i.is_time), f"paths_{site}")
    if array.history and array.role not in (Role.PAIRING, Role.INFLUENCE):
        make = "empty" if array.role is Role.ASSIGNED_ADJOINT else "zeros"
        shape = ("steps", *shape)
        return (Stored(f"{name}_history", shape, f"{target.xp}.{make}({tuple_code(shape)})", site, True),)
    return (Stored(name, shape, f"{target.xp}.zeros({tuple_code(shape)})", site, late),)


def stored_adjoints_of_group(influences: Influences, group: SourceGroup, target: Target) -> tuple[Stored, ...]:
    """The adjoints of a group of sources: of its factor, of its basis, and of what recalls it."""
    name, xp, size = group.name, target.xp, times_size("steps", f"size_{group.name}")
    arrays = [Stored(f"adj_factor_{name}", (COLUMNS.size, size, size), f"{xp}.zeros((columns, *factor_{name}.shape))")]
    if group.basis:
        shape = (size, COLUMNS.size, f"paths_{group.basis}")
        made = f"{xp}.zeros((ranks_{name}[steps], columns, paths_{group.basis}))"
        arrays.append(Stored(f"adj_basis_{name}", shape, made, group.basis, True))
    for recall in recalls_of(influences, group):
        spatial = "*".join(size_code(i.axis) for i in recall.target.indices if not i.is_time) or "1"
        made = f"{xp}.zeros((steps, {spatial}, ranks_{name}[steps]))"
        arrays.append(Stored(f"coefficients_{recall.target.tensor.name}", ("steps", spatial, size), made))
    return tuple(arrays)


def stored_fresh(first: SourceGroup, second: SourceGroup, target: Target) -> tuple[Stored, ...]:
    """The adjoints of the averages <e n> of functions e of one use of a matrix and new normals n of the other."""
    shape = (COLUMNS.size, f"ranks_{first.name}[steps]", f"ranks_{second.name}[steps]")
    return (Stored(f"adj_fresh_{first.name}_{second.name}", shape, f"{target.xp}.zeros({tuple_code(shape)})"),)


def recalls_of(influences: Influences, group: SourceGroup) -> list[RecallMemory]:
    """The memories that a group of sources is recalled in."""
    found = [s.recall for s in influences.adjoint.sweep.step if isinstance(s, AdjointRecall)]
    return [r for r in found if r.group.name == group.name]
