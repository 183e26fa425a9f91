"""Random recurrent network: dx_i/dt = -x_i + g sum_j J_ij phi(x_j), J_ij ~ N(0, 1/N).

Sompolinsky, Crisanti & Sommers, Phys. Rev. Lett. 61, 259 (1988).
"""

import dmftsym as ds


def build(activation="tanh"):
    """`activation` is the transfer function phi."""
    m = ds.Model("recurrent", f"Random recurrent network, transfer function {activation} (Phys. Rev. Lett. 61, 259).")
    t, s = m.times("t s", continuous=True, dt=0.05)
    g = m.parameters("g", nonnegative=True)
    m.parameters(
        "rho", default=0, only=0, reason="partially symmetric couplings need response functions, which come later"
    )
    x0_variance = m.parameters("x0_variance", default=1, nonnegative=True)
    phi = m.activation("phi", activation)
    C, Cx = m.order_parameter("C", t, s), m.order_parameter("Cx", t, s, latex="C^{x}")

    neuron = m.site("neuron")
    x = neuron.field("x", t, variance=x0_variance)
    neuron.action(
        -x.tilde[t] * (x.dot[t] + x[t]) + g**2 * x.tilde[t]*C[t, s]*x.tilde[s]/2
        + C.hat[t, s]*phi(x[t])*phi(x[s]) + Cx.hat[t, s]*x[t]*x[s]
    )
    m.action = -C.hat[t, s]*C[t, s] - Cx.hat[t, s]*Cx[t, s] + ds.log_Z(neuron)
    return m
