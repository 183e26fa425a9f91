"""A statement added as CONTRIBUTING says: means, response functions and covariances, in both targets and interpreted.

Every update of the form m(t) = (1 - a) m(t-1) + a x(t) is given to the compiler as a `RunningMean`, also those of
tangents, and the numbers are those of the same model without it.
"""

import numpy as np
import pytest
from cupy_cases import distance, loaded
from cupy_stand_in import COMPILER
from fluctuating_models import interpreted, prepared
from running_mean import RunningMean
from sympy import tanh

import dmftsym as ds
from dmftsym.lowering import quantities
from dmftsym.program.interpreter import interpret
from dmftsym.program.statements import Assign

A = 0.3


def model():
    m = ds.Model("smoothed")
    t, s = m.times("t s")
    a = m.parameters("a", positive=True)
    q, C, R = m.order_parameter("q", t), m.order_parameter("C", t, s), m.order_parameter("R", t, s)
    unit = m.site("unit")
    x, mean = unit.field("x", t, variance=1), unit.field("w", t, variance=0.5)
    unit.equation(x[t], x[t - 1] / 2 + tanh(mean[t - 1]) + q[t - 1] / 3)
    unit.noise(x[t], x[t], 1)
    unit.equation(mean[t], (1 - a) * mean[t - 1] + a * x[t])
    unit.observe(q[t], tanh(mean[t]) ** 2)
    unit.observe(C[t, s], mean[t] * x[s])
    unit.observe(R[t, s], tanh(mean[t]) * x.tilde[s])
    return m


def as_running_mean(found):
    """What `Assign` builds, as a running mean where it is one."""

    def build(target, expression, equation, starts=False, initial=None):
        plain = Assign(target, expression, equation, starts, initial)
        rate = next((p for p in expression.free_symbols | expression.atoms() if str(p) == "a"), None)
        if rate is None or not target.times:
            return plain
        now = target.times[0]
        rest = (expression - (1 - rate) * target.xreplace({now: now - 1})).expand()
        source = (rest / rate).expand()
        if type(source) is not type(target) or source == target:
            return plain
        found.append(str(target))
        return RunningMean(target, source, rate, equation, starts)

    return build


@pytest.fixture
def with_it(monkeypatch):
    """compiled(**options): the model with the added statement, which must have been used."""

    def compiled(**options):
        found = []
        with monkeypatch.context() as patch:
            patch.setattr(quantities, "Assign", as_running_mean(found))
            result = ds.compile_model(model(), ds.Options(**options))
        assert any("w[t]" in f for f in found)
        assert any(isinstance(s, RunningMean) for n in result.schedule.step for s in n.statements)
        return result, found

    return compiled


def test_means_and_responses(with_it):
    with_statement, _ = with_it(outputs=("C", "R"))
    assert "running mean of d_x_d_x[k, t]" in with_statement.source.text, "by the tangent rule of the statement"
    modules = [
        interpreted(c.source.text) for c in (with_statement, ds.compile_model(model(), ds.Options(outputs=("C", "R"))))
    ]
    arguments = *prepared(modules[0], {"a": A}, {}, 5, 8), 5, 1.0
    new, old = (module.sweep(*arguments, None)[0] for module in modules)
    assert distance(old, new) < 1e-13 and np.abs(old["R"]).max() > 0.1
    own = interpret(with_statement.program, *arguments)
    assert distance(old, {name: own[name] for name in old}) < 1e-13


def test_covariances(with_it):
    options = {"covariance": ("q", "C")}
    with_statement, _ = with_it(**options)
    assert "# running mean of d_x[r, t]" in with_statement.source.text
    run = lambda c: interpreted(c.source.text).fluctuations(
        {"a": A}, {}, steps=4, measure="monte-carlo", points=32, repeats=2
    )
    new, old = run(with_statement), run(ds.compile_model(model(), ds.Options(**options)))
    assert distance(old, new) < 1e-11 and np.abs(old["cov_C_C"]).max() > 0.1


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels")
def test_the_other_target(with_it):
    options = {"outputs": ("C", "R"), "covariance": ("q",)}
    with_statement, _ = with_it(backend="cupy", **options)
    new, old = (
        loaded(with_statement.source.text),
        interpreted(ds.compile_model(model(), ds.Options(**options)).source.text),
    )
    settings = {"steps": 4, "measure": "monte-carlo", "points": 32, "repeats": 2}
    assert distance(*(m.solve({"a": A}, {}, **settings, accuracy=np.inf) for m in (old, new))) < 1e-11
    assert distance(*(m.fluctuations({"a": A}, {}, **settings) for m in (old, new))) < 1e-11
