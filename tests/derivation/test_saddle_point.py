"""Saddle points: order parameters of published models, and which conjugates causality removes."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from sympy import Tuple

import dmftsym as ds
from dmftsym.derivation.averages import Average, SourceDerivative, average, source_of
from dmftsym.language.sums import SiteSymbol
from dmftsym.models.loading import build_model, find_model

EXAMPLES = Path(__file__).parents[2] / "examples"
LATEST = "a response field is the latest factor, so the average vanishes"
ALONE = "an average of response fields alone vanishes"


def equations(saddle_point):
    return {e.tensor.name: e.right_side() for e in saddle_point.equations}


def conjugates(saddle_point):
    return {c.conjugate.tensor.name: c for c in saddle_point.conjugates}


def mean(observable, site):
    return Average(observable, SiteSymbol(site))


# --- published models -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", [{}, {"test": True}, {"centered": True}, {"loss": "logistic"}])
def test_two_layer_network(structure):
    """arXiv:2304.03408: f = <z phi>/gamma, Phi = <phi phi>, G = <g g>; the conjugate of f vanishes by causality."""
    m = build_model("mlp", **structure)
    derivation = ds.derive(m)
    gamma, phi = m.parameter_symbols["gamma"], m.activations["phi"]
    mu, nu, t, s = (m.index_symbols[n] for n in ("mu", "nu", "t", "s"))
    h, z, g = (m.sites["hidden"].tensors[n] for n in ("h", "z", "g"))
    result = equations(derivation.saddle_point)
    assert result["f"] == mean(z[t] * phi(h[mu, t]), "hidden") / gamma
    assert result["Phi1"] == mean(phi(h[mu, t]) * phi(h[nu, s]), "hidden")
    assert result["G1"] == mean(g[mu, t] * g[nu, s], "hidden")
    fates = conjugates(derivation.saddle_point)
    assert all(c.vanishes for c in fates.values())
    assert {term.reason for term in fates["f"].terms} == {LATEST}
    assert len(fates["f"].terms) >= 2 and not fates["Phi1"].terms
    if structure.get("test"):
        test = m.sites["hidden"].tensors["h_test"]
        a = m.index_symbols["a"]
        assert result["f_test"] == mean(z[t] * phi(test[a, t]), "hidden") / gamma


def test_the_conjugate_of_the_output_pairs_responses_with_earlier_activity():
    """dS/df = -eta gamma sum_{t' > t} <r~(t') phi(h(t))> and the same with K g, for Delta = y - f."""
    derivation = ds.derive(build_model("mlp"))
    lines = [str(t.expression) for t in conjugates(derivation.saddle_point)["f"].terms]
    later = "sum_{t1>t"
    assert len(lines) == 2 and all(line.startswith(f"-eta*gamma*{later}") for line in lines)
    assert any("<d(phi(h[mu, t]))/(du_z[t1])>_hidden" in line for line in lines)
    assert any("<d(g[mu, t])/(du_h[mu1, t1])>_hidden*Kx[mu1, mu]" in line for line in lines)


def test_random_recurrent_network():
    """Phys. Rev. Lett. 61, 259: C = <phi phi>; dS/dC = g^2/2 <x~ x~> = 0."""
    m = build_model("recurrent")
    saddle = ds.derive(m).saddle_point
    t, s = m.index_symbols["t"], m.index_symbols["s"]
    x, phi, g = m.sites["neuron"].tensors["x"], m.activations["phi"], m.parameter_symbols["g"]
    assert equations(saddle) == {
        "C": mean(phi(x[t]) * phi(x[s]), "neuron"),
        "Cx": mean(x[t] * x[s], "neuron"),
        "R": average(phi(x[t]) * x.tilde[s], "neuron"),
    }
    (term,) = conjugates(saddle)["C"].terms
    assert term.vanishes and term.reason == ALONE
    assert term.expression == g**2 * x.tilde[t] * x.tilde[s] / 2


def test_the_weights_of_two_populations_cancel():
    m = find_model(str(EXAMPLES / "two_populations.py")).build({})
    saddle = ds.derive(m).saddle_point
    t, s, phi = m.index_symbols["t"], m.index_symbols["s"], m.activations["phi"]
    x, v = m.sites["E"].tensors["x"], m.sites["I"].tensors["v"]
    assert equations(saddle) == {
        "C_E": mean(phi(x[t]) * phi(x[s]), "E"),
        "m_E": mean(phi(x[t]), "E"),
        "C_I": mean(phi(v[t]) * phi(v[s]), "I"),
        "m_I": mean(phi(v[t]), "I"),
    }
    assert all(c.vanishes for c in saddle.conjugates)
    assert {t.reason for t in conjugates(saddle)["C_E"].terms} == {ALONE}


# --- small models -----------------------------------------------------------------------------------------------------


def toy(write):
    """Order parameter q[t] = <phi(x[t])> and kernel R[t, s]; `write` returns the right-hand side of x."""
    m = ds.Model("toy")
    t, s, u = m.times("t s u")
    a = m.parameters("a")
    phi = m.activation("phi", "tanh")
    q, R = m.order_parameter("q", t), m.order_parameter("R", t, s)
    site = m.site("A")
    x, v = site.field("x", t), site.field("v", t)
    p = SimpleNamespace(**locals())
    site.action(q.hat[t] * phi(x[t]) + R.hat[t, s] * phi(x[t]) * x.tilde[s])
    site.equation(v[t], x[t])  # v feels the source of x at once
    site.equation(x[t], write(p))
    p.saddle_point = ds.derive(m).saddle_point
    return p


def fate(p, name):
    """Whether the conjugate vanishes, and the reasons given."""
    found = conjugates(p.saddle_point)[name]
    return found.vanishes, {term.reason for term in found.terms}


def test_a_response_field_in_an_observable_is_a_derivative():
    """R(t, s) = <phi(x(t)) x~(s)> = <d phi(x(t)) / du(s)>."""
    p = toy(lambda p: 0)
    derivative = SourceDerivative(p.phi(p.x[p.t]), Tuple(source_of(p.x.tilde[p.s])))
    assert equations(p.saddle_point)["R"] == mean(derivative, "A")
    assert str(equations(p.saddle_point)["R"]) == "<d(phi(x[t]))/(du_x[s])>_A"


def test_averages():
    p = toy(lambda p: 0)
    x, t, s = p.x, p.t, p.s
    assert average(x.tilde[t] * x.tilde[s], "A") == 0
    assert average(p.a * p.q[t] * x[t] ** 2, "A") == p.a * p.q[t] * mean(x[t] ** 2, "A")
    twice = average(p.a * x[t] * x.tilde[s] ** 2, "A")
    assert twice == p.a * mean(SourceDerivative(x[t], Tuple(*[source_of(x.tilde[s])] * 2)), "A")
    assert str(twice) == "a*<d2(x[t])/(du_x[s]*du_x[s])>_A"
    assert average(p.a * p.q[t], "A") == p.a * p.q[t]


CAUSAL = {
    "drive": (lambda p: p.q[p.t], ALONE),
    "memory": (lambda p: ds.past(p.s)(p.q[p.s] * p.x[p.s]), LATEST),
    "lag": (lambda p: p.q[p.t] * p.phi(p.v[p.t - 1]), LATEST),
    "nested memory": (lambda p: ds.past(p.s)(p.q[p.s] * ds.past(p.u)(p.v[p.u])), LATEST),
    "earlier in the past": (lambda p: p.q[p.t - 1] * p.phi(p.v[p.t - 2]), LATEST),
    "from the start": (lambda p: p.q[0] * ds.past(p.s)(p.x[p.s]), LATEST),
}


@pytest.mark.parametrize("case", CAUSAL)
def test_conjugates_that_vanish(case):
    write, reason = CAUSAL[case]
    assert fate(toy(write), "q") == (True, {reason})


ACAUSAL = {
    "same time": lambda p: p.q[p.t] * p.phi(p.v[p.t]),
    "same time in an inclusive sum": lambda p: ds.past(p.s, inclusive=True)(p.q[p.s] * p.x[p.s]),
    "all times": lambda p: p.q[p.t] * p.x[p.s],
    "future": lambda p: p.q[p.t] * p.x[p.t + 1],
    "memory of the order parameter only": lambda p: p.x[p.t] * ds.past(p.s)(p.q[p.s]),
}


@pytest.mark.parametrize("case", ACAUSAL)
def test_conjugates_that_need_not_vanish(case):
    """The control: where the field is not earlier than the response field, nothing is claimed."""
    p = toy(ACAUSAL[case])
    assert fate(p, "q") == (False, {"the latest factor need not be a response field, does not vanish"})
    assert "q.hat[t] does not vanish" in str(p.saddle_point)
    (term,) = conjugates(p.saddle_point)["q"].terms
    assert term.expression.has(SourceDerivative)


def test_response_kernel_as_memory():
    p = toy(lambda p: ds.past(p.s)(p.R[p.t, p.s] * p.phi(p.x[p.s])))
    assert fate(p, "R") == (True, {LATEST})
    assert fate(toy(lambda p: p.R[p.t, p.s] * p.phi(p.x[p.s])), "R")[0] is False


PAIRS = [lambda p: -p.A[p.t, p.s] * p.B[p.s, p.t], lambda p: p.c * p.A[p.t, p.t] * p.B[p.t, p.s]]


@pytest.mark.parametrize("pair", PAIRS)
def test_explicit_terms_do_not_vanish(pair):
    """A pair of response functions: dS/dA holds B (theory of deep networks), which stays."""
    m = ds.Model("pair")
    t, s = m.times("t s")
    c = m.parameters("c")
    A, B = m.order_parameter("A", t, s), m.order_parameter("B", t, s)
    site = m.site("a")
    x = site.field("x", t)
    site.equation(x[t], 0)
    site.action(A.hat[t, s] * x[t] * x.tilde[s] + B.hat[t, s] * x[t] * x[s])
    m.action = -A.hat[t, s] * A[t, s] - B.hat[t, s] * B[t, s] + pair(SimpleNamespace(**locals())) + ds.log_Z(site)
    saddle = ds.derive(m).saddle_point
    for name in "AB":
        assert not conjugates(saddle)[name].vanishes
        assert {t.reason for t in conjugates(saddle)[name].terms} == {"explicit term, does not vanish"}


def test_explicit_terms_and_weights_of_an_order_parameter():
    """-2 nu qhat(t) q(t) + c qhat(t) q(t-1) + nu ln Z: q(t) = c q(t-1)/(2 nu) + <x^2>/2."""
    m, t, q, x, nu, c = weighted()
    m.action = -2 * nu * q.hat[t] * q[t] + c * q.hat[t] * q[t - 1] + nu * ds.log_Z(m.sites["A"])
    saddle = ds.derive(m).saddle_point
    assert equations(saddle)["q"] == c * q[t - 1] / (2 * nu) + mean(x[t] ** 2, "A") / 2
    (term,) = conjugates(saddle)["q"].terms
    assert term.vanishes and term.reason == "proportional to a conjugate; all vanish together"


def test_constraints_may_be_written_as_one_product():
    # Regression: a conjugate times a bracket of order parameters, as in theory, is not expanded: "not linear in q[t]".
    m, t, q, x, _, c = weighted()
    m.action = -q.hat[t] * (q[t] - c * q[t - 1]) + ds.log_Z(m.sites["A"])
    assert equations(ds.derive(m).saddle_point)["q"] == c * q[t - 1] + mean(x[t] ** 2, "A")


def weighted():
    m = ds.Model("weights")
    t, _ = m.times("t s")
    nu, c = m.parameters("nu c")
    q, site = m.order_parameter("q", t), m.site("A")
    x = site.field("x", t)
    site.equation(x[t], 0)
    site.observe(q[t], x[t] ** 2)
    return m, t, q, x, nu, c


def test_two_sites_may_observe_one_order_parameter():
    m = ds.Model("shared")
    t, _ = m.times("t s")
    w = m.parameters("w")
    q = m.order_parameter("q", t)
    sites = m.site("A"), m.site("B")
    for site, name in zip(sites, "xv", strict=True):
        x = site.field(name, t)
        site.equation(x[t], 0)
        site.observe(q[t], x[t] ** 2)
    m.action = -q.hat[t] * q[t] + w * ds.log_Z(sites[0]) + (1 - w) * ds.log_Z(sites[1])
    x, v = sites[0].tensors["x"], sites[1].tensors["v"]
    expected = w * mean(x[t] ** 2, "A") + (1 - w) * mean(v[t] ** 2, "B")
    assert equations(ds.derive(m).saddle_point)["q"].expand() == expected.expand()


# --- definitions do not hide when they look at the fields -------------------------------------------------------------


def test_a_definition_that_looks_ahead_is_not_earlier():
    # Regression: w[t - 1] = v[t] counts as earlier than the response field at t.
    p = toy(lambda p: p.q[p.t] * p.site.define("w", p.t, p.v[p.t + 1])[p.t - 1])
    assert fate(p, "q")[0] is False


def test_a_definition_without_time_is_not_earlier():
    # Regression: w sums x over all times, has no time of its own, and counts as earlier than everything.
    def write(p):
        k = p.m.indices("k", size=2)
        return p.q[p.t] * ds.sum_over(k)(p.site.define("w", k, p.x[p.t])[k])

    assert fate(toy(write), "q")[0] is False
