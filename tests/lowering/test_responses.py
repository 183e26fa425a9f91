"""Response functions on the grid: tangents that are the same on every path beside tangents that are not."""

import numpy as np

import dmftsym as ds


def test_a_shared_tangent_drives_one_that_differs_from_path_to_path():
    """dx/dt = -x + u and dy/dt = -y + tanh(x): <dy(t)/du(s)> = dt sum (1-dt)^(t-1-k) <tanh'(x(k))> dx(k)/du(s).

    dx/du is a number, so this holds to rounding for the sampled averages too.
    """
    m = ds.Model("chain")
    t, s = m.times("t s", continuous=True, dt=0.1)
    slope = m.order_parameter("slope", t)
    Rx, Ry = m.order_parameter("Rx", t, s), m.order_parameter("Ry", t, s)
    phi = m.activation("phi", "tanh")
    site = m.site("unit")
    x, y = site.field("x", t, variance=1), site.field("y", t, variance=1)
    site.equation(x.dot[t], -x[t])
    site.equation(y.dot[t], -y[t] + phi(x[t]))
    site.observe(slope[t], phi.d(1)(x[t]))
    site.action(Rx.hat[t, s] * x[t] * x.tilde[s] + Ry.hat[t, s] * y[t] * x.tilde[s])
    result = ds.compile_model(m).solve(steps=12, points=512)
    Rx, Ry, slope, dt = result.Rx.values, result.Ry.values, result.slope.values, 0.1
    steps = np.arange(12)
    assert np.allclose(Rx, np.where(steps[:, None] > steps, (1 - dt) ** (steps[:, None] - steps - 1.0), 0), atol=1e-14)
    expected = np.zeros((12, 12))
    for k in range(11):
        expected[k + 1] = (1 - dt) * expected[k] + dt * slope[k] * Rx[k]
    assert np.allclose(Ry, expected, rtol=0, atol=1e-13) and Ry.max() > 0.1
    assert not np.allclose(Ry, expected * 1.001, rtol=0, atol=1e-13)
