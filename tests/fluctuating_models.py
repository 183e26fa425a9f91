"""Small models whose fluctuations exercise every kind of update, and generated modules without compilation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType

import numba
import numpy as np
import raw_library
from as_averaged import as_averaged
from sympy import cos, exp, log, sin, sqrt, tanh

import dmftsym as ds
from dmftsym.models.loading import build_model

EXAMPLES = Path(__file__).parents[1] / "examples"
KX = np.array([[1.0, 0.3], [0.3, 0.8]])
Y = np.array([1.0, -0.7])


@dataclass(frozen=True)
class Case:
    """A model with parameters, data, the quantities whose covariances are asked for, and a time discretisation."""

    build: Callable
    covariance: tuple[str, ...]
    parameters: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    scheme: str = "euler"


def interpreted(text: str) -> ModuleType:
    """A generated module whose kernels run as plain Python: slow per path, but ready at once."""
    module = ModuleType("interpreted")
    known = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = 1
    try:
        exec(compile(text, "interpreted.py", "exec"), module.__dict__)
    finally:
        numba.config.DISABLE_JIT = known
    return module


def example(name):
    return build_model(str(EXAMPLES / f"{name}.py"))


# --- models -------------------------------------------------------------------------------------------------------


def white_noise():
    """The variance of white noise is an order parameter, its mean drift another one."""
    m = ds.Model("white")
    t, _ = m.times("t s", continuous=True, dt=0.1)
    second, first = m.order_parameter("second", t), m.order_parameter("first", t)
    a = m.parameters("a")
    site = m.site("unit")
    x = site.field("x", t, mean=0.4, variance=0.5)
    site.equation(x.dot[t], -x[t] + a * first[t])
    site.noise(x[t], x[t], 1 + second[t] ** 2)
    site.observe(first[t], tanh(x[t]))
    site.observe(second[t], x[t] ** 2)
    return m


def two_white_noises():
    """Two correlated white noises whose covariances are order parameters."""
    m = ds.Model("two_white")
    t, _ = m.times("t s", continuous=True, dt=0.1)
    q, p = m.order_parameter("q", t), m.order_parameter("p", t)
    site = m.site("unit")
    x, v = site.field("x", t, mean=0.4, variance=0.5), site.field("v", t, variance=1)
    site.equation(x.dot[t], -x[t] + v[t])
    site.equation(v.dot[t], -v[t] - x[t] ** 3 / 5)
    site.noise(x[t], x[t], 1 + q[t])
    site.noise(v[t], v[t], 2 + p[t] ** 2)
    site.noise(x[t], v[t], q[t] / 2)
    site.observe(q[t], tanh(x[t]) ** 2)
    site.observe(p[t], x[t] * v[t])
    return m


def mean_in_drift():
    """dx/dt = -x^3 + J m, m = <x>: an initial value is all that scatters."""
    m = ds.Model("drift")
    t, s = m.times("t s", continuous=True, dt=0.1)
    J = m.parameters("J")
    mean, C = m.order_parameter("mean", t), m.order_parameter("C", t, s)
    site = m.site("unit")
    x = site.field("x", t, mean=0.3, variance=0.8)
    site.equation(x.dot[t], -(x[t] ** 3) + J * mean[t])
    site.observe(mean[t], x[t])
    site.observe(C[t, s], x[t] * x[s] ** 2)
    m.define("V", t, s, C[t, s] - mean[t] * mean[s] ** 2)
    return m


def correlated_sources():
    """Two evolving sources of several components with a cross covariance that is not symmetric."""
    m = ds.Model("pair")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    Kx = m.data("Kx", mu, nu)
    A, B, X = (m.order_parameter(name, mu, t, nu, s) for name in ("A", "B", "X"))
    site = m.site("one")
    w, x, y = (site.field(name, mu, t) for name in ("w", "x", "y"))
    site.equation(w[mu, t], ds.past(s, nu)(Kx[mu, nu] * tanh(x[nu, s] + y[nu, s])) / 3)
    site.noise(w[mu, t], w[nu, s], Kx[mu, nu])
    site.equation(x[mu, t], w[mu, t] / 2 + ds.past(s)(tanh(y[mu, s])) / 2)
    site.equation(y[mu, t], w[mu, t] ** 2 / 4)
    site.noise(x[mu, t], x[nu, s], A[mu, t, nu, s] + Kx[mu, nu])
    site.noise(y[mu, t], y[nu, s], B[mu, t, nu, s] * (1 + Kx[mu, nu] ** 2) / 2)
    site.noise(x[mu, t], y[nu, s], X[mu, t, nu, s] / 2)
    site.observe(A[mu, t, nu, s], tanh(w[mu, t]) * tanh(w[nu, s]))
    site.observe(B[mu, t, nu, s], sin(w[mu, t]) * sin(w[nu, s]))
    site.observe(X[mu, t, nu, s], tanh(w[mu, t]) * sin(w[nu, s]))
    return m


def one_closed_site():
    """Site a drives itself and site b, whose averages feed nothing back."""
    m = ds.Model("follower")
    t, s = m.times("t s", continuous=True, dt=0.2)
    share = m.parameters("share", default=0.25, positive=True)
    q, p = m.order_parameter("q", t, s), m.order_parameter("p", t)
    a, b = m.site("a"), m.site("b")
    x, v = a.field("x", t, variance=1), b.field("v", t, mean=0.5, variance=0.5)
    a.action(
        -x.tilde[t] * (x.dot[t] + x[t]) + x.tilde[t] * q[t, s] * x.tilde[s] / 2 + q.hat[t, s] * tanh(x[t]) * tanh(x[s])
    )
    b.action(-v.tilde[t] * (v.dot[t] + v[t] ** 3 / 3 - q[t, t]) + p.hat[t] * v[t] ** 2)
    m.action = (
        -share * q.hat[t, s] * q[t, s] - (1 - share) * p.hat[t] * p[t]
        + share * ds.log_Z(a) + (1 - share) * ds.log_Z(b)
    )  # fmt: skip
    return m


def lagged():
    """Discrete recursions: fields, their squares and an order parameter at the previous time."""
    m = ds.Model("lag")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    K = m.data("K", mu, nu)
    c = m.parameters("c")
    f = m.order_parameter("f", mu, t)
    site = m.site("unit")
    x = site.field("x", mu, t, mean=0.5, variance=0.3)
    v = site.field("v", mu, t, variance=1)
    site.equation(x[mu, t], x[mu, t - 1] * (1 - c * x[mu, t - 1] * v[mu, t - 1]) + f[mu, t - 1])
    site.equation(v[mu, t], tanh(v[mu, t - 1] - x[mu, t - 1] ** 2))
    site.noise(v[mu, t], v[nu, s], K[mu, nu])
    site.observe(f[mu, t], sin(x[mu, t]) * v[mu, t])
    m.define("total", t, ds.sum_over(mu)(f[mu, t] ** 3) / mu.size)
    return m


def lagged_mean():
    """The average of the previous step in a drift, that of this step in the variance of white noise."""
    m = ds.Model("lagged_mean")
    t, s = m.times("t s")
    phi = m.activation("phi", "tanh")
    p, q = m.order_parameter("p", t), m.order_parameter("q", t)
    site = m.site("unit")
    x, v = site.field("x", t, mean=0.5, variance=1), site.field("v", t, variance=1)
    site.equation(v[t], v[t - 1] / 2 - p[t - 1] * phi(v[t - 1]))
    site.noise(v[t], v[s], 1)
    site.equation(x[t], x[t - 1] / 2 + q[t - 1])
    site.noise(x[t], x[t], 1 + q[t] ** 2)
    site.observe(p[t], phi(x[t]))
    site.observe(q[t], phi(v[t]) ** 2)
    return m


def memory_kernel():
    """A two-time order parameter as the kernel of a memory, a definition, and one that is not symmetric."""
    m = ds.Model("memory")
    t, s = m.times("t s", continuous=True, dt=0.2)
    R, C = m.order_parameter("R", t, s), m.order_parameter("C", t, s)
    D = m.define("D", t, s, C[t, s] ** 2 / (1 + C[t, t]) / (1 + C[s, s]))
    H = m.define("H", t, ds.past(s)(log(1 + R[t, s] ** 2 + C[s, s])))
    site = m.site("unit")
    x = site.field("x", t, mean=0.4, variance=1)
    site.equation(x.dot[t], -x[t] + ds.past(s)(R[t, s] * tanh(x[s])) - H[t] * x[t] ** 2 / 4)
    site.noise(x[t], x[s], D[t, s])
    site.observe(R[t, s], tanh(x[t]) * x[s] ** 2)
    site.observe(C[t, s], x[t] * x[s])
    return m


def observed_chain():
    """Observed averages that drive other observed averages through the field of another site."""
    m = ds.Model("chain")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    Kx = m.data("Kx", mu, nu)
    Phi, H, A = m.order_parameter("Phi", mu, t, nu, s), m.order_parameter("H", mu, t), m.order_parameter("A", t)
    first, second = m.site("first"), m.site("second")
    b, h = first.field("b", mu, t), second.field("h", mu, t)
    v = second.field("v", t)
    first.equation(b[mu, t], ds.past(s)(cos(b[mu, s])) / 2)
    first.noise(b[mu, t], b[nu, s], Kx[mu, nu])
    first.observe(Phi[mu, t, nu, s], tanh(b[mu, t]) * tanh(b[nu, s]))
    second.equation(h[mu, t], 0)
    second.noise(h[mu, t], h[nu, s], Phi[mu, t, nu, s] + Kx[mu, nu] / 4)
    second.observe(H[mu, t], h[mu, t] ** 4)
    second.equation(v[t], ds.sum_over(mu)(H[mu, t]))
    second.noise(v[t], v[s], 1)
    second.observe(A[t], sqrt(1 + v[t] ** 2))
    m.define("E", t, exp(-A[t]) * ds.sum_over(mu, nu)(Phi[mu, t, nu, 0]))
    return m


def nothing_feeds_back():
    """Averages of sources that nothing changes: only the direct part of the covariance."""
    m = ds.Model("plain")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    Kx, angle = m.data("Kx", mu, nu), m.data("angle", t)
    q = m.order_parameter("q", mu, nu, t)
    site = m.site("unit")
    x = site.field("x", mu, t)
    site.equation(x[mu, t], 0)
    site.noise(x[mu, t], x[nu, s], Kx[mu, nu])
    site.observe(q[mu, nu, t], cos(angle[t] * x[mu, t]) * cos(angle[t] * x[nu, t]))
    return m


def explicit_terms():
    """Order parameters with explicit terms in their equation, one of them with nothing else."""
    m = ds.Model("explicit")
    t, s = m.times("t s", continuous=True, dt=0.1)
    b = m.parameters("b", default=1)
    C, k, push = m.order_parameter("C", t, s), m.order_parameter("k", t), m.order_parameter("push", t)
    m.define("W", t, push[t] ** 2)
    site = m.site("spin")
    x = site.field("x", t, mean=1, variance=0.2)
    site.action(
        -x.tilde[t] * (x.dot[t] + x[t] ** 3 / 4 - push[t]) + x.tilde[t] * C[t, s] ** 2 * x.tilde[s] / 2
        + C.hat[t, s] * x[t] * x[s] + k.hat[t] * tanh(x[t])
    )  # fmt: skip
    m.action = (
        -C.hat[t, s] * C[t, s] - k.hat[t] * (2 * k[t] - C[t, t] ** 2 / 5)
        - push.hat[t] * (push[t] - b - C[t, t] * k[t]) + ds.log_Z(site)
    )  # fmt: skip
    return m


def sum_in_a_function():
    """A definition that holds a function of a sum over samples, and drives the field."""
    m = ds.Model("inner_sum")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    K = m.data("K", mu, nu)
    phi = m.activation("phi", "tanh")
    f = m.order_parameter("f", mu, t)
    W = m.define("W", mu, t, sqrt(1 + ds.sum_over(nu)(K[mu, nu] * f[nu, t]) ** 2))
    site = m.site("unit")
    x = site.field("x", mu, t)
    site.equation(x[mu, t], ds.past(s)(W[mu, s] * phi(x[mu, s])))
    site.noise(x[mu, t], x[nu, s], K[mu, nu])
    site.observe(f[mu, t], phi(x[mu, t]) ** 2)
    return m


def multiplied():
    """An order parameter that multiplies the field in its drift, at the same time: a restoring force."""
    m = ds.Model("multiplied")
    t, s = m.times("t s", continuous=True, dt=0.1)
    q = m.order_parameter("q", t)
    site = m.site("spin")
    x = site.field("x", t, mean=1, variance=0.4)
    site.equation(x.dot[t], -q[t] * x[t])
    site.noise(x[t], x[s], 1)
    site.observe(q[t], x[t] ** 2)
    return m


def test_points(**options):
    return lambda: build_model("mlp", test=True, test_labels=True, **options)


LEARN = {"gamma": 1.3, "eta": 0.3}
POINTS = {"X": np.array([[1.0, 0.2, -0.4], [-0.3, 0.9, 0.5]]), "y": Y}
HELD_OUT = {"X_test": np.array([[0.5, -0.5, 1.0]]), "y_test": np.array([0.4])}
POPULATIONS = {"g_E": 1.2, "g_I": 0.8, "nu_E": 0.75, "nu_I": 0.25}

CASES = {
    "mlp": Case(lambda: build_model("mlp"), ("f", "K", "loss"), LEARN, {"Kx": KX, "y": Y}),
    "mlp-logistic": Case(
        lambda: build_model("mlp", loss="logistic", activation="softplus"), ("f", "loss"), LEARN, {"Kx": KX, "y": Y}
    ),
    "mlp-two-times": Case(lambda: build_model("mlp"), ("Phi1", "G1"), LEARN, {"Kx": KX, "y": Y}),
    "mlp-centered": Case(lambda: build_model("mlp", centered=True), ("Delta", "f"), LEARN, {"Kx": KX, "y": Y}),
    "mlp-sharpness": Case(lambda: build_model("mlp"), ("sharpness",), LEARN, {"Kx": KX, "y": Y}),
    "mlp-test": Case(test_points(centered=True), ("f_test", "loss_test", "f"), LEARN, POINTS | HELD_OUT),
    "recurrent": Case(raw_library.recurrent, ("C", "Cx"), {"g": 1.5}),
    "two_populations": Case(lambda: example("two_populations"), ("m_E", "C_I", "S"), POPULATIONS),
    "lotka_volterra": Case(lambda: example("lotka_volterra"), ("M", "C"), {"mu": 1.5, "sigma": 0.8}),
    "white": Case(white_noise, ("first", "second"), {"a": 0.7}),
    "drift": Case(mean_in_drift, ("mean", "V"), {"J": 0.8}),
    "pair": Case(correlated_sources, ("A", "X"), {}, {"Kx": KX}),
    "follower": Case(one_closed_site, ("p", "q"), {}),
    "lag": Case(lagged, ("f", "total"), {"c": 0.3}, {"K": KX}),
    "lagged_mean": Case(lagged_mean, ("p", "q")),
    "memory": Case(memory_kernel, ("R", "H")),
    "chain": Case(observed_chain, ("A", "E", "Phi"), {}, {"Kx": KX}),
    "plain": Case(nothing_feeds_back, ("q",), {}, {"Kx": KX, "angle": np.array([1.0, 0.5, 2.0, -1.0])}),
    "explicit": Case(explicit_terms, ("k", "push", "W")),
    "inner sum": Case(sum_in_a_function, ("f", "W"), {}, {"K": KX}),
    "multiplied": Case(multiplied, ("q",)),
    "heun, two_populations": Case(lambda: example("two_populations"), ("m_E", "S"), POPULATIONS, scheme="heun"),
    "heun, white": Case(white_noise, ("first", "second"), {"a": 0.7}, scheme="heun"),
    "heun, memory": Case(memory_kernel, ("R", "H"), scheme="heun"),
}


@cache
def compiled_case(name):
    """The compiled model of a case, as it was averaged: no matrix is found in its noise."""
    case = CASES[name]
    with as_averaged():
        return ds.compile_model(case.build(), ds.Options(covariance=case.covariance, scheme=case.scheme))


@cache
def module_of(name):
    """The generated module of a case, interpreted."""
    return interpreted(compiled_case(name).source.text)


def prepared(module, parameters, data, steps, paths, seed=0):
    """Values, factors and standard normals of independent paths (by site, or as many at each), and equal weights."""
    values, factors, dimensions = module._prepare(parameters, data, steps)
    rng = np.random.default_rng(seed)
    normals, weights = {}, {}
    for site, static in dimensions.items():
        count = paths[site] if isinstance(paths, dict) else paths
        drawn = rng.standard_normal((static + module._moving_dimensions(site, values, steps), count))
        normals |= module.split_normals(site, drawn[:static], drawn[static:], values, factors)
        weights[site] = np.full(count, 1.0 / count)
    return values, factors, normals, weights
