"""Multilayer perceptron in mean-field parameterisation, full-batch gradient descent in discrete time.

Bordelon & Pehlevan, arXiv:2205.09653 and arXiv:2304.03408:

    h_mu = W x_mu/sqrt(D),  f_mu = w.phi(h_mu)/(gamma N),  learning rate eta gamma^2 N,  loss summed over samples.
"""

import dmftsym as ds

LOSSES = {"square": "(y - f)**2/2", "logistic": "softplus(-y*f)"}


def build(depth=1, activation="tanh", centered=False, loss="square", test=False, test_labels=False):
    """`depth` hidden layers; `loss` is square, logistic or a formula in f and y; `test` adds test points.

    `test_labels` adds the loss on the test points, whose labels are data y_test.
    """
    if depth != 1:
        raise ds.LanguageError(f"mlp: depth={depth} needs response functions, which come later; use depth=1")
    m = ds.Model("mlp", f"Two-layer network, activation {activation}, {loss} loss (arXiv:2304.03408).")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P", axis="sample")
    d = m.indices("d", size="D", axis="input")
    gamma = m.parameters("gamma", positive=True)
    eta = m.parameters("eta", nonnegative=True)
    X, y = m.data("X", mu, d), m.data("y", mu)
    phi = m.activation("phi", activation)

    f = m.order_parameter("f", mu, t)
    Phi1 = m.order_parameter("Phi1", mu, t, nu, s, on_request=True, latex=r"\Phi^{1}")
    G1 = m.order_parameter("G1", mu, t, nu, s, on_request=True, latex="G^{1}")

    f_symbol, y_symbol = ds.parse_expression("f", ("f",)), ds.parse_expression("y", ("y",))
    formula = ds.parse_expression(LOSSES.get(loss, loss), ("f", "y"))
    output = f[mu, t] - f[mu, 0] if centered else f[mu, t]
    at_sample = {f_symbol: output, y_symbol: y[mu]}
    Delta = m.define("Delta", mu, t, -formula.diff(f_symbol).subs(at_sample), latex=r"\Delta")

    hidden = m.site("hidden")
    h, z = hidden.field("h", mu, t), hidden.field("z", t)
    g = hidden.define("g", mu, t, phi.d(1)(h[mu, t]) * z[t])

    if test or test_labels:
        a, b = m.indices("a b", size="Q", axis="test")
        i, j = m.indices("i j", size="M", axis="point", joins=(mu, a))
        X_test, Kx = m.data("X_test", a, d), m.data("Kx", i, j, latex="K^{x}")
        m.otherwise(Kx[mu, nu], X[mu, d] * X[nu, d] / d.size)
        m.otherwise(Kx[a, nu], X_test[a, d] * X[nu, d] / d.size)
        m.otherwise(Kx[mu, b], X[mu, d] * X_test[b, d] / d.size)
        m.otherwise(Kx[a, b], X_test[a, d] * X_test[b, d] / d.size)
        f_test = m.order_parameter("f_test", a, t, latex=r"f^{\mathrm{test}}")
        h_test = hidden.field("h_test", a, t, latex=r"h^{\mathrm{test}}")
        hidden.action(
            -h_test.tilde[a, t] * (h_test[a, t] - eta*gamma*ds.past(s, nu)(Delta[nu, s]*Kx[a, nu]*g[nu, s]))
            + h_test.tilde[a, t]*Kx[a, b]*h_test.tilde[b, s]/2 + h.tilde[mu, t]*Kx[mu, a]*h_test.tilde[a, s]
            + f_test.hat[a, t]*z[t]*phi(h_test[a, t])/gamma
        )
    else:
        Kx = m.data("Kx", mu, nu, otherwise=X[mu, d] * X[nu, d] / d.size, latex="K^{x}")

    hidden.action(
        -h.tilde[mu, t] * (h[mu, t] - eta*gamma*ds.past(s, nu)(Delta[nu, s]*Kx[mu, nu]*g[nu, s]))
        - z.tilde[t] * (z[t] - eta*gamma*ds.past(s, nu)(Delta[nu, s]*phi(h[nu, s])))
        + h.tilde[mu, t]*Kx[mu, nu]*h.tilde[nu, s]/2 + z.tilde[t]*z.tilde[s]/2
        + f.hat[mu, t]*z[t]*phi(h[mu, t])/gamma
        + Phi1.hat[mu, t, nu, s]*phi(h[mu, t])*phi(h[nu, s]) + G1.hat[mu, t, nu, s]*g[mu, t]*g[nu, s]
    )
    K = m.observable("K", mu, nu, t, Phi1[mu, t, nu, t] + Kx[mu, nu]*G1[mu, t, nu, t])
    m.observable("loss", t, ds.sum_over(mu)(formula.subs(at_sample)))
    m.define("sharpness", t, ds.largest_eigenvalue(mu, nu)(K[mu, nu, t]), latex=r"\lambda_{\max}")
    if test_labels:
        y_test = m.data("y_test", a, latex=r"y^{\mathrm{test}}")
        output_test = f_test[a, t] - f_test[a, 0] if centered else f_test[a, t]
        m.observable("loss_test", t, ds.sum_over(a)(formula.subs({f_symbol: output_test, y_symbol: y_test[a]})))
    return m


def structure_from_data(shapes):
    """Test points are there if the data hold X_test, or a Kx over more points than y."""
    stacked = "Kx" in shapes and "y" in shapes and len(shapes["y"]) == 1 and shapes["Kx"][:1] > shapes["y"]
    return {"test": "X_test" in shapes or stacked, "test_labels": "y_test" in shapes}
