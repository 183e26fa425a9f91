"""Time discretisation as data: a scheme is a formula for one step and the weights of integrals and white noise."""

from dataclasses import dataclass

from sympy import Expr, Symbol

from dmftsym.errors import LoweringError
from dmftsym.lowering.ir import TIME_STEP

VALUE, RATE = Symbol("value", real=True), Symbol("rate", real=True)


@dataclass(frozen=True)
class Scheme:
    """An explicit one-step rule for dx/dt = rate.

    The error at a fixed time is of order dt**`order`. `advance` gives x(t + dt) from `VALUE`, `RATE` and `TIME_STEP`; an integral over the past is a sum with
    `integral_weight`; white noise of covariance D δ(t - s) has variance D·`white_variance` at each step.
    """

    name: str
    order: int
    advance: Expr
    integral_weight: Expr
    white_variance: Expr
    reference: str


SCHEMES = {
    "euler": Scheme(
        "euler",
        1,
        VALUE + TIME_STEP * RATE,
        TIME_STEP,
        1 / TIME_STEP,
        "Euler-Maruyama, Itô; Kloeden & Platen (1992), chapter 9.1",
    )
}


def scheme_named(name: str) -> Scheme:
    """Look a scheme up. Raises `LoweringError` for an unknown name."""
    if name not in SCHEMES:
        raise LoweringError(f"unknown scheme '{name}'; known: {', '.join(SCHEMES)}")
    return SCHEMES[name]
