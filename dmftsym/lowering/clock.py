"""Functions of time: a time that stands in a formula as a number becomes an entry of the array of all times."""

from dataclasses import replace

from sympy import Expr, KroneckerDelta

from dmftsym.derivation.derive import Derivation
from dmftsym.language.sums import Binding
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.lowering.rewrite import rewrite_terms

CLOCK = "times"


def clock(index: Index) -> Tensor:
    """The array of the times of all steps: their numbers in discrete time, t·dt in continuous time."""
    return Tensor(CLOCK, Kind.DATA, (index,))


def with_clock(equations: Derivation) -> Derivation:
    """The equations with times as numbers looked up: beta**(t - s) is beta**(times[t] - times[s])."""
    return rewrite_terms(equations, lambda term: replace(term, body=on_clock(term.body, equations.action.time)))


def on_clock(body: Expr, time: Index) -> Expr:
    """An expression in which no time stands as a number."""
    if not isinstance(body, Expr) or isinstance(body, Entry | KroneckerDelta):
        return body
    if isinstance(body, Index):
        return clock(time)[body] if body.is_time else body
    if isinstance(body, Binding):
        return body.func(on_clock(body.body, time), *body.args[1:])
    if not body.args:
        return body
    return body.func(*[on_clock(a, time) for a in body.args])
