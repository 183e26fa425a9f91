"""Generalised Lotka-Volterra community with independent random interactions: noise multiplied by the abundance.

Roy, Biroli, Bunin & Cammarota, J. Phys. A 52, 484001 (2019), without correlation between alpha_ij and alpha_ji:

    dN_i/dt = N_i (1 - N_i - sum_j alpha_ij N_j) + lambda,    alpha_ij ~ mean mu/S, variance sigma^2/S.

Written as equations plus noise instead of an action; both build the same model.

    dmftsym solve examples/lotka_volterra.py -p mu=4 -p sigma=0.5 --steps 400 -o out.nc
"""

import dmftsym as ds

model = ds.Model("lotka_volterra", "Generalised Lotka-Volterra community (J. Phys. A 52, 484001).")
t, s = model.times("t s", continuous=True, dt=0.05)
mu = model.parameters("mu")
sigma, immigration = model.parameters("sigma", nonnegative=True), model.parameters("immigration", default=0.01)

M, C = model.order_parameter("M", t), model.order_parameter("C", t, s)
species = model.site("species")
n = species.field("n", t, mean=0.5, variance=0.01)
growth = species.field("growth", t)

species.equation(growth[t], 1 - n[t] - mu*M[t])
species.noise(growth[t], growth[s], sigma**2 * C[t, s])
species.equation(n.dot[t], n[t]*growth[t] + immigration)
species.observe(M[t], n[t])
species.observe(C[t, s], n[t]*n[s])
