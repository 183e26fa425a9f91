"""The symbolic Hessian and propagator: published blocks, zero blocks with reasons, response functions, the picture."""

import pytest
from sympy import KroneckerDelta, latex

import dmftsym as ds
from dmftsym.derivation.document import document


def response_model():
    """A recurrent network with partially symmetric couplings: C and the response function R (theory: other models)."""
    m = ds.Model("partially_symmetric")
    t, s = m.times("t s", continuous=True, dt=0.05)
    g, rho = m.parameters("g rho")
    phi = m.activation("phi", "tanh")
    C, R = m.order_parameter("C", t, s), m.order_parameter("R", t, s)
    neuron = m.site("neuron")
    x = neuron.field("x", t, variance=1)
    neuron.action(
        -x.tilde[t] * (x.dot[t] + x[t])
        + g**2 * x.tilde[t] * C[t, s] * x.tilde[s] / 2
        + x.tilde[t] * rho * g**2 * ds.past(s)(R[t, s] * phi(x[s]))
        + C.hat[t, s] * phi(x[t]) * phi(x[s])
        + R.hat[t, s] * phi(x[t]) * x.tilde[s]
    )
    m.action = -C.hat[t, s] * C[t, s] - R.hat[t, s] * R[t, s] + ds.log_Z(neuron)
    return m


@pytest.fixture(scope="module")
def mlp():
    return ds.derive(ds.build_model("mlp"))


@pytest.fixture(scope="module")
def recurrent():
    return ds.derive(ds.build_model("recurrent"))


def blocks(derivation):
    q = {t.name: t for t in derivation.action.order_parameters}
    return q, derivation.hessian.block


def test_two_layer_blocks_are_those_of_the_paper(mlp):
    q, block = blocks(mlp)
    f = q["f"]
    drive = block(f.hat, f)
    assert drive.own == -KroneckerDelta(*[drive.row.indices[0], drive.column.indices[0]]) * KroneckerDelta(
        drive.row.indices[1], drive.column.indices[1]
    )
    text = str(drive.from_sites)
    # (arXiv:2304.03408) D = d<z phi>/gamma dDelta, Delta = y - f: minus eta times the sum over later sources
    assert text.count("sum_{t1>t'") == 2
    assert "-eta*sum_{t1>t', mu1}(<g[mu', t']*d(phi(h[mu, t])*z[t])/(du_h[mu1, t1])>_hidden*Kx[mu1, mu'])" in text
    assert "-eta*sum_{t1>t'}(<phi(h[mu', t'])*d(phi(h[mu, t])*z[t])/(du_z[t1])>_hidden)" in text.replace("- e", "-e")
    noise = str(block(f.hat, f.hat).expression)
    assert "<phi(h[mu, t])*phi(h[mu', t'])*z[t]*z[t']>_hidden/gamma**2" in noise
    assert "-<phi(h[mu, t])*z[t]>_hidden*<phi(h[mu', t'])*z[t']>_hidden/gamma**2" in noise


def test_zero_blocks_are_found_and_explained(mlp, recurrent):
    q, block = blocks(mlp)
    assert block(q["f"], q["f"]).vanishes
    assert "latest factor" in " ".join(block(q["f"], q["f"]).reasons)
    assert block(q["f"], q["G1"]).reasons == ("no term of the action holds both",)
    c, block = blocks(recurrent)
    assert block(c["C"], c["C"]).vanishes
    assert "response fields alone" in " ".join(block(c["C"], c["C"]).reasons)
    assert not block(c["C"].hat, c["C"]).vanishes


def test_covariance_enters_by_price_theorem(recurrent):
    q, block = blocks(recurrent)
    text = str(block(q["C"].hat, q["C"]).from_sites)
    assert text == "g**2*<d2(phi(x[s])*phi(x[t]))/(du_x[s']*du_x[t'])>_neuron/2"
    assert str(block(q["Cx"].hat, q["C"]).from_sites).startswith("g**2*<d2(x[s]*x[t])/")


def test_response_functions_are_source_derivatives():
    derivation = ds.derive(response_model())
    q, block = blocks(derivation)
    C, R = q["C"], q["R"]
    assert "d3(phi(x[t]))" in str(block(R.hat, C).expression)
    mixed = str(block(C.hat, R.hat).expression)
    assert "<d(phi(x[s])*phi(x[t])*phi(x[t']))/(du_x[s'])>_neuron" in mixed
    assert "-<phi(x[s])*phi(x[t])>_neuron*<d(phi(x[t']))/(du_x[s'])>_neuron" in mixed
    curved = str(block(R.hat, R.hat).expression)
    assert "d2(phi(x[t])*phi(x[t']))/(du_x[s]*du_x[s'])" in curved
    assert "g**2*rho" in str(block(C.hat, R).expression)
    assert block(R, R).vanishes and block(C, R).vanishes
    assert derivation.propagator.decoupled
    assert {str(t) for t in derivation.propagator.closed} == {"C", "R"}


def test_conjugates_that_do_not_decouple_are_said():
    """An explicit coupling of two order parameters gives H_qq: the form of Σ changes."""
    m = ds.Model("coupled")
    t, s = m.times("t s")
    q, p = m.order_parameter("q", t), m.order_parameter("p", t)
    site = m.site("unit")
    x = site.field("x", t)
    site.action(
        -x.tilde[t] * (x[t] - ds.past(s)(q[s]) - ds.past(s)(p[s]))
        + x.tilde[t] * x.tilde[s] / 2
        + q.hat[t] * x[t]
        + p.hat[t] * x[t] ** 2
    )
    m.action = -q.hat[t] * q[t] - p.hat[t] * p[t] + q[t] * p[t] + ds.log_Z(site)
    propagator = ds.derive(m).propagator
    assert not propagator.decoupled
    assert "-H^-1" in propagator.text() and "because H[q[t]; p[t']] = KroneckerDelta(t, t')" in propagator.text()
    assert "-H^{-1}" in latex_text(propagator)


def latex_text(record):
    return "\n".join(record.latex_lines())


def test_propagator_says_who_drives_whom(mlp):
    text = mlp.propagator.text()
    assert "f drives f, Phi1, G1" in text
    assert "Phi1 drives nothing: its fluctuations are observed only" in text
    assert "K[mu, nu, t] follows G1, Phi1 by the chain rule" in text
    assert "(I - D)^-1 κ (I - D)^-T" in text
    assert [str(q) for q in mlp.propagator.closed] == ["f"]
    assert len(mlp.propagator.drives) == 3 and len(mlp.propagator.noise) == 6


def test_population_weights_multiply_noise_once():
    """κ of a population of relative size nu is nu Cov for q = nu <O>: N Var of a sum over nu N units, divided by N."""
    m = ds.Model("weighted")
    t, s = m.times("t s")
    nu = m.parameters("nu", positive=True)
    q = m.order_parameter("q", t)
    site = m.site("unit")
    x = site.field("x", t)
    site.action(-x.tilde[t] * (x[t] - ds.past(s)(q[s])) + x.tilde[t] * x.tilde[s] / 2 + q.hat[t] * x[t])
    m.action = -2 * q.hat[t] * q[t] + nu * ds.log_Z(site)
    propagator = ds.derive(m).propagator
    terms = {str(term) for term in propagator.noise[0].expression.expand().args}
    assert terms == {"-nu*<x[t]>_unit*<x[t']>_unit/4", "nu*<x[t]*x[t']>_unit/4"}
    assert str(propagator.drives[0].expression) == "nu*sum_{t1>t'}(<d(x[t])/(du_x[t1])>_unit)/2"


@pytest.mark.parametrize("record", ["hessian", "propagator"])
@pytest.mark.parametrize("form", ["text", "latex", "html"])
def test_every_format(mlp, record, form):
    page = document("mlp", (getattr(mlp, record),), form)
    assert page == document("mlp", (getattr(mlp, record),), form)
    assert ("<svg" in page) == (record == "propagator" and form == "html")
    assert len(getattr(mlp, record).sympy) >= 9
    if form == "html":
        assert "<math" in page and page.count("<svg") == page.count("</svg>")
    if form == "latex":
        assert page.count("{") == page.count("}") and latex(mlp.action.order_parameters[0]) in page


def test_the_picture_holds_every_quantity_and_arrow(mlp):
    figure = mlp.propagator.figure()
    axes = figure.axes[0]
    labels = {text.get_text() for text in axes.texts}
    assert labels == {"$f$", r"$\Phi^{1}$", "$G^{1}$", r"$\Delta$", "$K$", r"$\mathrm{loss}$", r"$\lambda_{\max}$"}
    assert len(axes.patches) == 3 + 1 + 2 + 1 + 1  # D blocks; Delta, K (2), loss and sharpness by the chain rule
