"""Ridge regression by gradient flow on random data: the data matrix is the disorder.

Teacher w*, N inputs, alpha N examples, labels X w*/sqrt(N) + noise; Q(t) is the test error without the noise. At late
times it is that of ridge regression: Dobriban & Wager, Ann. Stat. 46, 247 (2018).

    dmftsym solve examples/ridge_regression.py -p alpha=2 -p ridge=0.1 --steps 200 -o out.nc
"""

import dmftsym as ds

model = ds.Model("ridge_regression", "Ridge regression by gradient flow on random data.")
t, s = model.times("t s", continuous=True, dt=0.05)
alpha, ridge = model.parameters("alpha", positive=True), model.parameters("ridge", nonnegative=True)
noise = model.parameters("noise", default=0.5, nonnegative=True)
Q, train = model.order_parameter("Q", t), model.order_parameter("train", t)

weight, example = model.site("weight"), model.site("example", size=alpha)
X = model.matrix("X", example, weight)
w, teacher, e = weight.field("w", t, variance=1), weight.field("teacher", t), example.field("e", t)
weight.equation(teacher[t], 0)
weight.noise(teacher[t], teacher[s], 1)
example.equation(e[t], X @ (teacher[t] - w[t]))
example.noise(e[t], e[s], noise**2)
weight.equation(w.dot[t], X.T @ e[t] - ridge*w[t])
weight.observe(Q[t], (w[t] - teacher[t])**2)
example.observe(train[t], e[t]**2)
