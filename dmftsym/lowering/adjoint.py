"""`transpose`: how given quantities depend on the weight of every sample path, from one sweep backward in time.

A network of width N is a sample of N paths a site. The derivative of a quantity with respect to the weight of a path is
its influence function I, and N Cov(a, b) = sum over sites of <I_a I_b>/nu. Every first-order change that
`TangentWriter` writes is a sum of coefficient·(change of x); the adjoint of x adds up coefficient·(adjoint of y) over
all y that read x.
"""

from dataclasses import replace

from sympy import Add, Expr, Mul

from dmftsym.derivation.symmetry import ends_of, symmetric_tensors
from dmftsym.errors import LoweringError
from dmftsym.language.symbols import Entry, Index, Tensor
from dmftsym.language.terms import Before, Term, as_expression, entries_of, gather_powers
from dmftsym.lowering.feedback import Feedback
from dmftsym.lowering.ir import (
    COLUMNS,
    AdjointBasis,
    AdjointDraw,
    AdjointRecall,
    Array,
    Contract,
    DrawVariation,
    Evaluate,
    ExtendBasis,
    Influence,
    Influences,
    Kernel,
    Piece,
    Program,
    RecallMemory,
    SourceGroup,
    Statement,
    is_variation,
)
from dmftsym.lowering.kicks import kick_name
from dmftsym.lowering.links import Link, apart, is_mode, links, rows
from dmftsym.lowering.lower import Lowered
from dmftsym.lowering.quantities import Node
from dmftsym.lowering.tangent import TangentWriter, timed_nodes
from dmftsym.lowering.tangent_kernels import fuse


def transpose(lowered: Lowered, program: Program, feedback: Feedback, requested: tuple[str, ...]) -> Influences:
    """The sweep that records everything, and the sweep backward in time that gives the influence functions.

    Raises `LoweringError` for what cannot be transposed. Cost: linear in the size of the program.
    """
    writer = AdjointWriter(lowered, feedback)
    statements = writer.statements()
    active = set(feedback.active)
    contracts = [s for n in writer.nodes for s in n.statements if isinstance(s, Contract)]
    growing = {s.target.tensor.name for s in contracts if s.accumulate}
    kept = tuple(replace(a, history=bool(a.site) and a.tensor.name not in growing) for a in program.arrays)
    heads = {t.name: t for t in program.outputs}
    adjoint = replace(
        program,
        axes=(*program.axes, COLUMNS),
        arrays=(*(replace(a, role="given") for a in kept if a.history or not a.site), *writer.arrays.values()),
        step=statements,
        epilogue=(),
    )
    return Influences(
        replace(program, arrays=kept),
        adjoint,
        writer.tangent.column,
        tuple(heads[name] for name in requested),
        tuple((s.name, s.weight) for s in lowered.action.sites),
        tuple(writer.tangent.jumps),
        writer.duals,
        tuple(t.name for t in symmetric_tensors(lowered.action) if t.name in active),
    )


class AdjointWriter:
    """Transposes the first-order changes of a schedule, node by node, last node first."""

    def __init__(self, lowered: Lowered, feedback: Feedback):
        self.lowered = lowered
        self.tangent = TangentWriter(lowered, feedback.active)
        self.now, self.column = self.tangent.now, self.tangent.column
        self.nodes = [n for n in timed_nodes(lowered.schedule) if n.name in feedback.active]
        self.symmetric = {t.name for t in symmetric_tensors(lowered.action)}
        self.arrays: dict[str, Array] = {}
        self.gathered: dict[str, list[Statement]] = {}
        self.recalls = [s for n in self.nodes for s in n.statements if isinstance(s, RecallMemory)]
        self.bases = [s for n in self.nodes for s in n.statements if isinstance(s, ExtendBasis)]
        self.duals = self._duals()

    def statements(self) -> tuple[Statement, ...]:
        """The statements of a backward step: slopes, then every node's adjoint, the last node of the step first."""
        pushed = {n.name: [s for one in self._statements_of(n) for s in self._transposed(one)] for n in self.nodes}
        slopes: list[Statement] = []
        for site in dict.fromkeys(a.target.tensor.site for each in self.tangent.slopes.values() for a in each):
            assigns = [a for each in self.tangent.slopes.values() for a in each if a.target.tensor.site == site]
            slopes.append(Kernel(f"slopes_{site}", site, tuple(assigns)))
        for array in [a for a in self.tangent.arrays.values() if a.role == "slope"]:
            self.arrays[array.tensor.name] = array
        backward = [s for n in reversed(self.nodes) for s in (*self.gathered.get(n.name, ()), *pushed[n.name])]
        return (*slopes, *fuse(self._assigned(backward), "adjoint"))

    def _assigned(self, statements: list[Statement]) -> tuple[Statement, ...]:
        """The first statement of a step that adds to an adjoint replaces it instead, where it can."""
        contracts = [s for s in statements if isinstance(s, Contract)]
        # what a later step has added to this one must stay
        seen = {s.target.tensor.name for s in contracts if s.target.times and s.target.times != (self.now,)}
        result = []
        for statement in statements:
            names = _written(statement)
            if isinstance(statement, Contract) and statement.target.tensor.site and names[0] not in seen:
                array = self.arrays[names[0]]
                if array.role == "adjoint" and statement.target.times == (self.now,):
                    statement = replace(statement, accumulate=False)
                    self.arrays[names[0]] = replace(array, role="assigned adjoint")
            seen |= set(names)
            result.append(statement)
        return tuple(result)

    # --- names ------------------------------------------------------------------------------------

    def adjoint(self, entry: Entry) -> Entry:
        """The adjoint of an entry, at the same indices and the column."""
        change = entry if is_variation(entry.tensor) else self.tangent.change_of(entry)
        assert change is not None
        tensor = Tensor(
            f"adj_{change.tensor.name.removeprefix('d_')}", "definition", change.tensor.indices, change.tensor.site
        )
        known = self.arrays.setdefault(tensor.name, Array(tensor, "adjoint"))
        return known.tensor[change.indices]

    def _keep(self, entry: Entry) -> None:
        """All times of this adjoint are needed at once."""
        name = entry.tensor.name
        if entry.tensor.site and name in self.arrays:
            self.arrays[name] = replace(self.arrays[name], history=True)

    # --- one statement ----------------------------------------------------------------------------

    def _statements_of(self, node: Node) -> list[Statement]:
        """The statements of a node; what the second one of a two-time quantity repeats (equal times) counts once."""
        result = list(node.statements[:1])
        for other in node.statements[1:]:
            if isinstance(other, Contract | Evaluate):
                other = replace(other, constraints=tuple(replace(c, inclusive=False) for c in other.constraints))
            result.append(other)
        return result

    def _transposed(self, statement: Statement) -> list[Statement]:
        match statement:
            case RecallMemory():
                return [self._recall(statement)]
            case ExtendBasis():
                return [self._basis(statement)]
        changed = self.tangent.change(statement)
        if isinstance(changed, DrawVariation):
            return self._draw(changed)
        result = []
        for link in links(changed):
            moved = self._transpose_link(link)
            if moved is not None:
                result.append(moved)
        if isinstance(changed, Contract) and changed.averaged:
            result += [self._influence(changed, p) for p in changed.pieces if is_mode(p)]
        if isinstance(statement, Contract | Evaluate):
            result += self._pairings(statement)
        if isinstance(changed, Contract) and changed.accumulate:
            name = self.adjoint(changed.target).tensor.name
            self.arrays[name] = replace(self.arrays[name], role="running adjoint")
        return result

    def _transpose_link(self, link: Link) -> Statement | None:
        """Add coefficient · adjoint of target to the adjoint of source: now or, if read later, at the source's turn."""
        now = self.now
        reader, target = self.adjoint(link.target), self.adjoint(self._canonical(link.source))
        body, constraints = gather_powers(link.coefficient) * reader, link.constraints
        target, body = apart(target, body)
        past = [t for t in link.source.times if isinstance(t, Index) and t != now]
        if len(link.source.times) == 1 and past:
            swap = {past[0]: now, now: past[0]}
            body, target = body.xreplace(swap), target.xreplace(swap)
            constraints = tuple(Before(c.time.xreplace(swap), c.upper.xreplace(swap), c.inclusive) for c in constraints)
            self._keep(reader)
            name = self._owner(link.source.tensor)
            self.gathered.setdefault(name, []).append(self._statement(target, body, constraints))
            return None
        if len(past) > 1:
            raise LoweringError(f"covariances: {link.source} is read at two earlier times, which cannot be transposed")
        if any(t == now - 1 for t in link.source.times):
            self._keep(target)
        return self._statement(target, body, constraints)

    def _canonical(self, source: Entry) -> Entry:
        """The change of a symmetric quantity in the row of its later time."""
        name = source.tensor.name.removeprefix("d_")
        original = self.tangent.builder.arrays[name].tensor if name in self.tangent.builder.arrays else None
        if original is None or name not in self.symmetric or ends_of(original) is None or source.times[0] == self.now:
            return source
        plain = [i for i in source.indices if i != self.column]
        half = len(plain) // 2
        exchanged = [*plain[half:], *plain[:half]]
        place = source.indices.index(self.column)
        return source.tensor[(*exchanged[:place], self.column, *exchanged[place:])]

    def _owner(self, tensor: Tensor) -> str:
        name = tensor.name.removeprefix("d_")
        return self.tangent.builder.drawn.get(name, name)

    def _statement(self, target: Entry, body: Expr, constraints) -> Statement:
        """The statement target += Σ body, an average over paths if the target has none."""
        constraints = tuple(dict.fromkeys(constraints))
        path = [e for e in entries_of(body) if e.tensor.site]
        bound = tuple(
            sorted(body.atoms(Index) - target.atoms(Index) - {self.now}, key=lambda i: (not i.is_time, i.name))
        )
        limits = tuple(c for c in constraints if c.time in bound or c.upper in bound)
        line = f"{target} += {as_expression((Term(body, bound, limits),))}"
        if not path and not target.tensor.site:
            return Evaluate(target, (Term(body, bound, limits),), line, constraints, accumulate=True)
        piece = self._piece(body, constraints)
        averaged = not target.tensor.site
        return Contract(target, (piece,), (), averaged, line, accumulate=True, constraints=constraints)

    def _piece(self, body: Expr, constraints) -> Piece:
        scalar: list[Expr] = []
        indexed: list[Expr] = []
        operands: list[Entry] = []
        for factor in Term(body).factors:
            if any(e.tensor.site for e in entries_of(factor)):
                if not isinstance(factor, Entry):
                    raise LoweringError(f"covariances: {factor} is a function of a path that has no array")
                operands.append(factor)
            else:
                (indexed if factor.atoms(Index) - {self.now} else scalar).append(factor)
        return Piece(Mul(*scalar), Mul(*indexed), tuple(operands), constraints)

    def _influence(self, contract: Contract, piece: Piece) -> Statement:
        """What the weight of a path does to an average directly: adjoint of the average times its observable."""
        operands = tuple(o for o in piece.operands if not o.tensor.name.startswith("mode_"))
        site = operands[0].tensor.site
        body = piece.scalar * piece.coefficient * self.adjoint(contract.target) * Mul(*operands)
        made = self._piece(body, tuple(dict.fromkeys((*contract.constraints, *piece.constraints))))
        tensor = Tensor(f"influence_{site}", "definition", (self.column,), site)
        self.arrays[tensor.name] = Array(tensor, "influence")
        line = f"influence on {contract.target.tensor.name.removeprefix('d_')}"
        return Influence(tensor[self.column], made, line)

    # --- response functions -------------------------------------------------------------------

    def _pairings(self, statement: Contract | Evaluate) -> list[Statement]:
        """What the fluctuations of a response function of a closed site pair with the kicks of its source."""
        response = next((r for r in self.lowered.responses if r.tensor == statement.target.tensor), None)
        if response is None:
            return []
        given = dict(zip(response.tensor.indices, statement.target.indices, strict=True))
        source = tuple(given[i] for i in sorted(response.responder.indices, key=lambda i: not i.is_time))
        kick = kick_name(response.responder.tensor.name)
        tensor = Tensor(f"pairing_{kick}", "definition", (*source, self.column), response.site)
        self.arrays[tensor.name] = Array(tensor, "pairing")
        adjoint = response.coefficient * self.adjoint(statement.target)
        bodies = [adjoint * part.xreplace(given) for t in response.terms for part in Add.make_args(t.body)]
        return [self._statement(tensor[tensor.indices], body, ()) for body in bodies]

    # --- random matrices --------------------------------------------------------------------------

    def _recall(self, recall: RecallMemory) -> Statement:
        memory, observable = self.adjoint(recall.target), self.adjoint(recall.observable)
        self._keep(memory)
        site = recall.observable.tensor.site
        tensor = Tensor(f"influence_{site}", "definition", (self.column,), site)
        self.arrays[tensor.name] = Array(tensor, "influence")
        dual = next((pair for pair in self.duals if recall.group.name in (pair[0].name, pair[1].name)), None)
        if dual is None:
            raise LoweringError(
                f"covariances: the memory {recall.equation} is not that of one random matrix, either with independent "
                f"entries of unit variance and used forward and backward between layers of equal width, or square with "
                f"correlated entries J_ij and J_ji; only those are available"
            )
        return AdjointRecall(recall, memory, observable, dual, f"adjoint of {recall.equation}")

    def _basis(self, basis: ExtendBasis) -> Statement:
        values = tuple(self.adjoint(v) for v in basis.values)
        recalls = tuple(r for r in self.recalls if r.group.name == basis.group.name)
        return AdjointBasis(basis, values, recalls, f"adjoint of {basis.equation}")

    def _draw(self, draw: DrawVariation) -> list[Statement]:
        group = draw.group
        if group.kind != "evolving":
            if any(b.terms for b in draw.blocks):
                raise LoweringError(
                    f"covariances: white noise {group.name} of a covariance that fluctuates is not supported"
                )
            return []
        sources = tuple(self.adjoint(m.tensor[m.tensor.indices]) for m in group.members)
        targets: list[Entry] = []
        result: list[Statement] = []
        ends: list[tuple[str, str]] = []
        for left, right, terms in rows(group, draw.blocks):
            first = left.tensor.time_slots[0]
            indices = (*left.indices[:first], self.column, *left.indices[first:], *right.indices)
            names = dict.fromkeys((left.tensor.name, right.tensor.name))
            tensor = Tensor(f"adj_covariance_{'_'.join(names)}", "definition", indices)
            self.arrays[tensor.name] = Array(tensor, "adjoint")
            targets.append(tensor[indices])
            ends.append((left.tensor.name, right.tensor.name))
            earlier = tuple(Before(t, self.now, True) for t in right.times if t != self.now)
            for term in terms:
                for part in Add.make_args(term.body):
                    change = next(e for e in entries_of(part) if is_variation(e.tensor))
                    body = part / change * tensor[indices]
                    target = self.adjoint(self._canonical(change))
                    result.append(self._statement(target, body, (*term.constraints, *earlier)))
        line = f"adjoint of the draw: {draw.equation}"
        return [AdjointDraw(group, sources, tuple(targets), tuple(ends), line), *result]

    def _duals(self) -> tuple[tuple[SourceGroup, SourceGroup], ...]:
        """Pairs of groups that stand for one matrix: each one's basis lives where the other's sources are."""
        result: list[tuple[SourceGroup, SourceGroup]] = []
        for recall in self.recalls:
            for basis in self.bases:
                values = {v.tensor for v in basis.values}
                first, second = sorted((recall.group, basis.group), key=lambda g: g.name)
                known = self._is_symmetric(recall) if first == second else self._is_plain(first, second)
                if recall.observable.tensor in values and known and (first, second) not in result:
                    result.append((first, second))
        return tuple(result)

    def _is_plain(self, *groups: SourceGroup) -> bool:
        """Whether the entries of the matrix are independent with unit variance, the layers of equal width."""
        if any(s.weight != 1 for s in self.lowered.action.sites):
            return False
        covariances = [t.body for g in groups for b in g.blocks for t in b.terms]
        recalls = [r for r in self.recalls if r.group.name in {g.name for g in groups}]
        return all(isinstance(c, Entry) for c in covariances) and all(r.coefficient == 1 for r in recalls)

    def _is_symmetric(self, recall: RecallMemory) -> bool:
        """Whether a recall is the memory of one square matrix with partially symmetric entries, and its only use."""
        others = [r for r in self.recalls if r.group.name == recall.group.name and r != recall]
        return recall.correlation is not None and len(recall.group.members) == 1 and not others


def _written(statement: Statement) -> list[str]:
    """The names of the adjoints that a statement adds to."""
    match statement:
        case AdjointRecall():
            return [statement.observable.tensor.name]
        case AdjointBasis():
            return [v.tensor.name for v in statement.values]
        case AdjointDraw():
            return [c.tensor.name for c in statement.covariances]
        case Contract() | Evaluate() | Influence():
            return [statement.target.tensor.name]
    return []
