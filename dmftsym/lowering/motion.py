"""Quantities with an equation of motion: their rate, and one pass of the scheme after the other."""

from sympy import Expr

from dmftsym.language.symbols import Entry, Kind, Tensor
from dmftsym.language.terms import Term
from dmftsym.lowering.quantities import QuantityBuilder
from dmftsym.lowering.schemes import RATE, VALUE, Scheme
from dmftsym.program.buffers import Role


def base_of(tensor: Tensor, scheme: Scheme) -> Tensor:
    """What a pass adds the rate to: the quantity itself, or its base."""
    if scheme.carried is None:
        return tensor
    return Tensor(f"base_{tensor.name}", Kind.DEFINITION, tensor.indices, tensor.site)


def rate_of(tensor: Tensor) -> Tensor:
    """The time derivative of a quantity."""
    return Tensor(f"{tensor.name}_rate", Kind.DEFINITION, tensor.indices, tensor.site)


def waits_of(tensor: Tensor, scheme: Scheme) -> tuple[Entry, ...]:
    """What comes before the rate of a quantity in a step.

    A pass reads the rate and the base of the pass before, which must not have been updated yet: first the quantity,
    then its base, then its rate.
    """
    return () if scheme.carried is None else (base_of(tensor, scheme)[tensor.indices],)


def add_motion(
    builder: QuantityBuilder,
    scheme: Scheme,
    tensor: Tensor,
    role: Role,
    restart: tuple[Expr, Expr] | None = None,
) -> None:
    """Add what moves a quantity from pass to pass; `restart`: where it is one, the quantity takes the other value."""
    own, base, rate = tensor[tensor.indices], base_of(tensor, scheme), rate_of(tensor)
    before = {builder.now: scheme.previous(builder.now)}
    values = {VALUE: base[tensor.indices].xreplace(before), RATE: rate[tensor.indices].xreplace(before)}
    _add(builder, scheme, tensor, role, scheme.advance.xreplace(values), None, restart)
    if scheme.carried is not None:
        kind, start = (Role.BASE, own) if role is Role.FIELD else (role, None)
        _add(builder, scheme, base, kind, scheme.carried.xreplace(values), start, restart, (own,))


def _add(
    builder: QuantityBuilder, scheme: Scheme, tensor: Tensor, role: Role, step: Expr, initial, restart, after=()
) -> None:
    if restart:
        where, value = restart
        step = step * (1 - where) + value
    line = f"{tensor[tensor.indices]} = {step}  ({scheme.name})"
    if tensor.site:
        # site arrays are zero before the first step, so what restarts needs no value of its own there
        builder.add_site_array(tensor, role, step, line, after=after, starts=restart is None, initial=initial)
    else:
        terms = tuple(Term(a) for a in step.expand().args)
        first = restart[1] if restart else None
        builder.add_function(tensor, terms, line, auxiliary=True, starts=True, initial=first, after=after)
