"""First-order changes of updates: each statement of a program differentiated once, one column a direction."""

from collections.abc import Iterable
from dataclasses import replace

from sympy import Expr

from dmftsym.derivation.functional import variation
from dmftsym.derivation.jumps import without_jumps
from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.language.terms import Term, entries_of
from dmftsym.lowering.lower import Lowered
from dmftsym.program.axes import COLUMNS
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.nodes import Node, node_of
from dmftsym.program.schedule import Schedule
from dmftsym.program.statements import Assign, Update


class TangentWriter:
    """Writes the first-order change of every update, one column a direction, and the slopes that it needs.

    It is what the tangent rules of statements ask (see `Tangents`): the column, the changes of entries, the weights.
    """

    def __init__(self, lowered: Lowered, active: tuple[str, ...], noisy: tuple[str, ...] = ()):
        """`noisy` order parameters change by noise of their own, besides what their averages change."""
        self.noisy = noisy
        self.lowered, self.builder, self.now, self.active = lowered, lowered.builder, lowered.builder.now, active
        self.column = Index(_free_name(lowered), COLUMNS)
        self.slopes: dict[str, list[Assign]] = {}
        self.buffers: dict[str, Buffer] = {}
        self.jumping: list[str] = []
        self.origin: dict[Tensor, Tensor] = {}  # of what a tensor is the change
        self._known = {
            s.expression: s.target
            for n in timed_nodes(lowered.schedule)
            for s in n.statements
            if isinstance(s, Assign) and not s.starts
        }

    # --- names ------------------------------------------------------------------------------------

    def varied_tensor(self, tensor: Tensor) -> Tensor:
        """The tensor of a quantity's first-order change: one more index, the column, before its first time."""
        first = tensor.time_slots[0] if tensor.time_slots else len(tensor.indices)
        indices = (*tensor.indices[:first], self.column, *tensor.indices[first:])
        taken = f"d_{tensor.name}" in self.builder.buffers
        varied = Tensor(f"d_{tensor.name}{'_change' if taken else ''}", "definition", indices, tensor.site)
        self.origin[varied] = tensor
        return varied

    def change_of(self, entry: Entry) -> Entry | None:
        """The first-order change of an entry, or None if it does not change."""
        tensor = entry.tensor
        name = self.builder.drawn.get(tensor.name) if tensor.kind == "source" else tensor.name
        return self.change(entry) if name in self.active else None

    def change(self, entry: Entry) -> Entry:
        """The first-order change of an entry that changes."""
        first = entry.tensor.time_slots[0] if entry.tensor.time_slots else len(entry.tensor.indices)
        return self.varied_tensor(entry.tensor)[(*entry.indices[:first], self.column, *entry.indices[first:])]

    def mode(self, site: str) -> Entry:
        """The relative changes of the weights of a site's paths."""
        tensor = Tensor(f"mode_{site}", "definition", (self.column,), site)
        self.buffers[tensor.name] = Buffer(tensor, Role.MODE)
        return tensor[self.column]

    def noise(self, target: Entry) -> tuple[Term, ...]:
        """What noise of its own adds to an order parameter."""
        if target.tensor.name not in self.noisy:
            return ()
        change = self.change(target)
        tensor = Tensor(f"shift_{target.tensor.name}", "definition", change.tensor.indices)
        self.buffers[tensor.name] = Buffer(tensor, Role.SHIFT, of=target.tensor)
        return (Term(tensor[change.indices]),)

    # --- one node ---------------------------------------------------------------------------------

    def node(self, node: Node) -> Node:
        """The node that updates the first-order change of a node's quantity."""
        statements = tuple(s.tangent(self) for s in node.statements)
        for tensor in (t for s in statements for t in s.writes):
            self.buffers[tensor.name] = Buffer(tensor, Role.VARIATION, of=self.origin[tensor])
        name = next((s.target.tensor.name for s in statements if isinstance(s, Update)), f"d_{node.name}")
        changed = node_of(name, f"change of {node.label}", statements, self.now, {})
        reads = tuple((name, moment) for name, moment in changed.reads if moment is not None)
        changed = replace(changed, reads=reads, rows=(), sources=(), auxiliary=True)
        return replace(changed, site=node.site, epilogue=node.epilogue)

    def with_slopes(self, node: Node) -> Node:
        """A node of the program itself, with the slopes of its updates computed first."""
        return replace(node, statements=(*self.slopes.get(node.name, ()), *node.statements))

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
            self.builder.unique_name(f"slope_{target.tensor.name}_{entry.tensor.name}"),
            "definition",
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


def _free_name(lowered: Lowered) -> str:
    action = lowered.action
    taken = {i.name for i in action.indices} | {p.name for p in action.parameters} | set(lowered.builder.buffers)
    taken |= {d.tensor.name for d in action.data} | {a.size for a in action.axes} | {s.name for s in action.sites}
    return next(name for name in ("r", "q", "k", "direction") if name not in taken)
