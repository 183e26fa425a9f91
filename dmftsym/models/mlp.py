"""Multilayer perceptron in mean-field parameterisation, full-batch gradient descent in discrete time.

Bordelon & Pehlevan, arXiv:2205.09653 and arXiv:2304.03408; L hidden layers of width N:

    h^1 = W^0 x/sqrt(D),  h^(k+1) = W^k phi(h^k)/sqrt(N),  f = w.phi(h^L)/(gamma N),
    z^k = W^kT g^(k+1)/sqrt(N),  z^L = w,  g^k = phi'(h^k) z^k,  Delta = -d loss/d f,
    learning rate eta gamma^2 N, loss summed over samples.
"""

from types import SimpleNamespace

import dmftsym as ds

MAX_DEPTH = 50  # compiling takes about a second times the depth, and its square
LOSSES = {"square": "(y - f)**2/2", "logistic": "softplus(-y*f)"}


def build(depth=1, activation="tanh", centered=False, loss="square", test=False, test_labels=False):
    """`depth` hidden layers; `loss` is square, logistic or a formula in f and y; `test` adds test points.

    `test_labels` adds the loss on the test points, whose labels are data y_test.
    """
    if not isinstance(depth, int) or not 1 <= depth <= MAX_DEPTH:
        raise ds.LanguageError(
            f"mlp: depth is the number of hidden layers, a whole number from 1 to {MAX_DEPTH}, not {depth}"
        )
    about = "Two-layer network" if depth == 1 else f"Network with {depth} hidden layers"
    m = ds.Model("mlp", f"{about}, activation {activation}, {loss} loss (arXiv:2304.03408).")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    d = m.indices("d", size="D", axis="input")
    gamma = m.parameters("gamma", positive=True)
    eta = m.parameters("eta", nonnegative=True)
    X, y = m.data("X", mu, d), m.data("y", mu)
    phi = m.activation("phi", activation)

    f = m.order_parameter("f", mu, t)
    f_symbol, y_symbol = ds.parse_expression("f", ("f",)), ds.parse_expression("y", ("y",))
    formula = ds.parse_expression(LOSSES.get(loss, loss), ("f", "y"))
    output = lambda f, *at: f[*at, t] - f[*at, 0] if centered else f[*at, t]
    at_sample = {f_symbol: output(f, mu), y_symbol: y[mu]}
    Delta = m.define("Delta", mu, t, -formula.diff(f_symbol).subs(at_sample), latex=r"\Delta")

    net = SimpleNamespace(m=m, depth=depth, phi=phi, f=f, Delta=Delta, eta=eta, gamma=gamma, t=t, s=s, mu=mu, nu=nu)
    net.Kx = _input_kernel(m, X, nu, test or test_labels)
    _declare_layers(net)
    _network(net)
    _kernels(net)
    if test or test_labels:
        _test_points(net)

    features = [net.Kx[mu, nu], *(q[mu, t, nu, t] for q in net.Phi.values())]
    gradients = [*(q[mu, t, nu, t] for q in net.G.values()), 1]
    K = m.observable("K", mu, nu, t, sum(one * other for one, other in zip(features, gradients, strict=True)))
    m.observable("loss", t, ds.sum_over(mu)(formula.subs(at_sample)))
    m.define("sharpness", t, ds.largest_eigenvalue(mu, nu)(K[mu, nu, t]), latex=r"\lambda_{\max}")
    if test_labels:
        a, f_test = m.index_symbols["a"], m.tensors["f_test"]
        y_test = m.data("y_test", a, latex=r"y^{\mathrm{test}}")
        m.observable("loss_test", t, ds.sum_over(a)(formula.subs({f_symbol: output(f_test, a), y_symbol: y_test[a]})))
    return m


def _declare_layers(net):
    """The units of every layer: a site with the preactivations h, the backward fields z and their product g."""
    m, t, mu, L = net.m, net.t, net.mu, net.depth
    net.layer, net.h, net.z, net.g = {}, {}, {}, {}
    for k in range(1, L + 1):
        number = "" if L == 1 else str(k)
        layer = net.layer[k] = m.site(f"layer{k}" if number else "hidden")
        h = net.h[k] = layer.field(f"h{number}", mu, t)
        z = net.z[k] = layer.field(f"z{number}", t) if k == L else layer.field(f"z{number}", mu, t)
        net.g[k] = layer.define(f"g{number}", mu, t, net.phi.d(1)(h[mu, t]) * (z[t] if k == L else z[mu, t]))


def _network(net):
    """Signals go up and errors come back through the weights, which all learn at the rate eta gamma Delta."""
    phi, t, s, mu, nu, L = net.phi, net.t, net.s, net.mu, net.nu, net.depth
    layer, h, z, g, rate, Delta = net.layer, net.h, net.z, net.g, net.eta * net.gamma, net.Delta
    net.W = {k: net.m.matrix(f"W{k}", layer[k + 1], layer[k]) for k in range(1, L)}
    layer[1].equation(h[1][mu, t], rate * ds.past(s, nu)(Delta[nu, s] * net.Kx[mu, nu] * g[1][nu, s]))
    layer[1].noise(h[1][mu, t], h[1][nu, s], net.Kx[mu, nu])
    for k, W in net.W.items():
        layer[k + 1].equation(h[k + 1][mu, t], W @ phi(h[k][mu, t]))
        layer[k].equation(z[k][mu, t], W.T @ g[k + 1][mu, t])
        W.learn(t, rate * Delta[mu, t], g[k + 1][mu, t], phi(h[k][mu, t]))
    layer[L].equation(z[L][t], rate * ds.past(s, nu)(Delta[nu, s] * phi(h[L][nu, s])))
    layer[L].noise(z[L][t], z[L][s], 1)
    layer[L].observe(net.f[mu, t], z[L][t] * phi(h[L][mu, t]) / net.gamma)


def _kernels(net):
    """The kernels Phi and G of every layer, and the responses A and B of the two sides of every weight matrix."""
    t, s, mu, nu, phi, layer, h, z, g = net.t, net.s, net.mu, net.nu, net.phi, net.layer, net.h, net.z, net.g
    greek = {"Phi": r"\Phi"}
    average = lambda q, k: net.m.order_parameter(
        f"{q}{k}", mu, t, nu, s, on_request=True, latex=f"{greek.get(q, q)}^{{{k}}}"
    )
    net.Phi, net.G = ({k: average(q, k) for k in layer} for q in ("Phi", "G"))
    A, B = ({k: average(q, k) for k in net.W} for q in ("A", "B"))
    for k in layer:
        layer[k].observe(net.Phi[k][mu, t, nu, s], phi(h[k][mu, t]) * phi(h[k][nu, s]))
        layer[k].observe(net.G[k][mu, t, nu, s], g[k][mu, t] * g[k][nu, s])
    for k in net.W:
        layer[k].observe(A[k][mu, t, nu, s], phi(h[k][mu, t]) * z[k].tilde[nu, s])
        layer[k + 1].observe(B[k][mu, t, nu, s], g[k + 1][mu, t] * h[k + 1].tilde[nu, s])


def _test_points(net):
    """Test points go up through the same weights, and change nothing."""
    m, phi, Kx, t, s, mu, L = net.m, net.phi, net.Kx, net.t, net.s, net.mu, net.depth
    layer, h, g = net.layer, net.h, net.g
    a, b = m.index_symbols["a"], m.index_symbols["b"]
    f_test = m.order_parameter("f_test", a, t, latex=r"f^{\mathrm{test}}")
    name = lambda k: "h_test" if L == 1 else f"h_test{k}"
    x = {k: layer[k].field(name(k), a, t, latex=rf"h^{{\mathrm{{test}},{k}}}") for k in layer}
    learned = net.eta * net.gamma * ds.past(s, mu)(net.Delta[mu, s] * Kx[a, mu] * g[1][mu, s])
    layer[1].equation(x[1][a, t], learned)
    layer[1].noise(x[1][a, t], x[1][b, s], Kx[a, b])
    layer[1].noise(x[1][a, t], h[1][mu, s], Kx[a, mu])
    for k, W in net.W.items():
        layer[k + 1].equation(x[k + 1][a, t], W @ phi(x[k][a, t]))
        cross = m.order_parameter(f"Phi{k}_cross", a, t, mu, s, on_request=True)
        own = m.order_parameter(f"Phi{k}_test", a, t, b, s, on_request=True)
        A = m.order_parameter(f"A{k}_test", a, t, mu, s, on_request=True)
        layer[k].observe(cross[a, t, mu, s], phi(x[k][a, t]) * phi(h[k][mu, s]))
        layer[k].observe(own[a, t, b, s], phi(x[k][a, t]) * phi(x[k][b, s]))
        layer[k].observe(A[a, t, mu, s], phi(x[k][a, t]) * net.z[k].tilde[mu, s])
    layer[L].observe(f_test[a, t], net.z[L][t] * phi(x[L][a, t]) / net.gamma)


def _input_kernel(m, X, nu, test):
    """Kx = X X^T/D over the training points, or over training and test points together."""
    mu, d = X.indices
    if not test:
        return m.data("Kx", mu, nu, otherwise=X[mu, d] * X[nu, d] / d.size, latex="K^{x}")
    a, b = m.indices("a b", size="Q", axis="test")
    i, j = m.indices("i j", size="M", axis="point", joins=(mu, a))
    X_test, Kx = m.data("X_test", a, d), m.data("Kx", i, j, latex="K^{x}")
    m.otherwise(Kx[mu, nu], X[mu, d] * X[nu, d] / d.size)
    m.otherwise(Kx[a, nu], X_test[a, d] * X[nu, d] / d.size)
    m.otherwise(Kx[mu, b], X[mu, d] * X_test[b, d] / d.size)
    m.otherwise(Kx[a, b], X_test[a, d] * X_test[b, d] / d.size)
    return Kx


def structure_from_data(shapes):
    """Test points are there if the data hold X_test, or a Kx over more points than y."""
    stacked = "Kx" in shapes and "y" in shapes and len(shapes["y"]) == 1 and shapes["Kx"][:1] > shapes["y"]
    return {"test": "X_test" in shapes or stacked, "test_labels": "y_test" in shapes}
