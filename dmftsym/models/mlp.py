"""Multilayer perceptron in mean-field parameterisation, full-batch gradient descent in discrete time.

Bordelon & Pehlevan, arXiv:2205.09653 and arXiv:2304.03408:

    h1_mu = W0 x_mu/sqrt(D),  h(l+1)_mu = W(l) phi(h(l)_mu)/sqrt(N),  f_mu = w.phi(h(L)_mu)/(gamma N),
    learning rate eta gamma^2 N, loss summed over samples.
"""

from dataclasses import dataclass

from sympy import Expr

import dmftsym as ds

LOSSES = {"square": "(y - f)**2/2", "logistic": "softplus(-y*f)"}


def build(depth=1, activation="tanh", centered=False, loss="square", test=False, test_labels=False):
    """`depth` hidden layers; `loss` is square, logistic or a formula in f and y; `test` adds test points.

    `test_labels` adds the loss on the test points, whose labels are data y_test.
    """
    if not isinstance(depth, int) or depth < 1:
        raise ds.LanguageError(f"mlp: depth is the number of hidden layers, 1 or more, not {depth}")
    layers = "Two-layer network" if depth == 1 else f"Network with {depth} hidden layers"
    m = ds.Model("mlp", f"{layers}, activation {activation}, {loss} loss (arXiv:2304.03408).")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    d = m.indices("d", size="D", axis="input")
    gamma = m.parameters("gamma", positive=True)
    eta = m.parameters("eta", nonnegative=True)
    X, y = m.data("X", mu, d), m.data("y", mu)
    phi = m.activation("phi", activation)

    f = m.order_parameter("f", mu, t)
    layers = range(1, depth + 1)
    two_times = lambda name, l: m.order_parameter(f"{name}{l}", mu, t, nu, s, on_request=True, latex=_greek(name, l))
    Phi, G = ({l: two_times(name, l) for l in layers} for name in ("Phi", "G"))
    A, B = ({l: two_times(name, l) for l in layers[:-1]} for name in ("A", "B"))

    f_symbol, y_symbol = ds.parse_expression("f", ("f",)), ds.parse_expression("y", ("y",))
    formula = ds.parse_expression(LOSSES.get(loss, loss), ("f", "y"))
    output = f[mu, t] - f[mu, 0] if centered else f[mu, t]
    at_sample = {f_symbol: output, y_symbol: y[mu]}
    Delta = m.define("Delta", mu, t, -formula.diff(f_symbol).subs(at_sample), latex=r"\Delta")

    name = lambda base, l: base if depth == 1 else f"{base}{l}"
    Kx = _input_kernel(m, X, test or test_labels)
    sites, h, z, g = {}, {}, {}, {}
    for l in layers:
        sites[l] = m.site("hidden" if depth == 1 else f"layer{l}")
        h[l] = sites[l].field(name("h", l), mu, t)
        z[l] = sites[l].field(name("z", l), *([t] if l == depth else [mu, t]))
        readout = z[l][t] if l == depth else z[l][mu, t]
        g[l] = sites[l].define(name("g", l), mu, t, phi.d(1)(h[l][mu, t]) * readout)

    for l in layers:
        below = Kx[mu, nu] if l == 1 else Phi[l - 1][mu, t, nu, s]
        sites[l].action(
            -h[l].tilde[mu, t] * (h[l][mu, t] - eta*gamma*ds.past(s, nu)(Delta[nu, s]*below*g[l][nu, s]))
            + h[l].tilde[mu, t]*below*h[l].tilde[nu, s]/2
            + Phi[l].hat[mu, t, nu, s]*phi(h[l][mu, t])*phi(h[l][nu, s]) + G[l].hat[mu, t, nu, s]*g[l][mu, t]*g[l][nu, s]
        )
        if l == depth:
            sites[l].action(
                -z[l].tilde[t] * (z[l][t] - eta*gamma*ds.past(s, nu)(Delta[nu, s]*phi(h[l][nu, s])))
                + z[l].tilde[t]*z[l].tilde[s]/2 + f.hat[mu, t]*z[l][t]*phi(h[l][mu, t])/gamma
            )
        else:
            above = G[l + 1][mu, t, nu, s]
            sites[l].action(
                -z[l].tilde[mu, t] * (z[l][mu, t] - eta*gamma*ds.past(s, nu)(Delta[nu, s]*above*phi(h[l][nu, s])))
                + z[l].tilde[mu, t]*above*z[l].tilde[nu, s]/2 + z[l].tilde[mu, t]*B[l][mu, t, nu, s]*phi(h[l][nu, s])
            )
        if l > 1:
            sites[l].action(h[l].tilde[mu, t]*A[l - 1][mu, t, nu, s]*g[l][nu, s])

    pairs = -f.hat[mu, t]*f[mu, t] - sum(q.hat[mu, t, nu, s]*q[mu, t, nu, s] for l in layers for q in (Phi[l], G[l]))
    pairs -= sum(A[l][mu, t, nu, s]*B[l][nu, s, mu, t] for l in layers[:-1])
    if test or test_labels:
        pairs += _test_points(m, Network(depth, sites, h, z, g, Phi, Kx, Delta, eta, gamma, phi))
    m.action = pairs + sum(ds.log_Z(sites[l]) for l in layers)

    kernel = Kx[mu, nu]*G[1][mu, t, nu, t] + Phi[depth][mu, t, nu, t]
    kernel += sum(Phi[l][mu, t, nu, t]*G[l + 1][mu, t, nu, t] for l in layers[:-1])
    K = m.observable("K", mu, nu, t, kernel)
    m.observable("loss", t, ds.sum_over(mu)(formula.subs(at_sample)))
    m.define("sharpness", t, ds.largest_eigenvalue(mu, nu)(K[mu, nu, t]), latex=r"\lambda_{\max}")
    if test_labels:
        a, f_test = m.index_symbols["a"], m.tensors["f_test"]
        y_test = m.data("y_test", a, latex=r"y^{\mathrm{test}}")
        output_test = f_test[a, t] - f_test[a, 0] if centered else f_test[a, t]
        m.observable("loss_test", t, ds.sum_over(a)(formula.subs({f_symbol: output_test, y_symbol: y_test[a]})))
    return m


@dataclass(frozen=True)
class Network:
    """What the test points follow: the fields, kernels and parameters of the trained network, layers counted from 1."""

    depth: int
    sites: dict
    h: dict
    z: dict
    g: dict
    Phi: dict
    Kx: object
    Delta: object
    eta: Expr
    gamma: Expr
    phi: object


def _test_points(m, net: Network) -> Expr:
    """Fields of test points: they follow the order parameters of the training points and feed nothing back."""
    t, s, mu, nu, a, b = (m.index_symbols[name] for name in ("t", "s", "mu", "nu", "a", "b"))
    eta, gamma, phi, Delta = net.eta, net.gamma, net.phi, net.Delta
    f_test = m.order_parameter("f_test", a, t, latex=r"f^{\mathrm{test}}")
    pairs = -f_test.hat[a, t]*f_test[a, t]
    cross, own, A = {0: net.Kx}, {0: net.Kx}, {}
    for l in range(1, net.depth + 1):
        site, h, g = net.sites[l], net.h[l], net.g[l]
        at = lambda q, *ends: q[ends[0], ends[2]] if l == 1 else q[ends]
        h_test = site.field("h_test" if net.depth == 1 else f"h_test{l}", a, t, latex=rf"h^{{\mathrm{{test}},{l}}}")
        site.action(
            -h_test.tilde[a, t] * (h_test[a, t] - eta*gamma*ds.past(s, nu)(Delta[nu, s]*at(cross[l - 1], a, t, nu, s)*g[nu, s]))
            + h_test.tilde[a, t]*at(own[l - 1], a, t, b, s)*h_test.tilde[b, s]/2
            + h_test.tilde[a, t]*at(cross[l - 1], a, t, nu, s)*h.tilde[nu, s]
        )
        if l > 1:
            site.action(h_test.tilde[a, t]*ds.past(s, nu)(A[l - 1][a, t, nu, s]*g[nu, s]))
        if l == net.depth:
            site.action(f_test.hat[a, t]*net.z[l][t]*phi(h_test[a, t])/gamma)
            break
        quantity = lambda name, *ends: m.order_parameter(name, *ends, on_request=True)
        cross[l] = quantity(f"Phi{l}_cross", a, t, nu, s)
        own[l], A[l] = quantity(f"Phi{l}_test", a, t, b, s), quantity(f"A{l}_test", a, t, nu, s)
        observables = {
            cross[l]: phi(h_test[a, t])*phi(h[nu, s]), own[l]: phi(h_test[a, t])*phi(h_test[b, s]),
            A[l]: phi(h_test[a, t])*net.z[l].tilde[nu, s],
        }
        for q, observable in observables.items():
            site.action(q.hat[q.indices]*observable)
            pairs -= q.hat[q.indices]*q[q.indices]
    return pairs


def _input_kernel(m, X, test: bool):
    """Kx = X X^T/D over the training points, or over training and test points together."""
    mu, nu, d = (m.index_symbols[name] for name in ("mu", "nu", "d"))
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


def _greek(name: str, layer: int) -> str:
    return rf"\Phi^{{{layer}}}" if name == "Phi" else f"{name}^{{{layer}}}"


def structure_from_data(shapes):
    """Test points are there if the data hold X_test, or a Kx over more points than y."""
    stacked = "Kx" in shapes and "y" in shapes and len(shapes["y"]) == 1 and shapes["Kx"][:1] > shapes["y"]
    return {"test": "X_test" in shapes or stacked, "test_labels": "y_test" in shapes}
