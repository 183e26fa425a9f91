"""Constraints on the time grid: a multiplier is found from the averages that its own step produces.

A multiplier mu(t) enters the update of a field linearly, x = free + mu·push. An order parameter that averages a
polynomial of such fields is then a polynomial in mu, and the constraint one equation for mu(t): of first or second
degree, solved exactly, so that the constraint holds to rounding at every step.
"""

from dataclasses import replace

from sympy import Add, Expr, Integer, Mul, Poly, Symbol, sqrt

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.process import FieldEquation
from dmftsym.derivation.saddle_point import Constraint, OrderParameterEquation, SiteAverage
from dmftsym.errors import LoweringError
from dmftsym.language.symbols import Entry, Kind, Tensor
from dmftsym.language.terms import Term, as_expression, entries_of
from dmftsym.lowering.motion import base_of
from dmftsym.lowering.quantities import QuantityBuilder
from dmftsym.lowering.schemes import BACK, BLEND, RATE, VALUE, Scheme
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.nodes import Node
from dmftsym.program.statements import Evaluate
from dmftsym.program.times import When

_MULTIPLIER = Symbol("multiplier", real=True)


def reads_of_constraints(equations: Derivation) -> dict[str, list[Entry]]:
    """What every multiplier reads: the order parameters of its constraint, and the fields whose update holds it."""
    result = {}
    for constraint in equations.saddle_point.constraints:
        fields = [
            e.field[e.field.indices]
            for p in equations.process
            for e in p.equations
            if any(t.body.has(constraint.multiplier) for t in e.terms)
        ]
        held = [e for t in constraint.terms for e in entries_of(t.body, Kind.ORDER_PARAMETER)]
        result[constraint.multiplier.name] = [*held, *fields]
    return result


def split_multiplier(
    equation: FieldEquation, multipliers: set[Tensor]
) -> tuple[FieldEquation, tuple[Term, ...], Entry | None]:
    """The equation without its multiplier, the terms that the multiplier multiplies, and the multiplier as it stands.

    Raises `LoweringError` unless there is at most one, standing at the time of the equation as a factor.
    """
    held = [t for t in equation.terms if any(e.tensor in multipliers for e in entries_of(t.body))]
    if not held:
        return equation, (), None
    entries = {e for t in held for e in entries_of(t.body) if e.tensor in multipliers}
    now = equation.field.indices[equation.field.time_slots[0]]
    entry = min(entries, key=str)
    linear = all(
        t.factors.count(entry) == 1 and not any(t.body.has(i) and i in t.bound for i in entry.indices) for t in held
    )
    if len(entries) > 1 or entry.times != (now,) or not linear:
        raise LoweringError(
            f"the equation of {equation.field} must hold one multiplier of a constraint, at time {now} and to first "
            f"order; found {as_expression(tuple(held))}"
        )
    strength = tuple(replace(t, body=t.body / entry) for t in held)
    return replace(equation, terms=tuple(t for t in equation.terms if t not in held)), strength, entry


class ConstraintWriter:
    """Collects the fields that a multiplier moves, and writes the equation that determines it."""

    def __init__(self, builder: QuantityBuilder, equations: Derivation, scheme: Scheme):
        self.builder, self.equations, self.scheme = builder, equations, scheme
        self.moved: dict[Tensor, tuple[Entry, Entry, Entry]] = {}

    def add_field(self, field: Tensor, drift: Expr, strength: Expr, multiplier: Entry, derivative: bool) -> Expr:
        """The right side of a field's equation, drift + multiplier·strength, with what the constraint needs noted."""
        builder, own = self.builder, field[field.indices]
        if not derivative and any(
            t == builder.now - 1 for part in (drift, strength) for e in entries_of(part) for t in e.times
        ):
            raise LoweringError(
                f"the equation of {field} holds the multiplier {multiplier} beside values of the previous time, which "
                f"is not supported in discrete time; name {field} at the previous time with a field of its own"
            )
        free, push = (
            Tensor(f"{stem}_{field.name}", Kind.DEFINITION, field.indices, field.site) for stem in ("free", "push")
        )
        if derivative:
            start = base_of(field, self.scheme)[field.indices]
            free_value = self.scheme.ahead.xreplace({VALUE: start, RATE: drift})
            push_value = self.scheme.ahead.diff(RATE) * strength
            what = f"{own} one step later, without {multiplier}"
        else:
            free_value, push_value, what = drift, strength, f"{own} without {multiplier}"
        builder.add_site_array(free, Role.RATE, free_value.expand(), f"{free[free.indices]}: {what}")
        builder.add_site_array(
            push, Role.RATE, push_value.expand(), f"{push[push.indices]}: what {multiplier} multiplies there"
        )
        self.moved[field] = (multiplier, free[free.indices], push[push.indices])
        return drift + multiplier * strength

    def add_multiplier(self, constraint: Constraint) -> None:
        """The multiplier as the root of its constraint that is continuous in the time step."""
        mu = constraint.multiplier
        powers: dict[int, list] = {}
        explicit: list[Term] = []
        for term in constraint.terms:
            entries = [f for f in term.factors if isinstance(f, Entry) and f.tensor.kind == Kind.ORDER_PARAMETER]
            if not entries:
                explicit.append(term)
                continue
            for power, average in self._averages(constraint, term, entries):
                powers.setdefault(power, []).append(average)
        if not 1 <= max(powers, default=0) <= 2:
            raise LoweringError(
                f"the constraint 0 = {as_expression(constraint.terms)} is of degree {max(powers, default=0)} in "
                f"{mu}; only degrees 1 and 2 can be solved"
            )
        coefficients = []
        for power in range(max(powers) + 1):
            tensor = Tensor(self.builder.unique_name(f"{mu.name}_power_{power}"), Kind.DEFINITION, mu.indices)
            line = f"coefficient of {mu}**{power} in 0 = {as_expression(constraint.terms)}"
            averages, rest = tuple(powers.get(power, ())), tuple(explicit if power == 0 else ())
            self.builder.add_average(OrderParameterEquation(tensor, averages, rest), line, False)
            coefficients.append(tensor[mu.indices])
        line = f"{mu[mu.indices]}: 0 = {as_expression(constraint.terms)}"
        if self.scheme.passes == 1:
            self.builder.add_function(mu, (Term(_root(coefficients)),), line)
        else:
            self._add_two_passes(mu, _root(coefficients), line)

    def _add_two_passes(self, mu: Tensor, root: Expr, line: str) -> None:
        """The multiplier of a step that is predicted and corrected.

        In the prediction it makes the correction obey the constraint; then the mean of mu there and at the step before
        is the value in the middle of the step, to second order. Half a step on follows from how the root, a value of
        first order in every correction, has changed since. At the start it tells what to add once the next value is
        known, to the result alone: the steps are of second order without.
        """
        builder, now = self.builder, self.builder.now
        before, back = {now: now - 1}, {now: BACK}
        of_pass = Tensor(builder.unique_name(f"{mu.name}_root"), Kind.DEFINITION, mu.indices)
        shift = Tensor(builder.unique_name(f"{mu.name}_shift"), Kind.DEFINITION, mu.indices)
        value, found = mu[mu.indices], of_pass[mu.indices]
        builder.add_function(of_pass, (Term(root),), f"{found}, the root in mu of {line}", auxiliary=True)
        change = (value.xreplace(before) + value.xreplace(back) - found.xreplace(before) - found) * BLEND
        terms = tuple(Term(a) for a in Add.make_args(change.expand()))
        text = f"{shift[mu.indices]} = {change}"
        builder.add_function(shift, terms, text, auxiliary=True, starts=True)
        builder.add_function(mu, (Term(found), Term(shift[mu.indices])), line)
        second = Tensor(builder.unique_name("second_time"), Kind.DATA, (now,))
        builder.buffers[second.name] = Buffer(Tensor(second.name, Kind.DEFINITION, second.indices), Role.SECOND_TIME)
        late = Term((value - found) * second[now])
        target = value.xreplace({now: Integer(0)})
        statement = Evaluate(target, (late,), f"{target} = its root + {value} - {found} at {now} = 1", accumulate=True)
        reads = tuple((name, When.NOW) for name in (mu.name, of_pass.name))
        name = f"{shift.name}_at_start"
        builder.nodes[name] = Node(name, str(target), (statement,), reads, epilogue=True, auxiliary=True)

    def _averages(self, constraint: Constraint, term: Term, entries: list[Entry]):
        """What an order parameter in a constraint contributes, by powers of the multiplier."""
        here = f"the constraint 0 = {as_expression(constraint.terms)} on {constraint.multiplier}"
        (entry,) = entries if len(entries) == 1 else (None,)
        now = constraint.multiplier.indices[constraint.multiplier.time_slots[0]]
        if entry is None or term.bound or any(t != now for t in entry.times) or (term.body / entry).has(Entry):
            raise LoweringError(f"{here} must be a sum of order parameters at time {now} and constants")
        equation = self.equations.saddle_point.equation(entry.tensor.name)
        if equation.explicit:
            raise LoweringError(f"{here}: {entry.tensor} is not a plain site average")
        for average in equation.averages:
            for part in average.terms:
                body = part.body.xreplace(dict(zip(entry.tensor.indices, entry.indices, strict=True)))
                moved = body.xreplace({e: self._moved(e, here) for e in entries_of(body) if e.tensor.site})
                if not moved.is_polynomial(_MULTIPLIER):
                    raise LoweringError(f"{here}: {entry.tensor} is no polynomial in {constraint.multiplier}")
                for (power,), value in Poly(moved.expand(), _MULTIPLIER).terms():
                    coefficient = average.coefficient * term.body / entry
                    yield power, SiteAverage(average.site, coefficient, _split(value.as_expr(), part))

    def _moved(self, entry: Entry, here: str) -> Expr:
        if entry.tensor not in self.moved:
            raise LoweringError(f"{here}: {entry} does not move with the multiplier, which is not supported")
        _, free, push = self.moved[entry.tensor]
        own = dict(zip(entry.tensor.indices, entry.indices, strict=True))
        return free.xreplace(own) + _MULTIPLIER * push.xreplace(own)


def _split(value: Expr, part: Term) -> tuple[Term, ...]:
    return tuple(replace(part, body=a) for a in Add.make_args(value))


def _root(coefficients: list[Expr]) -> Expr:
    """The root of c0 + c1 mu + c2 mu² that tends to −c0/c1, written without cancellation."""
    if len(coefficients) == 2:
        return -coefficients[0] / coefficients[1]
    c0, c1, c2 = coefficients
    return Mul(Integer(-2), c0) / (c1 * (1 + sqrt(1 - 4 * c0 * c2 / c1**2)))
