"""First-order changes of updates: each statement of a program differentiated once, one column a direction."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sympy import Expr

from dmftsym.derivation.functional import variation
from dmftsym.derivation.jumps import without_jumps
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Term, entries_of
from dmftsym.lowering.lower import Lowered
from dmftsym.program.axes import COLUMNS
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.nodes import Node, node_of
from dmftsym.program.schedule import Schedule
from dmftsym.program.statements import Assign, Statement, Update


class TangentWriter:
    """Writes the first-order change of every update along one axis, and the slopes that it needs.

    It is what the tangent rules of statements ask (see `Tangents`): the column, the changes of entries, the weights.
    The nodes may be those of a tangent themselves: then the changes are second ones. A random source whose covariance
    changes has no second change yet.
    """

    def __init__(self, nodes: Iterable[Node], now: Index, column: Index, names: "Names", noisy: tuple[str, ...] = ()):
        """`nodes` are those whose quantities change; `noisy` order parameters change by noise of their own, besides."""
        self.now, self.column, self.names, self.noisy = now, column, names, noisy
        self.nodes = tuple(nodes)
        self.owner = {name: n.name for n in self.nodes for name in n.writes}
        self.slopes: dict[str, list[Assign]] = {}
        self.buffers: dict[str, Buffer] = {}
        self.jumping: list[str] = []
        self.origin: dict[Tensor, Tensor] = {}  # of what a tensor is the change
        self._known = {s.expression: s.target for s in names.statements if isinstance(s, Assign) and not s.starts}

    # --- names ------------------------------------------------------------------------------------

    def varied_tensor(self, tensor: Tensor) -> Tensor:
        """The tensor of a quantity's first-order change: one more index, the column, before its first time."""
        first = tensor.time_slots[0] if tensor.time_slots else len(tensor.indices)
        indices = (*tensor.indices[:first], self.column, *tensor.indices[first:])
        varied = Tensor(self.names.of_change(tensor), Kind.DEFINITION, indices, tensor.site)
        self.origin[varied] = tensor
        return varied

    def change_of(self, entry: Entry) -> Entry | None:
        """The first-order change of an entry, or None if it does not change."""
        return self.change(entry) if entry.tensor.name in self.owner else None

    def change(self, entry: Entry) -> Entry:
        """The first-order change of an entry that changes."""
        first = entry.tensor.time_slots[0] if entry.tensor.time_slots else len(entry.tensor.indices)
        return self.varied_tensor(entry.tensor)[(*entry.indices[:first], self.column, *entry.indices[first:])]

    def mode(self, site: str) -> Entry:
        """The relative changes of the weights of a site's paths."""
        tensor = Tensor(self.names.of_mode(site), Kind.DEFINITION, (self.column,), site)
        self.buffers[tensor.name] = Buffer(tensor, Role.MODE)
        return tensor[self.column]

    def noise(self, target: Entry) -> tuple[Term, ...]:
        """What noise of its own adds to an order parameter."""
        if target.tensor.name not in self.noisy:
            return ()
        change = self.change(target)
        tensor = Tensor(f"shift_{target.tensor.name}", Kind.DEFINITION, change.tensor.indices)
        self.buffers[tensor.name] = Buffer(tensor, Role.SHIFT, of=target.tensor)
        return (Term(tensor[change.indices]),)

    # --- one node ---------------------------------------------------------------------------------

    def node(self, node: Node) -> Node:
        """The node that updates the first-order change of a node's quantity."""
        statements = tuple(s.tangent(self) for s in node.statements)
        for tensor in (t for s in statements for t in s.writes):
            self.buffers[tensor.name] = Buffer(tensor, Role.VARIATION, of=self.origin[tensor])
        name = next(
            (s.target.tensor.name for s in statements if isinstance(s, Update)), f"{self.names.prefix}{node.name}"
        )
        changed = node_of(name, f"change of {node.label}", statements, self.now, {})
        reads = tuple((name, moment) for name, moment in changed.reads if moment is not None)
        changed = replace(changed, reads=reads, rows=(), sources=(), auxiliary=True)
        return replace(changed, site=node.site, epilogue=node.epilogue)

    def with_slopes(self, node: Node) -> Node:
        """A node of the program itself, with the slopes of its updates computed first."""
        slopes = lambda statement: [slope for t in statement.writes for slope in self.slopes.get(t.name, ())]
        return replace(node, statements=tuple(each for s in node.statements for each in (*slopes(s), s)))

    def schedule(self, schedule: Schedule) -> Schedule:
        """A step with its first-order change after it: what a sweep along the column does."""
        mine = {n.name for n in self.nodes}
        changes = {n.name: self.node(n) for n in timed_nodes(schedule) if n.name in mine}
        parts = []
        for part in (schedule.step, schedule.epilogue):
            parts.append((*map(self.with_slopes, part), *(changes[n.name] for n in part if n.name in mine)))
        return Schedule(schedule.constants, *parts)

    def jumps(self, target: Entry) -> None:
        """Note that an update jumps, where its derivative misses a part."""
        if str(target) not in self.jumping:
            self.jumping.append(str(target))

    def slope(self, partial: Expr, target: Entry, entry: Entry) -> Expr:
        """A partial derivative: as it is if it has no site fields, else an array computed beside the update."""
        local = [e for e in entries_of(partial) if e.tensor.site]
        if not local:
            return partial
        if partial in self._known:
            return self._known[partial]
        if isinstance(partial, Entry) and partial.times == (self.now,):
            return partial
        tensor = Tensor(
            self.names.unique(f"slope_{target.tensor.name}_{entry.tensor.name}"),
            Kind.DEFINITION,
            target.tensor.indices,
            target.tensor.site,
        )
        line = f"slope: d({target})/d({entry}) = {partial}"
        slope = tensor[target.indices]
        self.slopes.setdefault(target.tensor.name, []).append(Assign(slope, partial, line))
        self.buffers[tensor.name] = Buffer(tensor, Role.SLOPE)
        if all(t == self.now for e in local for t in e.times):
            self._known[partial] = slope
        return slope

    def vary(self, terms: Iterable[Term]) -> tuple[Term, ...]:
        """The first-order change of a sum of functions of order parameters.

        Order parameters do not fluctuate at N→∞, so a jump away from their value contributes nothing.
        """
        changed = variation(tuple(terms), self.change_of)
        changed = tuple(replace(t, body=without_jumps(t.body)) for t in changed)
        return tuple(t for t in changed if t.body != 0)


def timed_nodes(schedule: Schedule) -> tuple[Node, ...]:
    """The nodes of a step and of its end."""
    return (*schedule.step, *schedule.epilogue)


@dataclass(frozen=True)
class Names:
    """Names of changes along one axis, slopes and weights: `prefix` stands before what changes.

    `taken` are the arrays that exist, `statements` those whose values need no second array, `unique` gives a name that
    is no one else's.
    """

    taken: frozenset[str]
    statements: tuple[Statement, ...]
    unique: Callable[[str], str]
    prefix: str = "d_"
    modes: str = "mode_"

    def of_change(self, tensor: Tensor) -> str:
        """The name of a quantity's change."""
        name = f"{self.prefix}{tensor.name}"
        return f"{name}_change" if name in self.taken else name

    def of_mode(self, site: str) -> str:
        """The name of the relative changes of the weights of a site's paths."""
        return f"{self.modes}{site}"


def tangent_of(lowered: Lowered, active: tuple[str, ...], noisy: tuple[str, ...] = ()) -> TangentWriter:
    """The changes of the active quantities of a lowered model, one column a direction."""
    nodes, builder = timed_nodes(lowered.schedule), lowered.builder
    names = Names(frozenset(builder.buffers), tuple(s for n in nodes for s in n.statements), builder.unique_name)
    return TangentWriter(
        (n for n in nodes if n.name in active), builder.now, Index(_free_name(lowered), COLUMNS), names, noisy
    )


def second_tangent(first: TangentWriter, schedule: Schedule, column: Index) -> TangentWriter:
    """The changes along a second axis of a step and of its first changes: `schedule` is `first.schedule(...)`.

    Its own schedule, from `schedule`, is that of the step, both first changes and the second ones.
    """
    nodes = timed_nodes(schedule)
    moving = {n.name for n in first.nodes} | set(first.buffers)
    statements = tuple(s for n in nodes for s in n.statements)
    names = Names(
        frozenset(first.names.taken | set(first.buffers)), statements, first.names.unique, "dd_", "other_mode_"
    )
    return TangentWriter((n for n in nodes if n.writes & moving), first.now, column, names, first.noisy)


def _free_name(lowered: Lowered) -> str:
    action = lowered.action
    taken = {*action.declared.names, *(s.name for s in action.sites), *lowered.builder.buffers}
    return next(name for name in ("r", "q", "k", "direction") if name not in taken)
