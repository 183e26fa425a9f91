"""Activations: formulas and derivatives against NumPy, kinks, opaque names and the chain rule."""

import math

import numpy as np
import pytest
from scipy.special import erf, expit
from sympy import DiracDelta, Rational, Symbol, lambdify, latex, tanh

import dmftsym as ds
from dmftsym.language.activations import ARGUMENT, NAMED, make_activation
from dmftsym.language.terms import substitute_activations

X = Symbol("x", real=True)
FORMULAS = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.where(x > 0, x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "erf": erf,
    "softplus": lambda x: np.log1p(np.exp(x)),
    "logistic": expit,
    "sigmoid": expit,
    "silu": lambda x: x * expit(x),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "sin": np.sin,
    "quadratic": lambda x: x**2,
    "cubic": lambda x: x**3,
}
POINTS = np.array([-2.3, -1.4, -0.6, 0.35, 0.8, 1.7])  # no kink of any formula nearby
NUMERIC = {"logistic": expit, "softplus": FORMULAS["softplus"], "erf": erf, "DiracDelta": lambda x: 0.0 * x}


def numbers(activation, order):
    function = lambdify(ARGUMENT, activation.body(order), [NUMERIC, "numpy"])
    return function(POINTS) * np.ones_like(POINTS)


def differences(function, order):
    """Central differences with errors below 1e-6."""
    step = (0, 1e-5, 1e-3)[order]
    plus, minus = function(POINTS + step), function(POINTS - step)
    return (plus - minus) / (2 * step) if order == 1 else (plus - 2 * function(POINTS) + minus) / step**2


def test_every_named_activation_is_tested():
    assert set(FORMULAS) == set(NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_formula_and_derivatives(name):
    phi = make_activation("phi", name)
    np.testing.assert_allclose(numbers(phi, 0), FORMULAS[name](POINTS), rtol=1e-13, atol=1e-14)
    for order in (1, 2):
        np.testing.assert_allclose(numbers(phi, order), differences(FORMULAS[name], order), atol=3e-6)


def test_a_wrong_derivative_misses_the_tolerance():
    phi = make_activation("phi", "tanh")
    assert np.abs(numbers(phi, 2) - differences(np.tanh, 1)).max() > 1e-2
    assert np.abs(numbers(phi, 1) - differences(expit, 1)).max() > 1e-2


KINKED = ["relu", "leaky_relu", "hard_tanh", "abs(h)", "min(h, 1)", "sign(h)", "heaviside(h)*h", "h + relu(h - 1)"]


@pytest.mark.parametrize("function", [*NAMED, *KINKED, "tanh(0.4*h)/0.4"])
def test_kinks_are_seen(function):
    assert make_activation("phi", function).is_smooth is (function not in KINKED)


def test_the_kink_of_relu_is_a_delta_function():
    assert make_activation("phi", "relu").body(2) == DiracDelta(ARGUMENT)


def test_decimal_numbers_are_exact():
    exact = tanh(ARGUMENT * Rational(2, 5)) * Rational(5, 2)
    for function in ("tanh(0.4*h)/0.4", lambda h: tanh(0.4 * h) / 0.4):
        assert make_activation("phi", function).formula == exact


@pytest.fixture
def toy():
    m = ds.Model("toy")
    (t,), mu = m.times("t"), m.indices("mu", size="P")
    h = m.site("A").field("h", mu, t)
    return m.activation("phi", "tanh(2*h)"), m.activation("psi_1", "sin"), h[mu, t]


def test_equations_show_the_name_and_not_the_formula(toy):
    phi, psi, h = toy
    assert str(phi(h)) == "phi(h[mu, t])"
    assert str(phi.d(1)(h)) == "phi'(h[mu, t])"
    assert str(phi.d(2)(2 * h)) == "phi''(2*h[mu, t])"
    assert latex(phi.d(1)(h)) == r"\phi'\left(h_{\mu}(t)\right)"
    assert latex(psi.d(5)(h)) == r"\psi_{1}^{(5)}\left(h_{\mu}(t)\right)"


def test_chain_rule(toy):
    phi, psi, h = toy
    assert phi(h * X**2).diff(X) == 2 * h * X * phi.d(1)(h * X**2)
    assert (phi(X) * psi.d(1)(X)).diff(X) == phi.d(1)(X) * psi.d(1)(X) + phi(X) * psi.d(2)(X)
    assert phi(X).diff(X, 3) == phi.d(3)(X)
    assert phi(h).diff(X) == 0


def test_differentiating_names_or_formulas_is_the_same(toy):
    phi, psi, _ = toy
    nested = psi(X * phi(3 * X**2)) * phi.d(1)(X)
    one, other = substitute_activations(nested.diff(X)), substitute_activations(nested).diff(X)
    for x in (Rational(1, 3), Rational(-5, 4)):
        assert abs((one - other).subs(X, x).evalf(30)) < 1e-25
