"""Random recurrent network: dx_i/dt = -x_i + g sum_j J_ij phi(x_j), J_ij ~ N(0, 1/N), Corr(J_ij, J_ji) = rho.

Sompolinsky, Crisanti & Sommers, Phys. Rev. Lett. 61, 259 (1988); rho: Martí, Brunel & Ostojic, Phys. Rev. E 97, 062314.
"""

import dmftsym as ds


def build(activation="tanh", symmetric=False):
    """`activation` is the transfer function phi; `symmetric` allows partially symmetric couplings, rho != 0."""
    m = ds.Model("recurrent", f"Random recurrent network, transfer function {activation} (Phys. Rev. Lett. 61, 259).")
    t, s = m.times("t s", continuous=True, dt=0.05)
    g = m.parameters("g", nonnegative=True)
    if symmetric:
        rho = m.parameters("rho", default=0, within=(-1, 1))
    else:
        m.parameters("rho", default=0, only=0, reason="the memory of rho != 0 needs the structure symmetric=true")
    x0_variance = m.parameters("x0_variance", default=1, nonnegative=True)
    phi = m.activation("phi", activation)
    C, Cx = m.order_parameter("C", t, s), m.order_parameter("Cx", t, s, latex="C^{x}")
    R = m.order_parameter("R", t, s)

    neuron = m.site("neuron")
    J = m.matrix("J", neuron, neuron, variance=g**2, symmetry=rho if symmetric else 0)
    x = neuron.field("x", t, variance=x0_variance)
    neuron.equation(x.dot[t], -x[t] + J @ phi(x[t]))
    neuron.observe(C[t, s], phi(x[t])*phi(x[s]))
    neuron.observe(Cx[t, s], x[t]*x[s])
    neuron.observe(R[t, s], phi(x[t])*x.tilde[s])
    return m


def structure_from_parameters(parameters):
    """A rho that is not zero asks for partially symmetric couplings."""
    return {"symmetric": True} if parameters.get("rho", 0) != 0 else {}
