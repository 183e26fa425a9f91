"""Time discretisation as data: a scheme is formulas for one step and the weights of integrals and white noise."""

from dataclasses import dataclass

from sympy import Expr, Rational, Symbol

from dmftsym.errors import LoweringError
from dmftsym.language.symbols import PASSES, Index
from dmftsym.program.axes import TIME_STEP

VALUE, RATE = Symbol("value", real=True), Symbol("rate", real=True)

# Where a step has two passes, a prediction and a correction: the time at which the pass before stands, how far from its
# base this pass goes, and the weight (0 in the prediction, 1/2 in the correction) of what both passes share.
BACK = Index("back", PASSES)
REACH = Symbol("reach", positive=True)
BLEND = Symbol("blend", nonnegative=True)


def _is_linear(rule: Expr) -> bool:
    slopes = rule.diff(VALUE), rule.diff(RATE)
    rest = rule - slopes[0] * VALUE - slopes[1] * RATE
    return not any(s.has(VALUE, RATE) for s in slopes) and rest.expand() == 0


@dataclass(frozen=True)
class Scheme:
    """An explicit rule for dx/dt = rate whose error at a fixed time is of order dt**`order`.

    `advance` gives x(t + dt) from `VALUE`, `RATE` and `TIME_STEP`; an integral over the past is a sum with
    `integral_weight`; white noise of covariance D δ(t - s) has variance D·`white_variance` at each step.
    A step with two passes has `carried`: then `advance` gives x in a pass from the rate of the pass before and from a
    base as `VALUE`, which `carried` advances in every pass; `following` is `advance` for the pass after, and integrals
    follow the trapezoidal rule, with weights of their own. Rules are linear in `VALUE` and `RATE`, for linear sites are
    closed exactly on the grid. Raises `LoweringError` for others.
    """

    name: str
    order: int
    advance: Expr
    integral_weight: Expr
    white_variance: Expr
    reference: str
    carried: Expr | None = None
    following: Expr | None = None

    def __post_init__(self):
        for rule in (self.advance, self.carried, self.following):
            if rule is not None and not _is_linear(rule):
                raise LoweringError(f"scheme {self.name}: {rule} is not linear in {VALUE} and {RATE}")

    @property
    def passes(self) -> int:
        """How often the equations of a step are evaluated."""
        return 1 if self.carried is None else 2

    @property
    def ahead(self) -> Expr:
        """The value of the next pass from `VALUE` and `RATE` of this one."""
        return self.following or self.advance

    def previous(self, now: Index) -> Expr:
        """The time of the pass before."""
        return now - 1 if self.carried is None else BACK


SCHEMES = {
    "euler": Scheme(
        name="euler",
        order=1,
        advance=VALUE + TIME_STEP * RATE,
        integral_weight=TIME_STEP,
        white_variance=1 / TIME_STEP,
        reference="Euler-Maruyama, Itô; Kloeden & Platen (1992), chapter 9.1",
    ),
    # prediction: x + dt rate, base x + dt/2 rate; correction: base + dt/2 rate of the prediction
    "heun": Scheme(
        name="heun",
        order=2,
        advance=VALUE + REACH * RATE,
        integral_weight=TIME_STEP,
        white_variance=1 / TIME_STEP,
        reference="Heun, weak order 2 for additive noise; Kloeden & Platen (1992), chapter 15.1",
        carried=VALUE + TIME_STEP / 2 * RATE,
        following=VALUE + (Rational(3, 2) * TIME_STEP - REACH) * RATE,
    ),
}


def scheme_named(name: str) -> Scheme:
    """Look a scheme up. Raises `LoweringError` for an unknown name."""
    if name not in SCHEMES:
        raise LoweringError(f"unknown scheme '{name}'; known: {', '.join(SCHEMES)}")
    return SCHEMES[name]
