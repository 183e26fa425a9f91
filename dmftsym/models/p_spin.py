"""Spherical p-spin model, Langevin dynamics at a temperature from a random initial state.

Crisanti, Horner & Sommers, Z. Phys. B 92, 257 (1993); Cugliandolo & Kurchan, Phys. Rev. Lett. 71, 173 (1993).
"""

import dmftsym as ds


def build():
    """The multiplier mu(t) keeps the spins on the sphere: C(t, t) = 1 is a constraint in the action."""
    m = ds.Model("p_spin", "Spherical p-spin model, Langevin dynamics (Phys. Rev. Lett. 71, 173).")
    t, s = m.times("t s", continuous=True, dt=0.05)
    p = m.parameters("p", default=3, positive=True)
    temperature = m.parameters("temperature", nonnegative=True)
    C, R = m.order_parameter("C", t, s), m.order_parameter("R", t, s)
    mu = m.order_parameter("mu", t)

    spin = m.site("spin")
    x = spin.field("x", t, variance=1)
    spin.action(
        -x.tilde[t] * (x.dot[t] + mu[t]*x[t] - p*(p - 1)/2*ds.past(s)(C[t, s]**(p - 2)*R[t, s]*x[s]))
        + p*x.tilde[t]*C[t, s]**(p - 1)*x.tilde[s]/4 + temperature*x.tilde[t]*x.tilde[t]
        + C.hat[t, s]*x[t]*x[s] + R.hat[t, s]*x[t]*x.tilde[s]
    )
    m.action = -C.hat[t, s]*C[t, s] - R.hat[t, s]*R[t, s] - mu.hat[t]*(C[t, t] - 1) + ds.log_Z(spin)
    return m
