"""Families of square matrices whose entries ij and ji are correlated: each like a matrix of its own."""

import numpy as np
import pytest
from as_averaged import as_averaged
from fluctuating_models import interpreted

import dmftsym as ds

PARAMETERS = {"g": 1.4, "rho": 0.6}


def started():
    """A model with a site, and the law of its matrices."""
    m = ds.Model("taps")
    t, s = m.times("t s", continuous=True, dt=0.2)
    g, rho = m.parameters("g", positive=True), m.parameters("rho", within=(-1, 1))
    return m, t, s, m.activation("phi", "tanh"), m.site("unit"), {"variance": g**2, "symmetry": rho}


def family(joined):
    """x_k with J[k] phi(x_k): each driven by its own, or all by the sum of them."""
    m, t, s, phi, unit, law = started()
    k = m.indices("k", size=2, axis="tap")
    a = m.data("a", k)
    C, x, J = m.order_parameter("C", k, t, s), unit.field("x", k, t, variance=1), m.matrix("J", unit, unit, k, **law)
    unit.observe(C[k, t, s], phi(x[k, t]) * phi(x[k, s]))
    if joined:
        y = unit.field("y", t)
        unit.equation(y[t], ds.sum_over(k)(J[k] @ phi(x[k, t])))
        unit.equation(x.dot[k, t], -(1 + a[k]) * x[k, t] + y[t])
    else:
        unit.equation(x.dot[k, t], -(1 + a[k]) * x[k, t] + J[k] @ phi(x[k, t]))
    return m


def separate(joined):
    """The same with two matrices."""
    m, t, s, phi, unit, law = started()
    k = m.indices("k", size=2, axis="tap")
    a, y = m.data("a", k), unit.field("y", t) if joined else None
    given = []
    for n in range(2):
        C, x, J = (
            m.order_parameter(f"C{n}", t, s),
            unit.field(f"x{n}", t, variance=1),
            m.matrix(f"J{n}", unit, unit, **law),
        )
        unit.observe(C[t, s], phi(x[t]) * phi(x[s]))
        given.append(J @ phi(x[t]))
        unit.equation(x.dot[t], -(1 + a[n]) * x[t] + (y[t] if joined else given[n]))
    if joined:
        unit.equation(y[t], sum(given))
    return m


DATA = {"a": np.array([0.0, 0.5])}


@pytest.mark.parametrize("joined", [pytest.param(False, marks=pytest.mark.slow), True])
def test_held_members_are_matrices_of_their_own(joined):
    """The same arithmetic on the same normals, in means and covariances."""
    found = []
    for build, names in ((family, ("C",)), (separate, ("C0", "C1"))):
        model = ds.compile_model(build(joined), ds.Options(covariance=names, outputs=names))
        assert model.program.sampling.directions
        module, options = interpreted(model.source.text), {"steps": 4, "points": 64, "repeats": 2, "accuracy": 100.0}
        mean = module.solve(PARAMETERS, DATA, **options, time_step_error=False)
        spread = module.fluctuations(PARAMETERS, DATA, **options)
        found.append((np.array([mean["C"][n] if build is family else mean[f"C{n}"] for n in range(2)]), spread))
    (one, cov), (other, parts) = found
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    for n in range(2):
        for j in range(n, 2):
            np.testing.assert_allclose(cov["cov_C_C"][n, :, :, j], parts[f"cov_C{n}_C{j}"], rtol=0, atol=1e-11)
    assert np.abs(one[0] - one[1]).max() > 0.01, "the two must differ"


@pytest.mark.slow
@pytest.mark.parametrize("joined", [False, True])
def test_the_averaged_form_of_a_family(joined):
    options = {"steps": 12, "points": 16384, "time_step_error": False}
    held = ds.compile_model(family(joined), ds.Options(outputs=("C",))).solve(PARAMETERS, DATA, **options, seed=1)
    with as_averaged():
        model = ds.compile_model(family(joined), ds.Options(outputs=("C",)))
    averaged = model.solve(PARAMETERS, DATA, **options, seed=2)
    error = np.hypot(held.se_C, averaged.se_C).values + 1e-9
    z = (held.C - averaged.C).values / error
    assert np.sqrt((z**2).mean()) < 2 and np.abs(z).max() < 6
    other = model.solve(PARAMETERS | {"rho": 0.7}, DATA, **options, seed=2)
    assert np.abs((held.C - other.C).values / error).max() > 6, "a tenth of the correlation must show"


def test_members_named_both_ways_are_refused():
    m, t, _, phi, unit, law = started()
    k = m.indices("k", size=2, axis="tap")
    x, y, J = unit.field("x", k, t, variance=1), unit.field("y", t, variance=1), m.matrix("J", unit, unit, k, **law)
    unit.equation(x.dot[k, t], -x[k, t] + J[k] @ phi(x[k, t]))
    unit.equation(y.dot[t], -y[t] + J[0] @ phi(x[1, t]))
    with pytest.raises(ds.LanguageError, match="members are named by indices that run over all of them, or all by"):
        ds.derive(m)


def test_what_is_driven_by_several_is_refused():
    m, t, _, phi, unit, law = started()
    k, j = m.indices("k j", size=2, axis="tap")
    x, y, J = unit.field("x", k, t, variance=1), unit.field("y", t, variance=1), m.matrix("J", unit, unit, **law)
    unit.equation(x.dot[k, t], -x[k, t] + J @ phi(y[t]))
    unit.equation(y.dot[t], -y[t] + ds.sum_over(j)(x[j, t]))
    with pytest.raises(ds.LanguageError, match="what it acts on has the indices of what it drives"):
        ds.derive(m)
