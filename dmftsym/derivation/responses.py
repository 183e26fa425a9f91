"""Response functions: which order parameters are, how they reach back in time, and the tangents that give them.

R(t, s) = <O(t) x̃(s)> = <δO(t)/δu(s)>, with u added to the right-hand side of x. Tangents δx/δu obey the linearised
equations of the site.
"""

from dataclasses import dataclass, replace

from sympy import Add, Expr, Mul

from dmftsym.derivation.functional import strictly_before, variation
from dmftsym.derivation.parts import Equations, SumOfResponses, separate
from dmftsym.derivation.process import EffectiveProcess, FieldEquation, Processes
from dmftsym.derivation.saddle_point import Reach
from dmftsym.language.action import Action
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Before, Term, entries_of


@dataclass(frozen=True)
class ResponseFunction:
    """tensor = coefficient <Σ terms · δ/δ(source of `responder`)>, an average over `site`.

    `responder` is the response field x̃[nu, s] as it stands in the average, `instant` whether the observable at a time
    feels the source of the same time.
    """

    tensor: Tensor
    site: str
    coefficient: Expr
    terms: tuple[Term, ...]
    responder: Entry
    instant: bool = False

    @property
    def observable(self) -> Expr:
        """What responds, as one expression."""
        return Add(*[t.body for t in self.terms])

    @property
    def time_slots(self) -> tuple[int, int]:
        """Places of the later time (of the observable) and of the earlier one (of the source)."""
        first, second = self.tensor.time_slots
        earlier = self.responder.times[0]
        return (second, first) if self.tensor.indices[first] == earlier else (first, second)


@dataclass(frozen=True)
class Tangent:
    """δx/δu of a field or definition x of a site: `tensor` carries the indices of x and those of the source."""

    of: Tensor
    tensor: Tensor
    terms: tuple[Term, ...]
    kicked: bool


def separate_responses(equations: Equations) -> tuple[Equations, tuple[SumOfResponses, ...]]:
    """The equations with sums of response functions as functions of elementary ones, and these sums."""
    return separate(equations, lambda e: _read(e) is not None)


def find_responses(
    equations: Equations, processes: Processes, sums: tuple[SumOfResponses, ...] = ()
) -> tuple[ResponseFunction, ...]:
    """The order parameters that are response functions of one source, with their reach.

    Whether a response at equal times exists is the least solution of: O feels at once what its fields read at the
    same time, and a memory kernel passes on at once only if it has an equal-time part itself (theory.md §4).
    """
    found = [r for e in equations if (r := _read(e)) is not None]
    while True:
        known = reaches(tuple(found), sums)
        grown = [r.tensor for r in found if not r.instant and _feels_at_once(r, known, processes)]
        if not grown:
            return tuple(found)
        found = [replace(r, instant=r.instant or r.tensor in grown) for r in found]


def _read(equation) -> ResponseFunction | None:
    if len(equation.averages) != 1 or equation.explicit or len(equation.tensor.time_slots) != 2:
        return None
    (average,) = equation.averages
    terms: list[Term] = []
    responders = set()
    for term in average.terms:
        factors = [f for f in term.factors if isinstance(f, Entry) and f.tensor.kind == Kind.RESPONSE_FIELD]
        if len(factors) != 1 or term.bound:
            return None
        responders.add(factors[0])
        terms.append(replace(term, body=term.body / factors[0]))
    if len(responders) != 1:
        return None
    (responder,) = responders
    own = set(equation.tensor.indices)
    if not all(isinstance(i, Index) and i in own for i in responder.indices):
        return None
    coefficient, observed = _factored(average.coefficient, terms)
    return ResponseFunction(equation.tensor, average.site, coefficient, observed, responder)


def _factored(coefficient: Expr, terms: list[Term]) -> tuple[Expr, tuple[Term, ...]]:
    """What all terms have in common, beside the fields, in front."""
    split = []
    for term in terms:
        path = Mul(*[f for f in term.factors if any(e.tensor.site for e in entries_of(f))])
        split.append((coefficient * term.body / path, replace(term, body=path)))
    common = split[0][0]
    return common, tuple(t.times(c / common) for c, t in split)


def _feels_at_once(response: ResponseFunction, known: tuple[Reach, ...], processes: Processes) -> bool:
    process = next(p for p in processes if p.site == response.site)
    later = response.tensor.indices[response.time_slots[0]]
    start = [e.tensor for t in response.terms for e in entries_of(t.body) if e.tensor.site and later in e.times]
    seen: set[Tensor] = set()
    queue = list(start)
    while queue:
        tensor = queue.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        queue += _read_at_once(tensor, process, known)
    return any(f.name == response.responder.tensor.name for f in seen) and not _moves(response, process)


def _moves(response: ResponseFunction, process: EffectiveProcess) -> bool:
    """Whether the source drives a time derivative: then nothing feels it at once (Itô)."""
    return next(e.derivative for e in process.equations if e.field.name == response.responder.tensor.name)


def _read_at_once(tensor: Tensor, process: EffectiveProcess, known: tuple[Reach, ...]) -> list[Tensor]:
    for definition in process.definitions:
        if definition.tensor == tensor:
            return [e.tensor for t in definition.terms for e in entries_of(t.body) if e.tensor.site]
    equation = next(e for e in process.equations if e.field == tensor)
    if equation.derivative:
        return []
    now = tensor.indices[tensor.time_slots[0]]
    result = []
    for term in equation.terms:
        limits = (*term.constraints, *_limits(term, now, known))
        for entry in entries_of(term.body):
            if entry.tensor.site and not all(strictly_before(s, now, limits) for s in entry.times):
                result.append(entry.tensor)
    return result


def _limits(term: Term, now: Index, known: tuple[Reach, ...]) -> tuple[Before, ...]:
    """The limits that causality puts on the unconstrained times of a memory term."""
    constrained = {c.time for c in term.constraints}
    kernels = {r.tensor: r for r in known}
    result = []
    for entry in entries_of(term.body, Kind.ORDER_PARAMETER):
        response = kernels.get(entry.tensor)
        if response is None:
            continue
        later, earlier = entry.indices[response.later], entry.indices[response.earlier]
        if later == now and earlier in term.bound and earlier not in constrained:
            result.append(Before(earlier, now, response.instant))
    return tuple(result)


def with_causal_memory(processes: Processes, known: tuple[Reach, ...]) -> Processes:
    """The processes with every memory term limited to the times at which its response function does not vanish.

    A time derivative feels only what is strictly earlier.
    """

    def limited(equation: FieldEquation) -> FieldEquation:
        now = equation.field.indices[equation.field.time_slots[0]]
        terms = []
        for term in equation.terms:
            limits = _limits(term, now, known)
            terms.append(replace(term, constraints=(*term.constraints, *limits)))
        return replace(equation, terms=tuple(terms))

    return Processes(replace(p, equations=tuple(map(limited, p.equations))) for p in processes)


def reaches(responses: tuple[ResponseFunction, ...], sums: tuple[SumOfResponses, ...]) -> tuple[Reach, ...]:
    """How far back response functions and their sums reach: R(t, s) is zero unless s < t, or s ≤ t."""
    known = {r.tensor: Reach(r.tensor, *r.time_slots, r.instant) for r in responses}
    found = list(known.values())
    for total in sums:
        if all(part in known for part in total.parts):
            instant = any(known[part].instant for part in total.parts)
            found.append(Reach(total.tensor, total.later, total.earlier, instant))
    return tuple(found)


def tangents(process: EffectiveProcess, source: Tensor, action: Action) -> tuple[Tangent, ...]:
    """The first-order changes of all fields and definitions of a site that the source of one field changes.

    Indices of x in front, those of the source (primed) behind. Cost: linear in the number of terms.
    """
    equations = {e.field: e.terms for e in process.equations} | {d.tensor: d.terms for d in process.definitions}
    affected = {source}
    while True:
        reading = {x for x, terms in equations.items() if _local(terms) & affected}
        if reading <= affected:
            break
        affected |= reading
    end = tuple(Index(f"{i.name}'", i.axis) for i in source.indices)

    def tensor(x: Tensor) -> Tensor:
        latex_name = rf"\frac{{\delta {x.latex_name}}}{{\delta u^{{{source.latex_name}}}}}"
        return Tensor(f"d_{x.name}_d_{source.name}", Kind.DEFINITION, (*x.indices, *end), process.site, latex_name)

    change = lambda e: tensor(e.tensor)[(*e.indices, *end)] if e.tensor in affected else None
    return tuple(
        Tangent(x, tensor(x), variation(terms, change), x == source) for x, terms in equations.items() if x in affected
    )


def change_of_observable(response: ResponseFunction, found: tuple[Tangent, ...]) -> tuple[Term, ...]:
    """δO/δu as terms in the tangents, at the indices of the response function."""
    tensors = {t.of: t.tensor for t in found}
    end = response.responder.indices
    change = lambda e: tensors[e.tensor][(*e.indices, *end)] if e.tensor in tensors else None
    return variation(response.terms, change)


def _local(terms: tuple[Term, ...]) -> set[Tensor]:
    return {e.tensor for t in terms for e in entries_of(t.body) if e.tensor.site}
