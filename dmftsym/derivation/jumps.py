"""Which formulas jump: there the derivative of an average is not the average of the derivative along each path.

The derivative of <O> with respect to an order parameter holds the density of paths at a jump times the change of O
across it (a ReLU network: phi' jumps in g = phi'(h) z, so phi'' = delta(h) contributes).
"""

from sympy import DiracDelta, Dummy, Expr, Heaviside, Piecewise, ceiling, floor, sign

from dmftsym.language.activations import ActivationValue, without_steps
from dmftsym.language.terms import entries_of, substitute_activations


def has_jump(expression: Expr, entry: Expr | None = None) -> bool:
    """Whether a formula jumps in one of its arguments, or in this one; when in doubt, yes."""
    expanded = substitute_activations(expression)
    jumping = (Heaviside, sign, floor, ceiling)
    found = [p for p in expanded.atoms(Piecewise, *jumping) if entry is None or p.has(entry)]
    return any(isinstance(p, jumping) or _piecewise_jumps(p) for p in found)


def without_jumps(derivative: Expr) -> Expr:
    """A derivative away from jumps: delta functions dropped, those hidden in activations too."""
    if derivative.has(ActivationValue):
        hidden = [v for v in derivative.atoms(ActivationValue) if v.expanded().has(DiracDelta)]
        derivative = derivative.xreplace({v: v.expanded() for v in hidden})
    return without_steps(derivative).replace(lambda e: isinstance(e, DiracDelta), lambda e: e.func(1))


def _piecewise_jumps(function: Piecewise) -> bool:
    """Whether neighbouring pieces differ where their condition changes."""
    if all(getattr(c, "rel_op", "==") == "!=" for _, c in function.args[:-1]):
        return False  # a value for a single point, as that of sin(x)/x at 0
    for (value, condition), (following, _) in zip(function.args, function.args[1:], strict=False):
        if not getattr(condition, "is_Relational", False) or condition.rel_op in ("==", "!="):
            return True
        edge = condition.lhs - condition.rhs
        place = _root(edge, [*entries_of(edge), *sorted(edge.free_symbols, key=str)])
        if place is None:
            return True
        gap = (value - following).xreplace(place)
        if not (gap.is_number and gap.is_finite and abs(gap.evalf()) < 1e-12):
            return True
    return False


def _root(edge: Expr, variables: list[Expr]) -> dict | None:
    """The one place where an expression that is linear in its one variable vanishes."""
    if len(variables) != 1:
        return None
    symbol = Dummy(real=True)
    line = edge.xreplace({variables[0]: symbol})
    slope = line.diff(symbol)
    if not slope.is_number or slope == 0:
        return None
    return {variables[0]: -line.subs(symbol, 0) / slope}
