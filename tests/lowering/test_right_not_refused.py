"""Theories that are causal and well defined are compiled, and give the numbers that a few lines of NumPy give.

Generated code runs, interpreted, on the same sample paths as these lines; averages are averages over them.
"""

from itertools import product

import numpy as np
import pytest
import sympy as sp
from fluctuating_models import interpreted, prepared

import dmftsym as ds

STEPS = 4


def swept(model, parameters=(), data=(), steps=STEPS, paths=9, seed=3):
    """Results of a sweep and the standard normals of its sources, by name."""
    module = interpreted(ds.compile_model(model).source.text)
    arguments = prepared(module, dict(parameters), dict(data), steps, paths, seed)
    result, status, _ = module.sweep(*arguments, steps, module.TIME_STEP, None)
    assert status == "ok"
    return result, arguments[2]


def same(found, expected, tolerance=1e-12):
    """Equal up to rounding; the numbers are not all small."""
    assert np.abs(expected).max() > 1e-2, expected
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


# --- what is read at the previous time -------------------------------------------------------------------------------


@pytest.mark.parametrize("lag_in_definition", [False, True])
def test_lagged_order_parameter_under_a_sum(lag_in_definition):
    m = ds.Model("lagged")
    t, _ = m.times("t s")
    mu = m.indices("mu", size="P", axis="sample")
    y, q = m.data("y", mu), m.order_parameter("q", mu, t)
    site = m.site("one")
    w = site.field("w", t, mean=sp.Rational(1, 4), variance=2)
    force = q[mu, t - 1] * sp.tanh(y[mu] * w[t - 1])
    if lag_in_definition:
        before = m.define("before", mu, t, q[mu, t - 1] / 3)
        force = 3 * before[mu, t] * sp.tanh(y[mu] * w[t - 1])
    site.equation(w[t], w[t - 1] - ds.sum_over(mu)(force) / 5)
    site.observe(q[mu, t], y[mu] * w[t] ** 2)
    labels = np.array([0.7, -1.2, 0.4])
    found, normals = swept(m, data={"y": labels})
    x, expected = 0.25 + np.sqrt(2) * normals["w_start"][0], []
    for _ in range(STEPS):
        expected.append(labels * np.mean(x**2))
        x = x - expected[-1] @ np.tanh(labels[:, None] * x) / 5
    same(found["q"], np.array(expected).T)


def test_lagged_two_time_order_parameter():
    m = ds.Model("lagged")
    t, s = m.times("t s")
    C = m.order_parameter("C", t, s)
    site = m.site("one")
    x = site.field("x", t, variance=1)
    site.equation(x[t], x[t - 1] / 2 + ds.past(s)(C[t - 1, s] * sp.sin(x[s])))
    site.observe(C[t, s], sp.tanh(x[t]) * x[s])
    found, normals = swept(m)
    x, C = [normals["x_start"][0]], np.zeros((STEPS, STEPS))
    for k in range(STEPS):
        if k:
            x.append(x[-1] / 2 + sum(C[k - 1, j] * np.sin(x[j]) for j in range(k)))
        for j in range(k + 1):
            C[k, j], C[j, k] = np.mean(np.tanh(x[k]) * x[j]), np.mean(np.tanh(x[j]) * x[k])
    same(found["C"], C)


@pytest.mark.parametrize("spelling", ["velocity", "velocity first", "order parameter", "kernel"])
def test_momentum_in_discrete_time(spelling):
    """Heavy ball: v(t) = beta v(t-1) - (x - tanh(f x))(t-1), x(t) = x(t-1) + v(t)/4, f the average of x^2."""
    m = ds.Model("momentum")
    t, s = m.times("t s")
    beta = m.parameters("beta")
    f = m.order_parameter("f", t)
    site = m.site("one")
    x = site.field("x", t, variance=1)
    force = lambda time: sp.tanh(f[time] * x[time]) - x[time]
    if spelling == "kernel":
        v = site.field("v", t)
        site.equation(v[t], ds.past(s)(beta ** (t - s - 1) * force(s)))
        site.equation(x[t], x[t - 1] + v[t] / 4)
    else:
        v = site.field("v", t, variance=0)
        equations = [(x[t], x[t - 1] + v[t] / 4), (v[t], beta * v[t - 1] + force(t - 1))]
        for left, right in equations[::-1] if spelling == "velocity first" else equations:
            site.equation(left, right)
    site.observe(f[t], x[t] ** 2)
    if spelling == "order parameter":
        r = m.order_parameter("r", t)
        site.observe(r[t], v[t] ** 2)
    found, normals = swept(m, {"beta": 0.8})
    x, v, expected = normals["x_start"][0], 0.0, []
    for _ in range(STEPS):
        expected.append(np.mean(x**2))
        v = 0.8 * v + np.tanh(expected[-1] * x) - x
        x = x + v / 4
    same(found["f"], expected)


# --- fields that are functions of fields -----------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2])
def test_field_that_is_a_function_of_fields(depth):
    """h = u + c x as a field of its own, h drives x, an average of h feeds back."""
    m = ds.Model("field")
    t, s = m.times("t s", continuous=True, dt=0.15)
    c, f = m.parameters("c"), m.order_parameter("f", t)
    site = m.site("unit")
    x, u, h = site.field("x", t, variance=0), site.field("u", t), site.field("h", t)
    site.equation(u[t], 0)
    site.noise(u[t], u[s], 2)
    site.equation(h[t], u[t] + c * x[t])
    drive = h
    if depth == 2:
        drive = site.field("k", t)
        site.equation(drive[t], h[t] - x[t] ** 2)
    site.equation(x.dot[t], -x[t] + (1 - f[t]) * sp.sin(drive[t]))
    site.observe(f[t], u[t] * sp.sin(drive[t]))
    found, normals = swept(m, {"c": 1.3}, steps=6)
    u, x, expected = np.sqrt(2) * normals["u_u"][0], 0.0, []
    for _ in range(6):
        drive = u + 1.3 * x - (x**2 if depth == 2 else 0)
        expected.append(np.mean(u * np.sin(drive)))
        x = x + 0.15 * (-x + (1 - expected[-1]) * np.sin(drive))
    same(found["f"], expected)


def test_an_equation_that_reads_a_field_with_fewer_indices():
    m = ds.Model("fewer")
    t, s = m.times("t s")
    mu = m.indices("mu", size=3, axis="sample")
    q = m.order_parameter("q", mu, t)
    site = m.site("one")
    x, v = site.field("x", mu, t), site.field("v", t)
    site.equation(v[t], 0)
    site.noise(v[t], v[t], 1)
    site.equation(x[mu, t], v[t] / 2 + sp.tanh(v[t]))
    site.noise(x[mu, t], x[mu, s], 2)
    site.observe(q[mu, t], x[mu, t] ** 2 * sp.cos(v[t]))
    found, normals = swept(m)
    v, u = normals["u_v"][:, 0], np.sqrt(2) * normals["u_x"]
    x = u[:, None] + v / 2 + np.tanh(v)
    same(found["q"], np.mean(x**2 * np.cos(v), -1))


def test_site_definition_without_indices():
    m = ds.Model("inferred")
    t, s = m.times("t s")
    mu = m.indices("mu", size=2, axis="sample")
    q = m.order_parameter("q", mu, t)
    site = m.site("one")
    x = site.field("x", mu, t)
    g = site.define("g", sp.tanh(x[mu, t]) + x[mu, t] ** 3 / 9)
    site.equation(x[mu, t], ds.past(s)(g[mu, s]) / 3)
    site.noise(x[mu, t], x[mu, s], 1)
    site.observe(q[mu, t], g[mu, t] ** 2)
    found, normals = swept(m)
    memory, expected = 0.0, []
    for _ in range(STEPS):
        x = normals["u_x"] + memory / 3
        expected.append(np.mean((np.tanh(x) + x**3 / 9) ** 2, -1))
        memory = memory + np.tanh(x) + x**3 / 9
    same(found["q"], np.array(expected).T)


# --- response functions ----------------------------------------------------------------------------------------------


def network_with_amplitudes(kind):
    m = ds.Model("amplitude")
    t, s = m.times("t s", continuous=True, dt=0.4)
    c = m.data("c", t)
    R, V = m.order_parameter("R", t, s), m.order_parameter("V", t)
    site = m.site("one")
    x, phi = site.field("x", t, variance=2), m.activation("phi", "tanh")
    memory = ds.past(s)(R[t, s] * phi(x[s])) / 3
    drift, seen = -x.tilde[t] * (x.dot[t] + x[t] - memory), R.hat[t, s] * c[s] * phi(x[t]) * x.tilde[s]
    if kind == "both":
        seen = R.hat[t, s] * c[t] * c[s] * phi(x[t]) * x.tilde[s]
    pair = -R.hat[t, s] * R[t, s]
    if kind == "pair":
        pair, seen = -R[t, s] * R[s, t] / 2, c[t] * x.tilde[t] * R[t, s] * phi(x[s]) * c[s]
        drift = -x.tilde[t] * (x.dot[t] + x[t])
    site.action(drift + seen + V.hat[t] * x[t] ** 2)
    m.action = pair - V.hat[t] * V[t] + ds.log_Z(site)
    return m


@pytest.mark.parametrize("kind", ["earlier", "both", "pair"])
def test_amplitudes_of_a_response_function(kind):
    c, dt = np.array([1.0, -2.0, 0.5, 1.5, 0.7]), 0.4
    steps = len(c)
    found, normals = swept(network_with_amplitudes(kind), data={"c": c}, steps=steps)
    x, V, R = [np.sqrt(2) * normals["x_start"][0]], [], np.zeros((steps, steps))
    d = {}  # d[t, s]: change of x(t) when the source of time s changes, as a density
    slope = lambda k: 1 - np.tanh(x[k]) ** 2
    for k in range(steps):
        for j in range(k):
            R[k, j] = np.mean(slope(k) * d[k, j]) * c[j] * (1 if kind == "earlier" else c[k])
        V.append(np.mean(x[k] ** 2))
        weight = (lambda j: c[k] * c[j]) if kind == "pair" else (lambda j: 1 / 3)  # noqa: B023
        x.append(x[k] + dt * (-x[k] + dt * sum(weight(j) * R[k, j] * np.tanh(x[j]) for j in range(k))))
        for s in range(k + 1):
            old = d.get((k, s), 0.0 * x[0])
            passed = sum((weight(j) * R[k, j] * slope(j) * d[j, s] for j in range(s + 1, k)), 0.0)
            d[k + 1, s] = old + dt * (-old + dt * passed) + (1.0 if s == k else 0.0)
    same(found["V"], V)
    if kind != "pair":
        rows = np.tril_indices(steps)
        same(found["R"][rows], R[rows])


def test_response_function_summed_over_an_axis():
    m = ds.Model("summed")
    t, s = m.times("t s")
    k = m.indices("k", size=3, axis="mode")
    lam = m.data("lam", k)
    R, C = m.order_parameter("R", t, s), m.order_parameter("C", k, t)
    site = m.site("one")
    x, phi = site.field("x", k, t), m.activation("phi", "tanh")
    site.action(
        -x.tilde[k, t] * (x[k, t] - ds.past(s)(phi(x[k, s])) / 4) + x.tilde[k, t] * x.tilde[k, s] / 2
        + C.hat[k, t] * x[k, t] ** 2 + R.hat[t, s] * lam[k] * phi(x[k, t]) * x.tilde[k, s]
    )  # fmt: skip
    m.action = -R.hat[t, s] * R[t, s] - C.hat[k, t] * C[k, t] + ds.log_Z(site)
    weights = np.array([0.5, -1.0, 2.0])
    found, normals = swept(m, data={"lam": weights})
    x, R = [], np.zeros((STEPS, STEPS))
    for _ in range(STEPS):
        x.append(normals["u_x"] + sum((np.tanh(y) for y in x), 0.0) / 4)
    slopes = [1 - np.tanh(y) ** 2 for y in x]
    for s in range(STEPS):
        d = [0.0 * x[0]] * s
        for k in range(s, STEPS):
            d.append((k == s) + sum((slopes[j] * d[j] for j in range(k)), 0.0) / 4)
            R[k, s] = np.mean(weights @ (slopes[k] * d[k]))
    same(found["C"], np.array([np.mean(y**2, -1) for y in x]).T)
    rows = np.tril_indices(STEPS)
    same(found["R"][rows], R[rows])


def test_definition_of_an_order_parameter_in_a_memory():
    m = ds.Model("centred")
    t, s = m.times("t s", continuous=True, dt=0.3)
    R, M = m.order_parameter("R", t, s), m.order_parameter("M", t)
    site = m.site("one")
    x, phi = site.field("x", t, mean=1, variance=1), m.activation("phi", "tanh")
    g = site.define("g", t, phi(x[t]) - M[t] * x[t])
    site.action(
        -x.tilde[t] * (x.dot[t] + x[t]) + 2 * x.tilde[t] * R[t, s] * g[s]
        + R.hat[t, s] * phi(x[t]) * x.tilde[s] + M.hat[t] * phi(x[t])
    )  # fmt: skip
    m.action = -R.hat[t, s] * R[t, s] - M.hat[t] * M[t] + ds.log_Z(site)
    found, normals = swept(m, steps=5)
    dt, x, M, d, R = 0.3, [1 + normals["x_start"][0]], [], {}, np.zeros((5, 5))
    for k in range(5):
        M.append(np.mean(np.tanh(x[k])))
        for j in range(k):
            R[k, j] = np.mean((1 - np.tanh(x[k]) ** 2) * d[k, j])
        x.append(x[k] + dt * (-x[k] + 2 * dt * sum(R[k, j] * (np.tanh(x[j]) - M[j] * x[j]) for j in range(k))))
        for s in range(k + 1):
            old = d.get((k, s), 0.0)
            passed = sum(R[k, j] * (1 - np.tanh(x[j]) ** 2 - M[j]) * d[j, s] for j in range(s + 1, k))
            d[k + 1, s] = old + dt * (-old + 2 * dt * passed) + (s == k)
    same(found["M"], M)
    same(found["R"][np.tril_indices(5)], R[np.tril_indices(5)])


@pytest.mark.parametrize("copies", [2, 3])
def test_copies_of_a_pair_of_response_functions(copies):
    """Linear: everything is algebra of matrices over times. x_k is driven by v, v by all copies."""
    m = ds.Model("copies")
    t, s = m.times("t s", continuous=True, dt=0.5)
    k = m.indices("k", size=copies, axis="mode")
    C, D = m.order_parameter("C", t, s), m.order_parameter("D", t, s)
    A, B = (m.order_parameter(n, k, t, s, on_request=True) for n in "AB")
    X, Y = m.site("X"), m.site("Y")
    b, x, v = X.field("b", k, t), X.field("x", k, t, variance=1), Y.field("v", t)
    X.action(
        -b.tilde[k, t] * b[k, t] + b.tilde[k, t] * D[t, s] * b.tilde[k, s] / 2 + b.tilde[k, t] * B[k, t, s] * x[k, s]
        - x.tilde[k, t] * (x.dot[k, t] + x[k, t] / 2 - b[k, t] / 3) + C.hat[t, s] * x[k, t] * x[k, s]
    )  # fmt: skip
    Y.action(
        -v.tilde[t] * v[t] + v.tilde[t] * C[t, s] * v.tilde[s] / 2 + v.tilde[t] * ds.sum_over(k)(A[k, t, s]) * v[s]
        + D.hat[t, s] * v[t] * v[s]
    )  # fmt: skip
    m.action = -C.hat[t, s] * C[t, s] - D.hat[t, s] * D[t, s] - A[k, t, s] * B[k, s, t] + ds.log_Z(X) + ds.log_Z(Y)
    found = interpreted(ds.compile_model(m).source.text).solve({}, {}, steps=STEPS)
    assert "exact" in str(found["measure"])
    dt, one = 0.5, np.eye(STEPS)
    step = np.array([[(1 - dt / 2) ** (i - j - 1) if i > j else 0.0 for j in range(STEPS)] for i in range(STEPS)])
    L, start = dt * step / 3, (1 - dt / 2) ** np.arange(STEPS)
    A = B = C = D = np.zeros((STEPS, STEPS))
    for _ in range(3 * STEPS):  # causal: every pass makes one more step right
        x_of_b = np.linalg.solve(one - L @ B * dt, L)
        A, B = x_of_b / dt, np.linalg.inv(one - copies * A * dt) / dt
        x_of_start = np.linalg.solve(one - L @ B * dt, start)
        C = copies * (x_of_b @ D @ x_of_b.T + np.outer(x_of_start, x_of_start))
        D = dt * B @ C @ B.T * dt
    same(found["C"], C, 1e-7)
    same(found["D"], D, 1e-7)


# --- sums and kernels ------------------------------------------------------------------------------------------------


def test_kernel_times_a_definition_with_an_inner_sum():
    m = ds.Model("places")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size=2, axis="sample")
    a, i, b = m.indices("a i b", size=2, axis="place")
    shift, phi = m.data("shift", a, i), m.activation("phi", "sin")
    G, V = m.order_parameter("G", mu, a, t, nu, b, s), m.order_parameter("V", mu, a, t)
    site = m.site("one")
    h, x = site.field("h", mu, a, t), site.field("x", mu, a, t)
    ps = site.define("ps", mu, a, t, ds.sum_over(i)(shift[a, i] * phi(h[mu, i, t])))
    site.equation(h[mu, a, t], 0)
    site.noise(h[mu, a, t], h[mu, a, t], 1)
    site.equation(x[mu, a, t], ds.past(s, nu, b)(G[mu, a, t, nu, b, s] * ps[nu, b, s]))
    site.observe(G[mu, a, t, nu, b, s], phi(h[mu, a, t]) * phi(h[nu, b, s]))
    site.observe(V[mu, a, t], x[mu, a, t] ** 2)
    shift = np.array([[0.3, -1.0], [2.0, 0.7]])
    found, normals = swept(m, data={"shift": shift})
    phi = np.sin(normals["u_h"].reshape(STEPS, 2, 2, -1))
    G = np.einsum("tmap,snbp->matnbs", phi, phi) / phi.shape[-1]
    ps = np.einsum("ai,tmip->tmap", shift, phi)
    earlier = np.tril(np.ones((STEPS, STEPS)), -1)
    x = np.einsum("matnbs,ts,snbp->tmap", G, earlier, ps)
    same(found["G"], G)
    same(found["V"], np.moveaxis(np.mean(x**2, -1), 0, -1))


def test_kernel_that_reads_only_earlier_times():
    m = ds.Model("past")
    t, s = m.times("t s")
    C, V = m.order_parameter("C", t, s), m.order_parameter("V", t)
    site = m.site("one")
    a, b = site.field("a", t), site.field("b", t)
    site.equation(a[t], 0)
    site.noise(a[t], a[t], 1)
    site.equation(b[t], a[t] - ds.past(s)(C[t, s] * sp.sin(2 * b[s])))
    site.observe(C[t, s], sp.sin(a[t]) * b[s])
    site.observe(V[t], b[t] ** 2)
    found, normals = swept(m, paths=5)
    a, b = normals["u_a"][:, 0], []
    for k in range(STEPS):
        b.append(a[k] - sum(np.mean(np.sin(a[k]) * b[j]) * np.sin(2 * b[j]) for j in range(k)))
    same(found["V"], [np.mean(y**2) for y in b])
    same(found["C"], np.array([[np.mean(np.sin(x) * y) for y in b] for x in a]))


WEIGHTS = {
    "power": lambda t, s, exp, cos: 0.7 ** (t - s),
    "Gaussian": lambda t, s, exp, cos: exp(-((t - s) ** 2) / 3),
    "cosine of time": lambda t, s, exp, cos: cos(2 * t),
    "both times": lambda t, s, exp, cos: cos(t + 2 * s),
    "algebraic": lambda t, s, exp, cos: 1 / (1 + t - s),
}


@pytest.mark.parametrize(("name", "continuous"), list(product(WEIGHTS, (False, True))))
def test_weights_that_are_functions_of_time(name, continuous):
    """Times are numbers of steps in discrete time, times in continuous time."""
    m = ds.Model("lag")
    t, s = m.times("t s", continuous=True, dt=0.3) if continuous else m.times("t s")
    V = m.order_parameter("V", t)
    site = m.site("one")
    x = site.field("x", t)
    weight = WEIGHTS[name](t, s, sp.exp, sp.cos)
    site.equation(x[t], ds.past(s)(weight * sp.tanh(x[s])))
    site.noise(x[t], x[s] if continuous else x[t], 1)
    site.observe(V[t], x[t] ** 2)
    found, normals = swept(m)
    dt = 0.3 if continuous else 1.0
    u, x = normals["u_x"][0] if continuous else normals["u_x"][:, 0], []
    for k in range(STEPS):
        weights = [WEIGHTS[name](dt * k, dt * j, np.exp, np.cos) for j in range(k)]
        x.append((u if continuous else u[k]) + dt * sum(w * np.tanh(y) for w, y in zip(weights, x, strict=True)))
    same(found["V"], [np.mean(y**2) for y in x])


def test_function_of_time_in_an_observable_and_a_definition():
    m = ds.Model("clock")
    t, s = m.times("t s")
    q = m.order_parameter("q", t)
    m.observable("D", t, q[t] * sp.exp(-t / 2))
    site = m.site("one")
    x = site.field("x", t)
    site.equation(x[t], sp.sin(t))
    site.noise(x[t], x[s], 1)
    site.observe(q[t], x[t] ** 2 / (1 + t))
    found, normals = swept(m)
    clock = np.arange(STEPS)
    q = [np.mean((normals["u_x"][0] + np.sin(k)) ** 2) / (1 + k) for k in clock]
    same(found["q"], q)
    same(found["D"], q * np.exp(-clock / 2))


def test_one_matrix_twice_in_a_step():
    """b = W phi(a), a = W phi(x): all constant in time, as x is."""
    m = ds.Model("twice")
    t, s = m.times("t s")
    phi = m.activation("phi", "tanh(2*h)")
    C11, C12, C22 = (m.order_parameter(n, t, s) for n in ("C11", "C12", "C22"))
    q = m.order_parameter("q", t)
    site = m.site("one")
    x, a, b = (site.field(n, t) for n in "xab")
    for field in (x, a, b):
        site.equation(field[t], 0)
    site.noise(x[t], x[s], 1)
    site.noise(a[t], a[s], C11[t, s])
    site.noise(a[t], b[s], C12[t, s])
    site.noise(b[t], b[s], C22[t, s])
    site.observe(C11[t, s], phi(x[t]) * phi(x[s]))
    site.observe(C12[t, s], phi(x[t]) * phi(a[s]))
    site.observe(C22[t, s], phi(a[t]) * phi(a[s]))
    site.observe(q[t], b[t] ** 2)
    module = interpreted(ds.compile_model(m).source.text)
    found = module.solve({}, {}, steps=2, points=2**13, measure="sobol")
    z, w = np.polynomial.hermite_e.hermegauss(80)
    variance = lambda v: w @ np.tanh(2 * np.sqrt(v) * z) ** 2 / w.sum()
    first = variance(1.0)
    second = variance(first)
    assert np.abs(found["C11"] - first).max() < 5 * found["se_C11"].max() + 1e-3
    assert np.abs(found["q"] - second).max() < 5 * found["se_q"].max() + 1e-3
    assert abs(first - second) > 0.02


# --- functions and closure -------------------------------------------------------------------------------------------

FUNCTIONS = {
    "relu as h*Heaviside(h)": (lambda h: h * sp.Heaviside(h), lambda h: np.maximum(h, 0)),
    "sinc": (sp.sinc, lambda h: np.sinc(h / np.pi)),
    "sign": (sp.sign, np.sign),
    "floor": (sp.floor, np.floor),
    "Heaviside": (sp.Heaviside, lambda h: np.heaviside(h, 0.5)),
}


@pytest.mark.parametrize("as_activation", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_jump_or_are_rare(name, as_activation):
    """The mean; covariances may be refused where a function jumps."""
    symbolic, numeric = FUNCTIONS[name]
    m = ds.Model("functions")
    t, s = m.times("t s")
    q = m.order_parameter("q", t)
    site = m.site("one")
    x = site.field("x", t)
    function = m.activation("phi", symbolic) if as_activation else symbolic
    site.equation(x[t], ds.past(s)(function(x[s])) / 2)
    site.noise(x[t], x[s], 2)
    site.observe(q[t], function(x[t]) * x[t])
    found, normals = swept(m)
    x = []
    for _ in range(STEPS):
        x.append(np.sqrt(2) * normals["u_x"][0] + sum((numeric(y) for y in x), 0.0) / 2)
    same(found["q"], [np.mean(numeric(y) * y) for y in x])


def kinked(function):
    m = ds.Model("kinked")
    t, s = m.times("t s")
    q = m.order_parameter("q", t)
    site = m.site("one")
    x, phi = site.field("x", t), m.activation("phi", function)
    site.equation(x[t], ds.past(s)(q[s] * phi(x[s])) / 2)
    site.noise(x[t], x[s], 2)
    site.observe(q[t], phi(x[t]) * x[t])
    return m


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda h: h * sp.Heaviside(h), id="callable"),
        pytest.param("h*Heaviside(h)", id="text"),
        pytest.param(lambda h: sp.Piecewise((0, h < 0), (h, True)), id="pieces"),
        pytest.param(lambda h: (h + sp.Abs(h)) / 2, id="modulus"),
    ],
)
def test_covariances_do_not_depend_on_how_a_kink_is_written(function):
    found = []
    for formula in ("relu", function):
        module = interpreted(ds.compile_model(kinked(formula), ds.Options(covariance=("q",))).source.text)
        values, factors, normals, weights = prepared(module, {}, {}, 3, 30, 3)
        arguments = (values, factors, normals, weights, 3, 1.0, 0, module.tangent_sweep, None)
        found.append(module._covariances(*arguments)[0]["cov_q_q"])
    same(found[1], found[0], 1e-9)


def test_activation_with_a_parameter():
    m = ds.Model("steep")
    t, s = m.times("t s")
    m.parameters("beta")
    phi = m.activation("phi", "tanh(beta*h)/beta")
    q = m.order_parameter("q", t)
    site = m.site("one")
    x = site.field("x", t)
    site.equation(x[t], ds.past(s)(phi.d(1)(x[s])) / 2)
    site.noise(x[t], x[s], 1)
    site.observe(q[t], phi(x[t]) ** 2)
    found, normals = swept(m, {"beta": 1.7})
    x = []
    for _ in range(STEPS):
        x.append(normals["u_x"][0] + sum((1 - np.tanh(1.7 * y) ** 2 for y in x), 0.0) / 2)
    same(found["q"], [np.mean(np.tanh(1.7 * y) ** 2) / 1.7**2 for y in x])


@pytest.mark.parametrize("with_mean", [False, True])
def test_affine_sites_are_closed_exactly(with_mean):
    """dx/dt = -x + c + J M + u with M = <x>, u static of variance 2; C = <x x>."""
    m = ds.Model("affine")
    t, s = m.times("t s", continuous=True, dt=0.1)
    c, J = m.parameters("c J")
    C, M = m.order_parameter("C", t, s), m.order_parameter("M", t)
    site = m.site("one")
    x = site.field("x", t, mean=sp.Rational(3, 10) if with_mean else 0, variance=1)
    site.equation(x.dot[t], -x[t] + c + J * M[t])
    site.noise(x[t], x[s], 2)
    site.observe(C[t, s], x[t] * x[s])
    site.observe(M[t], x[t])
    found = interpreted(ds.compile_model(m).source.text).solve({"c": 0.7, "J": -0.4}, {}, steps=6)
    dt, mean, of_start, of_noise = 0.1, [0.3 * with_mean], [1.0], [0.0]
    for _ in range(5):
        mean.append(mean[-1] + dt * (-mean[-1] + 0.7 - 0.4 * mean[-1]))
        of_start.append((1 - dt) * of_start[-1])
        of_noise.append((1 - dt) * of_noise[-1] + dt * np.sqrt(2))
    same(found["M"], mean)
    same(found["C"], np.outer(mean, mean) + np.outer(of_start, of_start) + np.outer(of_noise, of_noise))
    assert "exact" in str(found["measure"])
