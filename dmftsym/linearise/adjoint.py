"""`transpose`: how given quantities depend on the weight of every sample path, from one sweep backward in time.

A network of width N is a sample of N paths a site. The derivative of a quantity with respect to the weight of a path is
its influence function I, and N Cov(a, b) = sum over sites of <I_a I_b>/nu. Every first-order change that
`TangentWriter` writes is a sum of coefficient·(change of x); the adjoint of x adds up coefficient·(adjoint of y) over
all y that read x.
"""

from dataclasses import replace

from sympy import Add, Expr, KroneckerDelta

from dmftsym.derivation.symmetry import ends_of, symmetric_tensors
from dmftsym.errors import LoweringError
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Before, Term, as_expression, entries_of, fresh_index, gather_powers
from dmftsym.linearise.exchange import exchangeable
from dmftsym.linearise.feedback import Feedback
from dmftsym.linearise.records import Influences
from dmftsym.linearise.tangent import tangent_of
from dmftsym.lowering.kicks import kick_name
from dmftsym.lowering.lower import Lowered
from dmftsym.program.axes import COLUMNS, has_columns
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.fusion import ADJOINTS, fuse
from dmftsym.program.nodes import Node
from dmftsym.program.program import Program
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements import (
    Contract,
    Evaluate,
    ExtendBasis,
    Influence,
    Link,
    PathLoop,
    Piece,
    RecallMemory,
    Statement,
    product_of,
)


def transpose(lowered: Lowered, program: Program, feedback: Feedback, requested: tuple[str, ...]) -> Influences:
    """The sweep that records everything, and the sweep backward in time that gives the influence functions.

    Raises `LoweringError` for what cannot be transposed. Cost: linear in the size of the program.
    """
    writer = AdjointWriter(lowered, feedback)
    statements = writer.statements()
    active = set(feedback.active)
    growing = {t.name for n in writer.nodes for s in n.statements if s.accumulates for t in s.writes}
    kept = tuple(replace(b, history=bool(b.site) and b.tensor.name not in growing) for b in program.sweep.buffers)
    heads = {t.name: t for t in program.facts.outputs}
    given = (replace(b, role=Role.GIVEN) for b in kept if b.history or not b.site)
    return Influences(
        record=program.with_sweep(buffers=kept),
        adjoint=program.with_axis(COLUMNS).with_sweep(
            buffers=(*given, *writer.buffers.values()), step=statements, epilogue=()
        ),
        column=writer.tangents.column,
        covariances=tuple(heads[name] for name in requested),
        jumps=tuple(writer.tangents.jumping),
        duals=writer.duals,
        symmetric=tuple(t.name for t in symmetric_tensors(lowered.action) if t.name in active),
        exchangeable=tuple((name, *at) for name, at in exchangeable(program).items() if name in requested),
    )


class AdjointWriter:
    """Transposes the first-order changes of a schedule, node by node, last node first.

    It is what the transpose rules of statements ask (see `Transposition`).
    """

    def __init__(self, lowered: Lowered, feedback: Feedback):
        self.lowered = lowered
        self.tangents = tangent_of(lowered, feedback.active)
        self.now, self.column, self.nodes = self.tangents.now, self.tangents.column, self.tangents.nodes
        self.symmetric = {t.name for t in symmetric_tensors(lowered.action)}
        self.buffers: dict[str, Buffer] = {}
        self.gathered: dict[str, list[Statement]] = {}
        self.recalls = [s for n in self.nodes for s in n.statements if isinstance(s, RecallMemory)]
        self.bases = [s for n in self.nodes for s in n.statements if isinstance(s, ExtendBasis)]
        self.duals = self._duals()

    def statements(self) -> tuple[Statement, ...]:
        """The statements of a backward step: slopes, then every node's adjoint, the last node of the step first."""
        pushed = {n.name: [s for one in self._statements_of(n) for s in one.transpose(self)] for n in self.nodes}
        slopes: list[Statement] = []
        every = [a for each in self.tangents.slopes.values() for a in each]
        for site in dict.fromkeys(a.site for a in every):
            updates = tuple(a for a in every if a.site == site)
            slopes.append(PathLoop(name=f"slopes_{site}", site=site, updates=updates))
        for buffer in [b for b in self.tangents.buffers.values() if b.role is Role.SLOPE]:
            self.buffers[buffer.tensor.name] = buffer
        backward = [s for n in reversed(self.nodes) for s in (*self.gathered.get(n.name, ()), *pushed[n.name])]
        return (*slopes, *fuse(self._assigned(backward), self.now, ADJOINTS))

    def _statements_of(self, node: Node) -> list[Statement]:
        """The statements of a node; what the second one of a two-time quantity repeats (equal times) counts once."""
        result = list(node.statements[:1])
        for other in node.statements[1:]:
            if isinstance(other, Contract | Evaluate):
                other = replace(other, constraints=tuple(replace(c, inclusive=False) for c in other.constraints))
            result.append(other)
        return result

    def _assigned(self, statements: list[Statement]) -> tuple[Statement, ...]:
        """Turn the first `+=` to an adjoint into `=`, unless a later step has added to it."""
        contracts = [s for s in statements if isinstance(s, Contract)]
        # what a later step has added to this one must stay
        seen = {s.target.tensor.name for s in contracts if s.target.times and s.target.times != (self.now,)}
        result = []
        for statement in statements:
            if isinstance(statement, Contract) and statement.target.tensor.site:
                name = statement.target.tensor.name
                buffer = self.buffers[name]
                first = name not in seen and buffer.role is Role.ADJOINT and statement.target.times == (self.now,)
                if first:
                    statement = replace(statement, accumulate=False)
                    self.buffers[name] = replace(buffer, role=Role.ASSIGNED_ADJOINT)
            seen |= {t.name for t in statement.writes}
            result.append(statement)
        return tuple(result)

    # --- names ------------------------------------------------------------------------------------

    def adjoint(self, entry: Entry) -> Entry:
        """The adjoint of an entry or of its change, at the same indices and the column."""
        change = entry if has_columns(entry.tensor) else self.tangents.change_of(entry)
        assert change is not None
        of = self.tangents.origin[change.tensor]
        tensor = Tensor(f"adj_{of.name}", Kind.DEFINITION, change.tensor.indices, change.tensor.site)
        known = self.buffers.setdefault(tensor.name, Buffer(tensor, Role.ADJOINT, of=of))
        return known.tensor[change.indices]

    def covariance(self, left: Entry, right: Entry) -> Entry:
        """The adjoint of a covariance of sources, one value per column."""
        first = left.tensor.time_slots[0]
        indices = (*left.indices[:first], self.column, *left.indices[first:], *right.indices)
        names = dict.fromkeys((left.tensor.name, right.tensor.name))
        tensor = Tensor(f"adj_covariance_{'_'.join(names)}", Kind.DEFINITION, indices)
        self.buffers[tensor.name] = Buffer(tensor, Role.ADJOINT)
        return tensor[indices]

    def keep(self, entry: Entry) -> None:
        """All times of this adjoint are needed at once."""
        name = entry.tensor.name
        if entry.tensor.site and name in self.buffers:
            self.buffers[name] = replace(self.buffers[name], history=True)

    def running(self, target: Entry) -> None:
        """Note that an adjoint grows from step to step."""
        name = self.adjoint(target).tensor.name
        self.buffers[name] = replace(self.buffers[name], role=Role.RUNNING_ADJOINT)

    def influenced(self, site: str) -> Tensor:
        """The influence functions of the paths of a site."""
        tensor = Tensor(f"influence_{site}", Kind.DEFINITION, (self.column,), site)
        self.buffers[tensor.name] = Buffer(tensor, Role.INFLUENCE)
        return tensor

    def canonical(self, change: Entry) -> Entry:
        """The change of a symmetric quantity in the row of its later time."""
        original = self.tangents.origin[change.tensor]
        if original.name not in self.symmetric or ends_of(original) is None or change.times[0] == self.now:
            return change
        plain = [i for i in change.indices if i != self.column]
        half = len(plain) // 2
        exchanged = [*plain[half:], *plain[:half]]
        place = change.indices.index(self.column)
        return change.tensor[(*exchanged[:place], self.column, *exchanged[place:])]

    # --- sums -------------------------------------------------------------------------------------

    def flip(self, link: Link) -> list[Statement]:
        """Add coefficient · adjoint of target to the adjoint of source: now or, if read later, at the source's turn."""
        now = self.now
        reader, target = self.adjoint(link.target), self.adjoint(self.canonical(link.source))
        body, constraints = gather_powers(link.coefficient) * reader, link.constraints
        target, body = _apart(target, body)
        past = [t for t in link.source.times if isinstance(t, Index) and t != now]
        if len(link.source.times) == 1 and past:
            swap = {past[0]: now, now: past[0]}
            body, target = body.xreplace(swap), target.xreplace(swap)
            constraints = tuple(Before(c.time.xreplace(swap), c.upper.xreplace(swap), c.inclusive) for c in constraints)
            self.keep(reader)
            owner = self.tangents.owner[self.tangents.origin[link.source.tensor].name]
            self.gathered.setdefault(owner, []).append(self.add(target, body, constraints))
            return []
        if len(past) > 1:
            raise LoweringError(f"covariances: {link.source} is read at two earlier times, which cannot be transposed")
        if any(t == now - 1 for t in link.source.times):
            self.keep(target)
        return [self.add(target, body, constraints)]

    def add(self, target: Entry, body: Expr, constraints: tuple[Before, ...]) -> Statement:
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
        averaged = not target.tensor.site
        piece = self._piece(body, constraints)
        return Contract(target, (piece,), (), averaged, line, accumulate=True, constraints=constraints)

    def _piece(self, body: Expr, constraints: tuple[Before, ...]) -> Piece:
        try:
            return product_of(body, constraints, self.now)
        except ValueError as error:
            raise LoweringError(f"covariances: {error} is a function of a path that has no array") from None

    def influence(self, changed: Contract, piece: Piece) -> Statement:
        """What the weight of a path does to an average directly: adjoint of the average times its observable."""
        body = replace(piece, mode=None).body * self.adjoint(changed.target)
        made = self._piece(body, tuple(dict.fromkeys((*changed.constraints, *piece.constraints))))
        target, name = self.influenced(piece.site)[self.column], self.tangents.origin[changed.target.tensor].name
        if len(made.operands) > 1 and piece.site not in self.lowered.closure.sites:
            line = f"influence on {name}: {target} += {made.text(False)}"
            summed = Contract(target, (made,), (), False, line, accumulate=True)
            if summed.loop_site:  # in one pass over the paths, beside the adjoints of its operands
                return summed
        return Influence(target, made, f"influence on {name}")

    def pairings(self, target: Entry) -> list[Statement]:
        """What the fluctuations of a response function of a closed site pair with the kicks of its source."""
        response = next((r for r in self.lowered.responses if r.tensor == target.tensor), None)
        if response is None:
            return []
        given = dict(zip(response.tensor.indices, target.indices, strict=True))
        source = tuple(given[i] for i in sorted(response.responder.indices, key=lambda i: not i.is_time))
        kick = kick_name(response.responder.tensor.name)
        tensor = Tensor(f"pairing_{kick}", Kind.DEFINITION, (*source, self.column), response.site)
        kicked = next(m.tensor for g in self.lowered.draws.groups for m in g.members if m.tensor.name == kick)
        self.buffers[tensor.name] = Buffer(tensor, Role.PAIRING, of=kicked)
        adjoint = response.coefficient * self.adjoint(target)
        bodies = [adjoint * part.xreplace(given) for t in response.terms for part in Add.make_args(t.body)]
        return [self.add(tensor[tensor.indices], body, ()) for body in bodies]

    # --- random matrices --------------------------------------------------------------------------

    def of_rates(self, name: str, axes: tuple[Index, ...]) -> Tensor:
        """The adjoint of the rates at which a matrix learns, one value per column."""
        return Tensor(name, Kind.DEFINITION, (*axes, self.column))

    def recalls_of(self, group: SourceGroup) -> tuple[RecallMemory, ...]:
        """The memories that a group of sources is recalled in."""
        return tuple(r for r in self.recalls if r.group.name == group.name)

    def dual(self, group: SourceGroup, equation: str) -> tuple[SourceGroup, SourceGroup]:
        """The two uses of the random matrix that a group of sources is one of."""
        dual = next((pair for pair in self.duals if group.name in (pair[0].name, pair[1].name)), None)
        if dual is None:
            raise LoweringError(
                f"covariances: the memory {equation} is not that of one random matrix, either with independent "
                f"entries of unit variance and used forward and backward between layers of equal width, or square with "
                f"correlated entries J_ij and J_ji; only those are available"
            )
        return dual

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


def _apart(target: Entry, body: Expr) -> tuple[Entry, Expr]:
    """A target with different indices at all its places; where they were equal a Kronecker delta says so."""
    indices: list[Expr] = []
    for index in target.indices:
        if isinstance(index, Index) and not index.is_time and index in indices:
            other = fresh_index(index, [*target.atoms(Index), *body.atoms(Index)])
            body *= KroneckerDelta(index, other)
            index = other
        indices.append(index)
    return target.tensor[tuple(indices)], body
