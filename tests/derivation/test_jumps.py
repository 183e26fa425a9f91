"""Which formulas jump, and what is left of a derivative away from its jumps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import (
    Abs,
    DiracDelta,
    Eq,
    Heaviside,
    Max,
    Min,
    Piecewise,
    Rational,
    cos,
    exp,
    sign,
    sin,
    sqrt,
    tanh,
)

import dmftsym as ds
from dmftsym.derivation.jumps import has_jump, without_jumps
from dmftsym.language.terms import entries_of, substitute_activations

m = ds.Model("jumps")
t, s = m.times("t s")
g = m.parameters("g", positive=True)
site = m.site("unit")
x, y = (site.field(name, t)[t] for name in "xy")


def activation(formula):
    return ds.Model("other").activation("phi", formula)


# the orders of the derivative at which an activation jumps, and those at which it is smooth or has a kink
ACTIVATIONS = {
    "relu": ((1,), (0,)),
    "leaky_relu": ((1,), (0,)),
    "hard_tanh": ((1,), (0,)),
    "Abs(h)": ((1,), (0,)),
    "Min(h, 1)": ((1,), (0,)),
    "Max(h, 0)**2": ((2,), (0,)),
    "sign(h)": ((0,), ()),
    "h*Abs(h)": ((2,), (0,)),
    "softplus": ((), (0, 1, 2, 3, 4)),
    "tanh": ((), (0, 1, 2, 3, 4)),
    "gelu": ((), (0, 1, 2, 3, 4)),
    "silu": ((), (0, 1, 2, 3)),
    "erf": ((), (0, 1, 2, 3)),
    "h**3 - h": ((), (0, 1, 2, 3, 4)),
}


@pytest.mark.parametrize("formula", ACTIVATIONS)
def test_activations_at_every_order(formula):
    jumping, smooth = ACTIVATIONS[formula]
    phi = activation(formula)
    for order in jumping:
        assert has_jump(phi.d(order)(x)), order
        assert has_jump(y * phi.d(order)(x) ** 2 + cos(y))
    for order in smooth:
        assert not has_jump(phi.d(order)(x)), order
        assert not has_jump(y * phi.d(order)(x * y) ** 2 + cos(y))


JUMPING = {
    "step": Heaviside(x - y),
    "sign in a product": x * sign(y) + 1,
    "step in a function": tanh(1 + Heaviside(x) * y),
    "pieces apart": Piecewise((x, x < 0), (1, True)),
    "pieces apart at one of two edges": Piecewise((x, x < 0), (0, x < 1), (1, True)),
    "pieces apart at a parameter": Piecewise((x, x < g), (g + 1, True)),
    "pieces under a condition of two fields": Piecewise((x, x < y**2), (0, True)),
    "conditions that are no comparison": Piecewise((0, (x < 0) | (x > 1)), (1, True)),
    "inside an activation": activation("tanh")(Heaviside(x)),
}
CONTINUOUS = {
    "kink": Max(x, 0) + Min(y, x) - Abs(x - y),
    "kinks inside each other": Max(Min(x, 1), Abs(y) - 1),
    "pieces that meet": Piecewise((x, x < 0), (0, True)),
    "three pieces that meet": Piecewise((-1, x < -1), (x, x < 1), (1, True)),
    "pieces that meet at a parameter": Piecewise((x, x < g), (g, True)),
    "pieces that meet at a number": Piecewise((x**2 / 2, x < Rational(1, 3)), (x / 3 - Rational(1, 18), True)),
    "functions that meet": Piecewise((sin(x), x < 0), (exp(x) - 1, True)),
    "open and closed": Piecewise((x, x <= 2), (2, True)),
    "smooth": sqrt(1 + x**2) * tanh(y) / (1 + x**2),
    "number": Rational(1, 2) + 0 * x,
}


@pytest.mark.parametrize("name", JUMPING)
def test_formulas_that_jump(name):
    assert has_jump(JUMPING[name])


@pytest.mark.parametrize("name", CONTINUOUS)
def test_formulas_that_do_not_jump(name):
    assert not has_jump(CONTINUOUS[name])


def test_a_removable_singularity_is_no_crash():
    assert has_jump(Piecewise((1, Eq(x, 0)), (sin(x) / x, True)))  # when in doubt the answer is yes


def numerically_jumps(formula):
    """Whether a formula of x (with y = 0.3, g = 0.7) has two values within 1e-9 that are 1e-4 apart."""
    value = substitute_activations(formula).subs({y: 0.3, g: 0.7})
    for edge in (-1, 0, Rational(1, 3), 0.7, 1, 2, 0.3, 0.09):
        near, far = (float(value.subs(x, edge + shift)) for shift in (-1e-9, 1e-9))
        if abs(near - far) > 1e-4:
            return True
    return False


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.integers(-2, 2), st.integers(-2, 2), st.integers(-2, 2), st.integers(-2, 2),
    st.sampled_from([-1, 0, Rational(1, 3), 1, 2]), st.booleans(),
)  # fmt: skip
def test_pieces_of_polynomials(a, b, c, d, edge, meet):
    """a + b x below the edge, c x + d x^2 above it, moved so that they meet or not."""
    below, above = a + b * x, c * x + d * x**2
    gap = (below - above).subs(x, edge)
    pieces = Piecewise((below, x < edge), (above + (gap if meet else 0), True))
    assert has_jump(pieces) == (not meet and gap != 0)
    if pieces.has(Piecewise):
        assert has_jump(pieces) == numerically_jumps(pieces)


relu, hard = activation("relu"), activation("hard_tanh")


@pytest.mark.parametrize(
    ("derivative", "left"),
    [
        (DiracDelta(x), 0),
        (1 + 3 * DiracDelta(x - y) * y, 1),
        (DiracDelta(x, 1) * y + tanh(x), tanh(x)),
        (relu.d(2)(x) * y, 0),
        (hard.d(2)(x) * y + hard.d(1)(x), hard.d(1)(x)),
        (relu.d(3)(x) + relu.d(0)(y), relu(y)),
        (activation("tanh").d(2)(x) * y, activation("tanh").d(2)(x) * y),
        (x * y, x * y),
    ],
    ids=str,
)
def test_what_is_left_of_a_derivative(derivative, left):
    assert without_jumps(derivative) == left


@pytest.mark.parametrize("place", (-1.7, -0.4, 0.6, 2.3))
@pytest.mark.parametrize("formula", ("relu", "leaky_relu", "hard_tanh", "Abs(h)*h", "sign(h)*h**2", "Max(h, 0)**3"))
def test_away_from_jumps_it_is_the_derivative(formula, place):
    """Central differences of the slope; away from its kinks every formula here is a polynomial of low degree."""
    phi = activation(formula)
    slope = lambda at: float(substitute_activations(phi.d(1)(x)).subs(x, at))
    left = without_jumps(substitute_activations(phi.d(2)(x)))
    assert not left.has(DiracDelta)
    found = float(left.subs(x, place)) if entries_of(left) else float(left)
    assert found == pytest.approx((slope(place + 1e-6) - slope(place - 1e-6)) / 2e-6, abs=1e-8)


def network(kind, feed="h"):
    """x moves with the average of phi'(x), or phi'(u) of a static source."""
    model = ds.Model("network")
    t, s = model.times("t s")
    phi = model.activation("phi", kind)
    q = model.order_parameter("q", t)
    unit = model.site("unit")
    h, u = unit.field("h", t), unit.field("u", t)
    unit.equation(u[t], 0)
    unit.noise(u[t], u[s], 1)
    unit.equation(h[t], u[t] + ds.past(s)(q[s]))
    unit.observe(q[t], phi.d(1)(h[t] if feed == "h" else u[t]))
    return model


@pytest.mark.parametrize(("kind", "feed", "jumps"), [
    ("relu", "h", True), ("relu", "u", False), ("tanh", "h", False), ("softplus", "h", False), ("hard_tanh", "h", True),
])  # fmt: skip
def test_jumps_count_only_where_something_moves(kind, feed, jumps):
    """phi' of a source that never changes has a jump, but nothing crosses it."""
    compiled = ds.compile_model(network(kind, feed), ds.Options(covariance=("q",)))
    assert bool(compiled.fluctuations.jumps) == jumps
    assert bool(compiled.solver.module.JUMPS) == jumps
    if jumps:
        assert "phi" in compiled.fluctuations.jumps[0] and "[t]" in compiled.fluctuations.jumps[0]
