"""What is asked of a matrix: equal products are one, and responses that vanish are not opened."""

import numpy as np
import pytest

import dmftsym as ds
from dmftsym.averaging.average import average_disorder
from dmftsym.averaging.influence import Influence


def _probe(back=0, learns=False, mean_field=0):
    """Units x with couplings J, and a probe y that J drives and that x sees in one of several ways, or not at all."""
    m = ds.Model("probe")
    t, s = m.times("t s", continuous=True, dt=0.1)
    unit, hidden = m.site("unit"), m.site("hidden", size=2)
    J = m.matrix("J", hidden, unit)
    x, h, y = unit.field("x", t, variance=1), hidden.field("h", t), hidden.field("y", t)
    average = m.order_parameter("D", t)
    hidden.observe(average[t], y[t] ** 2)
    unit.equation(x.dot[t], -x[t] - J.T @ h[t] + mean_field * average[t] * x[t])
    hidden.equation(h[t], J @ x[t] + back * y[t])
    hidden.equation(y[t], J @ (2 * x[t - 1]))
    if learns:
        J.learn(t, 0.1, y[t], x[t])
    C = m.order_parameter("C", t, s)
    unit.observe(C[t, s], x[t] * x[s])
    return m, x, y


@pytest.mark.parametrize("seen", [{}, {"back": 1}, {"learns": True}, {"mean_field": 1}])
def test_what_units_see_in_some_way_influences_them(seen):
    m, x, y = _probe(**seen)
    t = m.index_symbols["t"]
    influence = Influence(m)
    assert influence.reaches(x.tilde[t], x[t]) and influence.reaches(x.tilde[t], y[t])
    assert influence.reaches(y.tilde[t], y[t])
    assert influence.reaches(y.tilde[t], x[t]) == bool(seen)


def test_a_response_that_is_only_observed_influences_nothing():
    m, x, y = _probe()
    t, s = (m.index_symbols[i] for i in "ts")
    R = m.order_parameter("R", t, s)
    m.sites["unit"].observe(R[t, s], x[t] * x.tilde[s])
    S = m.order_parameter("S", t, s)
    m.sites["hidden"].observe(S[t, s], y[t] * m.sites["hidden"].tensors["h"].tilde[s])
    assert not Influence(m).reaches(y.tilde[t], x[t])
    m.define("twice", t, s, 2 * S[t, s])  # now something may hang on it
    assert Influence(m).reaches(y.tilde[t], x[t])


KX = np.array([[1.0, 0.3, 0.2], [0.3, 0.8, -0.1], [0.2, -0.1, 1.1]])


@pytest.mark.slow
def test_a_pair_of_responses_one_of_which_vanishes_may_be_opened_or_not(monkeypatch):
    """f_test of three layers; opened, the second response of every test point is an order parameter that stays zero."""
    run = lambda m: ds.compile_model(m).solve(
        {"gamma": 1.0, "eta": 0.3}, {"Kx": KX, "y": np.array([1.0, -1.0])}, steps=4, points=256, seed=3
    )
    build = lambda: ds.build_model("mlp", depth=2, activation="linear", test=True)
    kept = run(build())
    monkeypatch.setattr(Influence, "reaches", lambda *_: True)
    assert "B_W1" in average_disorder(build()).model.tensors
    opened = run(build())
    assert np.allclose(kept.f_test.values, opened.f_test.values, rtol=1e-10, atol=1e-12)
    monkeypatch.setattr(Influence, "reaches", lambda *_: False)
    assert not np.allclose(kept.f_test.values, run(build()).f_test.values, rtol=1e-3)


def _two_readers(mine, theirs):
    """Two fields of one site that are driven by one matrix: by what `mine` and `theirs` make of it and of x."""
    m = ds.Model("readers")
    t, s = m.times("t s", continuous=True, dt=0.1)
    k, j = m.indices("k j", size=2)
    below, above = m.site("below"), m.site("above")
    x, u, v = below.field("x", k, t, variance=1), above.field("u", k, t, variance=0), above.field("v", j, t, variance=0)
    W = m.matrix("W", above, below)
    below.equation(x.dot[k, t], -x[k, t])
    above.equation(u.dot[k, t], -u[k, t] + mine(W, x, k, t))
    above.equation(v.dot[j, t], -v[j, t] + theirs(W, x, j, t))
    C = m.order_parameter("C", k, t, j, s)
    above.observe(C[k, t, j, s], u[k, t] * v[j, s])
    return m


def _plain(W, x, k, t):
    return W @ x[k, t]


def _halves(W, x, k, t):
    return W @ (2 * x[k, t]) / 2


def test_products_that_differ_by_the_names_of_indices_are_one():
    assert len(average_disorder(_two_readers(_plain, _plain)).products) == 1
    assert len(average_disorder(_two_readers(_plain, _halves)).products) == 2


@pytest.mark.slow
def test_one_product_gives_the_numbers_of_two():
    one, two = _two_readers(_plain, _plain), _two_readers(_plain, _halves)
    results = [ds.compile_model(m).solve({}, {}, steps=8).C.values for m in (one, two)]
    assert np.allclose(*results, rtol=1e-9, atol=1e-12) and results[0].max() > 0.1


def test_a_product_inside_a_function_is_the_one_of_an_equation():
    """(W x)^3 and W x in one model: both are of one field."""
    averaged = average_disorder(_two_readers(_plain, lambda W, x, k, t: (W @ x[k, t]) ** 3))
    assert len(averaged.products) == 1
    assert [n for n in averaged.model.sites["above"].tensors if n.startswith("W_out")] == ["W_out"]


def _weighted(pair=1, elsewhere=False):
    """dx/dt = -x + J x; C is observed with a pair -`pair` q̂ q, and at another site too if `elsewhere`."""
    m = ds.Model("weighted")
    t, s = m.times("t s", continuous=True, dt=0.1)
    a, b = m.site("a"), m.site("b")
    x, y = a.field("x", t, variance=1), b.field("y", t, variance=1)
    a.equation(x.dot[t], -x[t] + m.matrix("J", a, a) @ x[t])
    b.equation(y.dot[t], -y[t])
    C = m.order_parameter("C", t, s)
    a.observe(C[t, s], x[t] * x[s])
    if elsewhere:
        b.observe(C[t, s], y[t] * y[s])
    m.action = -pair * C.hat[t, s] * C[t, s] + ds.log_Z(a) + ds.log_Z(b)
    return ds.derive(m)


@pytest.mark.parametrize("more", [{"pair": 2}, {"elsewhere": True}])
def test_an_order_parameter_that_is_more_than_one_average_is_no_kernel(more):
    assert _weighted().disorder.added == () and "= C[t, t']" in _weighted().process.text()
    derived = _weighted(**more)
    assert derived.disorder.added == ("C_J",) and "<u_x[t] u_x[t']> = C_J[t, t']" in derived.process.text()
    assert str(derived.saddle_point.equation("C_J").right_side()) == "<x[s]*x[t]>_a"
    assert str(derived.saddle_point.equation("C").right_side()) != "<x[s]*x[t]>_a"
