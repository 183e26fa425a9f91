"""Sources whose covariance is an order parameter: several indices, several fields, several sites."""

import numpy as np
import pytest

import dmftsym as ds

pytestmark = pytest.mark.usefixtures("averaged_form")
X = np.array([[1.0, 0.4], [0.4, 0.8]])


def forward_chain():
    """Two layers without training: h1 rotates in time, h2 is Gaussian with the covariance of phi(h1)."""
    from sympy import tanh

    m = ds.Model("chain")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    Kx, angle = m.data("Kx", mu, nu), m.data("angle", t)
    phi = m.activation("phi", tanh)
    Phi = m.order_parameter("Phi", mu, t, nu, s)
    H = m.order_parameter("H", mu, t, nu, s)
    A = m.order_parameter("A", mu, t, nu, s)
    first, second = m.site("first"), m.site("second")
    a, b = first.field("a", mu, t), first.field("b", mu, t)
    first.equation(a[mu, t], 0)
    first.noise(a[mu, t], a[nu, s], Kx[mu, nu])
    first.equation(b[mu, t], angle[t] * a[mu, t])
    first.observe(Phi[mu, t, nu, s], phi(b[mu, t]) * phi(b[nu, s]))
    h = second.field("h", mu, t)
    second.equation(h[mu, t], 0)
    second.noise(h[mu, t], h[nu, s], Phi[mu, t, nu, s])
    second.observe(H[mu, t, nu, s], h[mu, t] * h[nu, s])
    second.observe(A[mu, t, nu, s], h[mu, t] ** 3 * h[nu, s])
    return m


def test_block_rows_reproduce_the_covariance():
    angle = np.array([1.0, 0.7, -0.3, 0.7])
    result = ds.compile_model(forward_chain()).solve({}, {"Kx": X, "angle": angle}, steps=4, points=2**18)
    rng = np.random.default_rng(0)
    a = np.linalg.cholesky(X) @ rng.standard_normal((2, 400_000))
    activity = np.tanh(angle[:, None, None] * a)
    direct = np.einsum("tmp,snp->mtns", activity, activity) / a.shape[1]
    assert np.abs(result.Phi.values - direct).max() < 4e-3
    assert np.abs(result.H.values - result.Phi.values).max() < 5e-3, "the field has the covariance of the activity"
    assert result.attrs["null_directions"] > 0, "a repeated state makes a singular row"
    variance = np.einsum("mtmt->mt", result.Phi.values)
    wick = 3 * variance[:, :, None, None] * result.Phi.values
    assert np.abs(result.A.values - wick).max() < 0.03
    exchanged = result.A.values.transpose(2, 3, 0, 1)
    assert np.abs(exchanged - wick).max() > 0.1, "a kernel that is not symmetric keeps its ends"


def test_two_fields_with_correlated_evolving_noise():
    """u and v share a two-time covariance: <x(t) y(s)> must be the cross covariance, both orders of the times."""
    m = ds.Model("pair")
    t, s = m.times("t s")
    rho, decay = m.parameters("rho decay")
    profile = m.data("profile", t)
    XX, XY, YY = (m.order_parameter(name, t, s) for name in ("XX", "XY", "YY"))
    site = m.site("one")
    x, y = site.field("x", t), site.field("y", t)
    site.action(
        -x.tilde[t] * x[t]
        - y.tilde[t] * y[t]
        + profile[t] * profile[s] * x.tilde[t] * x.tilde[s] / 2
        + profile[t] * profile[s] * (1 + decay) * y.tilde[t] * y.tilde[s] / 2
        + rho * profile[t] * profile[s] * x.tilde[t] * y.tilde[s]
        + XX.hat[t, s] * x[t] * x[s]
        + XY.hat[t, s] * x[t] * y[s]
        + YY.hat[t, s] * y[t] * y[s]
    )
    profile_values = np.array([1.0, 0.5, 2.0])
    result = ds.compile_model(m).solve(
        {"rho": 0.6, "decay": 0.5}, {"profile": profile_values}, steps=3, points=2**17, measure="monte-carlo"
    )
    shape = np.outer(profile_values, profile_values)
    for name, factor in (("XX", 1.0), ("XY", 0.6), ("YY", 1.5)):
        assert np.abs(result[name].values - factor * shape).max() < 0.06, name


def test_a_covariance_that_is_not_positive_stops_the_run():
    m = ds.Model("negative")
    t, s = m.times("t s")
    c = m.parameters("c")
    profile = m.data("profile", t)
    q = m.order_parameter("q", t)
    site = m.site("one")
    x = site.field("x", t)
    site.equation(x[t], 0)
    site.noise(x[t], x[s], c - profile[t] * profile[s])
    site.observe(q[t], x[t] ** 2)
    solver = ds.compile_model(m)
    # the rank-two matrix c - p(t) p(s) has a negative eigenvalue as soon as two values of p differ
    result = solver.solve({"c": 2.0}, {"profile": [0.5, 1.0, 1.5]}, steps=3, points=1024)
    assert "u_x" in result.attrs["status"] and "step 1" in result.attrs["status"]
    assert np.isfinite(result.q.values[0]) and np.isnan(result.q.values[1:]).all()


def test_a_deterministic_site_needs_no_sampling():
    m = ds.Model("clock")
    t, s = m.times("t s")
    q = m.order_parameter("q", t)
    site = m.site("one")
    x = site.field("x", t)
    site.equation(x[t], 1 + ds.past(s)(x[s]))
    site.observe(q[t], x[t])
    result = ds.compile_model(m).solve({}, {}, steps=6)
    assert np.allclose(result.q, 2.0 ** np.arange(6))
    assert result.attrs["measure"] == "gaussian, exact"
