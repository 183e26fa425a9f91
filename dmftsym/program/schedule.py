"""The causal schedule: in which order the quantities of one time step are computed."""

from dataclasses import dataclass

from dmftsym.errors import LoweringError
from dmftsym.language.display import Displayed
from dmftsym.language.symbols import Index
from dmftsym.program.apart import ways_apart
from dmftsym.program.nodes import Node


class InstantaneousLoop(LoweringError):
    """A quantity needs itself at the same time."""


@dataclass(frozen=True)
class Schedule(Displayed):
    """Nodes that do not depend on time, nodes of a step in causal order, and sums over the past that end the step."""

    title = "Schedule"

    constants: tuple[Node, ...]
    step: tuple[Node, ...]
    epilogue: tuple[Node, ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes."""
        return (*self.constants, *self.step, *self.epilogue)

    def text(self) -> str:
        """One line a quantity: what it is and what it reads at this step, earlier, and up to now."""
        lines = [f"before the first step: {n.label}" for n in self.constants]
        lines += [f"{k}. {n.label}{_reads_text(n)}" for k, n in enumerate(self.step, 1)]
        lines += [f"end of step: {n.label}{_reads_text(n)}" for n in self.epilogue]
        return "\n".join(lines)

    def latex_lines(self) -> list[str]:
        """The same as text, one line a quantity."""
        escape = str.maketrans({"_": r"\_", "<": r"$<$", ">": r"$>$"})
        return [rf"\text{{{line.translate(escape)}}}" for line in self.text().splitlines()]


def build_causal_schedule(nodes: dict[str, Node], now: Index | None = None) -> Schedule:
    """Order the nodes so that everything is computed before it is read within a step.

    Nodes of one site follow each other where possible, so that their updates share one loop over sample paths. Where
    quantities wait for each other, those are taken apart of which only a part is needed (if `now` is given).
    Raises `LoweringError` naming the cycle if a quantity needs itself at the same time. Cost: linear in the edges.
    """
    try:
        return _ordered(nodes)
    except InstantaneousLoop as loop:
        for apart in ways_apart(nodes, now) if now is not None else ():
            try:
                return _ordered(apart)
            except InstantaneousLoop:
                continue
        raise loop


def _ordered(nodes: dict[str, Node]) -> Schedule:
    for node in nodes.values():
        unknown = [name for name, _ in node.reads if name not in nodes]
        if unknown:
            raise LoweringError(f"{node.label} reads {unknown[0]}, which has no equation")
    constants = tuple(n for n in nodes.values() if _is_constant(n))
    early = {n.name for n in constants}
    epilogue = tuple(n for n in nodes.values() if n.epilogue)
    late = {n.name for n in epilogue}
    pending = {n.name: n for n in nodes.values() if n.name not in early and n.name not in late}
    waits = {name: _same_step(node, pending) for name, node in pending.items()}
    order: list[Node] = []
    while pending:
        ready = [n for n in pending.values() if not waits[n.name] & pending.keys()]
        if not ready:
            raise InstantaneousLoop(f"instantaneous loop: {_cycle(pending, waits)}; a sum over the past would break it")
        chosen = min(ready, key=lambda n: _distance(n, order[-1] if order else None))
        order.append(pending.pop(chosen.name))
    return Schedule(_sorted_constants(constants), tuple(order), epilogue)


def _distance(node: Node, last: Node | None) -> tuple[bool, bool, bool, int]:
    """How badly a node fits after the last one: the same site comes first, then loops over the same indices."""
    same_site = last is not None and bool(node.site) and node.site == last.site
    same_loops = last is not None and same_site and _loops(node) == _loops(last)
    return not same_site, not same_loops, not node.site, len(_loops(node))


def _loops(node: Node) -> tuple[str, ...]:
    return node.statements[0].loops


def _same_step(node: Node, pending: dict[str, Node]) -> set[str]:
    return {name for name in node.reads_now if name in pending}


def _is_constant(node: Node) -> bool:
    """Whether the node's quantity has no time at all (random sources always have)."""
    return node.statements[0].is_constant


def _sorted_constants(constants: tuple[Node, ...]) -> tuple[Node, ...]:
    names = {n.name for n in constants}
    done: list[Node] = []
    waiting = list(constants)
    while waiting:
        ready = [n for n in waiting if not ({r for r, _ in n.reads} & names) - {d.name for d in done}]
        timed = [n for n in waiting if {r for r, _ in n.reads} - names]
        if timed:
            raise LoweringError(f"{timed[0].label} has no time index but depends on time: declare it with one")
        if not ready:
            raise LoweringError(f"definitions that need each other: {', '.join(n.label for n in waiting)}")
        done += ready
        waiting = [n for n in waiting if n not in ready]
    return tuple(done)


def _cycle(pending: dict[str, Node], waits: dict[str, set[str]]) -> str:
    """One cycle among the waiting nodes, in the user's symbols."""
    name = next(iter(pending))
    path: list[str] = []
    while name not in path:
        path.append(name)
        name = next(n for n in pending if n in waits[name])
    loop = [*path[path.index(name) :], name]
    shown = [n for n in loop if not pending[n].auxiliary] or loop
    if shown[0] != shown[-1]:
        shown.append(shown[0])
    return " <- ".join(pending[n].label for n in shown)


def _reads_text(node: Node) -> str:
    parts = [f"{name}({moment.value})" for name, moment in node.reads if moment is not None]
    return f"  from {', '.join(parts)}" if parts else ""
