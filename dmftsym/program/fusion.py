"""Which updates share one loop over sample paths, and which site arrays keep all times."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dmftsym.language.symbols import Index
from dmftsym.program.buffers import Buffer
from dmftsym.program.nodes import Node
from dmftsym.program.schedule import Schedule
from dmftsym.program.statements import Assign, Contract, PathLoop, Statement
from dmftsym.program.times import When

LONGEST = 40  # of the name of a loop that lists all its updates


@dataclass(frozen=True, kw_only=True)
class Loops:
    """What may share a loop over the paths of a site, and how such loops are called.

    `sums`: averages and sums over the paths may stand in it, not only elementwise updates; `advance`: the name of
    loops whose targets have an initial value, `stem` that of others.
    """

    stem: str
    advance: str = ""
    sums: bool = False

    def takes(self, statement: Statement) -> bool:
        """Whether a statement can stand in such a loop."""
        return statement.loop_site is not None and (self.sums or statement.elementwise)

    def named(self, loop: PathLoop, names: "LoopNames") -> PathLoop:
        """A loop with its name."""
        return replace(loop, name=names.named(self.advance if loop.starts else self.stem, loop))


UPDATES = Loops(stem="update", advance="advance")
CHANGES = Loops(stem="tangent", advance="tangent_advance", sums=True)
ADJOINTS = Loops(stem="adjoint", sums=True)


def fuse(
    statements: Iterable[Statement], now: Index, loops: Loops, names: "LoopNames | None" = None
) -> tuple[Statement, ...]:
    """The statements in their order, neighbours that run over the paths of one site in one loop.

    A statement begins another loop where it reads or continues an average that the loop is still adding up. `names`
    are given to loops; those of several calls that share them differ.
    """
    names = names or LoopNames()
    result: list[Statement] = []
    sums: set[str] = set()
    for update in (part for statement in statements for part in statement.parts):
        if not loops.takes(update):
            result.append(update)
            continue
        assert isinstance(update, Assign | Contract)  # no other statement has a site in whose loop it can stand
        last = result[-1] if result else None
        written = {t.name for t in update.writes}
        if isinstance(last, PathLoop) and last.takes(update) and not (sums and sums & (written | _read(update, now))):
            result[-1] = replace(last, updates=(*last.updates, update))
        else:
            site, sums = update.loop_site or "", set()
            result.append(PathLoop(name="", site=site, updates=(update,), starts=update.starts))
        sums |= written if update.averages else set()
    return tuple(loops.named(s, names) if isinstance(s, PathLoop) else s for s in result)


def _read(statement: Statement, now: Index) -> set[str]:
    """The arrays that a statement reads at this step."""
    found = statement.accesses(now, statement.equation)
    return {a.name for a in found if a.when is not None and a.when.same_step}


def gathered(nodes: Iterable[Node], in_place: set[str]) -> list[Node]:
    """The nodes in an order in which few loops are needed: those of one site as soon as what they read is there.

    `in_place` names the site arrays that hold one time only: their old value is lost when they are updated.
    """
    pending, order = list(nodes), list[Node]()
    while pending:
        ready = [n for n in pending if not _waits(n, pending, in_place)]
        group = _largest_loop(ready, pending, in_place) or [next(n for n in ready if not _fits(n))]
        order += group
        pending = [n for n in pending if n not in group]
    return order


class LoopNames:
    """Names of loops, which say what these update: up to three names; the second loop of a name gets a number."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def named(self, stem: str, loop: PathLoop) -> str:
        """The name of a further loop."""
        names = [u.target.tensor.name.removeprefix("d_").removeprefix("adj_") for u in loop.updates]
        base, count = "_".join([stem, *names]), 1
        if len(names) > 3 or len(base) > LONGEST:
            base = f"{stem}_{names[0]}_and_more"
        name = base
        while name in self.taken:
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        return name


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
    return any(s.reads_its_neighbours for s in node.statements if name in {t.name for t in s.writes})
