"""Whatever the user calls things, the covariances are the same numbers; see also test_code_names."""

from functools import cache

import numpy as np
import pytest
from fluctuating_models import KX, interpreted
from sympy import tanh

import dmftsym as ds

NAMES = {
    "share": "share", "parameter": "gain", "data": "kick", "kernel": "Kx", "size": "P", "index": "mu", "average": "q",
    "two-time average": "C", "definition": "D", "field": "x", "wide field": "h", "site": "one", "other site": "two",
    "activation": "phi", "time": "t",
}  # fmt: skip


def everything(**names):
    """Two sites of different size, static, evolving and white noise, memory, a definition, an eigenvalue."""
    name = {**NAMES, **names}
    m = ds.Model("everything")
    t, s = m.times(f"{name['time']} s", continuous=True, dt=0.1)
    mu, nu = m.indices(f"{name['index']} nu", size=name["size"], axis="sample")
    share, gain = m.parameters(name["share"], default=0.25, positive=True), m.parameters(name["parameter"], default=0.7)
    Kx, kick = m.data(name["kernel"], mu, nu), m.data(name["data"], t)
    phi = m.activation(name["activation"], "tanh")
    q, C = m.order_parameter(name["average"], t), m.order_parameter(name["two-time average"], mu, t, nu, s)
    D = m.define(name["definition"], mu, t, gain * kick[t] * C[mu, t, mu, t] * q[t])
    m.observable("lead", t, ds.largest_eigenvalue(mu, nu)(C[mu, t, nu, t]))
    one, two = m.site(name["site"]), m.site(name["other site"])
    x, v = one.field(name["field"], t, variance=1), one.field("v", t)
    h = two.field(name["wide field"], mu, t)
    one.action(
        -x.tilde[t] * (x.dot[t] + x[t] - gain * kick[t] * D[0, t] + v[t])
        - v.tilde[t] * (v[t] - ds.past(s)(q[s] * phi(x[s])))
        + x.tilde[t] * (1 + q[t] ** 2) * x.tilde[t] / 2
        + q.hat[t] * phi(x[t]) * x[t]
    )
    two.action(
        -h.tilde[mu, t] * (h[mu, t] - ds.past(s, nu)(Kx[mu, nu] * D[nu, s] * phi(h[nu, s])))
        + h.tilde[mu, t] * (Kx[mu, nu] * q[t] * q[s] + Kx[mu, nu]) * h.tilde[nu, s] / 2
        + C.hat[mu, t, nu, s] * phi(h[mu, t]) * phi(h[nu, s])
    )
    m.action = (
        -share * q.hat[t] * q[t] - (1 - share) * C.hat[mu, t, nu, s] * C[mu, t, nu, s]
        + share * ds.log_Z(one) + (1 - share) * ds.log_Z(two)
    )  # fmt: skip
    return m


def results(**names):
    """Results and covariances in a fixed order, whatever they are called."""
    name = {**NAMES, **names}
    varied = (name["average"], name["definition"], "lead")
    source = ds.compile_model(everything(**names), ds.Options(covariance=varied)).source
    module = interpreted(source.text)
    module.BLOCK = 5  # several blocks of paths
    data = {name["kernel"]: KX, name["data"]: np.array([1.0, 0.5, -0.7])}
    options = {"steps": 3, "measure": "sobol", "points": 12, "repeats": 1}
    found, fluctuating = module.solve({}, data, **options), module.fluctuations({}, data, **options)
    pairs = [f"cov_{one}_{other}" for k, one in enumerate(varied) for other in varied[k:]]
    return [found[q] for q in varied] + [fluctuating[pair] for pair in pairs]


@cache
def expected():
    return results()


def same(found):
    return all(np.allclose(one, other, rtol=1e-8, atol=1e-12) for one, other in zip(found, expected(), strict=True))


def test_other_numbers_are_seen():
    """Negative control: one parameter has another value."""
    wrong = [value * (1 + 1e-6) for value in expected()]
    assert same(expected()) and not same(wrong)


ALONE = (
    ("first", "average"), ("last", "average"), ("block", "definition"), ("total", "parameter"), ("weight", "data"),
    ("coefficient", "average"), ("psi", "share"), ("result", "share"), ("total", "definition"), ("low", "field"),
    ("chosen", "wide field"), ("r", "size"), ("r", "index"), ("r", "average"), ("k", "time"), ("modes_", "average"),
)  # fmt: skip
SHARED = (
    ("first", "share"),  # an argument of _columns_of
    ("blocks_one", "parameter"), ("blocks_two", "data"),  # the number of blocks of a site's paths
    ("rows", "site"), ("chosen", "site"), ("generator", "other site"), ("now", "site"),  # sketch_rows, weight_now
    ("d", "activation"),  # d(h) makes a factor d_h, which is the change of h
    ("opened", "parameter"), ("size_u_h", "parameter"), ("rank_u_h", "data"), ("active_u_h", "parameter"),
    ("site", "parameter"), ("moving", "parameter"), ("static", "parameter"), ("later", "size"), ("phi_h", "size"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "slot"), ALONE + SHARED)
def test_names(name, slot):
    assert same(results(**{slot: name}))


def test_results_have_names_of_their_own():
    m = ds.Model("ambiguous")
    t, s = m.times("t s")
    site = m.site("unit")
    x = site.field("x", t)
    site.equation(x[t], 0)
    site.noise(x[t], x[s], 1)
    names = ("q_p", "q", "p_q")
    for power, name in enumerate(names, 1):
        q = m.order_parameter(name, t)
        site.observe(q[t], x[t] ** power)
    try:
        source = ds.compile_model(m, ds.Options(covariance=names)).source
    except ds.DmftsymError as error:
        assert "q_p" in str(error)
        return
    found = interpreted(source.text).fluctuations({}, {}, steps=1, measure="hermite", points=8)
    # cov(x, x^2) = 0, cov(x^2, x^3) = 0, cov(x, x^3) = 3
    assert sum(name.startswith("cov_") and value.ndim == 2 for name, value in found.items()) == 6


def test_a_function_of_a_field_may_stand_twice():
    m = ds.Model("twice")
    t, s = m.times("t s")
    q = m.order_parameter("q", t, s)
    site = m.site("unit")
    x, v = site.field("x", t), site.field("v", t)
    site.equation(x[t], 0)
    site.noise(x[t], x[s], 1)
    site.equation(v[t], tanh(x[t]) ** 2 + x[t])
    site.observe(q[t, s], tanh(x[t]) * tanh(x[s]) * v[t] ** 2)
    module = interpreted(ds.compile_model(m).source.text)
    points, weights = module.hermite_rule(1, 20)
    expected = (np.tanh(points[0]) ** 2 * (np.tanh(points[0]) ** 2 + points[0]) ** 2) @ weights
    found = module.solve({}, {}, steps=2, measure="hermite", points=20)["q"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
