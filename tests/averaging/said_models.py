"""Models said with random matrices, whose averages are known in another way."""

import dmftsym as ds


def network(depth, activation="tanh"):
    """The deep network of the library, said with its weight matrices, layers 2 and up."""
    m = ds.Model("mlp")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    gamma, eta = m.parameters("gamma", positive=True), m.parameters("eta", nonnegative=True)
    y, Kx = m.data("y", mu), m.data("Kx", mu, nu, latex="K^{x}")
    phi = m.activation("phi", activation)
    f = m.order_parameter("f", mu, t)
    Delta = m.define("Delta", mu, t, y[mu] - f[mu, t])
    layers = range(1, depth + 1)
    kernel = lambda q, k: m.order_parameter(f"{q}{k}", mu, t, nu, s, on_request=True)
    Phi, G = ({k: kernel(q, k) for k in layers} for q in ("Phi", "G"))
    A, B = ({k: kernel(q, k) for k in layers[:-1]} for q in ("A", "B"))
    layer, h, z, g, W = {}, {}, {}, {}, {}
    for k in layers:
        layer[k] = m.site(f"layer{k}")
        h[k], last = layer[k].field(f"h{k}", mu, t), k == depth
        z[k] = layer[k].field(f"z{k}", *([t] if last else [mu, t]))
        back = z[k][t] if last else z[k][mu, t]
        g[k] = layer[k].define(f"g{k}", mu, t, phi.d(1)(h[k][mu, t]) * back)
    layer[1].equation(h[1][mu, t], eta * gamma * ds.past(s, nu)(Delta[nu, s] * Kx[mu, nu] * g[1][nu, s]))
    layer[1].noise(h[1][mu, t], h[1][nu, s], Kx[mu, nu])
    for k in layers[:-1]:
        W[k] = m.matrix(f"W{k}", layer[k + 1], layer[k])
        layer[k + 1].equation(h[k + 1][mu, t], W[k] @ phi(h[k][mu, t]))
        layer[k].equation(z[k][mu, t], W[k].T @ g[k + 1][mu, t])
        W[k].learn(t, eta * gamma * Delta[mu, t], g[k + 1][mu, t], phi(h[k][mu, t]))
        layer[k].observe(A[k][mu, t, nu, s], phi(h[k][mu, t]) * z[k].tilde[nu, s])
        layer[k + 1].observe(B[k][mu, t, nu, s], g[k + 1][mu, t] * h[k + 1].tilde[nu, s])
    layer[depth].equation(z[depth][t], eta * gamma * ds.past(s, nu)(Delta[nu, s] * phi(h[depth][nu, s])))
    layer[depth].noise(z[depth][t], z[depth][s], 1)
    layer[depth].observe(f[mu, t], z[depth][t] * phi(h[depth][mu, t]) / gamma)
    for k in layers:
        layer[k].observe(Phi[k][mu, t, nu, s], phi(h[k][mu, t]) * phi(h[k][nu, s]))
        layer[k].observe(G[k][mu, t, nu, s], g[k][mu, t] * g[k][nu, s])
    return m


def recurrent():
    """The random recurrent network of the library, said with its couplings."""
    m = ds.Model("recurrent")
    t, s = m.times("t s", continuous=True, dt=0.05)
    g, rho = m.parameters("g", nonnegative=True), m.parameters("rho", default=0, within=(-1, 1))
    x0_variance = m.parameters("x0_variance", default=1, nonnegative=True)
    phi = m.activation("phi", "tanh")
    C, Cx = m.order_parameter("C", t, s), m.order_parameter("Cx", t, s, latex="C^{x}")
    R = m.order_parameter("R", t, s)
    neuron = m.site("neuron")
    J = m.matrix("J", neuron, neuron, variance=g**2, symmetry=rho)
    x = neuron.field("x", t, variance=x0_variance)
    neuron.equation(x.dot[t], -x[t] + J @ phi(x[t]))
    neuron.observe(C[t, s], phi(x[t]) * phi(x[s]))
    neuron.observe(Cx[t, s], x[t] * x[s])
    neuron.observe(R[t, s], phi(x[t]) * x.tilde[s])
    return m


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
