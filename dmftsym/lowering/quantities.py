"""Turn equations into updates of arrays: products are split into per-path factors, sums become contractions.

A sum over indices or over the past of (coefficient)·(factor per sample path) becomes one contraction; the factors
become arrays of their own, shared between all sums that need them.
"""

from dataclasses import replace
from functools import cached_property

from sympy import Expr, Integer, KroneckerDelta, Mul

from dmftsym.derivation.saddle_point import OrderParameterEquation
from dmftsym.errors import LoweringError
from dmftsym.language.action import Action
from dmftsym.language.sums import IndexSum
from dmftsym.language.symbols import KICKS, Entry, Index, Kind, Tensor, split_index
from dmftsym.language.terms import Before, Term, as_expression, entries_of, flatten
from dmftsym.lowering.integrals import integrals_of
from dmftsym.lowering.schemes import Scheme
from dmftsym.lowering.terms import exchange, indices_in_order, mixes_times, on_site, readable, times_apart
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.nodes import Node, node_of
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements import (
    Assign,
    Contract,
    Draw,
    Evaluate,
    ExtendBasis,
    Piece,
    RecallMemory,
    Statement,
    parted,
)
from dmftsym.program.times import When


class QuantityBuilder:
    """Collects arrays and schedule nodes while the equations of a model are lowered; `linear` sites stay linear."""

    def __init__(self, action: Action, scheme: Scheme, causal=(), linear: tuple[str, ...] = (), explicit=False):
        self.action, self.now = action, action.time
        self.buffers: dict[str, Buffer] = {}
        self.nodes: dict[str, Node] = {}
        self.linear = linear
        self.drawn: dict[str, str] = {}  # source -> the group whose draw it waits for; static sources wait for none
        self._factors: dict[Expr, Tensor] = {}
        self._primed: dict[Index, Index] = {}
        self._names = {*action.declared.names, *(t.name for t in action.tensors), *(s.name for s in action.sites)}
        self.integrals = integrals_of(scheme, action, self.unique_name, causal, explicit)
        self.buffers |= {b.tensor.name: b for b in self.integrals.buffers()}

    # --- public: one method a kind of quantity ----------------------------------------------------

    def add_site_array(
        self, tensor: Tensor, role: Role, expression: Expr, equation: str, after: tuple[Entry, ...] = (), **options
    ) -> None:
        """An elementwise update target = expression for every sample path; it comes `after` these in a step."""
        self.buffers[tensor.name] = Buffer(tensor, role)
        assign = Assign(tensor[tensor.indices], expression, equation, **options)
        self._add_node(tensor, (assign,), after, site=tensor.site, auxiliary=role is Role.FACTOR)

    def add_average(self, equation: OrderParameterEquation, line: str, symmetric: bool) -> None:
        """An order parameter: a row of site averages, with its mirror image if it has two times."""
        tensor = equation.tensor
        self.buffers[tensor.name] = Buffer(tensor, Role.ORDER_PARAMETER)
        contracts = [self._average(equation, line, mirror=symmetric)]
        if len(tensor.time_slots) == 2 and not symmetric:
            contracts.append(self._average(equation, line, exchanged=True))
        self._add_node(tensor, tuple(contracts))

    def add_response(self, tensor: Tensor, target: Entry, terms: tuple[Term, ...], site: str, equation: str) -> None:
        """A response function: a row of averages of tangents, or of tangents that are the same on every path."""
        self.buffers[tensor.name] = Buffer(tensor, Role.ORDER_PARAMETER)
        if not site:
            self._add_node(tensor, (Evaluate(target, terms, equation),))
            return
        pieces = []
        for term in terms:
            path = Mul(*[f for f in term.factors if on_site(f, site)])
            pieces.append(self._piece(term.body / path, path, site, (), tensor.name, apart=True))
        self._add_node(tensor, (Contract(target, tuple(pieces), (), True, equation),))

    def add_function(
        self, tensor: Tensor, terms: tuple[Term, ...], equation: str, auxiliary=False, after=(), **options
    ) -> None:
        """A function of order parameters and data (a definition, an observable, a coefficient)."""
        self.buffers[tensor.name] = Buffer(tensor, Role.FUNCTION)
        statements = []
        for exchanged in (False, True) if len(tensor.time_slots) == 2 else (False,):
            target, constraints, mapping = self._row(tensor, exchanged)
            moved = tuple(part for t in terms for part in self.integrals.split(exchange(t, mapping)))
            statements.append(Evaluate(target, moved, equation, constraints, **options))
        self._add_node(tensor, tuple(statements), after, auxiliary=auxiliary)

    def lower_terms(self, terms: tuple[Term, ...], site: str, target: str) -> Expr:
        """The value at the current step of a sum of terms, as an elementwise expression; sums become memory arrays."""
        merged: dict[tuple, Expr] = {}
        for term in (part for whole in terms for part in times_apart(whole)):
            term = replace(term, body=self._lower_inner_sums(term.body, site, target))
            inner, outer = self._split(term)
            path = Mul(*[f for f in inner if on_site(f, site)])
            coefficient = Mul(*[f for f in inner if not on_site(f, site)])
            key = (outer, path, term.bound, term.constraints)
            merged[key] = merged.get(key, Integer(0)) + coefficient
        total = Integer(0)
        for (outer, path, bound, constraints), coefficient in merged.items():
            total += outer * self._sum(coefficient, Term(path, bound, constraints), site, target)
        return total

    def add_draw(self, group: SourceGroup, equation: str) -> None:
        """The values of an evolving or white group of sources at this step."""
        label = ", ".join(str(s.tensor[s.tensor.indices]) for s in group.members)
        self.drawn |= {s.tensor.name: group.name for s in group.members}
        drawn = node_of(group.name, label, (Draw(group, equation),), self.now, {})
        self.nodes[group.name] = replace(drawn, rows=(), sources=())

    def add_basis(self, group: SourceGroup, values: tuple[Entry, ...]) -> None:
        """Functions of the paths of another site that stand to `values` as the normals of a group to its sources."""
        label = f"basis of {group.name}"
        names = ", ".join(m.tensor.name for m in group.members)
        line = f"{', '.join(map(str, values))} = L e, with the factor L of {names}"
        reads = [(group.name, When.NOW), *((v.tensor.name, When.NOW) for v in values)]
        statement = ExtendBasis(group, group.basis, values, line)
        self.nodes[f"basis_{group.name}"] = Node(
            name=f"basis_{group.name}",
            label=label,
            statements=(statement,),
            reads=tuple(reads),
            site=group.basis,
            auxiliary=True,
        )

    def add_recall(self, tensor: Tensor, observable: Entry, coefficient: Expr, group: SourceGroup, recall) -> None:
        """A memory term that needs no response function: see lowering/memory.py."""
        moment = When.UPTO if recall.instant else When.PAST
        reads = ((observable.tensor.name, When.NOW), (group.name, moment), (f"basis_{group.name}", moment))
        target = tensor[tensor.indices]
        statement = RecallMemory(
            target=target,
            observable=observable,
            coefficient=coefficient,
            group=group,
            instant=recall.instant,
            equation=recall.equation,
            correlation=recall.correlation,
        )
        self.buffers[tensor.name] = Buffer(tensor, Role.MEMORY)
        self.nodes[tensor.name] = Node(
            name=tensor.name, label=str(target), statements=(statement,), reads=reads, site=tensor.site, auxiliary=True
        )

    # --- sums -------------------------------------------------------------------------------------

    def _split(self, term: Term) -> tuple[list[Expr], Expr]:
        inner = [f for f in term.factors if any(f.has(i) for i in term.bound)]
        outer = [f for f in term.factors if not any(f.has(i) for i in term.bound)]
        return inner, Mul(*outer)

    def _sum(self, coefficient: Expr, of: Term, site: str, target: str) -> Expr:
        """Σ coefficient · `of`, a function of the paths of a site with its sums, in the equation of `target`."""
        path, bound, constraints = of.body, of.bound, of.constraints
        if not bound:
            return coefficient * path
        past = [c for c in constraints if c.time in bound]
        loose = [i for i in bound if i.is_time and i not in {c.time for c in past}]
        if loose:
            raise LoweringError(
                f"acausal: {target} at time {self.now} needs every time {loose[0]}, later ones too, in the term "
                f"{coefficient * path}; sum over the past with ds.past({loose[0]})(...)"
            )
        if len(past) > 1:
            raise LoweringError(
                f"the equation of {target} holds a sum over several times, "
                f"{as_expression((Term(coefficient * path, bound, constraints),))}: "
                f"name the inner sum with site.define"
            )
        end: Expr = Integer(0)
        if past and path != 1:
            self.integrals.check(Term(coefficient * path, bound, constraints))
            end = self._end(coefficient, of, past[0], site, target)
            coefficient, limit = self.integrals.strict(coefficient, past[0])
            constraints = tuple(limit if c == past[0] else c for c in constraints)
            past = [limit]
        term = Term(coefficient * path, bound, constraints)
        if path == 1:
            free = tuple(i for i in indices_in_order(term.body) if i not in bound and not i.is_time)
            tensor = Tensor(self.unique_name(f"sum_{target}"), Kind.DEFINITION, (*free, self.now))
            self.add_function(tensor, (term,), f"{tensor[tensor.indices]} = {as_expression((term,))}", auxiliary=True)
            return tensor[tensor.indices]
        return self._memory(coefficient, Term(path, bound, constraints), past, site, target) + end

    def _end(self, coefficient: Expr, of: Term, limit: Before, site: str, target: str) -> Expr:
        """What the upper end of an integral contributes."""
        if self.integrals.end is None:
            return Integer(0)
        front, inside = (self.integrals.last(e, limit) for e in (coefficient, of.body))
        rest = Term(inside, tuple(i for i in of.bound if i != limit.time))
        return self._sum(front * self.integrals.end_weight(limit.upper), rest, site, target)

    def _memory(self, coefficient: Expr, of: Term, past: list[Before], site: str, target: str) -> Expr:
        path, term = of.body, replace(of, body=coefficient * of.body)
        free = tuple(i for i in indices_in_order(term.body) if i not in of.bound and not i.is_time)
        tensor = Tensor(self.unique_name(f"memory_{target}"), Kind.DEFINITION, (*free, self.now), site)
        entry = tensor[tensor.indices]
        accumulate = bool(past) and not term.body.has(self.now)
        strict = accumulate and not past[0].inclusive
        constraints = term.constraints
        if accumulate:
            at_now = {past[0].time: self.now}
            coefficient, path, constraints = coefficient.xreplace(at_now), path.xreplace(at_now), ()
        piece = self._piece(coefficient, path, site, constraints, target)
        contract = Contract(
            target=entry,
            pieces=(piece,),
            explicit=(),
            averaged=False,
            equation=f"{entry} = {as_expression((term,))}",
            accumulate=accumulate,
            constraints=constraints,
        )
        self.buffers[tensor.name] = Buffer(tensor, Role.MEMORY)
        self._add_node(tensor, (contract,), site=site, epilogue=strict, auxiliary=True)
        return entry

    def _lower_inner_sums(self, body: Expr, site: str, target: str) -> Expr:
        """Sums over indices that stand inside a function become arrays of their own, at the time of their body."""

        def lower(node: IndexSum) -> Expr:
            here = (self.now, self.now - 1)
            times = sorted({t for e in entries_of(node.body) for t in e.times if t not in here}, key=str)
            if not times:
                return self.lower_terms(flatten(node), site, target)
            if len(times) > 1 or node.has(self.now) or not isinstance(times[0], Index):
                raise LoweringError(f"{target}: {node} mixes several times inside a function; name it with site.define")
            at_now = {times[0]: self.now}
            return self.lower_terms(flatten(node.xreplace(at_now)), site, target).xreplace({self.now: times[0]})

        return body.replace(lambda e: isinstance(e, IndexSum), lower)

    def _piece(self, coefficient: Expr, path: Expr, site: str, constraints, target: str, apart: bool = False) -> Piece:
        return Piece(
            *parted(Mul.make_args(coefficient), self.now), self._operands(path, site, target, apart), constraints
        )

    def _operands(self, path: Expr, site: str, target: str, apart: bool = False) -> tuple[Entry, ...]:
        """Group the per-path factors of a product by time and indices; each group becomes one array.

        `apart` keeps factors with fewer indices out of larger arrays.
        """
        groups: list[tuple[Expr, frozenset, Expr]] = []
        factors = []
        for factor in Term(path).factors if site in self.linear else Mul.make_args(path):
            local = [e for e in entries_of(factor) if e.tensor.site == site]
            times = {t for e in local for t in e.times}
            if len(times) > 1 or mixes_times(factor):
                times |= {t for e in entries_of(factor) for t in e.times}
                raise LoweringError(
                    f"{target}: {factor} mixes the times {', '.join(sorted(map(str, times)))} in one function; "
                    f"only products of functions of one time can be averaged"
                )
            indices = frozenset(i for e in entries_of(factor) for i in e.atoms(Index) if not i.is_time)
            factors.append((times.pop() if times else self.now, indices, factor))
        factors.sort(key=lambda f: (-len(f[1]), str(f[2])))
        for time, indices, factor in factors:
            for k, (other_time, others, product) in enumerate(groups):
                if site in self.linear:
                    continue  # a product of two fields is not linear: their average is closed by itself
                if time == other_time and (indices == others if apart else indices <= others):
                    groups[k] = (time, others, product * factor)
                    break
            else:
                groups.append((time, indices, factor))
        return tuple(self.path_array(product, time, site) for time, _, product in groups)

    def path_array(self, product: Expr, time: Expr, site: str) -> Entry:
        """The array that holds a function of site fields at one time."""
        if isinstance(product, Entry):
            return product
        own = [i for i in indices_in_order(product) if not i.is_time]
        counts: dict = {}
        canonical: dict[Expr, Expr] = {}
        for index in own:
            same_axis = [i for i in self.action.declared.indices if i.axis == index.axis]
            rank = counts[index.axis] = counts.get(index.axis, -1) + 1
            canonical[index] = same_axis[rank] if rank < len(same_axis) else index
        time_index, _ = split_index(time)
        if time != self.now - 1:  # a function of zeros before time 0 is not zero: it is evaluated, not looked up
            product = product.xreplace({time: self.now} if time_index else {Integer(0): self.now})
        key = product.xreplace(canonical)
        if time_index is None:
            raise LoweringError(f"{product}: name this function of the initial state with site.define")
        if key not in self._factors:
            indices = (*[canonical[i] for i in own], self.now)
            tensor = Tensor(self.unique_name(readable(key) or "factor"), Kind.DEFINITION, indices, site)
            self._factors[key] = tensor
            self.add_site_array(tensor, Role.FACTOR, key, f"{tensor[indices]} = {key}")
        tensor, back = self._factors[key], {canonical[i]: i for i in own}
        at = self.now if time == self.now - 1 else time
        return tensor[(*[back[i] for i in tensor.indices[:-1]], at)]

    # --- rows -------------------------------------------------------------------------------------

    def _row(self, tensor: Tensor, exchanged: bool) -> tuple[Entry, tuple[Before, ...], dict]:
        """The entries (t, s ≤ t) of a two-time quantity, or (s ≤ t, t) if exchanged."""
        times = [tensor.indices[k] for k in tensor.time_slots]
        if len(times) < 2:
            mapping = {} if not times or times[0] == self.now else {times[0]: self.now}
            return tensor[tensor.indices].xreplace(mapping), (), mapping
        if len(times) > 2:
            raise LoweringError(f"{tensor}: quantities with more than two times are not supported")
        other = next(i for i in self.action.declared.indices if i.is_time and i != self.now)
        first, second = (other, self.now) if exchanged else (self.now, other)
        mapping = {times[0]: first, times[1]: second}
        target = tensor[tensor.indices].xreplace(mapping)
        return target, (Before(other, self.now, True),), mapping

    def _average(self, equation: OrderParameterEquation, line: str, exchanged=False, mirror=False) -> Contract:
        tensor = equation.tensor
        target, constraints, mapping = self._row(tensor, exchanged)
        pieces, extra = [], [exchange(t, mapping) for t in equation.explicit]
        for average in equation.averages:
            for term in average.terms:
                term = exchange(term, mapping)
                if term.body.has(KroneckerDelta):
                    raise LoweringError(
                        f"order parameter {tensor}: its conjugate stands with fixed or repeated indices, "
                        f"which gives {average.expression()}; observe it with its declared indices"
                    )
                body = self._lower_inner_sums(term.body, average.site, tensor.name)
                if any(c.time in term.bound for c in term.constraints):
                    body = self.lower_terms((replace(term, body=body),), average.site, tensor.name)
                for part in flatten(body):
                    factors = part.factors
                    path = Mul(*[f for f in factors if on_site(f, average.site)])
                    rest = average.coefficient * Mul(*[f for f in factors if not on_site(f, average.site)])
                    if path == 1:
                        extra.append(Term(rest, term.bound))
                    else:
                        pieces.append(self._piece(rest, path, average.site, constraints, tensor.name))
        two_times = len(tensor.time_slots) == 2
        return Contract(
            target=target,
            pieces=tuple(pieces),
            explicit=tuple(extra),
            averaged=True,
            equation=line,
            mirror=mirror and two_times,
            constraints=constraints,
        )

    # --- bookkeeping ------------------------------------------------------------------------------

    def _add_node(self, tensor: Tensor, statements: tuple[Statement, ...], after=(), **options) -> None:
        where = f"{tensor[tensor.indices]}"
        self.nodes[tensor.name] = node_of(tensor.name, where, statements, self.now, self.drawn, after, **options)

    @cached_property
    def kick(self) -> Index:
        """The index that runs over the times of impulses."""
        return Index(self.unique_name("k"), KICKS)

    def primed(self, index: Index) -> Index:
        """The index of the source end of a tangent, with a name that can stand in code."""
        if index not in self._primed:
            self._primed[index] = Index(self.unique_name(f"{index.name.rstrip(chr(39))}_kicked"), index.axis)
        return self._primed[index]

    def unique_name(self, wanted: str) -> str:
        """The wanted name, numbered if it is taken."""
        name, count = wanted, 2
        while name in self._names:
            name, count = f"{wanted}_{count}", count + 1
        self._names.add(name)
        return name
