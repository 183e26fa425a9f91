"""Which quantities at one time stay the same when two of their indices change places, such as a kernel of two samples.

Their entries are equal and fluctuate alike, so that one of each two needs a sweep backward in time.
"""

from sympy import Expr

from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Term, entries_of
from dmftsym.program.program import Program
from dmftsym.program.statements import Contract, Evaluate, Statement


def exchangeable(program: Program) -> dict[str, tuple[int, int]]:
    """The places of the two indices, by name: as far as the only statement that gives a quantity shows it.

    Both indices are of one axis; everything in the statement is unchanged when they change places, given that the data
    and the earlier quantities are which are known to be.
    """
    found: dict[str, tuple[int, int]] = {}
    data = {d.tensor for d in program.facts.data if d.tensor.name in program.facts.symmetric_data}
    found |= {tensor.name: (0, 1) for tensor in data if len(tensor.indices) == 2}
    writers: dict[str, list[Statement]] = {}
    for statement in (*program.sweep.step, *program.sweep.epilogue):
        for tensor in statement.writes:
            writers.setdefault(tensor.name, []).append(statement)
    for statement in program.sweep.step:
        if not isinstance(statement, Contract | Evaluate) or len(writers[statement.target.tensor.name]) > 1:
            continue
        terms, places = _terms(statement), _two_alike(statement.target)
        if terms is not None and places is not None:
            one, other = (statement.target.indices[k] for k in places)
            same = [_ordered(body, found) for body in terms]
            exchanged = [_ordered(body.xreplace({one: other, other: one}), found) for body in terms]
            if sorted(map(str, same)) == sorted(map(str, exchanged)) and sum(same) - sum(exchanged) == 0:
                found[statement.target.tensor.name] = places
    return {name: places for name, places in found.items() if name in writers}


def _terms(statement: Contract | Evaluate) -> list[Expr] | None:
    """What is summed, or None where constraints or earlier times have a part in it."""
    if statement.constraints or statement.accumulate:
        return None
    if isinstance(statement, Evaluate):
        terms: tuple[Term, ...] = statement.terms
        pieces = []
        if statement.starts or statement.initial is not None:
            return None
    else:
        terms, pieces = statement.explicit, list(statement.pieces)
    if any(t.constraints for t in terms) or any(p.constraints or p.mode for p in pieces):
        return None
    return [*(t.body for t in terms), *(p.body for p in pieces)]


def _two_alike(target: Entry) -> tuple[int, int] | None:
    """The places of the two indices of a target that has two of one axis, beside its time."""
    indices = [k for k, i in enumerate(target.indices) if not i.is_time]
    if len(indices) != 2 or len(target.indices) > 3:
        return None
    first, second = (target.indices[k] for k in indices)
    alike = isinstance(first, Index) and isinstance(second, Index) and first.axis == second.axis and first != second
    return (indices[0], indices[1]) if alike else None


def _ordered(expr: Expr, known: dict[str, tuple[int, int]]) -> Expr:
    """The expression with the two indices of every entry that is known in one order."""
    changed = {}
    for entry in entries_of(expr):
        if entry.tensor.name in known:
            one, other = known[entry.tensor.name]
            indices = list(entry.indices)
            indices[one], indices[other] = sorted((indices[one], indices[other]), key=str)
            changed[entry] = entry.tensor[tuple(indices)]
    return expr.xreplace(changed)
