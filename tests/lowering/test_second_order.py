"""Scheme heun: its order by errors at two time steps, against closed forms and independent integrations.

Euler's rule is the control everywhere: its errors fall like dt. Closed sites and Gauss-Hermite rules leave no sampling
error; modules are interpreted, which needs no compilation.
"""

from functools import cache

import numpy as np
import pytest
from fluctuating_models import interpreted
from reference.cugliandolo_kurchan import exact_two_spin, integrate
from scipy.integrate import solve_ivp
from sympy import tanh

import dmftsym as ds
from dmftsym.models.loading import build_model

SCHEMES = {"euler": 1, "heun": 2}


def mixture():
    """Spherical spins with three- and four-spin interactions at zero temperature: f(q) = q^3/2 + a q^4/2."""
    m = ds.Model("mixture")
    t, s = m.times("t s", continuous=True, dt=0.1)
    a = m.parameters("a")
    C, R, mu = m.order_parameter("C", t, s), m.order_parameter("R", t, s), m.order_parameter("mu", t)
    spin = m.site("spin")
    x = spin.field("x", t, variance=1)
    memory = ds.past(s)((3 * C[t, s] + 6 * a * C[t, s] ** 2) * R[t, s] * x[s])
    spin.action(
        -x.tilde[t] * (x.dot[t] + mu[t] * x[t] - memory)
        + x.tilde[t] * (3 * C[t, s] ** 2 / 2 + 2 * a * C[t, s] ** 3) * x.tilde[s] / 2
        + C.hat[t, s] * x[t] * x[s] + R.hat[t, s] * x[t] * x.tilde[s]
    )  # fmt: skip
    m.action = -C.hat[t, s] * C[t, s] - R.hat[t, s] * R[t, s] - mu.hat[t] * (C[t, t] - 1) + ds.log_Z(spin)
    return m


def static():
    """dx/dt = -x^3 + J <tanh x> + u with static noise u, and an integral of averages."""
    m = ds.Model("static")
    t, s = m.times("t s", continuous=True, dt=0.1)
    J, g = m.parameters("J g")
    M, C = m.order_parameter("M", t), m.order_parameter("C", t, s)
    site = m.site("unit")
    x = site.field("x", t, mean=0.5)
    site.equation(x.dot[t], -(x[t] ** 3) + J * M[t])
    site.noise(x[t], x[s], g**2)
    site.observe(M[t], tanh(x[t]))
    site.observe(C[t, s], x[t] * tanh(x[s]))
    m.define("E", t, ds.past(s)(C[t, s] * M[s]))
    return m


def past():
    """Integrals over the past with and without a kernel that depends on both times, of two fields that interact."""
    m = ds.Model("past")
    t, s = m.times("t s", continuous=True, dt=0.1)
    J = m.parameters("J")
    M, C = m.order_parameter("M", t), m.order_parameter("C", t, s)
    site = m.site("unit")
    x, y = site.field("x", t, mean=0.5, variance=0.7), site.field("y", t, variance=1)
    site.equation(x.dot[t], -x[t] + J * ds.past(s)(C[t, s] * tanh(x[s])) + ds.past(s)(M[s] * tanh(y[s])))
    site.equation(y.dot[t], -y[t] * x[t] + ds.past(s)(M[s] ** 2))
    site.observe(M[t], tanh(x[t]))
    site.observe(C[t, s], tanh(x[t]) * tanh(x[s]))
    return m


def integral_equation():
    """A field that is given by an integral over itself: h = u + J int <tanh h> h, whose end would need h(t) itself."""
    m = ds.Model("integral")
    t, s = m.times("t s", continuous=True, dt=0.1)
    J = m.parameters("J")
    M = m.order_parameter("M", t)
    site = m.site("unit")
    h = site.field("h", t)
    site.equation(h[t], J * ds.past(s)(M[s] * h[s]))
    site.noise(h[t], h[s], 1)
    site.observe(M[t], 1 + tanh(h[t]) * h[t])
    return m


def growth():
    """A source that drives a field without a derivative, which multiplies the one that responds and remembers."""
    m = ds.Model("growth")
    t, s = m.times("t s", continuous=True, dt=0.1)
    g = m.parameters("g")
    M, R = m.order_parameter("M", t), m.order_parameter("R", t, s)
    site = m.site("unit")
    n, y = site.field("n", t, mean=0.5, variance=0.004), site.field("y", t)
    site.action(
        -y.tilde[t] * (y[t] - 1 + n[t] + M[t] - ds.past(s)(R[t, s] * n[s])) + g**2 * y.tilde[t] * y.tilde[s] / 2
        - n.tilde[t] * (n.dot[t] - n[t] * y[t] - 0.01) + M.hat[t] * n[t] + R.hat[t, s] * n[t] * y.tilde[s]
    )  # fmt: skip
    m.action = -M.hat[t] * M[t] - R.hat[t, s] * R[t, s] + ds.log_Z(site)
    return m


def particle():
    """A noisy particle in a harmonic potential: dx/dt = -k x + xi, <xi xi> = 2 D delta."""
    m = ds.Model("particle")
    t, s = m.times("t s", continuous=True, dt=0.1)
    k, D = m.parameters("k D", positive=True)
    C, R = m.order_parameter("C", t, s), m.order_parameter("R", t, s)
    site = m.site("unit")
    x = site.field("x", t, variance=2)
    site.action(
        -x.tilde[t] * (x.dot[t] + k * x[t]) + D * x.tilde[t] * x.tilde[t]
        + C.hat[t, s] * x[t] * x[s] + R.hat[t, s] * x[t] * x.tilde[s]
    )  # fmt: skip
    m.action = -C.hat[t, s] * C[t, s] - R.hat[t, s] * R[t, s] + ds.log_Z(site)
    return m


def heated():
    """dx/dt = -x + xi, with white noise whose strength is an average: <xi xi> = (1 + <x x>) delta."""
    m = ds.Model("heated")
    t, s = m.times("t s", continuous=True, dt=0.1)
    C = m.order_parameter("C", t, s)
    site = m.site("unit")
    x = site.field("x", t, variance=3)
    site.equation(x.dot[t], -x[t])
    site.noise(x[t], x[t], 1 + C[t, t])
    site.observe(C[t, s], x[t] * x[s])
    return m


MODELS = {
    "p_spin": lambda: build_model("p_spin"),
    "mixture": mixture,
    "linear": lambda: build_model("recurrent", activation="linear"),
    "symmetric": lambda: build_model("recurrent", activation="linear", symmetric=True),
    "static": static,
    "past": past,
    "growth": growth,
    "integral": integral_equation,
    "heated": heated,
    "particle": particle,
}


@cache
def module(name, scheme):
    outputs = {"static": ("E",)}.get(name, ())
    return interpreted(ds.compile_model(MODELS[name](), ds.Options(scheme=scheme, outputs=outputs)).source.text)


def run(name, scheme, parameters, intervals, duration, every=1, **options):
    """All results at every so manyth time, a response function below its diagonal."""
    solver = module(name, scheme)
    options |= {"accuracy": np.inf, "time_step_error": False}
    result = solver.solve(parameters, steps=intervals + 1, dt=duration / intervals, **options)
    assert result["status"] == "ok"
    found = {q: result[q][(slice(None, None, every),) * np.ndim(result[q])] for q in solver.OUTPUTS}
    return found | {q: np.tril(v, -1) for q, v in found.items() if q == "R"}


def errors(one, other):
    return {name: np.abs(one[name] - other[name]).max() for name in one}


def orders(name, parameters, duration, coarse, exact=None, **options):
    """Log2 of the ratios of errors at two steps, dt and dt/2; without `exact`, of differences between three."""
    result = {}
    for scheme in SCHEMES:
        runs = [run(name, scheme, parameters, coarse * 2**k, duration, 2**k, **options) for k in range(2 + (not exact))]
        pair = [errors(r, exact(coarse)) for r in runs] if exact else [errors(*runs[k : k + 2]) for k in (0, 1)]
        result[scheme] = {q: np.log2(pair[0][q] / pair[1][q]) for q in pair[0]}
    return result


def assert_orders(found):
    """Heun's errors fall like dt^2; Euler's like dt, where they have settled, and never like dt^2."""
    assert all(abs(slope - 2) < 0.2 for slope in found["heun"].values()), found
    assert all(slope < 1.5 for slope in found["euler"].values()), "negative control"


# --- exact references -------------------------------------------------------------------------------------------------


def test_two_spins_at_zero_temperature_have_their_exact_solution():
    """C, R and mu in closed form, at all times (the starts of R and mu included)."""

    def exact(intervals):
        found = exact_two_spin(2 * np.arange(intervals + 1) / intervals)
        return found | {"R": np.tril(found["R"], -1)}

    found = orders("p_spin", {"p": 2, "temperature": 0.0}, 2.0, 20, exact)
    assert_orders(found)


def test_three_spins_agree_with_an_independent_integration():
    """At T = 0.5, against the equations for C, R and mu themselves, extrapolated to steps of no length."""
    fine, finer = (integrate(3, 0.5, 60 * k + 1, 3 / (60 * k)) for k in (1, 2))
    limit = {q: (4 * finer[q][(slice(None, None, 2),) * np.ndim(finer[q])] - fine[q]) / 3 for q in fine}
    wanted = {q: np.tril(v, -1) if q == "R" else v for q, v in limit.items()}
    cut = lambda every: {q: v[(slice(None, None, every),) * v.ndim] for q, v in wanted.items()}
    result = {
        s: [errors(run("p_spin", s, {"temperature": 0.5}, n, 3.0), cut(60 // n)) for n in (30, 60)] for s in SCHEMES
    }
    heun = result["heun"]
    assert all(abs(np.log2(heun[0][q] / heun[1][q]) - 2) < 0.25 for q in wanted), heun
    assert all(heun[1][q] < 0.1 * result["euler"][1][q] for q in wanted), "and smaller by far than Euler's"
    diagonal = module("p_spin", "heun").solve({"temperature": 0.5}, steps=31, dt=0.1)
    assert np.allclose(np.diag(diagonal["C"]), 1, atol=1e-12), "the constraint holds to rounding"
    assert np.allclose(np.diag(diagonal["R"]), 1), "R at equal times is its limit from below"


def test_white_noise_has_its_exact_covariance_and_response():
    """<x(t) x(s)> of the Ornstein-Uhlenbeck process from a start with variance 2; R = exp(-k (t - s))."""
    k, D = 1.3, 0.7

    def exact(intervals):
        t = 2 * np.arange(intervals + 1) / intervals
        gap, total = np.abs(np.subtract.outer(t, t)), np.add.outer(t, t)
        C = D / k * (np.exp(-k * gap) - np.exp(-k * total)) + 2 * np.exp(-k * total)
        return {"C": C, "R": np.tril(np.exp(-k * gap), -1)}

    assert_orders(orders("particle", {"k": k, "D": D}, 2.0, 40, exact))


def test_white_noise_of_a_strength_that_changes_has_its_exact_covariance():
    """d<xx>/dt = -2 <xx> + 1 + <xx>, so <xx> = 1 + 2 exp(-t)."""

    def exact(intervals):
        t = np.arange(intervals + 1) / intervals
        early = np.minimum.outer(t, t)
        return {"C": (1 + 2 * np.exp(-early)) * np.exp(-np.abs(np.subtract.outer(t, t)))}

    assert_orders(orders("heated", {}, 1.0, 20, exact))


def test_a_nonlinear_site_agrees_with_an_integration_of_its_nodes():
    """Static noise: with a quadrature rule the theory is a set of ordinary equations, solved by SciPy as well."""
    points, weights = np.polynomial.hermite_e.hermegauss(12)
    weights = weights / weights.sum()
    rate = lambda t, x: -(x**3) + 0.7 * weights @ np.tanh(x) + 0.6 * points

    def exact(intervals):
        times = np.arange(intervals + 1) / intervals
        x = solve_ivp(rate, (0, 1), np.full(12, 0.5), t_eval=times, rtol=1e-11, atol=1e-12, method="DOP853").y
        M, C = weights @ np.tanh(x), np.einsum("n,nt,ns->ts", weights, x, np.tanh(x))
        return {"M": M, "C": C}

    for scheme, order in SCHEMES.items():
        runs = [
            run("static", scheme, {"J": 0.7, "g": 0.6}, 20 * k, 1.0, k, measure="hermite", points=12) for k in (1, 2)
        ]
        pair = [errors(exact(20), r) for r in runs]
        assert all(abs(np.log2(pair[0][q] / pair[1][q]) - order) < 0.2 for q in pair[0]), (scheme, pair)


def test_an_integral_equation_agrees_with_the_differential_equation():
    """dh/dt = J M h, h(0) = u, for the nodes of a quadrature rule; ends of integrals come from the pass before."""
    points, weights = np.polynomial.hermite_e.hermegauss(9)
    weights = weights / weights.sum()
    average = lambda h: weights @ (1 + np.tanh(h) * h)

    def exact(intervals):
        times = np.arange(intervals + 1) / intervals
        rate = lambda t, h: 0.2 * average(h) * h
        h = solve_ivp(rate, (0, 1), points, t_eval=times, rtol=1e-11, atol=1e-12, method="DOP853").y
        return {"M": np.array([average(x) for x in h.T])}

    assert_orders(orders("integral", {"J": 0.2}, 1.0, 60, exact, measure="hermite", points=9))


# --- differences of three steps ---------------------------------------------------------------------------------------

HERMITE = {"measure": "hermite", "points": 5}
CASES = {
    "three and four spins": ("mixture", {"a": 0.4}, 1.0, 32, {}),
    "independent couplings": ("linear", {"g": 0.8}, 1.0, 10, {}),
    "correlated couplings": ("symmetric", {"g": 0.8, "rho": 0.5}, 1.0, 8, {}),
    "integrals over the past": ("past", {"J": 0.7}, 1.0, 10, HERMITE),
    "integrals of averages": ("static", {"J": -0.4, "g": 0.8}, 1.0, 10, HERMITE),
    "a source without a derivative": ("growth", {"g": 0.5}, 1.0, 6, HERMITE),
}


@pytest.mark.parametrize("case", CASES)
def test_errors_are_of_second_order(case):
    name, parameters, duration, coarse, options = CASES[case]
    assert_orders(orders(name, parameters, duration, coarse, **options))


@pytest.mark.parametrize("case", ["correlated couplings", "a source without a derivative"])
def test_both_schemes_have_the_same_limit(case):
    """Euler's results, extrapolated twice, against Heun's, extrapolated once: what is left is of third order."""
    name, parameters, duration, coarse, options = CASES[case]
    runs = {s: [run(name, s, parameters, coarse * 2**k, duration, 2**k, **options) for k in range(3)] for s in SCHEMES}
    for quantity in runs["heun"][0]:
        first, second, third = (r[quantity] for r in runs["euler"])
        euler = (8 * third - 6 * second + first) / 3
        heun = (4 * runs["heun"][2][quantity] - runs["heun"][1][quantity]) / 3
        gap, plain = np.abs(euler - heun).max(), np.abs(third - heun).max()
        assert gap < 0.06 * plain, (quantity, gap, plain)
        assert plain > 1e-4, "negative control: Euler's own error shows"
