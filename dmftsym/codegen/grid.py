"""Arrays of numbers that the time grid fixes: impulses, and the weights of integrals over the past."""

from dmftsym.codegen.code_lines import names_in
from dmftsym.program.buffers import Role
from dmftsym.program.program import Program

_LINES = {
    Role.ONSET: ("{n} = {xp}.eye(steps)",),
    Role.HALF_ONSET: ("{n} = 1.0 - {xp}.eye(steps)/2", "{n}[0, 0] = 1.0"),
    Role.SECOND_TIME: ("{n} = {xp}.zeros(steps)", "{n}[1:2] = 1.0"),
    Role.PAST_WEIGHT: ("{n} = {xp}.full(steps, dt)", "{n}[0] = dt/2"),
    Role.END_WEIGHT: ("{n} = {xp}.full(steps, dt/2)", "{n}[0] = 0.0"),
}


def grid_lines(program: Program, xp: str, code: list[list[str]]) -> list[list[str]]:
    """Blocks of lines that make those arrays of the time grid that stand in the code."""
    read = names_in(code)
    found = [a for a in program.sweep.buffers if a.role.of_grid and a.tensor.name in read]
    return [[line.format(n=a.tensor.name, xp=xp) for line in _LINES[a.role]] for a in found]
