"""Averages over pairs of times that no step needs: made after the last step, as products of matrices.

Step by step, the average of a value at t with all earlier ones reads the whole past of every path again; for all pairs
of times at once it is a product of two matrices, which reads it as often as caches are large.
"""

from dmftsym.language.symbols import Index
from dmftsym.language.terms import entries_of
from dmftsym.program.program import Program
from dmftsym.program.statements import Contract, Statement


def deferred(program: Program) -> Program:
    """The program with such averages after its last step; what a step reads, or what has one factor, stays in it."""
    if program.grid.passes > 1:
        return program
    sweep = program.sweep
    found = [s for s in sweep.step if isinstance(s, Contract) and _of_two_times(s, program)]
    closing = tuple(s for s in found if not _is_read(s, program))
    if not closing:
        return program
    return program.with_sweep(step=tuple(s for s in sweep.step if s not in closing), closing=closing)


def _of_two_times(contract: Contract, program: Program) -> bool:
    """Whether it is the average of a value at t times one at s, of fields that keep all times."""
    now = program.grid.now
    if not (contract.averaged and contract.mirror and len(contract.pieces) == 1) or contract.explicit:
        return False
    (piece,) = contract.pieces
    if piece.mode is not None or piece.coefficient != 1 or entries_of(piece.scalar) or len(piece.operands) != 2:
        return False
    kept = {b.tensor.name for b in program.sweep.buffers if b.history}
    plain = all(isinstance(i, Index) for e in (contract.target, *piece.operands) for i in e.indices)
    times = sorted((e.times for e in piece.operands), key=lambda own: now not in own)
    if not plain or not all(e.tensor.name in kept for e in piece.operands) or any(len(own) != 1 for own in times):
        return False
    return times[0] == (now,) and times[1] != (now,) and set(contract.target.times) == {now, *times[1]}


def _is_read(contract: Contract, program: Program) -> bool:
    """Whether anything else in the sweep reads what it writes."""
    sweep, target = program.sweep, contract.target.tensor
    others = [s for s in (*sweep.step, *sweep.epilogue, *sweep.constants) if s != contract]
    drawn = [term.body for group in program.sampling.groups for block in group.blocks for term in block.terms]
    return any(e.tensor == target for body in [*_bodies(others, program), *drawn] for e in entries_of(body))


def _bodies(statements: list[Statement], program: Program) -> list:
    return [body for statement in statements for body, _ in statement.reads(program.grid.now)]
