"""Two indices over one axis in any order: what is read with exchanged indices is there before it is read.

Every model runs on the same sample paths in generated code, interpreted, and in the evaluator of `evaluator.py`; its
covariances against the derived Hessian (`derived_covariances.py`); and on the stand-in for CuPy.
"""

import numpy as np
import pytest
import sympy as sp
from cupy_cases import loaded
from cupy_stand_in import COMPILER
from derived_covariances import DerivedCovariances
from evaluator import Evaluator, agreement
from fluctuating_models import interpreted, prepared
from test_fluctuation_code import covariances, covariances_by_influence, distance

import dmftsym as ds

ANGLE = np.array([[0.4, -1.1, 0.7], [1.3, 0.2, -0.6], [-0.9, 0.5, 1.6]])


class Grid:
    """A field n[a, b, t] on pairs of one axis, static or white, and the symbols to observe it with."""

    def __init__(self, kind, size):
        self.m = m = ds.Model("permuted")
        self.t, self.s = m.times("t s")
        self.a, self.b, self.c = m.indices("a b c", size=size, axis="token")
        self.angle = m.data("angle", self.a, self.b)
        self.q = m.order_parameter("q", self.a, self.b, self.t)
        self.site = m.site("one")
        self.n = self.site.field("n", self.a, self.b, self.t)
        past = ds.past(self.s)(self.q[self.b, self.a, self.s] * sp.sin(self.n[self.b, self.a, self.s]))
        self.site.equation(self.n[self.a, self.b, self.t], self.angle[self.a, self.b] - past / 3)
        here = self.n[self.a, self.b, self.t]
        self.site.noise(here, here if kind == "white" else self.n[self.a, self.b, self.s], sp.Rational(2, 3))

    def observe(self, observable):
        self.site.observe(self.q[self.a, self.b, self.t], observable)
        return self.m


def cosine(kind, size=3):
    g = Grid(kind, size)
    a, b, t, n = g.a, g.b, g.t, g.n
    return g.observe(sp.cos(n[a, b, t] - 2 * n[b, a, t]))


def field_of_transposed(kind, size=3):
    g = Grid(kind, size)
    a, b, t, n = g.a, g.b, g.t, g.n
    x = g.site.field("x", a, b, t)
    g.site.equation(x[a, b, t], n[b, a, t] - n[a, b, t] / 3)
    return g.observe(x[a, b, t] ** 2 * n[a, b, t])


def product_with_transposed(kind, size=3):
    g = Grid(kind, size)
    a, b, t, n = g.a, g.b, g.t, g.n
    x = g.site.field("x", a, b, t)
    g.site.equation(x[a, b, t], sp.sin(n[b, a, t]))
    return g.observe(x[a, b, t] * n[b, a, t])


def gate(kind, size=3):
    g = Grid(kind, size)
    a, b, t, n = g.a, g.b, g.t, g.n
    return g.observe(n[a, b, t] * sp.tanh(n[b, a, t]))


def softmax(kind, size=3):
    g = Grid(kind, size)
    a, b, c, t, n = g.a, g.b, g.c, g.t, g.n
    return g.observe(sp.exp(n[a, b, t]) / ds.sum_over(c)(sp.exp(n[a, c, t])))


def transposed_softmax(kind, size=3):
    g = Grid(kind, size)
    a, b, c, t, n = g.a, g.b, g.c, g.t, g.n
    return g.observe(sp.exp(n[b, a, t]) / ds.sum_over(c)(sp.exp(n[c, a, t])))


def diagonal(kind, size=3):
    g = Grid(kind, size)
    a, b, t, n = g.a, g.b, g.t, g.n
    x = g.site.field("x", a, t)
    g.site.equation(x[a, t], n[a, a, t])
    return g.observe(sp.tanh(x[a, t]) * n[b, b, t] * n[b, a, t])


def definition_of_transposed(kind, size=3):
    g = Grid(kind, size)
    a, b, t, n = g.a, g.b, g.t, g.n
    d = g.site.define("d", a, b, t, sp.sin(n[a, b, t]))
    e = g.site.define("e", a, b, t, d[b, a, t] ** 2 - n[a, b, t])
    return g.observe(e[b, a, t] * d[b, a, t])


def triple(kind, size=2):
    """Three indices in a cycle, read one step further round it."""
    g = Grid(kind, size)
    a, b, c, t, n = g.a, g.b, g.c, g.t, g.n
    x = g.site.field("x", a, b, c, t)
    y = g.site.field("y", a, b, c, t)
    g.site.equation(x[a, b, c, t], n[a, b, t] * sp.sin(n[b, c, t]) - n[b, c, t] * n[c, a, t] / 2)
    g.site.equation(y[a, b, c, t], sp.tanh(x[b, c, a, t]) + x[c, a, b, t] / 3)
    return g.observe(ds.sum_over(c)(y[a, b, c, t] * x[c, b, a, t]))


def weighted(kind, size=3):
    """Data in either order, and a sum over one of the indices."""
    g = Grid(kind, size)
    a, b, c, t, n, angle = g.a, g.b, g.c, g.t, g.n, g.angle
    x = g.site.field("x", a, b, t)
    g.site.equation(x[a, b, t], ds.sum_over(c)(angle[b, c] * sp.tanh(n[c, a, t])))
    return g.observe(x[b, a, t] * angle[a, b] * n[a, b, t])


def remembered(kind, size=3):
    """The transposed field at the previous time, and in a sum over the past."""
    g = Grid(kind, size)
    a, b, t, s, n = g.a, g.b, g.t, g.s, g.n
    x = g.site.field("x", a, b, t, variance=1)
    g.site.equation(x[a, b, t], x[b, a, t - 1] / 2 + sp.sin(x[a, b, t - 1]) + n[b, a, t])
    y = g.site.field("y", a, b, t)
    g.site.equation(y[a, b, t], x[b, a, t] + ds.past(s)(sp.tanh(x[b, a, s]) * g.q[a, b, s]))
    return g.observe(sp.tanh(y[a, b, t]) * x[b, a, t])


def fed_back(kind, size=3):
    """Order parameters read with exchanged indices, at the previous time and in the past."""
    g = Grid(kind, size)
    a, b, t, s, n, q = g.a, g.b, g.t, g.s, g.n, g.q
    r = g.m.order_parameter("r", a, b, t)
    x = g.site.field("x", a, b, t)
    g.site.equation(x[a, b, t], n[a, b, t] + q[b, a, t] / 2 - ds.past(s)(q[a, b, s] * sp.sin(x[b, a, s])))
    g.site.observe(r[a, b, t], sp.sin(x[b, a, t]) * x[a, b, t])
    return g.observe(sp.cos(n[b, a, t]) * n[a, b, t] ** 2)


KINDS = (
    cosine, field_of_transposed, product_with_transposed, gate, softmax, transposed_softmax, diagonal,
    definition_of_transposed, triple, weighted, remembered, fed_back,
)  # fmt: skip
CASES = [(make, noise) for make in KINDS for noise in ("static", "white")]


def some(*quick):
    """All cases, most of them in the slow run."""
    return [c if k in quick else pytest.param(*c, marks=pytest.mark.slow) for k, c in enumerate(CASES)]


NAMES = {"ids": lambda v: getattr(v, "__name__", v)}


def paths_of(module, size, seed=4):
    return prepared(module, {}, {"angle": ANGLE[:size, :size]}, 3, 6, seed)


@pytest.mark.parametrize(("make", "noise"), some(*range(1, 24, 3)), **NAMES)
def test_means(make, noise):
    model = make(noise)
    module = interpreted(ds.compile_model(model).source.text)
    error, _, expected = agreement(model, module, 3, paths_of(module, 2 if make is triple else 3))
    assert error < 1e-12
    assert np.abs(expected["q"] - expected["q"].swapaxes(0, 1)).max() > 1e-2  # exchanged indices make a difference


@pytest.mark.parametrize(("make", "noise"), some(9), **NAMES)
def test_covariances(make, noise):
    model = make(noise, 2)
    compiled = ds.compile_model(model, ds.Options(covariance=("q",)))
    module = interpreted(compiled.source.text)
    known = paths_of(module, 2)
    found = covariances(module, (*known, 3))
    expected = DerivedCovariances(compiled.derivation, Evaluator(model, *known, 3)).covariances(["q"])
    assert distance(found, expected, ["cov_q_q"]) < 1e-10
    transposed = {"cov_q_q": expected["cov_q_q"].swapaxes(0, 1)}
    assert distance(found, transposed) > 1e-2  # negative control


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels")
@pytest.mark.parametrize(("make", "noise"), some(3), **NAMES)
def test_the_device(make, noise):
    """Both targets on the same points, means and covariances."""
    options, results = {"steps": 2, "points": 64, "repeats": 2, "measure": "sobol"}, []
    for backend in ("numba", "cupy"):
        text = ds.compile_model(make(noise, 2), ds.Options(backend=backend, covariance=("q",))).source.text
        module = loaded(text) if backend == "cupy" else interpreted(text)
        data = {"angle": ANGLE[:2, :2]}
        results.append(module.solve({}, data, **options) | module.fluctuations({}, data, **options))
    one, other = results
    for name in ("q", "cov_q_q"):
        assert np.abs(np.asarray(other[name]) - one[name]).max() < 1e-9 * np.abs(one[name]).max()


def summed(kind):
    """x[i, t] with a memory of what an average over pairs is, summed in different ways."""
    m = ds.Model("summed")
    t, s = m.times("t s")
    i, j, k = m.indices("i j k", size=3, axis="token")
    w, q = m.data("w", i), m.order_parameter("q", i, j, t)
    site = m.site("one")
    x = site.field("x", i, t)
    weight = {
        "diagonal": q[i, i, s],
        "trace": ds.sum_over(k)(q[k, k, s]),
        "weighted trace": ds.sum_over(k)(w[k] * q[k, k, s]),
        "rows": ds.sum_over(k)(q[i, k, s]),
        "columns": ds.sum_over(k)(q[k, i, s]),
        "all": ds.sum_over(j, k)(w[j] * q[k, j, s]),
    }[kind]
    site.equation(x[i, t], ds.past(s)(weight * sp.sin(x[i, s])) / 3)
    site.noise(x[i, t], x[i, s], 1)
    site.observe(q[i, j, t], sp.sin(x[i, t]) * sp.cos(x[j, t]) + w[j] * x[i, t] ** 2)
    return m


@pytest.mark.parametrize(
    "kind",
    [
        "diagonal",
        "trace",
        "weighted trace",
        "rows",
        "columns",
        "all",
    ],
)
def test_covariances_through_sums_over_pairs(kind):
    model = summed(kind)
    module = interpreted(ds.compile_model(model, ds.Options(covariance=("q",))).source.text)
    known = prepared(module, {}, {"w": np.array([1.0, -0.7, 0.4])}, 3, 6)
    assert agreement(model, module, 3, known)[0] < 1e-12
    expected = covariances_by_influence(module, (*known, 3), ["q"])
    assert distance(covariances(module, (*known, 3)), expected) < 1e-8
