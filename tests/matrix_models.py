"""Models said with random matrices of every kind, which a sweep holds."""

import dmftsym as ds


def unequal():
    """Two matrices between two sites of other sizes, with a mean, a variance, decay, and rates for pairs of rows."""
    m = ds.Model("unequal")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    width, sigma, eta, rate = m.parameters("width sigma eta rate", positive=True)
    y, Kx, phi = m.data("y", mu), m.data("Kx", mu, nu), m.activation("phi", "tanh")
    f = m.order_parameter("f", mu, t)
    low, high = m.site("low", size=width), m.site("high", size=2 * width)
    W, V = m.matrix("W", high, low, variance=sigma**2, mean=0.3), m.matrix("V", high, high, variance=0.5)
    v, h, u, last = low.field("v", mu, t), *(high.field(name, mu, t) for name in ("h", "u", "last"))
    high.equation(last[mu, t], u[mu, t - 1])
    low.equation(v[mu, t], W.T @ last[mu, t])
    low.noise(v[mu, t], v[nu, s], Kx[mu, nu])
    high.equation(h[mu, t], W @ phi(v[mu, t]) - sigma)
    high.equation(u[mu, t], phi(h[mu, t]) + V @ (V.T @ phi(h[mu, t])))
    W.learn(t, eta * (y[mu] - f[mu, t]), phi(u[mu, t]), phi(v[mu, t]))
    V.learn(t, eta * Kx[mu, nu], phi(h[mu, t]), u[nu, t])
    W.decay(rate)
    high.observe(f[mu, t], u[mu, t] ** 2)
    return m


def ring():
    """`said_models.family` with a function that is not linear, so that its sites are sampled."""
    m = ds.Model("ring")
    t, _ = m.times("t s", continuous=True, dt=0.1)
    k = m.indices("k", size=2, axis="shift")
    sigma, nu, tug, eta = m.parameters("sigma nu tug eta", positive=True)
    phi = m.activation("phi", "tanh")
    near, far = m.site("near"), m.site("far", size=nu)
    W = m.matrix("W", far, near, k, variance=sigma**2)
    x, y = near.field("x", k, t, variance=1), far.field("y", t, variance=1)
    far.equation(y.dot[t], -y[t] + ds.sum_over(k)(W[k] @ phi(x[k, t])) + W[0] @ x[1, t])
    near.equation(x.dot[k, t], -x[k, t] - tug * W[k].T @ y[t])
    W[k].learn(t, eta, y[t], x[k, t])
    C, D = m.order_parameter("C", k, t), m.order_parameter("D", t)
    near.observe(C[k, t], x[k, t] ** 2)
    far.observe(D[t], y[t] ** 2)
    return m


def correlated():
    """A recurrent network whose couplings ij and ji are correlated."""
    m = ds.Model("correlated")
    t, s = m.times("t s", continuous=True, dt=0.1)
    g, rho = m.parameters("g", nonnegative=True), m.parameters("rho", within=(-1, 1))
    C, neuron = m.order_parameter("C", t, s), m.site("neuron")
    J, x = m.matrix("J", neuron, neuron, variance=g**2, symmetry=rho), neuron.field("x", t, variance=1)
    phi = m.activation("phi", "tanh")
    neuron.equation(x.dot[t], -x[t] + J @ phi(x[t]))
    neuron.observe(C[t, s], phi(x[t]) * phi(x[s]))
    return m
