"""Lagged equations, several indices, white noise and sums inside functions, each against a direct simulation."""

import numpy as np
import pytest

import dmftsym as ds


def test_discrete_recursion_with_a_lag():
    """x(t) = a x(t-1) + u(t), u white of variance D: variance a^2 v + D, exactly known."""
    m = ds.Model("autoregressive")
    t, s = m.times("t s")
    a, D = m.parameters("a D")
    V = m.order_parameter("V", t, s)
    site = m.site("one")
    x = site.field("x", t, variance=2, mean=1)
    site.equation(x[t], a * x[t - 1])
    site.noise(x[t], x[t], D)
    site.observe(V[t, s], x[t] * x[s])
    result = ds.compile_model(m).solve({"a": 0.7, "D": 0.3}, steps=12)
    v, mean, expected = 2.0, 1.0, []
    for _ in range(12):
        expected.append(v + mean**2)
        v, mean = 0.49 * v + 0.3, 0.7 * mean
    assert result.attrs["measure"] == "gaussian, exact"
    assert np.abs(np.diag(result.V) - expected).max() < 1e-12
    assert result.V.values[5, 2] == pytest.approx(0.7**3 * expected[2], abs=1e-12)


def test_langevin_equation_reaches_its_stationary_variance():
    """dx/dt = -k x + white noise 2T: Euler's stationary variance is T/(k (1 - k dt/2))."""
    m = ds.Model("ornstein_uhlenbeck")
    t, _ = m.times("t s", continuous=True, dt=0.1)
    k, T = m.parameters("k T", positive=True)
    v = m.order_parameter("v", t)
    site = m.site("one")
    x = site.field("x", t, variance=1)
    site.action(-x.tilde[t] * (x.dot[t] + k * x[t]) + T * x.tilde[t] ** 2 + v.hat[t] * x[t] ** 2)
    stationary = 0.8 / (1.5 * (1 - 1.5 * 0.1 / 2))
    exact = ds.compile_model(m).solve({"k": 1.5, "T": 0.8}, steps=200)
    assert exact.attrs["measure"] == "gaussian, exact" and float(exact.v[-1]) == pytest.approx(stationary, rel=1e-12)
    result = ds.compile_model(m).solve({"k": 1.5, "T": 0.8}, steps=80, points=2**17, measure="sobol")
    late, error = result.v.values[60:].mean(), result.se_v.values[60:].mean()
    assert late == pytest.approx(stationary, abs=4 * error)
    assert abs(0.8 / 1.5 - late) > 4 * error, "the order of the scheme must show"


def test_space_index_with_a_sum_inside_a_function():
    """Units on a ring of four places: x_a(t) = u_a + sum_{s<t} tanh(sum_b J_ab x_b(s)); diagonal white noise too."""
    J = np.array([[0.0, 0.5, 0, 0.2], [0.3, 0, 0.4, 0], [0, 0.1, 0, 0.6], [0.2, 0, 0.3, 0]])
    m = ds.Model("ring")
    t, s = m.times("t s")
    a, b = m.indices("a b", size="L", axis="place")
    coupling, level = m.data("coupling", a, b), m.data("level", a)
    q = m.order_parameter("q", a, b, t)
    site = m.site("cell")
    x = site.field("x", a, t)
    drift = ds.past(s)(ds.sum_over(b)(coupling[a, b] * x[b, s]) / 10)
    from sympy import tanh

    site.equation(x[a, t], drift + ds.past(s)(tanh(ds.sum_over(b)(coupling[a, b] * x[b, s]))) / 5)
    site.noise(x[a, t], x[a, s], level[a])
    site.observe(q[a, b, t], x[a, t] * x[b, t])
    level_values = np.array([1.0, 0.5, 0.2, 0.8])
    result = ds.compile_model(m).solve({}, {"coupling": J, "level": level_values}, steps=6, points=2**17)
    rng = np.random.default_rng(0)
    source = np.sqrt(level_values)[:, None] * rng.standard_normal((4, 400_000))
    path, total = [], 0 * source
    for _ in range(6):
        path.append(source + total)
        total = total + J @ path[-1] / 10 + np.tanh(J @ path[-1]) / 5
    direct = np.array([p @ p.T / p.shape[1] for p in path])
    spread = np.array([(p[:, None] * p[None]).std(-1) / np.sqrt(p.shape[1]) for p in path])
    assert (np.abs(result.q.values.transpose(2, 0, 1) - direct) < 5 * spread + 1e-3).all()
    assert result.q.dims == ("place", "place2", "time")


def test_definition_without_time_and_data_with_time():
    m = ds.Model("driven")
    t, s = m.times("t s")
    c = m.parameters("c")
    field = m.data("field", t)
    square = m.define("square", c**2 + 1)
    q = m.order_parameter("q", t)
    site = m.site("one")
    x = site.field("x", t)
    site.equation(x[t], square[()] * field[t])
    site.noise(x[t], x[s], square[()])
    site.observe(q[t], x[t] ** 2)
    drive = np.linspace(0, 1, 7)
    result = ds.compile_model(m).solve({"c": 2}, {"field": drive}, steps=7)
    assert np.allclose(result.q, 5 + 25 * drive**2, atol=1e-12)
    with pytest.raises(ds.SolveError, match=r"field.*\(9,\)"):
        ds.compile_model(m).solve({"c": 2}, {"field": drive}, steps=9)


def test_one_order_parameter_observed_at_two_sites_with_times_of_other_names():
    """q(s) = nu <x^2>_A + (1 - nu) <sum_{t<s} v(t)^2>_B, sites with rules of different size; declared with time s."""
    m = ds.Model("shared")
    t, s = m.times("t s")
    nu = m.parameters("nu")
    q = m.order_parameter("q", s)
    one, other = m.site("A"), m.site("B")
    x, y = one.field("x", t), one.field("y", t)
    v = other.field("v", t)
    for field, variance in ((x, 2), (y, 1)):
        one.equation(field[t], 0)
        one.noise(field[t], field[s], variance)
    other.equation(v[t], 0)
    other.noise(v[t], v[s], 3)
    one.action(q.hat[s] * x[s] ** 2 * y[s] ** 2)
    other.action(q.hat[s] * ds.past(t, before=s)(v[t] ** 2))
    m.action = -q.hat[s] * q[s] + nu * ds.log_Z(one) + (1 - nu) * ds.log_Z(other)
    result = ds.compile_model(m).solve({"nu": 0.25}, {}, steps=5)
    assert np.allclose(result.q, 0.25 * 2 + 0.75 * 3 * np.arange(5), atol=1e-12)
    sampled = ds.compile_model(m).solve({"nu": 0.25}, {}, steps=5, measure="sobol")
    assert np.allclose(sampled.q, result.q, atol=0.02)


def test_a_scheme_is_data_and_others_can_be_added(monkeypatch):
    """The exponential Euler rule, added as a record: exact for dx/dt = -x, where Euler's is of first order."""
    from sympy import exp

    from dmftsym.lowering.schemes import RATE, SCHEMES, VALUE, Scheme
    from dmftsym.program.axes import TIME_STEP

    rule = VALUE + (1 - exp(-TIME_STEP)) * RATE
    exact = Scheme(
        name="exponential",
        order=1,
        advance=rule,
        integral_weight=TIME_STEP,
        white_variance=1 / TIME_STEP,
        reference="Hochbruck & Ostermann, Acta Numerica 2010",
    )
    monkeypatch.setitem(SCHEMES, "exponential", exact)
    m = ds.Model("decay")
    t, _ = m.times("t s", continuous=True, dt=0.1)
    q, site = m.order_parameter("q", t), m.site("one")
    x = site.field("x", t, mean=2)
    site.equation(x.dot[t], -x[t])
    site.observe(q[t], x[t])
    errors = {}
    for scheme in ("euler", "exponential"):
        solver = ds.compile_model(m, ds.Options(scheme=scheme))
        for dt in (0.1, 0.05):
            result = solver.solve({}, {}, steps=round(1 / dt) + 1, dt=dt)
            errors[scheme, dt] = abs(float(result.q[-1]) - 2 * np.exp(-1))
    assert errors["exponential", 0.1] < 1e-12
    assert abs(np.log2(errors["euler", 0.1] / errors["euler", 0.05]) - 1) < 0.2, "the order of Euler's rule"
    with pytest.raises(ds.LoweringError, match=r"'midpoint'.*euler, heun"):
        ds.compile_model(m, ds.Options(scheme="midpoint"))
