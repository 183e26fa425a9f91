"""Kronecker deltas of an index and a number: in kernels, in formulas of arrays and in sums, for every target."""

import matrix_models
import numpy as np
import pytest
from as_averaged import as_averaged
from cupy_cases import loaded
from fluctuating_models import interpreted, prepared
from sympy import KroneckerDelta, tanh

import dmftsym as ds
from dmftsym.program.interpreter import interpret

PATHS, STEPS = 60, 4


def chosen():
    """Fields and functions of averages of one place among three are chosen by numbers."""
    m = ds.Model("chosen")
    t, _ = m.times("t s")
    k, j = m.indices("k j", size=3, axis="place")
    C, q = (m.order_parameter(name, k, t) for name in "Cq")
    site = m.site("unit")
    x, y = site.field("x", k, t, variance=1), site.field("y", k, t)
    site.equation(x[k, t], x[k, t - 1] / 2)
    others = KroneckerDelta(k, 2) * q[k, t - 1] + KroneckerDelta(k, j) * x[j, t] / 3
    site.equation(y[k, t], KroneckerDelta(k, 1) * tanh(x[0, t]) + others)
    site.observe(C[k, t], y[k, t] ** 2)
    site.observe(q[k, t], x[k, t] ** 2)
    m.observable("chosen_q", k, t, KroneckerDelta(k, 0) * q[1, t] + 3 * q[k, t])
    return m


def by_hand(x):
    """The averages of `chosen` from x (places, paths) at time 0."""
    mean, found = lambda a: a.mean(axis=-1), {}
    for t in range(STEPS):
        now = x / 2**t
        y = now / 3
        y[1] += np.tanh(now[0])
        y[2] += 4 * mean(now[2] ** 2) if t else 0.0
        q = mean(now**2)
        values = {"C": mean(y**2), "q": q, "chosen_q": 3 * q + np.array([q[1], 0, 0])}
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: np.array(values).T for name, values in found.items()}


@pytest.mark.parametrize("way", ["numba", "cupy", "interpreter"])
def test_fields_and_averages_of_one_place(way):
    model = ds.compile_model(chosen(), ds.Options(backend="cupy" if way == "cupy" else "numba"))
    text = model.source.text
    module = loaded(text) if way == "cupy" else interpreted(text)
    values, factors, normals, weights = prepared(module, {}, {}, STEPS, PATHS)
    if way == "interpreter":
        found = interpret(model.program, values, factors, normals, weights, STEPS, 1.0)
    elif way == "cupy":
        on_device = [{n: module.cp.asarray(a) for n, a in each.items()} for each in (normals, weights)]
        found, *_ = module.sweep(values, factors, *on_device, STEPS, 1.0, None)
    else:
        found, *_ = module.sweep(values, factors, normals, weights, STEPS, 1.0, None)
    expected = by_hand(normals["x_start"])
    assert set(expected) <= set(found)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-12)
    assert np.abs(found["chosen_q"] - 3 * found["q"]).max() > 0.1, "without the delta"


def test_one_member_of_a_family_in_the_averaged_form():
    """W[0] beside W[k]: what they share holds delta(k, 0). Generated code against the interpreter."""
    with as_averaged():
        model = ds.compile_model(matrix_models.ring())
    assert not model.program.sampling.directions and "eye(2)[0]" in model.source.text
    module, parameters = interpreted(model.source.text), {"sigma": 1.1, "nu": 0.5, "tug": 0.7, "eta": 0.2}
    values, factors, normals, weights = prepared(module, parameters, {}, 4, 30)
    found, status, _ = module.sweep(values, factors, normals, weights, 4, 0.1, None)
    expected = interpret(model.program, values, factors, normals, weights, 4, 0.1)
    assert status == "ok"
    for name in ("C", "D"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-10)
