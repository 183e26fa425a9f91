"""First-order changes of updates: each statement of a program differentiated once, one column a direction."""

from collections.abc import Iterable
from dataclasses import replace

from sympy import Add, Dummy, Expr, Mul

from dmftsym.derivation.functional import variation
from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.language.terms import Before, Term, as_expression, entries_of
from dmftsym.lowering.ir import (
    COLUMNS,
    Array,
    Assign,
    Contract,
    Draw,
    DrawVariation,
    Evaluate,
    Piece,
    Statement,
)
from dmftsym.lowering.jumps import has_jump, without_jumps
from dmftsym.lowering.lower import Lowered
from dmftsym.lowering.quantities import Node
from dmftsym.lowering.schedule import Schedule
from dmftsym.lowering.times import latest


class TangentWriter:
    """Writes the first-order change of every update, one column a direction, and the slopes that it needs."""

    def __init__(self, lowered: Lowered, active: tuple[str, ...], noisy: tuple[str, ...] = ()):
        """`noisy` order parameters change by noise of their own, besides what their averages change."""
        self.noisy = noisy
        self.lowered, self.builder, self.now, self.active = lowered, lowered.builder, lowered.builder.now, active
        self.column = Index(_free_name(lowered), COLUMNS)
        self.slopes: dict[str, list[Assign]] = {}
        self.arrays: dict[str, Array] = {}
        self.jumps: list[str] = []
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
        taken = f"d_{tensor.name}" in self.builder.arrays
        return Tensor(f"d_{tensor.name}{'_change' if taken else ''}", "definition", indices, tensor.site)

    def change_of(self, entry: Entry) -> Entry | None:
        """The first-order change of an entry, or None if it does not change."""
        tensor = entry.tensor
        name = self.builder.drawn.get(tensor.name) if tensor.kind == "source" else tensor.name
        if name not in self.active:
            return None
        first = tensor.time_slots[0] if tensor.time_slots else len(tensor.indices)
        return self.varied_tensor(tensor)[(*entry.indices[:first], self.column, *entry.indices[first:])]

    def mode(self, site: str) -> Entry:
        """The relative changes of the weights of a site's paths."""
        tensor = Tensor(f"mode_{site}", "definition", (self.column,), site)
        self.arrays[tensor.name] = Array(tensor, "mode")
        return tensor[self.column]

    def _shift(self, target: Entry) -> tuple[Term, ...]:
        """What noise of its own adds to an order parameter."""
        if target.tensor.name not in self.noisy:
            return ()
        change = self._target(target)
        tensor = Tensor(f"shift_{target.tensor.name}", "definition", change.tensor.indices)
        self.arrays[tensor.name] = Array(tensor, "shift")
        return (Term(tensor[change.indices]),)

    # --- one node ---------------------------------------------------------------------------------

    def node(self, node: Node) -> Node:
        """The node that updates the first-order change of a node's quantity."""
        statements = tuple(self.change(s) for s in node.statements)
        for statement in statements:
            for tensor in _targets(statement):
                varied = self.varied_tensor(tensor) if isinstance(statement, DrawVariation) else tensor
                self.arrays[varied.name] = Array(varied, "variation")
        reads = tuple(dict.fromkeys(r for s in statements for r in self._reads(s, node.label)))
        targets = [t.name for s in statements if not isinstance(s, DrawVariation) for t in _targets(s)]
        name = targets[0] if targets else f"d_{node.name}"
        return Node(name, f"change of {node.label}", statements, reads, node.site, node.epilogue, True)

    def with_slopes(self, node: Node) -> Node:
        """A node of the program itself, with the slopes of its updates computed first."""
        return replace(node, statements=(*self.slopes.get(node.name, ()), *node.statements))

    def change(self, statement: Statement) -> Statement:
        """The statement that updates the first-order change of what a statement updates."""
        match statement:
            case Assign():
                return self._assign(statement)
            case Contract():
                return self._contract(statement)
            case Evaluate():
                target = self._target(statement.target)
                terms = (*self.vary(statement.terms), *self._shift(statement.target))
                line = f"{target} = {as_expression(terms)}"
                return Evaluate(target, terms, line, statement.constraints, statement.starts, statement.accumulate)
            case Draw():
                return self._draw(statement)
        raise TypeError(f"unknown statement {statement!r}")

    def _target(self, target: Entry) -> Entry:
        change = self.change_of(target)
        assert change is not None  # only active nodes are linearised
        return change

    def _assign(self, assign: Assign) -> Assign:
        total: list[Expr] = []
        for entry in entries_of(assign.expression):
            change = self.change_of(entry)
            if change is None:
                continue
            symbol = Dummy(real=True)
            partial = assign.expression.xreplace({entry: symbol}).diff(symbol).xreplace({symbol: entry})
            if has_jump(assign.expression) and str(assign.target) not in self.jumps:
                self.jumps.append(str(assign.target))
            partial = without_jumps(partial)
            total.append(self._slope(partial, assign, entry) * change)
        target = self._target(assign.target)
        expression = Add(*total)
        return Assign(target, expression, f"{target} = {expression}", assign.starts)

    def _slope(self, partial: Expr, assign: Assign, entry: Entry) -> Expr:
        """A partial derivative: as it is if it has no site fields, else an array computed beside the update."""
        local = [e for e in entries_of(partial) if e.tensor.site]
        if not local:
            return partial
        if partial in self._known:
            return self._known[partial]
        if isinstance(partial, Entry) and partial.times == (self.now,):
            return partial
        target = assign.target
        tensor = Tensor(
            self.builder.unique_name(f"slope_{target.tensor.name}_{entry.tensor.name}"),
            "definition",
            target.tensor.indices,
            target.tensor.site,
        )
        line = f"slope: d({target})/d({entry}) = {partial}"
        slope = tensor[target.indices]
        self.slopes.setdefault(target.tensor.name, []).append(Assign(slope, partial, line))
        self.arrays[tensor.name] = Array(tensor, "slope")
        if all(t == self.now for e in local for t in e.times):
            self._known[partial] = slope
        return slope

    def _contract(self, contract: Contract) -> Contract:
        pieces = [p for piece in contract.pieces for p in self._vary_piece(piece)]
        if contract.averaged:
            for piece in contract.pieces:
                mode = self.mode(piece.operands[0].tensor.site)
                pieces.append(replace(piece, operands=(*piece.operands, mode)))
        target = self._target(contract.target)
        explicit = (*self.vary(contract.explicit), *self._shift(contract.target))
        return replace(
            contract,
            target=target,
            pieces=tuple(pieces),
            explicit=explicit,
            equation=_equation(target, pieces, explicit),
        )

    def _vary_piece(self, piece: Piece) -> list[Piece]:
        result = []
        for k, operand in enumerate(piece.operands):
            change = self.change_of(operand)
            if change is not None:
                result.append(replace(piece, operands=(*piece.operands[:k], change, *piece.operands[k + 1 :])))
        for term in self.vary((Term(piece.scalar * piece.coefficient),)):
            factors = Mul.make_args(term.body)
            shared = [f for f in factors if f.atoms(Index) - {self.now}]
            scalar = Mul(*[f for f in factors if f not in shared])
            result.append(Piece(scalar, Mul(*shared), piece.operands, piece.constraints))
        return result

    def vary(self, terms: Iterable[Term]) -> tuple[Term, ...]:
        """The first-order change of a sum of functions of order parameters."""
        changed = variation(tuple(terms), self.change_of)
        # away from its jumps a function of order parameters, which do not scatter, is as good as smooth
        changed = tuple(replace(t, body=without_jumps(t.body)) for t in changed)
        return tuple(t for t in changed if t.body != 0)

    def _draw(self, draw: Draw) -> DrawVariation:
        blocks = tuple(replace(b, terms=self.vary(b.terms)) for b in draw.group.blocks)
        line = "; ".join(f"change of <{b.left} {b.right}>: {as_expression(b.terms)}" for b in blocks if b.terms)
        return DrawVariation(draw.group, blocks, line)

    def _reads(self, statement: Statement, label: str):
        for body, constraints in _bodies(statement, self.now):
            for entry in entries_of(body):
                if entry.tensor.kind != "data" and entry.tensor.time_slots:
                    yield entry.tensor.name, latest(entry, self.now, constraints, label)


def timed_nodes(schedule: Schedule) -> tuple[Node, ...]:
    """The nodes of a step and of its end."""
    return (*schedule.step, *schedule.epilogue)


def _targets(statement: Statement) -> list[Tensor]:
    if isinstance(statement, DrawVariation):
        return [m.tensor for m in statement.group.members]
    return [statement.target.tensor] if isinstance(statement, Assign | Contract | Evaluate) else []


def _bodies(statement: Statement, now: Index):
    """What a statement reads, with the limits on its times."""
    match statement:
        case Assign():
            yield statement.expression, ()
        case Contract():
            for piece in statement.pieces:
                limits = (*statement.constraints, *piece.constraints)
                yield piece.scalar * piece.coefficient * Mul(*piece.operands), limits
            for term in statement.explicit:
                yield term.body, (*statement.constraints, *term.constraints)
        case Evaluate():
            for term in statement.terms:
                yield term.body, (*statement.constraints, *term.constraints)
        case DrawVariation():
            for block in statement.blocks:
                earlier = tuple(Before(t, now, True) for t in block.right.times if t != now)
                for term in block.terms:
                    yield term.body, (*term.constraints, *earlier)


def _equation(target: Entry, pieces: list[Piece], explicit: tuple[Term, ...]) -> str:
    parts = [str(p.scalar * p.coefficient * Mul(*p.operands)) for p in pieces]
    inside = " + ".join(parts).replace("+ -", "- ")
    return f"{target}: change by {inside}" + (f" + {as_expression(explicit)}" if explicit else "")


def _free_name(lowered: Lowered) -> str:
    action = lowered.action
    taken = {i.name for i in action.indices} | {p.name for p in action.parameters} | set(lowered.builder.arrays)
    taken |= {d.tensor.name for d in action.data} | {a.size for a in action.axes} | {s.name for s in action.sites}
    return next(name for name in ("r", "q", "k", "direction") if name not in taken)
