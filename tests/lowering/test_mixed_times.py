"""Memories whose kernel and fields stand together in a bracket, and memories that are felt at once."""

import numpy as np
import pytest

import dmftsym as ds


def _response_through_a_bracket():
    """h(t) = u(t) + sum_{s<t} D(t,s) q(h(s)) with q = (1 - h) tanh'(h), and its response R(t,s) = <dq(t)/du(s)>."""
    m = ds.Model("bracket")
    t, s = m.times("t s")
    C, D = m.data("C", t, s), m.data("D", t, s)
    phi = m.activation("phi", "tanh")
    R, site = m.order_parameter("R", t, s), m.site("unit")
    h = site.field("h", t)
    q = lambda at: (1 - h[at]) * phi.d(1)(h[at])
    site.equation(h[t], ds.past(s)(D[t, s] * q(s)))
    site.noise(h[t], h[s], C[t, s])
    site.observe(R[t, s], q(t) * h.tilde[s])
    return m


def test_a_kernel_in_a_bracket_keeps_both_of_its_times():
    steps, size = 4, 1e-4
    rng = np.random.default_rng(3)
    root = 0.4 * (np.tril(rng.normal(size=(steps, steps)), -1) + np.eye(steps))
    data = {"C": root @ root.T, "D": 0.3 + np.arange(16.0).reshape(4, 4) / 10}
    result = ds.compile_model(_response_through_a_bracket()).solve({}, data, steps=steps, points=2**14)

    def paths(u):
        q = np.zeros_like(u)
        for t in range(steps):
            h = u[t] + data["D"][t, :t] @ q[:t]
            q[t] = (1 - h) / np.cosh(h) ** 2
        return q

    u = root @ rng.normal(size=(steps, 200_000))
    for s in range(steps):
        kick = np.zeros((steps, 1))
        kick[s] = size
        change = (paths(u + kick) - paths(u - kick)) / (2 * size)
        found, error = change.mean(axis=1), change.std(axis=1) / np.sqrt(u.shape[1])
        error = np.sqrt(error**2 + result.se_R.values[:, s] ** 2)
        assert np.all(np.abs(result.R.values[:, s] - found) <= 4.5 * error + 1e-6)
        if s == 0:  # D(0, 0) instead of D(1, 0), which stood here once, would be far off
            assert abs(found[1] * (data["D"][0, 0] / data["D"][1, 0] - 1)) > 20 * error[1]


@pytest.mark.parametrize("gain", [0.5, -1.5])
def test_a_time_derivative_feels_a_memory_of_the_same_time(gain):
    """o(t) = u(t) answers at once, so the memory of A(t, s) = <do(t)/du(s)> = delta(t - s) is a drift gain·x(t)."""
    m = ds.Model("at_once")
    t, s = m.times("t s", continuous=True, dt=0.1)
    a = m.parameters("a")
    A, C = m.order_parameter("A", t, s, on_request=True), m.order_parameter("C", t, s)
    neuron, pattern = m.site("neuron"), m.site("pattern")
    x, o = neuron.field("x", t, variance=1), pattern.field("o", t)
    neuron.equation(x.dot[t], -x[t])
    neuron.action(a * x.tilde[t] * A[t, s] * x[s])
    neuron.observe(C[t, s], x[t] * x[s])
    pattern.equation(o[t], 0)
    pattern.noise(o[t], o[s], C[t, s])
    pattern.observe(A[t, s], o[t] * o.tilde[s])
    result = ds.compile_model(m).solve({"a": gain}, {}, steps=20)
    growth = (1 + 0.1 * (gain - 1)) ** np.arange(20)
    assert np.allclose(result.C.values, np.outer(growth, growth), rtol=1e-10)
    assert not np.allclose(result.C.values, np.outer(growth, growth).T * 0.9**2, rtol=1e-2)
