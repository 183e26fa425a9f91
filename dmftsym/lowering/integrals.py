"""Integrals over the past on the time grid, as weighted sums over earlier times.

With one pass a step the integral is a sum over s < t with weight dt. With two it follows the trapezoidal rule,

    int_0^t f(t, s) ds = sum over s < t of w(s) f(t, s) + e(t) f(t, t),

w = dt (dt/2 at s = 0), e = dt/2 (0 at t = 0), where f(t, t) is the limit from below, s -> t.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sympy import Expr, Integer, Mul

from dmftsym.derivation.saddle_point import Reach
from dmftsym.errors import LoweringError
from dmftsym.language.action import Action
from dmftsym.language.symbols import Index, Kind, Tensor
from dmftsym.language.terms import Before, Term, entries_of
from dmftsym.lowering.schemes import BACK, Scheme
from dmftsym.program.buffers import Buffer, Role


@dataclass(frozen=True)
class Integrals:
    """The rule for integrals of a model; `past` and `end` are the weights w and e of the trapezoidal rule, if used.

    `explicit`: where the upper end is the present time `now`, f is taken from the pass before; the error of one end,
    dt times that of the pass, is of second order in a prediction and of third order in a correction.
    """

    weight: Expr
    past: Tensor | None = None
    end: Tensor | None = None
    causal: tuple[Reach, ...] = ()
    explicit: Index | None = None

    def buffers(self) -> tuple[Buffer, ...]:
        """The weights as arrays."""
        heads = ((self.past, Role.PAST_WEIGHT), (self.end, Role.END_WEIGHT))
        return tuple(Buffer(Tensor(t.name, Kind.DEFINITION, t.indices), role) for t, role in heads if t is not None)

    def strict(self, coefficient: Expr, limit: Before) -> tuple[Expr, Before]:
        """The coefficient under a sum over earlier times, with its weight, and the limit of that sum."""
        if self.past is None:
            return coefficient * self.weight, limit
        return coefficient * self.past[limit.time], Before(limit.time, limit.upper)

    def end_weight(self, time: Expr) -> Expr:
        """The weight of the upper end of an integral."""
        return Integer(0) if self.end is None else self.end[time]

    def last(self, expression: Expr, limit: Before) -> Expr:
        """An expression at the upper end of the integral."""
        return expression.xreplace({limit.time: BACK if limit.upper == self.explicit else limit.upper})

    def split(self, term: Term) -> tuple[Term, ...]:
        """A term with its integrals over the past as weighted sums, and the contributions of their upper ends."""
        past = [c for c in term.constraints if c.time in term.bound]
        if self.past is None:
            return (term.times(Mul(*[self.weight for _ in past])),)
        terms = [term]
        for limit in past:
            terms = [part for one in terms for part in self._split_one(one, limit)]
        return tuple(terms)

    def _split_one(self, term: Term, limit: Before) -> tuple[Term, Term]:
        self.check(term)
        body, strict = self.strict(term.body, limit)
        kept = tuple(strict if c == limit else c for c in term.constraints)
        others = (c for c in term.constraints if c != limit)
        here = {limit.time: limit.upper}
        moved = tuple(Before(c.time.xreplace(here), c.upper.xreplace(here), c.inclusive) for c in others)
        bound = tuple(i for i in term.bound if i != limit.time)
        end = self.last(term.body, limit) * self.end_weight(limit.upper)
        return replace(term, body=body, constraints=kept), Term(end, bound, moved)

    def check(self, term: Term) -> None:
        """Refuse what the trapezoidal rule does not integrate to second order."""
        if self.past is None:
            return
        summed = {c.time: c.upper for c in term.constraints if c.time in term.bound}
        late = [c for c in term.constraints if c.upper in term.bound and c.time not in term.bound]
        kernels = {r.tensor: r for r in self.causal}
        for entry in entries_of(term.body, Kind.ORDER_PARAMETER):
            response = kernels.get(entry.tensor)
            if response is None:
                continue
            later, earlier = entry.indices[response.later], entry.indices[response.earlier]
            if earlier in summed and response.instant:
                raise LoweringError(
                    f"scheme heun: the integral {term} holds {entry}, which jumps to infinity at equal times (its "
                    f"observable feels the source at once); use scheme euler"
                )
            if (later in summed and earlier not in summed) or (earlier in summed and later != summed[earlier]):
                late.append(Before(earlier, later))
        if late and summed:
            raise LoweringError(
                f"scheme heun: the integral {term} starts or ends where {late[0].time} = {late[0].upper}, inside the "
                f"range of its time; use scheme euler"
            )


def integrals_of(
    scheme: Scheme, action: Action, names: Callable[[str], str], causal: tuple[Reach, ...], explicit: bool
) -> Integrals:
    """The rule of a scheme; `names` gives unused names, `causal` are the response functions and their sums."""
    if not action.is_continuous:
        return Integrals(Mul())
    if scheme.passes == 1:
        return Integrals(scheme.integral_weight)
    past, end = (Tensor(names(name), Kind.DATA, (action.time,)) for name in ("past_weight", "end_weight"))
    return Integrals(
        weight=scheme.integral_weight, past=past, end=end, causal=causal, explicit=action.time if explicit else None
    )
