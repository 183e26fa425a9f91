"""Hopfield network of rate units with extensively many random patterns: dx/dt = -x + g xi xi^T phi(x)/N.

The patterns are one matrix, used twice in a step: xi^T first, then xi on the result; alpha N patterns, N neurons.
Hopfield, Proc. Natl. Acad. Sci. 81, 3088 (1984); dynamics: Rieger, Schreckenberg & Zittartz, Z. Phys. B 72, 523 (1988).

    dmftsym solve examples/hopfield.py -p alpha=0.5 -p g=1.2 --steps 100 -o out.nc
"""

import dmftsym as ds

model = ds.Model("hopfield", "Hopfield network of rate units with extensively many patterns.")
t, s = model.times("t s", continuous=True, dt=0.1)
alpha, g = model.parameters("alpha g", positive=True)
phi = model.activation("phi", "tanh")
C = model.order_parameter("C", t, s)

neuron, pattern = model.site("neuron"), model.site("pattern", size=alpha)
xi = model.matrix("xi", neuron, pattern)
x = neuron.field("x", t, variance=1)
neuron.equation(x.dot[t], -x[t] + g * xi @ (xi.T @ phi(x[t])))
neuron.observe(C[t, s], phi(x[t])*phi(x[s]))
