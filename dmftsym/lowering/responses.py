"""Response functions on the time grid: the tangents of a site, one impulse in its source for every time."""

from dataclasses import replace

from sympy import Expr

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.responses import ResponseFunction, Tangent, change_of_observable, tangents
from dmftsym.errors import LoweringError
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Term, as_expression, entries_of, substitute_activations
from dmftsym.lowering.motion import add_motion, rate_of, waits_of
from dmftsym.lowering.onsets import Onsets, at_source, grid_array
from dmftsym.lowering.quantities import QuantityBuilder
from dmftsym.lowering.schemes import Scheme
from dmftsym.program.axes import TIME_STEP
from dmftsym.program.buffers import Role


def reads_of_responses(equations: Derivation) -> dict[str, list[Entry]]:
    """What every response function reads: the coefficients of the tangents of its site."""
    result = {}
    for response in equations.responses:
        terms = [t for tangent in _tangents(response, equations) for t in tangent.terms]
        own = {t.tensor for t in _tangents(response, equations)}
        kinds = (Kind.ORDER_PARAMETER, Kind.DEFINITION, Kind.OBSERVABLE, Kind.FIELD)
        result[response.tensor.name] = [e for t in terms for e in entries_of(t.body, *kinds) if e.tensor not in own]
    return result


def add_responses(builder: QuantityBuilder, equations: Derivation, live: tuple[str, ...], scheme: Scheme) -> None:
    """The live response functions as averages of tangents; tangents of linear sites are the same on every path."""
    wanted = [r for r in equations.responses if r.tensor.name in live]
    for response in wanted:
        if not _tangents(response, equations):
            tensor = response.tensor
            builder.add_function(tensor, (), f"{tensor[tensor.indices]} = 0: the observable never feels the source")
            continue
        _ResponseWriter(builder, response, equations, scheme).add()


def _tangents(response: ResponseFunction, equations: Derivation) -> tuple[Tangent, ...]:
    """The tangents that the observable of a response function needs."""
    process = next(p for p in equations.process if p.site == response.site)
    source = next(e.field for e in process.equations if e.field.name == response.responder.tensor.name)
    found = {t.of: t for t in tangents(process, source, equations.action)}
    needed: dict[Tensor, Tangent] = {}
    queue = [e.tensor for t in response.terms for e in entries_of(t.body) if e.tensor in found]
    while queue:
        tensor = queue.pop(0)
        if tensor not in needed:
            needed[tensor] = found[tensor]
            reads = {e.tensor.name for t in found[tensor].terms for e in entries_of(t.body)}
            queue += [t.of for t in found.values() if t.tensor.name in reads]
    return tuple(t for t in found.values() if t.of in needed)


class _ResponseWriter:
    """Writes the tangents of one response function and their average; the time of the impulse becomes an axis."""

    def __init__(self, builder: QuantityBuilder, response: ResponseFunction, equations: Derivation, scheme: Scheme):
        self.builder, self.response, self.equations, self.scheme = builder, response, equations, scheme
        self.tangents = _tangents(response, equations)
        self.process = next(p for p in equations.process if p.site == response.site)
        self.kick = builder.kick
        self.end = {i: self.kick if i.is_time else builder.primed(i) for i in self._primed()}
        self.shared = self._find_shared()
        self.tensors = {t.tensor.name: self._tensor(t) for t in self.tangents}
        self.source = [i for i in self.end.values() if i != self.kick]
        moving = {e.field for e in self.process.equations if e.derivative}
        onsets = Onsets(builder, self.tangents, self.tensors, self.source, moving, self._place)
        self.onsets = onsets if scheme.passes > 1 else None

    def add(self) -> None:
        """Add the tangents (unless another response function needed them before) and the average."""
        for tangent in self.tangents:
            if self.tensors[tangent.tensor.name].name not in self.builder.buffers:
                self._add_tangent(tangent)
        self._add_average()

    # --- names ------------------------------------------------------------------------------------

    def _find_shared(self) -> set[str]:
        """The tangents of which the equations hold no field, only each other: they are the same on every path."""
        reads = {
            t.tensor.name: {
                e.tensor.name for u in t.terms for e in entries_of(substitute_activations(u.body)) if e.tensor.site
            }
            for t in self.tangents
        }
        shared = set(reads)
        while any(not reads[name] <= shared for name in shared):
            shared = {name for name in shared if reads[name] <= shared}
        return shared

    def _tensor(self, tangent: Tangent) -> Tensor:
        """The tangent with the time of the impulse as an axis: indices of x, of the source, impulse, time of x."""
        own = [i for i in tangent.of.indices if not i.is_time]
        (time,) = (i for i in tangent.of.indices if i.is_time)
        spatial = [i for i in self.end.values() if i != self.kick]
        site = "" if tangent.tensor.name in self.shared else self.response.site
        return Tensor(tangent.tensor.name, Kind.DEFINITION, (*own, *spatial, self.kick, time), site)

    def _lowered(self, expr: Expr) -> Expr:
        """The expression with tangents as the arrays of this grid."""
        replaced = {}
        for entry in entries_of(expr):
            if entry.tensor.name in self.tensors and entry.tensor.kind == Kind.DEFINITION:
                places, tensor = self._place(entry), self.tensors[entry.tensor.name]
                if self.onsets and places[-1] != self.builder.now:
                    tensor = self.onsets.halved(tensor)
                replaced[entry] = tensor[places]
        return expr.xreplace(replaced)

    def _place(self, entry: Entry) -> tuple[Expr, ...]:
        """The arguments of the array of a tangent: indices of x, of the source, impulse, time of x."""
        count = len(entry.tensor.indices) - len(self.end)
        own, end = entry.indices[:count], [self.end.get(i, i) for i in entry.indices[count:]]
        spatial = [i for i in own if not (i.atoms(Index) and _is_time(i))]
        (time,) = (i for i in own if i.is_Integer or _is_time(i))
        kicked = [i for i in end if i != self.kick]
        return (*spatial, *kicked, self.kick, time)

    # --- updates ----------------------------------------------------------------------------------

    def _add_tangent(self, tangent: Tangent) -> None:
        tensor = self.tensors[tangent.tensor.name]
        formula = (lambda body: body) if tensor.site else substitute_activations
        terms = tuple(replace(t, body=self._lowered(formula(t.body))) for t in tangent.terms)
        if tangent.kicked and not self.onsets:
            terms = (*terms, Term(self._impulse(tangent)))
        equation = next((e for e in self.process.equations if e.field == tangent.of), None)
        dot = ".dot" if equation is not None and equation.derivative else ""
        places = ", ".join(map(str, tensor.indices))
        line = f"{tensor.name}{dot}[{places}] = {as_expression(terms)}"
        # nothing drives an initial value
        started = any(s.field == tangent.of for s in self.process.starts)
        if equation is not None and equation.derivative:
            self._add_moving(tensor, terms, line, self.onsets.restart(tangent) if self.onsets else None)
        elif not tensor.site:
            self.builder.add_function(tensor, terms, line, auxiliary=True, starts=started)
        else:
            value = self.builder.lower_terms(terms, tensor.site, tensor.name)
            self.builder.add_site_array(tensor, Role.TANGENT, value, line, starts=started)

    def _impulse(self, tangent: Tangent) -> Expr:
        """1 where x, its indices and its time are those of the source (a density in continuous time)."""
        return grid_array(self.builder, Role.IMPULSE) * at_source(tangent, self.source)

    def _add_moving(self, tensor: Tensor, terms: tuple[Term, ...], line: str, restart) -> None:
        """A tangent with an equation of motion: zero at the start, then one step of the scheme after the other."""
        builder, rate, waits = self.builder, rate_of(tensor), waits_of(tensor, self.scheme)
        if not tensor.site:
            builder.add_function(rate, terms, line, auxiliary=True, after=waits)
        else:
            value = builder.lower_terms(terms, rate.site, tensor.name)
            builder.add_site_array(rate, Role.RATE, value, line, after=waits)
        add_motion(builder, self.scheme, tensor, Role.TANGENT, restart)

    def _add_average(self) -> None:
        response, builder = self.response, self.builder
        if any(t.bound for t in response.terms):
            raise LoweringError(f"response function {response.tensor}: its observable holds a sum; name it with define")
        terms = change_of_observable(response, self.tangents)
        end = {i: self.end[j] for i, j in zip(response.responder.indices, self._primed(), strict=True)}
        later = response.tensor.indices[response.time_slots[0]]
        right = self.equations.saddle_point.equation(response.tensor.name).right_side()
        line = f"{response.tensor[response.tensor.indices]} = {right}"
        here = {**end, later: builder.now}
        terms = tuple(replace(t, body=(t.body * response.coefficient).xreplace(here)) for t in terms)
        moved = [replace(t, body=self._lowered(t.body)) for t in terms]
        if self.onsets and response.instant:
            at_once = grid_array(builder, Role.ONSET) / TIME_STEP
            moved += [t.times(at_once) for t in self.onsets.at_impulse(terms)]
        target = response.tensor[response.tensor.indices].xreplace({**end, later: builder.now})
        local = any(e.tensor.site == response.site for t in moved for e in entries_of(t.body))
        builder.add_response(response.tensor, target, tuple(moved), response.site if local else "", line)

    def _primed(self) -> tuple[Index, ...]:
        """The indices of the source end, in the order of the source's field."""
        first = self.tangents[0]
        return first.tensor.indices[len(first.of.indices) :]


def _is_time(argument: Expr) -> bool:
    return any(i.is_time for i in argument.atoms(Index))
