"""Fields with an equation of motion: their rate, and one pass of the scheme after the other."""

from sympy import Expr

from dmftsym.language.symbols import Entry, Kind, Tensor
from dmftsym.lowering.quantities import QuantityBuilder
from dmftsym.lowering.schemes import RATE, VALUE, Scheme
from dmftsym.program.buffers import Role


def base_of(tensor: Tensor, scheme: Scheme) -> Tensor:
    """What a pass adds the rate to: the field itself, or its base."""
    if scheme.carried is None:
        return tensor
    return Tensor(f"base_{tensor.name}", Kind.DEFINITION, tensor.indices, tensor.site)


def rate_of(tensor: Tensor) -> Tensor:
    """The time derivative of a field."""
    return Tensor(f"{tensor.name}_rate", Kind.DEFINITION, tensor.indices, tensor.site)


def waits_of(tensor: Tensor, scheme: Scheme) -> tuple[Entry, ...]:
    """What comes before the rate of a field in a step.

    A pass reads the rate and the base of the pass before, which must not have been updated yet: first the field,
    then its base, then its rate.
    """
    return () if scheme.carried is None else (base_of(tensor, scheme)[tensor.indices],)


def add_motion(builder: QuantityBuilder, scheme: Scheme, field: Tensor) -> None:
    """Add what moves a field from pass to pass."""
    own, base, rate = field[field.indices], base_of(field, scheme), rate_of(field)
    before = {builder.now: scheme.previous(builder.now)}
    values = {VALUE: base[field.indices].xreplace(before), RATE: rate[field.indices].xreplace(before)}

    def add(tensor: Tensor, role: Role, step: Expr, **options) -> None:
        line = f"{tensor[tensor.indices]} = {step}  ({scheme.name})"
        builder.add_site_array(tensor, role, step, line, starts=True, **options)

    add(field, Role.FIELD, scheme.advance.xreplace(values))
    if scheme.carried is not None:
        add(base, Role.BASE, scheme.carried.xreplace(values), initial=own, after=(own,))
