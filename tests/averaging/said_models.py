"""Models said with random matrices, whose averages are known in another way."""

import dmftsym as ds


def tied(times=2):
    """A network trained through `times` uses of one square matrix, h = v + W phi(h), and of its transpose."""
    m = ds.Model("tied")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    gamma, eta = m.parameters("gamma eta", positive=True)
    Kx, y, phi = m.data("Kx", mu, nu), m.data("y", mu), m.activation("phi", "tanh")
    f = m.order_parameter("f", mu, t)
    Delta = m.define("Delta", y[mu] - f[mu, t])
    unit = m.site("unit")
    W, v, w = m.matrix("W", unit, unit), unit.field("v", mu, t), unit.field("w", t)
    h, g = {0: v}, {}
    for k in range(times):
        h[k + 1] = unit.define(f"h{k + 1}", mu, t, v[mu, t] + W @ phi(h[k][mu, t]))
    g[times] = unit.define(f"g{times}", mu, t, phi.d(1)(h[times][mu, t]) * w[t])
    for k in reversed(range(times)):
        g[k] = unit.define(f"g{k}", mu, t, phi.d(1)(h[k][mu, t]) * (W.T @ g[k + 1][mu, t]))
        W.learn(t, eta * gamma * Delta[mu, t], g[k + 1][mu, t], phi(h[k][mu, t]))
    unit.equation(v[mu, t], eta * gamma * ds.past(s, nu)(Delta[nu, s] * Kx[mu, nu] * sum(q[nu, s] for q in g.values())))
    unit.noise(v[mu, t], v[nu, s], Kx[mu, nu])
    unit.equation(w[t], eta * gamma * ds.past(s, nu)(Delta[nu, s] * phi(h[times][nu, s])))
    unit.noise(w[t], w[s], 1)
    unit.observe(f[mu, t], w[t] * phi(h[times][mu, t]) / gamma)
    return m


def family():
    """A ring of two places with one matrix a shift: two members, each used forward and backward, widths 1 and nu."""
    m = ds.Model("family")
    t, s = m.times("t s", continuous=True, dt=0.1)
    k, j = m.indices("k j", size=2, axis="shift")
    sigma, nu, kappa = m.parameters("sigma nu kappa", positive=True)
    near, far = m.site("near"), m.site("far", size=nu)
    W = m.matrix("W", far, near, k, variance=sigma**2)
    x, y = near.field("x", k, t, variance=1), far.field("y", t, variance=1)
    far.equation(y.dot[t], -y[t] + ds.sum_over(k)(W[k] @ x[k, t]))
    near.equation(x.dot[k, t], -x[k, t] - kappa * W[k].T @ y[t])
    C, D = m.order_parameter("C", k, t, j, s), m.order_parameter("D", t, s)
    near.observe(C[k, t, j, s], x[k, t] * x[j, s])
    far.observe(D[t, s], y[t] * y[s])
    return m
