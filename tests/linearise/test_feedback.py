"""Which averages feed back, which only follow, which functions come by the chain rule, and what is refused."""

import pytest
from fluctuating_models import example, observed_chain, one_closed_site
from sympy import Heaviside, sign, tanh

import dmftsym as ds
from dmftsym.linearise.feedback import find_feedback
from dmftsym.linearise.fluctuations import linearise
from dmftsym.lowering.lower import lower
from dmftsym.lowering.schemes import scheme_named
from dmftsym.models.loading import build_model

EULER = scheme_named("euler")
pytestmark = pytest.mark.usefixtures("averaged_form")


def feedback(model, *requested):
    return find_feedback(lower(ds.derive(model), EULER, requested), requested)


def parts(found):
    """The classes of a feedback, without order."""
    names = lambda *kinds: tuple(set(getattr(found, kind)) for kind in kinds)
    return names("closed", "observed", "derived")


EXPECTED = {
    # model, requested: averages that feed back, that only follow, functions by the chain rule
    ("mlp", ("f",)): ({"f"}, set(), {"Delta"}),
    ("mlp", ("loss",)): ({"f"}, set(), {"Delta", "loss"}),
    ("mlp", ("Delta",)): ({"f"}, set(), {"Delta"}),
    ("mlp", ("K",)): ({"f"}, {"Phi1_equal", "G1_equal"}, {"Delta", "K"}),
    ("mlp", ("sharpness",)): ({"f"}, {"Phi1_equal", "G1_equal"}, {"Delta", "K", "sharpness"}),
    ("mlp", ("Phi1",)): ({"f"}, {"Phi1"}, {"Delta"}),
    ("mlp", ("f", "K")): ({"f"}, {"Phi1_equal", "G1_equal"}, {"Delta", "K"}),
    ("recurrent", ("C",)): ({"C"}, set(), set()),
    ("recurrent", ("Cx",)): ({"C"}, {"Cx"}, set()),
    ("two_populations", ("m_E",)): ({"m_E", "m_I", "C_E", "C_I"}, set(), {"S", "drive"}),
    ("two_populations", ("S", "drive")): ({"m_E", "m_I", "C_E", "C_I"}, set(), {"S", "drive"}),
    ("lotka_volterra", ("M",)): ({"M", "C"}, set(), set()),
    ("chain", ("Phi",)): (set(), {"Phi"}, set()),
    ("chain", ("H",)): (set(), {"Phi", "H"}, set()),
    ("chain", ("A",)): (set(), {"Phi", "H", "A"}, set()),
    ("chain", ("E",)): (set(), {"Phi", "H", "A"}, {"E"}),
    ("follower", ("q",)): ({"q"}, set(), set()),
    ("follower", ("p",)): ({"q"}, {"p"}, set()),
}
MODELS = {
    "mlp": lambda: build_model("mlp"),
    "recurrent": lambda: build_model("recurrent"),
    "two_populations": lambda: example("two_populations"),
    "lotka_volterra": lambda: example("lotka_volterra"),
    "chain": observed_chain,
    "follower": one_closed_site,
}


@pytest.mark.parametrize(("name", "requested"), EXPECTED, ids=lambda v: v if isinstance(v, str) else ",".join(v))
def test_classes(name, requested):
    found = feedback(MODELS[name](), *requested)
    closed, observed, derived = parts(found)
    groups = {n for n in derived if n.startswith(("u_", "sum_"))}  # draws of sources and coefficients
    assert (closed, observed, derived - groups) == EXPECTED[name, requested]
    assert found.requested == requested
    assert set(found.averages) == closed | observed
    assert {*found.averages, *requested, *derived} <= set(found.active)
    assert closed.isdisjoint(found.following) and observed <= set(found.following)
    assert set(found.following) <= set(found.active)


def test_what_follows_are_functions_of_what_feeds_nothing_back():
    found = feedback(build_model("mlp"), "f", "K", "loss", "sharpness")
    assert {"K", "sharpness"} <= set(found.following)
    assert {"f", "loss", "Delta"}.isdisjoint(found.following)
    found = feedback(observed_chain(), "E", "H")
    assert {"h", "v", "u_h", "A", "E", "H", "Phi"} <= set(found.following)


def test_what_nothing_asked_for_needs_is_named():
    assert {"K", "loss", "sharpness", "Phi1", "G1"} <= set(feedback(build_model("mlp"), "f").unused)
    assert "Cx" in feedback(build_model("recurrent"), "C").unused
    assert "unused" not in feedback(example("two_populations"), "S").text()


def test_it_prints():
    found = feedback(build_model("mlp"), "f", "K")
    lines = found.text().splitlines()
    assert lines[0] == "covariances of: f, K" and str(found).strip() == found.text()
    assert "feed back: f" in lines[1] and "Phi1_equal, G1_equal" in lines[2] and "Delta" in lines[3]
    assert "loss" in lines[-1]
    none = feedback(observed_chain(), "Phi").text()
    assert "feed back: none" in none
    for line in found.latex_lines():
        assert line.count("{") == line.count("}") and "_" not in line.replace(r"\_", "")
    assert "Phi1" in found._repr_latex_()


def test_nothing_requested_is_nothing():
    equations = ds.derive(build_model("mlp"))
    assert linearise(equations, EULER, ()) == (None, None)
    compiled = ds.compile_model(build_model("mlp"))
    assert compiled.feedback is compiled.fluctuations is None
    assert "fluctuations" not in compiled.source.text.replace("fluctuations of", "")


def with_definition(write):
    """The two-layer network with one more definition W."""
    model = build_model("mlp")
    mu, nu, t, s = (model.index_symbols[name] for name in ("mu", "nu", "t", "s"))
    f, y, Kx = (model.tensors[name] for name in ("f", "y", "Kx"))
    write(model, mu, nu, t, s, f, y, Kx, model.parameter_symbols["eta"])
    return model


REFUSED = {
    "data only": (
        lambda m, mu, nu, t, s, f, y, Kx, eta: m.define("W", mu, Kx[mu, nu] * y[nu]),
        "'W'.*does not depend on any site average",
    ),
    "data at every time": (
        lambda m, mu, nu, t, s, f, y, Kx, eta: m.define("W", t, ds.past(s)(m.data("kick", t)[s])),
        "'W'.*does not depend on any site average",
    ),
    "parameters": (lambda m, mu, nu, t, s, f, y, Kx, eta: m.define("W", eta**2), "'W'.*does not depend"),
    "training error": (
        lambda m, mu, nu, t, s, f, y, Kx, eta: m.define("W", t, ds.sum_over(mu)(Heaviside(-y[mu] * f[mu, t]))),
        "'W'.*jumps and is not differentiable",
    ),
    "sign of the output": (
        lambda m, mu, nu, t, s, f, y, Kx, eta: m.define("W", mu, t, 1 + sign(f[mu, t])),
        "'W'.*jumps",
    ),
    "function of a function that jumps": (
        lambda m, mu, nu, t, s, f, y, Kx, eta: m.define(
            "W", t, tanh(m.define("V", t, ds.sum_over(mu)(Heaviside(f[mu, t])))[t])
        ),
        r"'W'.*V\[t\].*jumps",
    ),
    "jump under a sum over the past": (
        lambda m, mu, nu, t, s, f, y, Kx, eta: m.define("W", t, ds.past(s, mu)(Heaviside(f[mu, s]))),
        "'W'.*jumps",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_covariance_is_refused(case):
    write, words = REFUSED[case]
    model = with_definition(write)
    with pytest.raises(ds.LoweringError, match=words) as error:
        ds.compile_model(model, ds.Options(covariance=("f", "W")))
    assert "\n" not in str(error.value) and "covariance" in str(error.value)
    with_definition(write)  # the model itself is fine
    assert ds.compile_model(with_definition(write), ds.Options(covariance=("f",), outputs=("W",))).feedback


@pytest.mark.parametrize("name", ("Phi9", "y", "h", "z", "g", "eta", "u_h", "phi_h_z", "Phi1_equal", "", "f.hat"))
def test_names_that_are_no_quantity(name):
    with pytest.raises(ds.LoweringError, match="is not a quantity of model mlp; it has f, Phi1, G1, Delta, K, loss"):
        ds.compile_model(build_model("mlp"), ds.Options(covariance=("f", name)))


def test_a_function_that_jumps_may_drive_what_has_a_covariance():
    """Order parameters do not scatter: a jump in them is met with probability zero."""
    model = ds.Model("switch")
    t, s = model.times("t s")
    q = model.order_parameter("q", t)
    on = model.define("on", t, Heaviside(q[t] - 1))
    site = model.site("unit")
    x = site.field("x", t)
    site.equation(x[t], ds.past(s)(on[s]))
    site.noise(x[t], x[s], 1)
    site.observe(q[t], x[t] ** 2)
    compiled = ds.compile_model(model, ds.Options(covariance=("q",)))
    assert compiled.fluctuations.jumps == ()
    with pytest.raises(ds.LoweringError, match=r"'on'.*jumps"):
        ds.compile_model(model, ds.Options(covariance=("q", "on")))


def test_smooth_and_kinked_functions_are_not_refused():
    model = with_definition(lambda m, mu, nu, t, s, f, y, Kx, eta: m.define("W", t, ds.sum_over(mu)(abs(f[mu, t]))))
    assert ds.compile_model(model, ds.Options(covariance=("W",))).feedback.derived
