"""From scheduled nodes to statements: fused kernels, and which site arrays keep all times."""

from dmftsym.lowering.accesses import reads_elsewhere
from dmftsym.lowering.ir import Array, Assign, Kernel, Statement
from dmftsym.lowering.quantities import Node
from dmftsym.lowering.schedule import Schedule
from dmftsym.lowering.times import When


def kernels_of(nodes: tuple[Node, ...]) -> tuple[Statement, ...]:
    """The statements of a step; neighbouring elementwise updates of one site share a kernel."""
    result: list[Statement] = []
    pending: list[Assign] = []
    counts: dict[str, int] = {}

    def flush() -> None:
        if not pending:
            return
        site = pending[0].target.tensor.site
        stem = f"{'advance' if pending[0].starts else 'update'}_{site}"
        counts[stem] = counts.get(stem, 0) + 1
        name = stem if counts[stem] == 1 else f"{stem}_{counts[stem]}"
        result.append(Kernel(name, site, tuple(pending)))
        pending.clear()

    for node in nodes:
        for statement in node.statements:
            fits = isinstance(statement, Assign) and (
                not pending or (pending[0].starts == statement.starts and pending[0].target.tensor.site == node.site)
            )
            if not fits:
                flush()
            if isinstance(statement, Assign):
                pending.append(statement)
            else:
                result.append(statement)
    flush()
    return tuple(result)


def history_arrays(schedule: Schedule, arrays: dict[str, Array]) -> set[str]:
    """Site arrays of which earlier values are read after they have been overwritten.

    A value of the previous step can be read in place as long as its array is updated later in the step (or by the
    reader itself, element by element); every other look into the past needs all times.
    """
    rank = {n.name: k for k, n in enumerate((*schedule.step, *schedule.epilogue))}
    result = set()
    for node in (*schedule.step, *schedule.epilogue):
        for name, moment in node.reads:
            if name not in arrays or not arrays[name].site or moment in (None, When.NOW):
                continue
            in_place = moment is When.LAG and rank[name] >= rank[node.name] and not _reads_elsewhere(node, name)
            accumulated = any(getattr(s, "accumulate", False) for s in node.statements)
            if not in_place and not (accumulated and moment is When.PAST):
                result.add(name)
    return result


def _reads_elsewhere(node: Node, name: str) -> bool:
    """Whether an update reads its own array, of that name, at elements that its loop has overwritten or will."""
    assigns = [s for s in node.statements if isinstance(s, Assign) and s.target.tensor.name == name]
    return any(reads_elsewhere(a, a.target) for a in assigns)
