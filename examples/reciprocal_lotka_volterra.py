"""Generalised Lotka-Volterra community whose interactions alpha_ij and alpha_ji are correlated (rho = -1: predators).

Bunin, Phys. Rev. E 95, 042414 (2017); Galla, EPL 123, 48004 (2018); dynamics with immigration:

    dn_i/dt = n_i (1 - n_i - sum_j alpha_ij n_j) + immigration,  alpha_ij ~ mean mu/N, variance sigma^2/N.

    dmftsym solve examples/reciprocal_lotka_volterra.py -p mu=4 -p sigma=0.7 -p rho=-0.5 --steps 200 -o out.nc
"""

import dmftsym as ds

model = ds.Model("reciprocal_lotka_volterra", "Lotka-Volterra community with reciprocity (Phys. Rev. E 95, 042414).")
t, s = model.times("t s", continuous=True, dt=0.05)
mu, rho = model.parameters("mu"), model.parameters("rho", default=0, within=(-1, 1))
sigma, immigration = model.parameters("sigma", nonnegative=True), model.parameters("immigration", default=0.01)
M, C = model.order_parameter("M", t), model.order_parameter("C", t, s)

species = model.site("species")
alpha = model.matrix("alpha", species, species, mean=mu, variance=sigma**2, symmetry=rho)
n = species.field("n", t, mean=0.5, variance=0.01)
species.equation(n.dot[t], n[t]*(1 - n[t] - alpha @ n[t]) + immigration)
species.observe(M[t], n[t])
species.observe(C[t, s], n[t]*n[s])
