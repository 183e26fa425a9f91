"""The saddle point: δS/δq̂ = 0 gives the order parameters, δS/δq = 0 shows which conjugates causality removes."""

from dataclasses import dataclass, replace

from sympy import Add, Eq, Expr, latex

from dmftsym.derivation.averages import average
from dmftsym.derivation.functional import functional_derivative, not_after, strictly_before, without
from dmftsym.errors import DerivationError
from dmftsym.language.action import Action, Definition, SiteAction
from dmftsym.language.display import Displayed
from dmftsym.language.symbols import Entry, Index, Kind, Tensor, TimeDerivative
from dmftsym.language.terms import Before, Term, as_expression, avoid, entries_of, rename


@dataclass(frozen=True)
class SiteAverage:
    """The contribution coefficient·⟨Σ terms⟩_site to an order parameter (the terms hold the observable)."""

    site: str
    coefficient: Expr
    terms: tuple[Term, ...]

    def expression(self) -> Expr:
        """The contribution with its average as a symbolic object."""
        averaged = tuple(Term(average(t.body, self.site), t.bound, t.constraints) for t in self.terms)
        return self.coefficient * as_expression(averaged)


@dataclass(frozen=True)
class OrderParameterEquation:
    """tensor[indices] = Σ averages + Σ explicit, from δS/δ(tensor.hat) = 0 at vanishing conjugates."""

    tensor: Tensor
    averages: tuple[SiteAverage, ...]
    explicit: tuple[Term, ...]

    def right_side(self) -> Expr:
        """Averages plus explicit terms."""
        return Add(*[a.expression() for a in self.averages]) + as_expression(self.explicit)


@dataclass(frozen=True)
class Constraint:
    """0 = Σ terms, from δS/δ(multiplier.hat) = 0: it determines the multiplier, which moves the sites."""

    multiplier: Tensor
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class CausalTerm:
    """One term of δS/δq: what it is, and why it vanishes (or that it does not)."""

    expression: Expr
    vanishes: bool
    reason: str


@dataclass(frozen=True)
class Reach:
    """A response function is zero unless `earlier` < `later` (slots of its times), or ≤ if it is `instant`."""

    tensor: Tensor
    later: int
    earlier: int
    instant: bool

    def limit(self, entry: Entry) -> tuple[Before, ...]:
        """What it says on the times of an entry of it."""
        late, early = entry.indices[self.later], entry.indices[self.earlier]
        return (Before(early, late, self.instant),) if isinstance(early, Index) else ()


@dataclass(frozen=True)
class ConjugateEquation:
    """0 = δS/δq: conjugate = Σ terms; the conjugate vanishes if causality kills every term."""

    conjugate: Entry
    terms: tuple[CausalTerm, ...]

    @property
    def vanishes(self) -> bool:
        """Whether causality kills every term."""
        return all(t.vanishes for t in self.terms)


@dataclass(frozen=True)
class SaddlePoint(Displayed):
    """The saddle-point equations of an action: order parameters, definitions, and why conjugates vanish."""

    title = "Saddle point"

    equations: tuple[OrderParameterEquation, ...]
    definitions: tuple[Definition, ...]
    conjugates: tuple[ConjugateEquation, ...]
    pairs: tuple[tuple[Entry, Entry], ...] = ()
    constraints: tuple[Constraint, ...] = ()

    def equation(self, name: str) -> OrderParameterEquation:
        """The equation of the order parameter of that name."""
        return next(e for e in self.equations if e.tensor.name == name)

    def equation_lines(self) -> tuple[tuple[Tensor, str], ...]:
        """The equations of order parameters and definitions in plain text, each with the quantity that it is about."""
        return tuple((left.tensor, f"{left} = {right}") for left, right in self._pairs())

    @property
    def sympy(self) -> tuple[Eq, ...]:
        """The equations of order parameters and definitions as SymPy equalities."""
        return tuple(Eq(left, right, evaluate=False) for left, right in self._pairs())

    def text(self) -> str:
        """Equations in plain text, then each conjugate with the reason why it vanishes."""
        lines = [line for _, line in self.equation_lines()]
        lines += [f"0 = {as_expression(c.terms)}, which determines {_own(c)}" for c in self.constraints]
        for c in self.conjugates:
            lines.append(f"{c.conjugate} = 0" if c.vanishes else f"{c.conjugate} does not vanish")
            lines += [f"    {t.expression}: {t.reason}" for t in c.terms]
        lines += [f"{q} has the conjugate {p}" for q, p in self.pairs]
        return "\n".join(lines)

    def latex_lines(self) -> list[str]:
        """Equations as LaTeX, conjugates with their reasons."""
        lines = [f"{latex(left)} = {latex(right)}" for left, right in self._pairs()]
        for rule in self.constraints:
            zero = f"0 = {latex(as_expression(rule.terms))}"
            lines.append(rf"{zero} \quad \text{{(determines }} {latex(_own(rule))} \text{{)}}")
        for c in self.conjugates:
            relation = "= 0" if c.vanishes else r"\ne 0"
            lines.append(f"{latex(c.conjugate)} {relation}")
            lines += [rf"\qquad {latex(t.expression)}: \quad \text{{{t.reason}}}" for t in c.terms]
        lines += [rf"\text{{conjugate of }} {latex(q)}: \quad {latex(p)}" for q, p in self.pairs]
        return lines

    def _pairs(self) -> list[tuple[Entry, Expr]]:
        pairs = [(e.tensor[e.tensor.indices], e.right_side()) for e in self.equations]
        return pairs + [(d.tensor[d.tensor.indices], as_expression(d.terms)) for d in self.definitions]


def _own(constraint: Constraint) -> Entry:
    return constraint.multiplier[constraint.multiplier.indices]


def derive_saddle_point(action: Action, causal: tuple[Reach, ...] = ()) -> SaddlePoint:
    """Derive the saddle-point equations (theory.md §2); `causal` says which order parameters are response functions.

    Raises `DerivationError` if an order parameter does not enter its own equation linearly.
    """
    conjugates = {q: action.conjugate(q) for q in action.order_parameters}
    return SaddlePoint(
        equations=derive_order_parameters(action),
        definitions=action.definitions,
        conjugates=tuple(_conjugate_equation(action, q, causal) for q, c in conjugates.items() if c.tensor == q.hat),
        pairs=tuple((q[q.indices], c) for q, c in conjugates.items() if c.tensor != q.hat),
        constraints=tuple(_constraint(action, q) for q in action.order_parameters if action.is_multiplier(q)),
    )


def derive_order_parameters(action: Action) -> tuple[OrderParameterEquation, ...]:
    """The equations of the order parameters alone, from δS/δq̂ = 0. Raises as `derive_saddle_point` does."""
    return tuple(_order_parameter_equation(action, q) for q in action.order_parameters if not action.is_multiplier(q))


def _constraint(action: Action, q: Tensor) -> Constraint:
    terms = functional_derivative(action.pair_terms, q.hat, q.indices, action)
    return Constraint(q, tuple(t.times(-1) for t in without(terms, Kind.CONJUGATE)))


def split_own_term(action: Action, q: Tensor) -> tuple[Expr, tuple[Term, ...]]:
    """The coefficient of the pair term q̂ q, and the other explicit terms of δS/δq̂ (or δS/δp for a pair q, p).

    Raises `DerivationError` if the own term is not linear in q.
    """
    own, conjugate = q[q.indices], action.conjugate(q)
    explicit = without(
        functional_derivative(action.pair_terms, conjugate.tensor, conjugate.indices, action), Kind.CONJUGATE
    )
    mine = [t for t in explicit if t.body.has(own)]
    coefficient = Add(*[t.body / own for t in mine])
    if coefficient == 0:
        _check_order(q, explicit, conjugate)
    if coefficient == 0 or coefficient.has(Entry) or any(t.bound for t in mine):
        raise DerivationError(
            f"order parameter {q}: its equation {as_expression(explicit)} + ... = 0 is not linear in {own}"
        )
    return coefficient, tuple(t for t in explicit if t not in mine)


def _check_order(q: Tensor, explicit: tuple[Term, ...], conjugate: Entry) -> None:
    """Say so where a pair term holds an order parameter and its conjugate with their indices in different orders."""
    own = q[q.indices]
    for entry in (e for t in explicit for e in entries_of(t.body, Kind.ORDER_PARAMETER)):
        if entry.tensor == q and entry != own and set(entry.indices) == set(own.indices):
            raise DerivationError(
                f"order parameter {q}: in its pair term the order of the indices differs, {conjugate}*{entry}; "
                f"write both in the same order, -{conjugate}*{own}"
            )


def _order_parameter_equation(action: Action, q: Tensor) -> OrderParameterEquation:
    coefficient, others = split_own_term(action, q)
    conjugate = action.conjugate(q)
    averages = []
    for site in action.sites:
        found = functional_derivative(site.terms, conjugate.tensor, conjugate.indices, action)
        terms = without(found, Kind.CONJUGATE)
        if terms:
            averages.append(SiteAverage(site.name, -site.weight / coefficient, terms))
    rest = tuple(t.times(-1 / coefficient) for t in others)
    return OrderParameterEquation(q, tuple(averages), rest)


def _conjugate_equation(action: Action, q: Tensor, causal: tuple[Reach, ...]) -> ConjugateEquation:
    terms: list[CausalTerm] = []
    own = q.hat[q.indices]
    # a response function enters nowhere beyond its reach
    reach = tuple(limit for r in causal if r.tensor == q for limit in r.limit(q[q.indices]))
    for term in functional_derivative(action.pair_terms, q, q.indices, action):
        if not term.body.has(own) or term.bound:
            terms.append(pair_fate(term))
    for site in action.sites:
        for term in expanded(functional_derivative(site.terms, q, q.indices, action)):
            terms.append(site_fate(term, site, action, causal, reach))
    return ConjugateEquation(own, tuple(terms))


def pair_fate(term: Term) -> CausalTerm:
    """Explicit terms vanish only with the conjugates that they hold."""
    if entries_of(term.body, Kind.CONJUGATE):
        return CausalTerm(as_expression((term,)), True, "proportional to a conjugate; all vanish together")
    return CausalTerm(as_expression((term,)), False, "explicit term, does not vanish")


def site_fate(
    term: Term,
    site: SiteAction,
    action: Action,
    causal: tuple[Reach, ...] = (),
    given: tuple[Before, ...] = (),
) -> CausalTerm:
    """Decide by causality whether ⟨term⟩ vanishes; a response field must be the latest factor (Itô).

    Where a term holds a response function, its times are ordered as its reach says: elsewhere it is zero. `given` is
    what else is known of the order of times.
    """
    averaged = site.weight * as_expression((Term(average(term.body, site.name), term.bound, term.constraints),))
    if entries_of(term.body, Kind.CONJUGATE):
        return CausalTerm(averaged, True, "proportional to a conjugate; all vanish together")
    responses = [f for f in term.factors if isinstance(f, Entry) and f.tensor.kind == Kind.RESPONSE_FIELD]
    local = [e for e in entries_of(term.body) if e.tensor.site == site.name and e.tensor.kind != Kind.RESPONSE_FIELD]
    if not responses:
        return CausalTerm(averaged, False, "holds no response field, does not vanish")
    if not local:
        shown = as_expression((term,))
        return CausalTerm(shown, True, "an average of response fields alone vanishes")
    constraints = (*term.constraints, *limits_of(term, causal), *given)
    if all(is_before(e, responses, constraints, action) for e in local):
        return CausalTerm(averaged, True, "a response field is the latest factor, so the average vanishes")
    return CausalTerm(averaged, False, "the latest factor need not be a response field, does not vanish")


def expanded(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """Terms with sums multiplied out that hold response fields, so that each one can be judged by causality."""
    result = []
    for term in terms:
        hidden = any(f.is_Add and entries_of(f, Kind.RESPONSE_FIELD) for f in term.factors)
        parts = Add.make_args(term.body.expand()) if hidden else (term.body,)
        result += [replace(term, body=part) for part in parts]
    return tuple(result)


def limits_of(term: Term, causal: tuple[Reach, ...]) -> tuple[Before, ...]:
    """How the response functions in a term order its times."""
    entries = entries_of(term.body, Kind.ORDER_PARAMETER)
    return tuple(limit for r in causal for e in entries if e.tensor == r.tensor for limit in r.limit(e))


def _has_equation_of_motion(field: Tensor, action: Action) -> bool:
    site = next(s for s in action.sites if s.name == field.site)
    return any(d.entry.tensor == field for t in site.terms for d in t.body.atoms(TimeDerivative))


def is_before(entry: Entry, responses: list[Entry], constraints: tuple[Before, ...], action: Action) -> bool:
    """Whether a field, or every field that a definition reads, does not feel the source of one of the response fields.

    That is so where it is strictly earlier, or at the same time and its equation does not pass it on at once.
    """
    if entry.tensor.kind == Kind.FIELD:
        return all(any(_too_late(entry.tensor, s, r, constraints, action) for r in responses) for s in entry.times)
    taken = [i for t in (*[t for r in responses for t in r.times], *entry.indices) for i in t.atoms(Index)]
    for term in action.definition(entry.tensor.name).terms:
        moved = rename(avoid(term, taken), dict(zip(entry.tensor.indices, entry.indices, strict=True)))
        inside = [e for e in entries_of(moved.body) if e.tensor.site]
        if not all(is_before(e, responses, (*constraints, *moved.constraints), action) for e in inside):
            return False
    return True


def _too_late(field: Tensor, at: Expr, response: Entry, constraints: tuple[Before, ...], action: Action) -> bool:
    """Whether a source comes too late to be felt by a field at a time."""
    (time,) = response.times
    if strictly_before(at, time, constraints):
        return True
    if not not_after(at, time, constraints):
        return False
    # in continuous time nothing feels at t what enters dx/dt at t (Itô)
    source = next(f for s in action.sites for f in s.fields if f.name == response.tensor.name)
    if _has_equation_of_motion(source, action) or _has_equation_of_motion(field, action):
        return True
    return response.tensor.name not in _felt_at_once(field, action)


def _felt_at_once(field: Tensor, action: Action) -> set[str]:
    """The fields of a site whose sources a field feels at the same time: itself, and what its equation passes on."""
    site = next(s for s in action.sites if s.name == field.site)
    definitions = {d.tensor: d.terms for d in site.definitions}
    found: set[str] = set()
    queue = [field]
    while queue:
        tensor = queue.pop()
        if tensor.name in found:
            continue
        found.add(tensor.name)
        if tensor.kind != Kind.FIELD:
            queue += [e.tensor for t in definitions[tensor] for e in entries_of(t.body) if e.tensor.site]
        elif not _has_equation_of_motion(tensor, action):
            queue += _read_at_once(tensor, site.terms)
    return found


def _read_at_once(field: Tensor, terms: tuple[Term, ...]) -> list[Tensor]:
    """What stands in the equation of a field and need not be earlier than it."""
    result = []
    for term in terms:
        responses = [f for f in term.factors if isinstance(f, Entry) and f.tensor.kind == Kind.RESPONSE_FIELD]
        if len(responses) != 1 or responses[0].tensor != field.tilde or entries_of(term.body, Kind.CONJUGATE):
            continue
        now = responses[0].times[0]
        for entry in entries_of(term.body, Kind.FIELD, Kind.DEFINITION):
            if entry.tensor.site and not all(strictly_before(s, now, term.constraints) for s in entry.times):
                result.append(entry.tensor)
    return result
