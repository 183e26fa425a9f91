"""`linearise`: how every quantity of a program changes, to first order, when the path weights change.

A network of width N is a sample of N single-site paths: its order parameters are averages with fluctuating weights.
To leading order the fluctuations are those of the linear response to a change w -> w (1 + psi) of the weights, and
N Cov = sum over orthonormal functions psi_r of the responses (theory: (I - D)^-1 kappa (I - D)^-T with kappa factored).
"""

from collections.abc import Iterable
from dataclasses import replace

from sympy import Add, Dummy, Expr, Mul

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.functional import variation
from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.language.terms import Before, Term, as_expression, entries_of
from dmftsym.lowering.assemble import history_arrays, kernels_of
from dmftsym.lowering.feedback import Feedback, find_feedback
from dmftsym.lowering.ir import (
    COLUMNS,
    Array,
    Assign,
    Contract,
    Draw,
    DrawVariation,
    Evaluate,
    Fluctuations,
    Piece,
    Program,
    Sketch,
    Statement,
)
from dmftsym.lowering.jumps import has_jump, without_jumps
from dmftsym.lowering.lower import Lowered, lower, program_of
from dmftsym.lowering.quantities import Node
from dmftsym.lowering.schedule import Schedule
from dmftsym.lowering.schemes import Scheme
from dmftsym.lowering.tangent_kernels import tangent_kernels_of
from dmftsym.lowering.times import latest


def linearise(
    equations: Derivation, scheme: Scheme, requested: tuple[str, ...]
) -> tuple[Fluctuations | None, Feedback | None]:
    """The tangent of a model on its time grid, for the covariances of the requested quantities; None if there are none.

    Raises `LoweringError` for a quantity that does not fluctuate or is not differentiable. Cost: linear in the size
    of the program.
    """
    if not requested:
        return None, None
    lowered = lower(equations, scheme, requested)
    feedback = find_feedback(lowered, requested)
    program = program_of(lowered)
    writer = TangentWriter(lowered, feedback.active)
    tangent = writer.program(program)
    direct = TangentWriter(lowered, feedback.following).program(program) if feedback.observed else None
    heads = {t.name: t for t in program.outputs}
    pairs = tuple((heads[name], writer.varied_tensor(heads[name])) for name in requested)
    following = tuple(name for name in requested if name in feedback.following)
    weights = tuple((s.name, s.weight) for s in lowered.action.sites)
    sketch = writer.sketch_program(program, feedback)
    return Fluctuations(tangent, direct, sketch, writer.column, pairs, following, weights, tuple(writer.jumps)), feedback


def _timed(schedule: Schedule) -> tuple[Node, ...]:
    return (*schedule.step, *schedule.epilogue)


class TangentWriter:
    """Writes the first-order change of every update, one column a direction, and the slopes that it needs."""

    def __init__(self, lowered: Lowered, active: tuple[str, ...]):
        self.lowered, self.builder, self.now, self.active = lowered, lowered.builder, lowered.builder.now, active
        self.column = Index(_free_name(lowered), COLUMNS)
        self.slopes: dict[str, list[Assign]] = {}
        self.arrays: dict[str, Array] = {}
        self.jumps: list[str] = []
        self._known = {
            s.expression: s.target
            for n in _timed(lowered.schedule)
            for s in n.statements
            if isinstance(s, Assign) and not s.starts
        }

    # --- names ------------------------------------------------------------------------------------

    def varied_tensor(self, tensor: Tensor) -> Tensor:
        """The tensor of a quantity's first-order change: one more index, the column, before its first time."""
        first = tensor.time_slots[0] if tensor.time_slots else len(tensor.indices)
        indices = (*tensor.indices[:first], self.column, *tensor.indices[first:])
        return Tensor(f"d_{tensor.name}", "definition", indices, tensor.site)

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

    # --- one node ---------------------------------------------------------------------------------

    def node(self, node: Node) -> Node:
        """The node that updates the first-order change of a node's quantity."""
        statements = tuple(self._change(s) for s in node.statements)
        for statement in statements:
            for tensor in _targets(statement):
                varied = self.varied_tensor(tensor) if isinstance(statement, DrawVariation) else tensor
                self.arrays[varied.name] = Array(varied, "variation")
        reads = tuple(dict.fromkeys(r for s in statements for r in self._reads(s, node.label)))
        return Node(f"d_{node.name}", f"change of {node.label}", statements, reads, node.site, node.epilogue, True)

    def with_slopes(self, node: Node) -> Node:
        """A node of the program itself, with the slopes of its updates computed first."""
        return replace(node, statements=(*self.slopes.get(node.name, ()), *node.statements))

    def _change(self, statement: Statement) -> Statement:
        match statement:
            case Assign():
                return self._assign(statement)
            case Contract():
                return self._contract(statement)
            case Evaluate():
                target = self._target(statement.target)
                terms = self._vary(statement.terms, statement.target)
                return Evaluate(target, terms, f"{target} = {as_expression(terms)}", statement.constraints)
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
        explicit = self._vary(contract.explicit, contract.target)
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
        for term in self._vary((Term(piece.scalar * piece.coefficient),), None):
            shared = [f for f in Mul.make_args(term.body) if f.atoms(Index) - {self.now}]
            scalar = term.body / Mul(*shared)
            result.append(Piece(scalar, Mul(*shared), piece.operands, piece.constraints))
        return result

    def _vary(self, terms: Iterable[Term], of: Entry | None) -> tuple[Term, ...]:
        changed = variation(tuple(terms), self.change_of)
        # away from its jumps a function of order parameters, which do not scatter, is as good as smooth
        changed = tuple(replace(t, body=without_jumps(t.body)) for t in changed)
        return tuple(t for t in changed if t.body != 0)

    def _draw(self, draw: Draw) -> DrawVariation:
        blocks = tuple(replace(b, terms=self._vary(b.terms, None)) for b in draw.group.blocks)
        line = "; ".join(f"change of <{b.left} {b.right}>: {as_expression(b.terms)}" for b in blocks if b.terms)
        return DrawVariation(draw.group, blocks, line)

    def _reads(self, statement: Statement, label: str):
        for body, constraints in _bodies(statement):
            for entry in entries_of(body):
                if entry.tensor.kind != "data" and entry.tensor.time_slots:
                    limits = (
                        (*constraints, Before(self._other(entry), self.now, True))
                        if _is_draw(statement)
                        else constraints
                    )
                    yield entry.tensor.name, latest(entry, self.now, limits, label)

    def _other(self, entry: Entry) -> Index:
        other = [t for t in entry.times if isinstance(t, Index) and t != self.now]
        return other[0] if other else self.now

    # --- whole programs ---------------------------------------------------------------------------

    def program(self, program: Program) -> Program:
        """The tangent program: a step of the program itself, then the first-order change of that step."""
        schedule = self.lowered.schedule
        nodes = {n.name: self.node(n) for n in _timed(schedule) if n.name in self.active}
        base = {n.name: self.with_slopes(n) for n in _timed(schedule)}
        step = (*[base[n.name] for n in schedule.step], *[nodes[n.name] for n in schedule.step if n.name in nodes])
        last = (
            *[base[n.name] for n in schedule.epilogue],
            *[nodes[n.name] for n in schedule.epilogue if n.name in nodes],
        )
        assembled = self._assembled(program, Schedule(schedule.constants, step, last), self.arrays)
        changes = [[nodes[n.name] for n in part if n.name in nodes] for part in (schedule.step, schedule.epilogue)]
        histories = {a.tensor.name for a in assembled.arrays if a.history}
        counts: dict[str, int] = {}
        return replace(
            assembled,
            step=(*kernels_of(step[: len(schedule.step)]), *tangent_kernels_of(changes[0], histories, counts)),
            epilogue=(
                *[s for n in last[: len(schedule.epilogue)] for s in n.statements],
                *tangent_kernels_of(changes[1], histories, counts),
            ),
        )

    def sketch_program(self, program: Program, feedback: Feedback) -> Program:
        """The program that adds up random combinations of the observables of all fluctuating averages."""
        sketches, arrays = [], {}
        for node in _timed(self.lowered.schedule):
            kind = "sketch" if node.name in feedback.closed else "observed" if node.name in feedback.observed else ""
            for statement in node.statements if kind else ():
                if isinstance(statement, Contract) and statement.pieces:
                    for sketch in self._sketches(statement, kind):
                        arrays[sketch.target.tensor.name] = Array(sketch.target.tensor, "sketch")
                        sketches.append(sketch)
        plain = self.lowered.schedule
        node = Node("sketch", "random combinations", tuple(sketches), (), auxiliary=True)
        schedule = Schedule(plain.constants, (*plain.step, node), plain.epilogue)
        return self._assembled(program, schedule, arrays)

    def _sketches(self, contract: Contract, kind: str) -> list[Sketch]:
        free = tuple(i for i in contract.target.indices if isinstance(i, Index) and i != self.now)
        omega = Tensor(f"omega_{contract.target.tensor.name}", "definition", (*free, self.column))
        result = []
        for site in dict.fromkeys(p.operands[0].tensor.site for p in contract.pieces):
            target = Tensor(f"{kind}_{site}", "definition", (self.column,), site)
            pieces = tuple(
                replace(p, coefficient=p.coefficient * omega[(*free, self.column)])
                for p in contract.pieces
                if p.operands[0].tensor.site == site
            )
            line = f"random combinations of the observable of {contract.target}"
            result.append(Sketch(target[self.column], omega, pieces, line))
        return result

    def _assembled(self, program: Program, schedule: Schedule, extra: dict[str, Array]) -> Program:
        everything = self.builder.arrays | extra
        history = history_arrays(schedule, everything)
        return replace(
            program,
            axes=(*program.axes, COLUMNS),
            arrays=tuple(replace(a, history=name in history) for name, a in everything.items()),
            step=kernels_of(schedule.step),
            epilogue=tuple(s for n in schedule.epilogue for s in n.statements),
        )


def _targets(statement: Statement) -> list[Tensor]:
    if isinstance(statement, DrawVariation):
        return [m.tensor for m in statement.group.members]
    return [statement.target.tensor] if isinstance(statement, Assign | Contract | Evaluate) else []


def _bodies(statement: Statement):
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
                for term in block.terms:
                    yield term.body, term.constraints


def _is_draw(statement: Statement) -> bool:
    return isinstance(statement, DrawVariation)


def _equation(target: Entry, pieces: list[Piece], explicit: tuple[Term, ...]) -> str:
    parts = [str(p.scalar * p.coefficient * Mul(*p.operands)) for p in pieces]
    inside = " + ".join(parts).replace("+ -", "- ")
    return f"{target}: change by {inside}" + (f" + {as_expression(explicit)}" if explicit else "")


def _free_name(lowered: Lowered) -> str:
    action = lowered.action
    taken = {i.name for i in action.indices} | {p.name for p in action.parameters} | set(lowered.builder.arrays)
    taken |= {d.tensor.name for d in action.data}
    return next(name for name in ("r", "q", "k", "direction") if name not in taken)
