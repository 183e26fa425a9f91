"""Which updates share one loop over sample paths, and which site arrays keep all times."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dmftsym.language.terms import entries_of
from dmftsym.program.buffers import Buffer
from dmftsym.program.nodes import Node
from dmftsym.program.schedule import Schedule
from dmftsym.program.statements import Assign, Contract, Kernel, Statement, TangentKernel
from dmftsym.program.times import When

LONGEST = 40  # of the name of a loop that lists all its updates


def kernels_of(nodes: tuple[Node, ...]) -> tuple[Statement, ...]:
    """The statements of a step; neighbouring elementwise updates of one site share a kernel."""
    result: list[Statement] = []
    pending: list[Assign] = []
    numbers = LoopNames()

    def flush() -> None:
        if pending:
            name = numbers.named("advance" if pending[0].starts else "update", pending)
            result.append(Kernel(name, pending[0].site, tuple(pending)))
            pending.clear()

    for statement in (u for node in nodes for s in node.statements for u in s.parts):
        if not isinstance(statement, Assign):
            flush()
            result.append(statement)
            continue
        if pending and (pending[0].starts, pending[0].site) != (statement.starts, statement.site):
            flush()
        pending.append(statement)
    flush()
    return tuple(result)


def tangent_kernels_of(
    nodes: list[Node], in_place: set[str], numbers: "LoopNames | None" = None
) -> tuple[Statement, ...]:
    """The statements of some nodes, those of one site that can run in one loop together.

    Site updates are taken as soon as what they read is there, so that few loops are needed; `numbers` names them.
    `in_place` names the site arrays that hold one time only: their old value is lost when they are updated.
    """
    pending, numbers = list(nodes), numbers or LoopNames()
    result: list[Statement] = []
    while pending:
        ready = [n for n in pending if not _waits(n, pending, in_place)]
        group = _largest_loop(ready, pending, in_place)
        if group:
            (site, starts), updates = _kind(group[0]), tuple(_updates(group))
            name = numbers.named("tangent_advance" if starts else "tangent", updates)
            result.append(TangentKernel(name, site, updates, starts))
        else:
            group = [next(n for n in ready if not _fits(n))]
            result += group[0].statements
        pending = [n for n in pending if n not in group]
    return tuple(result)


def fuse(statements: tuple[Statement, ...], stem: str) -> tuple[Statement, ...]:
    """The statements in their order, neighbours of one site that can run in one loop over its paths together."""
    result: list[Statement] = []
    numbers = LoopNames()
    for statement in statements:
        site = statement.loop_site
        last = result[-1] if result else None
        if site is None or not isinstance(statement, Contract):
            result.append(statement)
        elif isinstance(last, TangentKernel) and last.site == site and not _sums_read(last, statement):
            result[-1] = replace(last, updates=(*last.updates, statement))
        else:
            result.append(TangentKernel("", site, (statement,)))
    named = lambda s: replace(s, name=numbers.named(stem, s.updates)) if isinstance(s, TangentKernel) else s
    return tuple(map(named, result))


class LoopNames:
    """Names of loops, which say what these update: up to three names; the second loop of a name gets a number."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def named(self, stem: str, updates: Sequence[Assign | Contract]) -> str:
        """The name of a further loop."""
        names = [u.target.tensor.name.removeprefix("d_").removeprefix("adj_") for u in updates]
        base, count = "_".join([stem, *names]), 1
        if len(names) > 3 or len(base) > LONGEST:
            base = f"{stem}_{names[0]}_and_more"
        name = base
        while name in self.taken:
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        return name


def _sums_read(kernel: TangentKernel, statement: Contract) -> bool:
    """Whether a statement reads or continues an average that the kernel is still adding up."""
    sums = set(kernel.sums)
    bodies = [p.scalar * p.coefficient for p in statement.pieces]
    return statement.target.tensor in sums or any(e.tensor in sums for b in bodies for e in entries_of(b))


def _largest_loop(ready: list[Node], pending: list[Node], in_place: set[str]) -> list[Node]:
    """Nodes of one site that can share a loop, starting from the first ready one."""
    first = next((n for n in ready if _fits(n)), None)
    group: list[Node] = []
    while first is not None:
        group.append(first)
        left = [n for n in pending if n not in group]
        # an average is there only after the loop that adds it up
        sums = {name for n in group if any(s.averages for s in n.statements) for name in n.writes}
        together = [n for n in left if _fits(n) and _kind(n) == _kind(group[0]) and not sums & n.reads_now]
        first = next((n for n in together if not _waits(n, left, in_place)), None)
    return group


def _waits(node: Node, pending: list[Node], in_place: set[str]) -> bool:
    """Whether a pending node must come first: one that this one reads at this step, or one that reads its old value."""
    for other in pending:
        if other is node:
            continue
        if node.reads_now & other.writes:
            return True
        old = {name for name, moment in other.reads if moment is When.LAG and name in in_place}
        if old & node.writes:
            return True
    return False


def _updates(nodes: list[Node]) -> Iterator[Assign | Contract]:
    for statement in (u for n in nodes for s in n.statements for u in s.parts):
        assert isinstance(statement, Assign | Contract)  # no other statement has a site in whose loop it can stand
        yield statement


def _kind(node: Node) -> tuple[str, bool]:
    statement = node.statements[0]
    return statement.loop_site or "", statement.starts


def _fits(node: Node) -> bool:
    """Whether all statements of a node can stand in a loop over the paths of one site."""
    return all(s.loop_site is not None for s in node.statements)


def history_arrays(schedule: Schedule, buffers: dict[str, Buffer]) -> set[str]:
    """Site arrays of which earlier values are read after they have been overwritten.

    A value of the previous step can be read in place as long as its array is updated later in the step (or by the
    reader itself, element by element); every other look into the past needs all times.
    """
    rank = {n.name: k for k, n in enumerate((*schedule.step, *schedule.epilogue))}
    result = set()
    for node in (*schedule.step, *schedule.epilogue):
        for name, moment in node.reads:
            if name not in buffers or not buffers[name].site or moment in (None, When.NOW):
                continue
            in_place = moment is When.LAG and rank[name] >= rank[node.name] and not _reads_elsewhere(node, name)
            accumulated = any(s.accumulates for s in node.statements)
            if not in_place and not (accumulated and moment is When.PAST):
                result.add(name)
    return result


def _reads_elsewhere(node: Node, name: str) -> bool:
    """Whether an update reads its own array, of that name, at elements that its loop has overwritten or will."""
    own = [s for s in node.statements if isinstance(s, Assign) and s.target.tensor.name == name]
    return any(assign.reads_its_neighbours for assign in own)
