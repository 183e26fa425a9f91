"""Two coupled populations of different width: excitatory and inhibitory rate units with random couplings.

Kadmon & Sompolinsky, Phys. Rev. X 5, 041030 (2015). With N units in all, N_E = nu_E N and N_I = nu_I N,

    tau_a dx_i/dt = -x_i + I_a + sum_b w_ab nu_b <phi(x)>_b + g_a sum_j J_ij phi(x_j),   J_ij ~ N(0, 1/N),

where j runs over all units; the mean couplings w_ab are +w_E from excitatory and -w_I from inhibitory units.

    dmftsym solve examples/two_populations.py -p g_E=1.2 -p g_I=0.8 -p nu_E=0.8 -p nu_I=0.2 --steps 100 -o out.nc
"""

from sympy import tanh

import dmftsym as ds

model = ds.Model("two_populations", "Excitatory and inhibitory rate units (Phys. Rev. X 5, 041030).")
t, s = model.times("t s", continuous=True, dt=0.1)
g_E, g_I, nu_E, nu_I = model.parameters("g_E g_I nu_E nu_I", positive=True)
w_E, w_I = model.parameters("w_E w_I", default=1)
I_E, I_I = model.parameters("I_E I_I", default=0.2)
tau_I = model.parameters("tau_I", default=0.5, positive=True)
phi = model.activation("phi", tanh)

C_E, C_I = model.order_parameter("C_E", t, s), model.order_parameter("C_I", t, s)
m_E, m_I = model.order_parameter("m_E", t), model.order_parameter("m_I", t)
S = model.define("S", t, s, nu_E*C_E[t, s] + nu_I*C_I[t, s])
drive = model.define("drive", t, w_E*nu_E*m_E[t] - w_I*nu_I*m_I[t])

E, I = model.site("E"), model.site("I")  # noqa: E741  the names of the paper
x, v = E.field("x", t, variance=1, mean=0.5), I.field("v", t, variance=0.25)
E.action(
    -x.tilde[t] * (x.dot[t] + x[t] - I_E - drive[t]) + g_E**2 * x.tilde[t]*S[t, s]*x.tilde[s]/2
    + C_E.hat[t, s]*phi(x[t])*phi(x[s]) + m_E.hat[t]*phi(x[t])
)
I.action(
    -v.tilde[t] * (v.dot[t] - (I_I - v[t] + drive[t])/tau_I) + (g_I/tau_I)**2 * v.tilde[t]*S[t, s]*v.tilde[s]/2
    + C_I.hat[t, s]*phi(v[t])*phi(v[s]) + m_I.hat[t]*phi(v[t])
)
model.action = (
    -nu_E*(C_E.hat[t, s]*C_E[t, s] + m_E.hat[t]*m_E[t]) - nu_I*(C_I.hat[t, s]*C_I[t, s] + m_I.hat[t]*m_I[t])
    + nu_E*ds.log_Z(E) + nu_I*ds.log_Z(I)
)
