"""Response functions on the time grid: averages of the changes that impulses in the source of a field make.

The updates of a site are there already; their tangent rule, along the times of the impulse, gives the changes. Order
parameters do not change, nor do draws. In schemes with two passes a step an impulse makes everything that moves jump,
through all that feels the source at once: the changes start there with their exact value. Written into the rates it
would be spread over two steps, and at the start of time it would be right to first order only.
"""

from dataclasses import replace

from sympy import Add, Expr, Integer, KroneckerDelta, Mul

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.responses import ResponseFunction, change_of, linearised
from dmftsym.errors import LoweringError
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Before, Term, as_expression, entries_of, substitute_activations
from dmftsym.lowering.memory import Recall
from dmftsym.lowering.motion import base_of, rate_of
from dmftsym.lowering.quantities import QuantityBuilder
from dmftsym.lowering.schemes import Scheme
from dmftsym.lowering.terms import exchange
from dmftsym.program.axes import TIME_STEP
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.nodes import closure
from dmftsym.program.statements import Assign, Contract, Evaluate, Update
from dmftsym.program.statements.elementwise import varied
from dmftsym.program.tangents import Changes
from dmftsym.program.times import When


def reads_of_responses(equations: Derivation) -> dict[str, list[Entry]]:
    """What every response function reads: the coefficients of the changes of its site."""
    kinds = (Kind.ORDER_PARAMETER, Kind.DEFINITION, Kind.OBSERVABLE, Kind.FIELD)
    result = {}
    for response in equations.responses:
        found = linearised(response, equations.process)
        read = [e for terms in found.values() for t in terms for e in entries_of(t.body, *kinds)]
        result[response.tensor.name] = [e for e in read if e.tensor not in set(map(change_of, found))]
    return result


def fields_of_responses(equations: Derivation, live: tuple[str, ...]) -> tuple[str, ...]:
    """The fields and definitions that change, whether or not anything reads their values."""
    wanted = [r for r in equations.responses if r.tensor.name in live]
    return tuple(dict.fromkeys(x.name for r in wanted for x in linearised(r, equations.process)))


def add_responses(
    builder: QuantityBuilder, equations: Derivation, recalls: tuple[Recall, ...], live: tuple[str, ...], scheme: Scheme
) -> None:
    """The live response functions, and all that their changes need; changes of linear sites are no path arrays."""
    by_source: dict[tuple[str, str], list[ResponseFunction]] = {}
    for response in (r for r in equations.responses if r.tensor.name in live):
        if linearised(response, equations.process):
            by_source.setdefault((response.site, response.responder.tensor.name), []).append(response)
        else:
            tensor = response.tensor
            builder.add_function(tensor, (), f"{tensor[tensor.indices]} = 0: the observable never feels the source")
    for (site, name), responses in by_source.items():
        process = next(p for p in equations.process if p.site == site)
        source = next(e.field for e in process.equations if e.field.name == name)
        moving = {e.field for e in process.equations if e.derivative}
        kicks = Kicks(builder, source, moving) if scheme.passes == 1 else Onsets(builder, source, moving, scheme)
        observed = [_observable(builder, response, kicks) for response in responses]
        kicks.follow(_updates_of(builder, site, recalls), [e for _, body in observed for e in entries_of(body)])
        for response, (target, body) in zip(responses, observed, strict=True):
            tensor = response.tensor
            right = equations.saddle_point.equation(tensor.name).right_side()
            terms = kicks.changes_of(body, target)
            local = any(e.tensor.site for t in terms for e in entries_of(t.body))
            builder.add_response(tensor, target, terms, site if local else "", f"{tensor[tensor.indices]} = {right}")
            kicks.add(terms)


def _observable(builder: QuantityBuilder, response: ResponseFunction, kicks: "Kicks") -> tuple[Entry, Expr]:
    """The response function with the times of the impulse, and its observable at the present time."""
    here = dict(zip(response.responder.indices, kicks.end, strict=True))
    here[response.tensor.indices[response.time_slots[0]]] = builder.now
    terms = tuple(replace(t, body=(t.body * response.coefficient).xreplace(here)) for t in response.terms)
    target = response.tensor[response.tensor.indices].xreplace(here)
    return target, builder.lower_terms(terms, response.site, response.tensor.name)


def _updates_of(builder: QuantityBuilder, site: str, recalls: tuple[Recall, ...]) -> dict[str, Update]:
    """The updates of the path arrays of a site, and memories as they are with response functions, not recalled."""
    result: dict[str, Update] = {}
    for recall in (r for r in recalls if r.tensor.site == site):
        here = {recall.tensor.indices[-1]: builder.now}
        entry = recall.tensor[recall.tensor.indices].xreplace(here)
        value = builder.lower_terms((exchange(recall.term, here),), site, recall.tensor.name)
        result[recall.tensor.name] = Assign(entry, value, recall.equation)
    memories = dict(result)
    for node in builder.nodes.values():
        for update in node.statements if node.site == site else ():
            if isinstance(update, Assign):
                read = {e: memories[e.tensor.name] for e in entries_of(update.expression) if e.tensor.name in memories}
                values = {e: m.expression.xreplace(dict(zip(m.target.indices, e.indices))) for e, m in read.items()}
                result[update.target.tensor.name] = replace(update, expression=update.expression.xreplace(values))
            elif isinstance(update, Contract) and not update.averaged:
                result[update.target.tensor.name] = update
    return result


class Kicks(Changes):
    """The changes by a unit impulse in the source of a field, one for every time of the impulse."""

    stem = "d"

    def __init__(self, builder: QuantityBuilder, source: Tensor, moving: set[Tensor]):
        self.builder, self.source = builder, source
        self.kicked = (rate_of(source) if source in moving else source).name
        self.end = tuple(builder.kick if i.is_time else builder.primed(i) for i in source.indices)
        super().__init__(builder.now, (*(i for i in self.end if i != builder.kick), builder.kick), set())
        self.weights = {t for t in (builder.integrals.past, builder.integrals.end) if t is not None}
        self.updates: dict[str, Update] = {}
        self.shared: set[str] = set()
        self.names: dict[str, str] = {}

    def follow(self, updates: dict[str, Update], observed: list[Entry]) -> None:
        """Find what changes of all that is observed, and which changes are the same on every path."""
        self.updates = updates
        reads = {name: [n for n in self.reads_of(update) if n in updates] for name, update in updates.items()}
        readers = {name: [other for other in reads if name in reads[other]] for name in reads}
        self.changing = closure([e.tensor.name for e in observed], reads) & closure([self.kicked], readers)
        self.shared = set(self.changing)
        differs = lambda name: any(e.tensor.site for e in _entries(self.change_by(name), self.now))
        while more := set(filter(differs, self.shared)):
            self.shared -= more

    def reads_of(self, update: Update) -> list[str]:
        """The names of what it reads."""
        return [e.tensor.name for e in _entries(update, self.now)]

    # --- what the tangent rules ask ---------------------------------------------------------------

    def name_of(self, tensor: Tensor) -> str:
        """d_x_d_u, or another name if that is taken."""
        if tensor.name not in self.names:
            self.names[tensor.name] = self.builder.unique_name(f"{self.stem}_{tensor.name}_d_{self.source.name}")
        return self.names[tensor.name]

    def site_of(self, tensor: Tensor) -> str:
        """None for what is the same on every path."""
        return "" if tensor.name in self.shared else tensor.site

    def drive(self, target: Entry) -> tuple[Term, ...]:
        """The impulse where its source is (a density in continuous time)."""
        return tuple(t.times(_of_grid(self.builder, Role.IMPULSE)) for t in self.unit(target))

    def unit(self, target: Entry) -> tuple[Term, ...]:
        """1 where the indices of a target are those of the source, if that drives it."""
        if target.tensor.name != self.kicked:
            return ()
        own = [i for i in target.indices if not i.is_time]
        ends = [i for i in self.end if i != self.builder.kick]
        return (Term(Mul(*[KroneckerDelta(i, j) for i, j in zip(own, ends, strict=True)])),)

    def slope(self, partial: Expr, target: Entry, entry: Entry) -> Expr:
        """The partial derivative, written out if it turns out the same on every path."""
        plain = substitute_activations(partial)
        return partial if any(e.tensor.site for e in entries_of(plain)) else plain

    def jumps(self, target: Entry) -> None:
        """A path that crosses a jump responds by more than its tangent."""
        raise LoweringError(
            f"response to the source of {self.source}: {target} jumps where it changes, so that the response of a path "
            f"does not say that of the average"
        )

    # --- what they give ---------------------------------------------------------------------------

    def change_by(self, name: str) -> Update:
        """The update of the change of a quantity."""
        update = self.updates[name].tangent(self)
        if not isinstance(update, Contract):
            return update
        pieces = [replace(p, coefficient=self._inside(p.coefficient, p.body), operands=tuple(self._inside(o, p.body) for o in p.operands)) for p in update.pieces]
        explicit = tuple(replace(t, body=self._inside(t.body, t.body)) for t in update.explicit)
        return replace(update, pieces=tuple(p for p in pieces if p.body != 0), explicit=explicit)

    def _inside(self, expr: Expr, product: Expr) -> Expr:
        """A part of a product, as it counts if that is integrated over the past."""
        if not any(e.tensor in self.weights for e in entries_of(product)):
            return expr
        return expr.xreplace({e: self.integrated(e) for e in entries_of(expr) if e.tensor in self.origin})

    def integrated(self, change: Entry) -> Expr:
        """A change as it counts in integrals over the past."""
        return change

    def changes_of(self, body: Expr, target: Entry) -> tuple[Term, ...]:
        """The change of an observable, as products."""
        total = [varied(part, target, self) for part in Add.make_args(body)]
        return tuple(Term(a) for change in total for a in Add.make_args(change) if a != 0)

    def add(self, terms: tuple[Term, ...]) -> None:
        """Add the changes that are read there, and all that those read, to the quantities of the model."""
        queue = [e for t in terms for e in entries_of(t.body)]
        while queue:
            tensor = queue.pop(0).tensor
            if tensor.name not in self.builder.buffers:
                queue += self._add(tensor)

    def _add(self, tensor: Tensor) -> list[Entry]:
        """Add a change if it is one; what its update reads."""
        if tensor not in self.origin:
            return []
        of = self.origin[tensor].name
        update, node = self.change_by(of), self.builder.nodes.get(of)
        own, reads = set(self.reads_of(self.updates[of])), node.reads if node else ()
        waits = [n for n, moment in reads if n in self.changing and n not in own and moment is When.NOW]
        after = tuple(self.change(self.updates[n].target) for n in waits)
        late = node is not None and node.epilogue
        if not tensor.site:
            update, late = self._without_paths(update, late), False
        self.builder.add_update(update, Role.TANGENT, after, late)
        return _entries(update, self.now)

    def _without_paths(self, update: Update, late: bool) -> Evaluate:
        """An update of what is the same on every path; a sum that grows from step to step is written as a whole."""
        if isinstance(update, Assign):
            first = as_expression(self.drive(self.updates[self.origin[update.target.tensor].name].target))
            terms = tuple(Term(a) for a in Add.make_args(update.expression))
            return Evaluate(update.target, terms, update.equation, starts=update.starts, initial=first)
        terms = update.explicit
        if update.accumulate:
            past = next(i for i in self.builder.action.indices if i.is_time and i != self.now)
            limit = Before(past, self.now, not late)
            terms = tuple(Term(t.body.xreplace({self.now: past}), (*t.bound, past), (limit,)) for t in terms)
        return Evaluate(update.target, terms, update.equation)


class AtOnce(Kicks):
    """The changes at the time of a unit impulse, where what moves, and integrals, are still as they were."""

    stem = "jump"

    def __init__(self, builder: QuantityBuilder, source: Tensor, moving: set[Tensor]):
        super().__init__(builder, source, moving)
        self.columns = self.columns[:-1]

    def reads_of(self, update: Update) -> list[str]:
        """What it reads at the present time, without integrals."""
        found = [e for body, _ in update.reads(self.now) for e in entries_of(_without(body, self.weights))]
        return [e.tensor.name for e in found if e.times == (self.now,)]

    def change_of(self, entry: Entry) -> Entry | None:
        """The change at the present time."""
        return super().change_of(entry) if entry.times == (self.now,) else None

    def drive(self, target: Entry) -> tuple[Term, ...]:
        """The impulse where its source is."""
        return self.unit(target)

    def slope(self, partial: Expr, target: Entry, entry: Entry) -> Expr:
        """Integrals do not change at once."""
        return super().slope(_without(partial, self.weights), target, entry)

    def integrated(self, change: Entry) -> Expr:
        """Not at once."""
        return Integer(0)


class Onsets(Kicks):
    """The same where a step has two passes: what moves starts with its jump, and half a change counts in integrals.

    Integrals begin at the time of the impulse; the trapezoidal rule counts half of what stands there.
    """

    def __init__(self, builder: QuantityBuilder, source: Tensor, moving: set[Tensor], scheme: Scheme):
        super().__init__(builder, source, moving)
        self.moving = {t.name: f for f in moving for t in (f, base_of(f, scheme))}
        self.at_once = AtOnce(builder, source, moving)
        self.onset, self.half = (_of_grid(builder, role) for role in (Role.ONSET, Role.HALF_ONSET))
        self.halves: dict[Tensor, Entry] = {}

    def follow(self, updates: dict[str, Update], observed: list[Entry]) -> None:
        """The same, and what changes at once."""
        still = {name: update for name, update in updates.items() if name not in self.moving and not update.accumulates}
        rates = [rate_of(f)[f.indices] for f in self.moving.values()]
        self.at_once.follow(still, [*observed, *rates])
        super().follow(updates, observed)

    def drive(self, target: Entry) -> tuple[Term, ...]:
        """What jumps does so at its onset."""
        field = self.moving.get(target.tensor.name)
        jump = field and self.at_once.change_of(rate_of(field)[target.indices])
        return (Term(self.onset * jump),) if jump else ()

    def slope(self, partial: Expr, target: Entry, entry: Entry) -> Expr:
        """What moves starts anew at the onset; at the end of an integral half counts."""
        if target.tensor.name in self.moving:
            return partial * (1 - self.onset)
        rest = _without(partial, self.weights)
        half = self.half.xreplace({self.now: entry.times[0]})
        return super().slope(rest, target, entry) + half * super().slope(partial - rest, target, entry)

    def integrated(self, change: Entry) -> Expr:
        """Half of what there is at the onset, where integrals begin."""
        tensor = change.tensor
        half = Tensor(f"half_{tensor.name}", Kind.DEFINITION, tensor.indices, tensor.site)
        self.halves[half] = tensor[tensor.indices]
        return half[change.indices]

    def changes_of(self, body: Expr, target: Entry) -> tuple[Term, ...]:
        """The change of an observable; what it feels at once is a density."""
        at_once = self.at_once.changes_of(body, target)
        return (*super().changes_of(body, target), *(t.times(self.onset / TIME_STEP) for t in at_once))

    def change_by(self, name: str) -> Update:
        """The update of the change of a quantity; path arrays are zero before they start anew."""
        update = super().change_by(name)
        again = update.starts and update.target.tensor.site
        return replace(update, starts=False) if again else update

    def _add(self, tensor: Tensor) -> list[Entry]:
        if tensor not in self.halves:
            return [*self.at_once._add(tensor), *super()._add(tensor)]
        target, value = tensor[tensor.indices], self.half * self.halves[tensor]
        line = f"{target} = {value}"
        update = Assign(target, value, line) if tensor.site else Evaluate(target, (Term(value),), line)
        self.builder.add_update(update, Role.TANGENT)
        return _entries(update, self.now)


def _of_grid(builder: QuantityBuilder, role: Role) -> Entry:
    """An array of numbers that the time grid fixes: times of impulses, times."""
    indices, name = (builder.kick, builder.now), role.replace(" ", "_")
    builder.buffers.setdefault(name, Buffer(Tensor(name, Kind.DEFINITION, indices), role))
    return Tensor(name, Kind.DATA, indices)[indices]


def _without(expr: Expr, weights: set[Tensor]) -> Expr:
    """An expression without its integrals."""
    return expr.xreplace({e: Integer(0) for e in entries_of(expr) if e.tensor in weights})


def _entries(update: Update, now: Index) -> list[Entry]:
    return [e for body, _ in update.reads(now) for e in entries_of(body)]
