"""Two right models in pieces, to be put together with a slip: a two-layer network and a recurrent one."""

from types import SimpleNamespace

from sympy import tanh

import dmftsym as ds


def layered():
    """A two-layer network: fields k (hidden) and w (readout), output q, residual E, data G and y."""
    m = ds.Model("layers")
    t, s = m.times("t s")
    i, j = m.indices("i j", size="P", axis="example")
    a, b = m.parameters("a b", positive=True)
    G, y = m.data("G", i, j), m.data("y", i)
    psi = m.activation("psi", tanh)
    q = m.order_parameter("q", i, t)
    E = m.define("E", i, t, y[i] - q[i, t])
    site = m.site("unit")
    k, w = site.field("k", i, t), site.field("w", t)
    drift = ds.past(s, j)(E[j, s] * G[i, j] * psi.d(1)(k[j, s]) * w[s])
    p = {
        "k": -k.tilde[i, t] * (k[i, t] - a * b * drift),
        "w": -w.tilde[t] * (w[t] - a * b * ds.past(s, j)(E[j, s] * psi(k[j, s]))),
        "noise k": k.tilde[i, t] * G[i, j] * k.tilde[j, s] / 2,
        "noise w": w.tilde[t] * w.tilde[s] / 2,
        "q": q.hat[i, t] * w[t] * psi(k[i, t]) / a,
    }
    pair = -q.hat[i, t] * q[i, t]
    return SimpleNamespace(**locals())


def network():
    """A recurrent network: field v, order parameters D = <psi psi>, Q = <psi v~>, m1 = <psi>; white noise."""
    m = ds.Model("network")
    t, s = m.times("t s", continuous=True, dt=0.2)
    g, T, J = m.parameters("g T J", nonnegative=True)
    rho = m.parameters("rho")
    psi = m.activation("psi", tanh)
    D, Q, m1 = m.order_parameter("D", t, s), m.order_parameter("Q", t, s), m.order_parameter("m1", t)
    site = m.site("cell")
    v = site.field("v", t, variance=2)
    p = {
        "v": -v.tilde[t] * (v.dot[t] + v[t] - J * m1[t]),
        "noise": g**2 * v.tilde[t] * D[t, s] * v.tilde[s] / 2,
        "white": T * v.tilde[t] * v.tilde[t],
        "memory": rho * g**2 * v.tilde[t] * ds.past(s)(Q[t, s] * psi(v[s])),
        "D": D.hat[t, s] * psi(v[t]) * psi(v[s]),
        "m1": m1.hat[t] * psi(v[t]),
        "Q": Q.hat[t, s] * psi(v[t]) * v.tilde[s],
    }
    pairs = {"D": -D.hat[t, s] * D[t, s], "m1": -m1.hat[t] * m1[t], "Q": -Q.hat[t, s] * Q[t, s]}
    return SimpleNamespace(**locals())


def finished(b, pair=None, **changes):
    """The model with pieces of its site action changed (None: left out), and its pair terms (or the whole action)."""
    pieces = {**b.p, **{name.replace("_", " "): piece for name, piece in changes.items()}}
    b.site.action(sum(piece for piece in pieces.values() if piece is not None))
    own = b.pair if hasattr(b, "pair") else sum(b.pairs.values())
    b.m.action = (own if pair is None else pair) + ds.log_Z(b.site)
    return b.m
