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
    for k in range(1, depth + 1):
        net.sites[k].action(_forward(net, k) + _backward(net, k))
    pairs = -f.hat[mu, t] * f[mu, t] - sum(
        q.hat[q.indices] * q[q.indices] for q in (*net.Phi.values(), *net.G.values())
    )
    pairs -= sum(net.A[k][mu, t, nu, s] * net.B[k][nu, s, mu, t] for k in net.A)
    if test or test_labels:
        pairs += _test_points(net)
    m.action = pairs + sum(ds.log_Z(site) for site in net.sites.values())

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
    """Kernels Phi, G and response functions A, B of every layer, its site, and its fields h, z and g."""
    m, t, s, mu, nu, layers = net.m, net.t, net.s, net.mu, net.nu, range(1, net.depth + 1)
    greek = {"Phi": r"\Phi"}
    kernel = lambda q, k: m.order_parameter(
        f"{q}{k}", mu, t, nu, s, on_request=True, latex=f"{greek.get(q, q)}^{{{k}}}"
    )
    net.Phi, net.G = ({k: kernel(q, k) for k in layers} for q in ("Phi", "G"))
    net.A, net.B = ({k: kernel(q, k) for k in layers[:-1]} for q in ("A", "B"))
    net.sites, net.h, net.z, net.g = {}, {}, {}, {}
    for k in layers:
        number = "" if net.depth == 1 else str(k)
        site = net.sites[k] = m.site(f"layer{k}" if number else "hidden")
        net.h[k] = site.field(f"h{number}", mu, t)
        net.z[k] = site.field(f"z{number}", t) if k == net.depth else site.field(f"z{number}", mu, t)
        backward = net.z[k][t] if k == net.depth else net.z[k][mu, t]
        net.g[k] = site.define(f"g{number}", mu, t, net.phi.d(1)(net.h[k][mu, t]) * backward)


def _forward(net, k):
    """The preactivations h of layer k: noise and drift with the kernel of the layer below, memory A; kernel Phi."""
    t, s, mu, nu, phi, h, g = net.t, net.s, net.mu, net.nu, net.phi, net.h[k], net.g[k]
    below = net.Kx[mu, nu] if k == 1 else net.Phi[k - 1][mu, t, nu, s]
    action = (
        -h.tilde[mu, t] * (h[mu, t] - net.eta * net.gamma * ds.past(s, nu)(net.Delta[nu, s] * below * g[nu, s]))
        + h.tilde[mu, t] * below * h.tilde[nu, s] / 2
        + net.Phi[k].hat[mu, t, nu, s] * phi(h[mu, t]) * phi(h[nu, s])
    )
    return action if k == 1 else action + h.tilde[mu, t] * net.A[k - 1][mu, t, nu, s] * g[nu, s]


def _backward(net, k):
    """The backward fields z of layer k, likewise from the layer above with memory B, or the readout; kernel G."""
    t, s, mu, nu, phi, h, z, g = net.t, net.s, net.mu, net.nu, net.phi, net.h[k], net.z[k], net.g[k]
    observed = net.G[k].hat[mu, t, nu, s] * g[mu, t] * g[nu, s]
    if k == net.depth:
        return observed + (
            -z.tilde[t] * (z[t] - net.eta * net.gamma * ds.past(s, nu)(net.Delta[nu, s] * phi(h[nu, s])))
            + z.tilde[t] * z.tilde[s] / 2
            + net.f.hat[mu, t] * z[t] * phi(h[mu, t]) / net.gamma
        )
    above = net.G[k + 1][mu, t, nu, s]
    return observed + (
        -z.tilde[mu, t] * (z[mu, t] - net.eta * net.gamma * ds.past(s, nu)(net.Delta[nu, s] * above * phi(h[nu, s])))
        + z.tilde[mu, t] * above * z.tilde[nu, s] / 2
        + z.tilde[mu, t] * net.B[k][mu, t, nu, s] * phi(h[nu, s])
    )


def _test_points(net):
    """Fields of test points: they follow the order parameters of the training points and feed nothing back."""
    m, t, s, nu, phi = net.m, net.t, net.s, net.nu, net.phi
    a, b = m.index_symbols["a"], m.index_symbols["b"]
    f_test = m.order_parameter("f_test", a, t, latex=r"f^{\mathrm{test}}")
    observed = [f_test]
    cross, own, A = net.Kx[a, nu], net.Kx[a, b], None
    for k in range(1, net.depth + 1):
        site, h, g = net.sites[k], net.h[k], net.g[k]
        x = site.field("h_test" if net.depth == 1 else f"h_test{k}", a, t, latex=rf"h^{{\mathrm{{test}},{k}}}")
        site.action(
            -x.tilde[a, t] * (x[a, t] - net.eta * net.gamma * ds.past(s, nu)(net.Delta[nu, s] * cross * g[nu, s]))
            + x.tilde[a, t] * own * x.tilde[b, s] / 2
            + x.tilde[a, t] * cross * h.tilde[nu, s]
        )
        if k > 1:
            site.action(x.tilde[a, t] * ds.past(s, nu)(A[a, t, nu, s] * g[nu, s]))
        if k == net.depth:
            site.action(f_test.hat[a, t] * net.z[k][t] * phi(x[a, t]) / net.gamma)
            break
        Phi_cross = m.order_parameter(f"Phi{k}_cross", a, t, nu, s, on_request=True)
        Phi_test = m.order_parameter(f"Phi{k}_test", a, t, b, s, on_request=True)
        A = m.order_parameter(f"A{k}_test", a, t, nu, s, on_request=True)
        site.action(
            Phi_cross.hat[a, t, nu, s] * phi(x[a, t]) * phi(h[nu, s])
            + Phi_test.hat[a, t, b, s] * phi(x[a, t]) * phi(x[b, s])
            + A.hat[a, t, nu, s] * phi(x[a, t]) * net.z[k].tilde[nu, s]
        )
        observed += [Phi_cross, Phi_test, A]
        cross, own = Phi_cross[a, t, nu, s], Phi_test[a, t, b, s]
    return -sum(q.hat[q.indices] * q[q.indices] for q in observed)


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
