"""A perceptron that learns a noisy teacher by gradient descent on random examples, full batch, discrete steps.

Mignacco, Krzakala, Urbani & Zdeborova, NeurIPS 2020, arXiv:2006.06098: N weights, alpha N examples, the loss of an
example (phi(w.x) - phi(teacher.x))^2/2; m is the overlap with the teacher, Q the norm of the weights.

    dmftsym solve examples/perceptron.py -p alpha=3 -p eta=0.3 --steps 40 -o out.nc
"""

import dmftsym as ds

model = ds.Model("perceptron", "A perceptron that learns a teacher on random examples (arXiv:2006.06098).")
t, s = model.times("t s")
alpha, eta = model.parameters("alpha eta", positive=True)
phi = model.activation("phi", "tanh")
m, Q, loss = (model.order_parameter(name, t) for name in ("m", "Q", "loss"))

weight, example = model.site("weight"), model.site("example", size=alpha)
X = model.matrix("X", example, weight)
w, teacher = weight.field("w", t, variance=1), weight.field("teacher", t)
h, label = example.field("h", t), example.field("label", t)
weight.equation(teacher[t], 0)
weight.noise(teacher[t], teacher[s], 1)
example.equation(h[t], X @ w[t])
example.equation(label[t], X @ teacher[t])
weight.equation(w[t], w[t - 1] + eta * X.T @ ((phi(label[t - 1]) - phi(h[t - 1]))*phi.d(1)(h[t - 1])))
weight.observe(m[t], w[t]*teacher[t])
weight.observe(Q[t], w[t]**2)
example.observe(loss[t], (phi(label[t]) - phi(h[t]))**2/2)
