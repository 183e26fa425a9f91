"""Response functions on the time grid: averages of the changes that impulses in the source of a field make.

The updates of a site are there already; their tangent rule, along the times of the impulse, gives the changes. Order
parameters and draws do not change. In schemes with two passes a step an impulse makes everything that moves jump,
through all that feels the source at once: the changes start there with their exact value. Written into the rates it
would be spread over two steps, and at the start of time it would be right to first order only.
"""

from dataclasses import replace

from sympy import Add, Expr, Integer, KroneckerDelta, Mul

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.responses import ResponseFunction
from dmftsym.errors import LoweringError
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Before, Term, entries_of, substitute_activations
from dmftsym.lowering.memory import Recall
from dmftsym.lowering.motion import base_of, rate_of
from dmftsym.lowering.quantities import QuantityBuilder
from dmftsym.lowering.schemes import Scheme
from dmftsym.lowering.terms import exchange
from dmftsym.program.axes import TIME_STEP
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.nodes import closure
from dmftsym.program.statements import Assign, Contract, Evaluate, MatrixProduct, Update
from dmftsym.program.statements.elementwise import varied
from dmftsym.program.tangents import Tangents
from dmftsym.program.times import When

Felt = dict[str, dict[Tensor, tuple[Term, ...]]]  # by response function: all that changes, coefficients of its change


def reads_of_responses(felt: Felt) -> dict[str, list[Entry]]:
    """What every response function reads: the coefficients of the changes of its site."""
    kinds = (Kind.ORDER_PARAMETER, Kind.DEFINITION, Kind.OBSERVABLE, Kind.FIELD)
    terms = {name: [t for each in found.values() for t in each] for name, found in felt.items()}
    return {name: [e for t in each for e in entries_of(t.body, *kinds)] for name, each in terms.items()}


def add_responses(
    builder: QuantityBuilder, equations: Derivation, recalls: tuple[Recall, ...], felt: Felt, scheme: Scheme
) -> None:
    """The response functions in `felt`, and all that their changes need; those of linear sites are no path arrays."""
    by_source: dict[tuple[str, Tensor], list[ResponseFunction]] = {}
    for response in (r for r in equations.responses if r.tensor.name in felt):
        if felt[response.tensor.name]:
            by_source.setdefault((response.site, response.responder.tensor), []).append(response)
        else:
            tensor = response.tensor
            builder.add_function(tensor, (), f"{tensor[tensor.indices]} = 0: the observable never feels the source")
    for (site, responder), responses in by_source.items():
        process = next(p for p in equations.process if p.site == site)
        source = next(e.field for e in process.equations if e.field.name == responder.name)
        moving = {e.field for e in process.equations if e.derivative}
        kicks = Kicks(builder, source, moving) if scheme.passes == 1 else Onsets(builder, source, moving, scheme)
        observed = [_observable(builder, response, kicks) for response in responses]
        own = {x for r in responses for x in felt[r.tensor.name]}
        changing = [r for r in recalls if own & {e.tensor for e in entries_of(r.term.body)}]
        kicks.follow(_updates_of(builder, site, changing), [e for _, body in observed for e in entries_of(body)])
        for response, (target, body) in zip(responses, observed, strict=True):
            terms, name = kicks.changes_of(body, target), response.tensor.name
            read = [e for t in terms for e in entries_of(t.body)]
            line = f"{response.tensor[response.tensor.indices]} = {equations.saddle_point.equation(name).right_side()}"
            builder.add_response(response.tensor, target, terms, site if any(e.tensor.site for e in read) else "", line)
            kicks.add(read)


def _observable(builder: QuantityBuilder, response: ResponseFunction, kicks: "Kicks") -> tuple[Entry, Expr]:
    """The response function with the times of the impulse, and its observable at the present time."""
    here = dict(zip(response.responder.indices, kicks.end, strict=True))
    here[response.tensor.indices[response.time_slots[0]]] = builder.now
    terms = tuple(replace(t, body=(t.body * response.coefficient).xreplace(here)) for t in response.terms)
    target = response.tensor[response.tensor.indices].xreplace(here)
    return target, builder.lower_terms(terms, response.site, response.tensor.name)


def _updates_of(builder: QuantityBuilder, site: str, recalls: list[Recall]) -> dict[str, Update]:
    """The updates of the path arrays of a site, and memories as they are with response functions, not recalled."""
    memories: dict[str, Assign] = {}
    for recall in recalls:
        here = {recall.tensor.indices[-1]: builder.now}
        entry = recall.tensor[recall.tensor.indices].xreplace(here)
        value = builder.lower_terms((exchange(recall.term, here),), site, recall.tensor.name)
        memories[recall.tensor.name] = Assign(entry, value, recall.equation)
    updates = [s for n in builder.nodes.values() if n.site == site for s in n.statements if isinstance(s, Update)]
    updates = [u for u in updates if not isinstance(u, MatrixProduct)]  # noise, which does not change
    put = lambda u: replace(u, expression=_put(u.expression, memories)) if isinstance(u, Assign) else u
    return {u.target.tensor.name: put(u) for u in updates if not u.averages} | memories


class Kicks(Tangents):
    """The changes by a unit impulse in the source of a field, one for every time of the impulse.

    `at_once`: those at its time alone, in a scheme with two passes: what moves, and integrals, are still as they were.
    """

    def __init__(self, builder: QuantityBuilder, source: Tensor, moving: set[Tensor], at_once: bool = False):
        self.builder, self.source, self.at_once = builder, source, at_once
        self.kicked = (rate_of(source) if source in moving else source).name
        self.end = tuple(builder.kick if i.is_time else builder.primed(i) for i in source.indices)
        self.places = tuple(i for i in self.end if i != builder.kick)
        super().__init__(builder.now, self.places if at_once else (*self.places, builder.kick), set())
        self.updates: dict[str, Update] = {}
        self.held: dict[str, Assign] = {}  # copies of what is integrated
        self.shared: set[str] = set()
        self.names: dict[str, str] = {}

    def follow(self, updates: dict[str, Update], observed: list[Entry]) -> None:
        """Find what changes of all that is observed, and which changes are the same on every path."""
        self.updates = updates
        reads = {name: [e.tensor.name for e in _read(update, self.now)] for name, update in updates.items()}
        readers = {name: [other for other in reads if name in reads[other]] for name in reads}
        self.changing = closure([e.tensor.name for e in observed], reads) & closure([self.kicked], readers)
        self.shared = set(self.changing)
        differs = lambda name: any(e.tensor.site for e in _read(self.change_by(name), self.now))
        while more := set(filter(differs, self.shared)):
            self.shared -= more

    # --- what the tangent rules ask ---------------------------------------------------------------

    def name_of(self, tensor: Tensor) -> str:
        """d_x_d_u, or another name if that is taken."""
        wanted = f"{'jump' if self.at_once else 'd'}_{tensor.name}_d_{self.source.name}"
        if tensor.name not in self.names:
            self.names[tensor.name] = self.builder.unique_name(wanted)
        return self.names[tensor.name]

    def site_of(self, tensor: Tensor) -> str:
        """None for what is the same on every path."""
        return "" if tensor.name in self.shared else tensor.site

    def change_of(self, entry: Entry) -> Entry | None:
        """The change of what changes; at once only what stands at the present time."""
        return None if self.at_once and entry.times != (self.now,) else super().change_of(entry)

    def slope(self, partial: Expr, target: Entry, entry: Entry) -> Expr:
        """The partial derivative, written out if it turns out the same on every path."""
        plain = substitute_activations(partial)
        return partial if any(e.tensor.site for e in entries_of(plain)) else plain

    def jumps(self, target: Entry) -> None:
        """Refuse it: the responses of paths that cross a jump do not add up to that of their average."""
        update = self.updates.get(target.tensor.name)
        where = update.equation if update else f"the observable of {target.tensor}"
        raise LoweringError(f"response to the source of {self.source}: {where} jumps where it changes")

    # --- what they give ---------------------------------------------------------------------------

    def impulse(self, target: Entry) -> Expr:
        """The impulse where its source is (a density in continuous time)."""
        if target.tensor.name != self.kicked:
            return Integer(0)
        own = [i for i in target.indices if not i.is_time]
        strength = Integer(1) if self.at_once else of_grid(self.builder, Role.IMPULSE)
        return strength * Mul(*[KroneckerDelta(i, j) for i, j in zip(own, self.places, strict=True)])

    def change_by(self, name: str) -> Update:
        """The update of the change of a quantity."""
        plain, impulse = self.updates[name], self.impulse(self.updates[name].target)
        update = (plain if impulse == 0 else _assign(plain)).tangent(self)
        if isinstance(update, Contract):
            pieces = (replace(p, operands=tuple(_put(o, self.held) for o in p.operands)) for p in update.pieces)
            return replace(update, pieces=tuple(pieces))
        if isinstance(update, Assign):
            value = _put(update.expression, self.held) + impulse
            return replace(update, expression=value, equation=f"{update.target} = {value}")
        assert isinstance(update, Update)
        return update

    def changes_of(self, body: Expr, target: Entry) -> tuple[Term, ...]:
        """The change of an observable, as products."""
        total = [varied(part, target, self) for part in Add.make_args(body)]
        return tuple(Term(a) for change in total for a in Add.make_args(change) if a != 0)

    def add(self, entries: list[Entry]) -> None:
        """Add the changes among these, and all that they read, to the quantities of the model."""
        for entry in entries:
            if entry.tensor in self.origin and entry.tensor.name not in self.builder.buffers:
                self.add(self._add(self.origin[entry.tensor].name))

    def _add(self, name: str) -> list[Entry]:
        update, node = self.change_by(name), self.builder.nodes.get(name)
        late, reads = (node.epilogue, node.reads) if node else (False, ())
        own = [e.tensor.name for e in _read(self.updates[name], self.now)]
        waits = [n for n, moment in reads if n in self.changing and n not in own and moment is When.NOW]
        plain = update if update.target.tensor.site else self.without_paths(update, late)
        after = tuple(self.change(self.updates[n].target) for n in waits)
        self.builder.add_change(plain, after, late and plain is update)
        return _read(plain, self.now)

    def without_paths(self, update: Update, late: bool) -> Evaluate:
        """An update of what is the same on every path; a sum that grows from step to step is written as a whole."""
        if not isinstance(update, Contract):
            plain = _assign(update)
            terms = tuple(Term(a) for a in Add.make_args(plain.expression))
            return Evaluate(plain.target, terms, plain.equation, starts=plain.starts)
        terms = update.explicit
        if update.accumulate:
            past = next(i for i in self.builder.action.declared.indices if i.is_time and i != self.now)
            limit = Before(past, self.now, not late)
            terms = tuple(Term(t.body.xreplace({self.now: past}), (*t.bound, past), (limit,)) for t in terms)
        return Evaluate(update.target, terms, update.equation)


class Onsets(Kicks):
    """The same where a step has two passes: what moves starts with its jump, and half a change counts in integrals.

    Integrals begin at the time of the impulse; the trapezoidal rule counts half of what stands there.
    """

    def __init__(self, builder: QuantityBuilder, source: Tensor, moving: set[Tensor], scheme: Scheme):
        super().__init__(builder, source, moving)
        self.moving = {t.name: f for f in moving for t in (f, base_of(f, scheme))}
        self.jump = Kicks(builder, source, moving, at_once=True)
        self.jump.held = self.held
        self.onset, self.half = (of_grid(builder, role) for role in (Role.ONSET, Role.HALF_ONSET))

    def follow(self, updates: dict[str, Update], observed: list[Entry]) -> None:
        """The same, and what changes at once."""
        self.updates = updates
        updates = {name: self._restarted(update) for name, update in updates.items()}
        still = {name: update for name, update in updates.items() if name not in self.moving}
        self.jump.follow(still, [*observed, *(rate_of(f)[f.indices] for f in self.moving.values())])
        half = {name: replace(copy, expression=self.half * copy.expression) for name, copy in self.held.items()}
        super().follow(updates | half, observed)

    def _restarted(self, update: Update) -> Update:
        """The update as its change goes: from the onset, and what it integrates, the factors of a weight, held."""
        weights = (self.builder.integrals.past, self.builder.integrals.end)
        weighted = lambda e: any(isinstance(f, Entry) and f.tensor in weights for f in Mul.make_args(e))
        hold = lambda e: e.xreplace({f: self._held(f) for f in entries_of(e) if f.tensor.name in self.updates})
        if isinstance(update, Assign) and update.target.tensor.name in self.moving:
            return replace(update, expression=(1 - self.onset) * update.expression, starts=False)
        if isinstance(update, Assign):
            return replace(update, expression=update.expression.replace(lambda e: e.is_Mul and weighted(e), hold))
        if not isinstance(update, Contract):
            return update
        held = lambda p: replace(p, operands=tuple(map(hold, p.operands))) if weighted(p.scalar * p.coefficient) else p
        return replace(update, pieces=tuple(map(held, update.pieces)))

    def _held(self, entry: Entry) -> Entry:
        own = self.updates[entry.tensor.name].target
        tensor = Tensor(f"held_{entry.tensor.name}", Kind.DEFINITION, own.tensor.indices, own.tensor.site)
        self.held[tensor.name] = Assign(tensor[own.indices], own, f"{tensor} is integrated")
        return tensor[entry.indices]

    def impulse(self, target: Entry) -> Expr:
        """What jumps does so at its onset."""
        field = self.moving.get(target.tensor.name)
        jump = field and self.jump.change_of(rate_of(field)[target.indices])
        return self.onset * jump if jump else Integer(0)

    def changes_of(self, body: Expr, target: Entry) -> tuple[Term, ...]:
        """The change of an observable; what it feels at once is a density."""
        at_once = tuple(t.times(self.onset / TIME_STEP) for t in self.jump.changes_of(body, target))
        return (*super().changes_of(body, target), *at_once)

    def add(self, entries: list[Entry]) -> None:
        """The same, and what changes at once."""
        super().add(entries)
        self.jump.add(entries)

    def without_paths(self, update: Update, late: bool) -> Evaluate:
        """The same; what starts anew does so at the first time too."""
        plain, of = super().without_paths(update, late), self.updates[self.origin[update.target.tensor].name].target
        return replace(plain, starts=True, initial=self.impulse(of)) if of.tensor.name in self.moving else plain


def of_grid(builder: QuantityBuilder, role: Role) -> Entry:
    """An array of numbers that the time grid fixes: times of impulses, times."""
    indices, name = (builder.kick, builder.now), role.replace(" ", "_")
    builder.buffers.setdefault(name, Buffer(Tensor(name, Kind.DEFINITION, indices), role))
    return Tensor(name, Kind.DATA, indices)[indices]


def _put(expr: Expr, updates: dict[str, Assign]) -> Expr:
    """An expression with the values of what these updates give."""
    value = lambda u, e: u.expression.xreplace(dict(zip(u.target.indices, e.indices, strict=True)))
    return expr.xreplace({e: value(updates[e.tensor.name], e) for e in entries_of(expr) if e.tensor.name in updates})


def _assign(update: Update) -> Assign:
    (plain,) = update.parts
    assert isinstance(plain, Assign), update.equation
    return plain


def _read(update: Update, now: Index) -> list[Entry]:
    return [e for body, _ in update.reads(now) for e in entries_of(body)]
