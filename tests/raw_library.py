"""The deep network and the recurrent network of the library by their actions, averaged by hand as in the papers.

A hand-written action is the other way to say a model; these two show that both ways give the same systems.
"""

from types import SimpleNamespace

import dmftsym as ds
from dmftsym.models.mlp import LOSSES, _input_kernel


def mlp(depth=1, activation="tanh", centered=False, loss="square", test=False):
    """Multilayer perceptron (arXiv:2205.09653), kernels Phi and G and response functions A and B between layers."""
    m = ds.Model("mlp")
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
    at_sample = {f_symbol: f[mu, t] - f[mu, 0] if centered else f[mu, t], y_symbol: y[mu]}
    Delta = m.define("Delta", mu, t, -formula.diff(f_symbol).subs(at_sample), latex=r"\Delta")

    net = SimpleNamespace(m=m, depth=depth, phi=phi, f=f, Delta=Delta, rate=eta * gamma, gamma=gamma)
    net.t, net.s, net.mu, net.nu = t, s, mu, nu
    net.Kx = _input_kernel(m, X, nu, test)
    _declare_layers(net)
    for k in range(1, depth + 1):
        net.sites[k].action(_forward(net, k) + _backward(net, k))
    pairs = -f.hat[mu, t] * f[mu, t] - sum(
        q.hat[q.indices] * q[q.indices] for q in (*net.Phi.values(), *net.G.values())
    )
    pairs -= sum(net.A[k][mu, t, nu, s] * net.B[k][nu, s, mu, t] for k in net.A)
    if test:
        pairs += _test_points(net)
    m.action = pairs + sum(ds.log_Z(site) for site in net.sites.values())

    features = [net.Kx[mu, nu], *(q[mu, t, nu, t] for q in net.Phi.values())]
    gradients = [*(q[mu, t, nu, t] for q in net.G.values()), 1]
    m.observable("K", mu, nu, t, sum(one * other for one, other in zip(features, gradients, strict=True)))
    m.observable("loss", t, ds.sum_over(mu)(formula.subs(at_sample)))
    return m


def _declare_layers(net):
    """Kernels Phi, G and response functions A, B of every layer, its site, and its fields h, z and g."""
    m, t, s, mu, nu, layers = net.m, net.t, net.s, net.mu, net.nu, range(1, net.depth + 1)
    kernel = lambda q, k: m.order_parameter(f"{q}{k}", mu, t, nu, s, on_request=True)
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
        -h.tilde[mu, t] * (h[mu, t] - net.rate * ds.past(s, nu)(net.Delta[nu, s] * below * g[nu, s]))
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
            -z.tilde[t] * (z[t] - net.rate * ds.past(s, nu)(net.Delta[nu, s] * phi(h[nu, s])))
            + z.tilde[t] * z.tilde[s] / 2
            + net.f.hat[mu, t] * z[t] * phi(h[mu, t]) / net.gamma
        )
    above = net.G[k + 1][mu, t, nu, s]
    return observed + (
        -z.tilde[mu, t] * (z[mu, t] - net.rate * ds.past(s, nu)(net.Delta[nu, s] * above * phi(h[nu, s])))
        + z.tilde[mu, t] * above * z.tilde[nu, s] / 2
        + z.tilde[mu, t] * net.B[k][mu, t, nu, s] * phi(h[nu, s])
    )


def _test_points(net):
    """Fields of test points: they follow the order parameters of the training points and feed nothing back."""
    m, t, s, mu, phi = net.m, net.t, net.s, net.mu, net.phi
    a, b = m.index_symbols["a"], m.index_symbols["b"]
    f_test = m.order_parameter("f_test", a, t)
    observed = [f_test]
    cross, own, A = net.Kx[a, mu], net.Kx[a, b], None
    for k in range(1, net.depth + 1):
        site, h, g = net.sites[k], net.h[k], net.g[k]
        x = site.field("h_test" if net.depth == 1 else f"h_test{k}", a, t)
        site.action(
            -x.tilde[a, t] * (x[a, t] - net.rate * ds.past(s, mu)(net.Delta[mu, s] * cross * g[mu, s]))
            + x.tilde[a, t] * own * x.tilde[b, s] / 2
            + x.tilde[a, t] * cross * h.tilde[mu, s]
        )
        if k > 1:
            site.action(x.tilde[a, t] * A[a, t, mu, s] * g[mu, s])
        if k == net.depth:
            site.action(f_test.hat[a, t] * net.z[k][t] * phi(x[a, t]) / net.gamma)
            break
        Phi_cross = m.order_parameter(f"Phi{k}_cross", a, t, mu, s, on_request=True)
        Phi_test = m.order_parameter(f"Phi{k}_test", a, t, b, s, on_request=True)
        A = m.order_parameter(f"A{k}_test", a, t, mu, s, on_request=True)
        site.action(
            Phi_cross.hat[a, t, mu, s] * phi(x[a, t]) * phi(h[mu, s])
            + Phi_test.hat[a, t, b, s] * phi(x[a, t]) * phi(x[b, s])
            + A.hat[a, t, mu, s] * phi(x[a, t]) * net.z[k].tilde[mu, s]
        )
        observed += [Phi_cross, Phi_test, A]
        cross, own = Phi_cross[a, t, mu, s], Phi_test[a, t, b, s]
    return -sum(q.hat[q.indices] * q[q.indices] for q in observed)


def recurrent(activation="tanh", symmetric=False):
    """Random recurrent network (Phys. Rev. Lett. 61, 259), with rho as in Phys. Rev. E 97, 062314."""
    m = ds.Model("recurrent")
    t, s = m.times("t s", continuous=True, dt=0.05)
    g = m.parameters("g", nonnegative=True)
    rho = m.parameters("rho", default=0, within=(-1, 1)) if symmetric else 0
    x0_variance = m.parameters("x0_variance", default=1, nonnegative=True)
    phi = m.activation("phi", activation)
    C, Cx = m.order_parameter("C", t, s), m.order_parameter("Cx", t, s)
    R = m.order_parameter("R", t, s)
    neuron = m.site("neuron")
    x = neuron.field("x", t, variance=x0_variance)
    neuron.action(
        -x.tilde[t] * (x.dot[t] + x[t])
        + g**2 * x.tilde[t] * C[t, s] * x.tilde[s] / 2
        + C.hat[t, s] * phi(x[t]) * phi(x[s])
        + Cx.hat[t, s] * x[t] * x[s]
    )
    pairs = -C.hat[t, s] * C[t, s] - Cx.hat[t, s] * Cx[t, s]
    if symmetric:  # R is its own conjugate
        neuron.action(rho * g**2 * x.tilde[t] * R[t, s] * phi(x[s]))
        pairs -= rho * g**2 * R[t, s] * R[s, t] / 2
    else:
        neuron.action(R.hat[t, s] * phi(x[t]) * x.tilde[s])
        pairs -= R.hat[t, s] * R[t, s]
    m.action = pairs + ds.log_Z(neuron)
    return m
