"""Consumers and resources (MacArthur): what consumer i eats of resource a is one random matrix, used both ways.

Advani, Bunin & Mehta, J. Stat. Mech. 033406 (2018), with resources that grow logistically:

    dn_i/dt = n_i (sum_a c_ia r_a - m) + immigration,   dr_a/dt = r_a (K - r_a - sum_i c_ia n_i) + immigration.

    dmftsym solve examples/consumer_resource.py -p mu=1 -p sigma=0.5 -p K=1 -p m=0.5 --steps 200 -o out.nc
"""

import dmftsym as ds

model = ds.Model("consumer_resource", "Consumers and resources (J. Stat. Mech. 033406, 2018).")
t, s = model.times("t s", continuous=True, dt=0.05)
mu, K, m = model.parameters("mu K m")
sigma, immigration = model.parameters("sigma", nonnegative=True), model.parameters("immigration", default=0.01)
nu = model.parameters("nu", default=1, positive=True)  # resources for every consumer
N, R = model.order_parameter("N", t), model.order_parameter("R", t)

consumer, resource = model.site("consumer"), model.site("resource", size=nu)
c = model.matrix("c", consumer, resource, mean=mu, variance=sigma**2)
n, r = consumer.field("n", t, mean=0.5, variance=0.01), resource.field("r", t, mean=0.5, variance=0.01)
consumer.equation(n.dot[t], n[t]*(c @ r[t] - m) + immigration)
resource.equation(r.dot[t], r[t]*(K - r[t] - c.T @ n[t]) + immigration)
consumer.observe(N[t], n[t])
resource.observe(R[t], r[t])
