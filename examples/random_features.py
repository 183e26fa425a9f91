"""Regression on linear random features by gradient flow: two random matrices, both used forward and backward.

Examples X (alpha N of them, N inputs), features X F^T (beta N of them), weights trained by gradient flow; Q is the
test error. Models of this kind: Bach, arXiv:2303.01372; Bordelon, Atanasov & Pehlevan, arXiv:2402.01092.

    dmftsym solve examples/random_features.py -p alpha=2 -p beta=1.5 -p ridge=0.1 --steps 100 -o out.nc
"""

import dmftsym as ds

model = ds.Model("random_features", "Regression on linear random features (arXiv:2402.01092).")
t, s = model.times("t s", continuous=True, dt=0.05)
alpha, beta = model.parameters("alpha beta", positive=True)
ridge, noise = model.parameters("ridge", nonnegative=True), model.parameters("noise", default=0.5, nonnegative=True)
Q = model.order_parameter("Q", t)

feature, entry, example = model.site("feature", size=beta), model.site("input"), model.site("example", size=alpha)
X, F = model.matrix("X", example, entry), model.matrix("F", feature, entry)
w, teacher = feature.field("w", t, mean=0, variance=0), entry.field("teacher", t)
v, e = entry.field("v", t), example.field("e", t)
entry.equation(teacher[t], 0)
entry.noise(teacher[t], teacher[s], 1)
entry.equation(v[t], teacher[t] - F.T @ w[t])
example.equation(e[t], X @ v[t])
example.noise(e[t], e[s], noise**2)
feature.equation(w.dot[t], F @ (X.T @ e[t]) - ridge*w[t])
entry.observe(Q[t], v[t]**2)
