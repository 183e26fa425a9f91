"""What a sweep backward in time passes on from step to step, where its columns may be replaced by combinations."""

from dmftsym.linearise.records import Influences
from dmftsym.program.axes import COLUMNS
from dmftsym.program.buffers import Role
from dmftsym.program.storage import Stored, storage_of

_OVERWRITTEN = (Role.ADJOINT, Role.ASSIGNED_ADJOINT)  # of a site, at every step


def joined_columns(influences: Influences) -> dict:
    """The keys of the template: arrays with the axes of columns and of times or paths, influences, and matrices.

    Empty for programs whose columns stay as they are: those that hold no matrices, and those with sources that are
    drawn anew, sites that are closed exactly, or arrays over paths with all times.
    """
    program = influences.adjoint
    held = [a for a in storage_of(program) if a.columns and a.backward]
    matrices = tuple(dict.fromkeys(d.matrix.name for d in program.sampling.directions))
    closed = [site for site, reason in program.sampling.closure if not reason]
    drawn = [g for g in program.sampling.groups if g.evolving or g.kicks]
    whole = [a for a in held if a.kept or a.role is Role.PAIRING]
    if not matrices or closed or drawn or whole or influences.noise:
        return {}
    arrays = [a for a in held if a.role is not Role.INFLUENCE and not (a.site and a.role in _OVERWRITTEN)]
    found = {a.site: a.name for a in held if a.role is Role.INFLUENCE}
    return {"arrays": {a.name: _axes(a) for a in arrays}, "influences": found, "matrices": matrices}


def _axes(array: Stored) -> tuple[int, int | None]:
    """The axes of the columns and of the times, or of the paths; None for two times, all of which may be read."""
    column, times = array.shape.index(COLUMNS.size), [k for k, size in enumerate(array.shape) if size == "steps"]
    return column, None if len(times) > 1 else times[0] if times else -1
