"""What numbers decide is checked when they are known: weights, covariances, time steps, masked data."""

import numpy as np
import pytest
import xarray as xr
from cupy_stand_in import COMPILER, stand_in
from fluctuating_models import interpreted
from slips import finished, layered, network
from sympy import tanh

import dmftsym as ds

G, Y = np.array([[1.0, -0.3], [-0.3, 0.6]]), np.array([0.5, -1.2])


def module_of(model, **options):
    return interpreted(ds.compile_model(model, ds.Options(**options)).source.text)


# --- data -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_layers():
    return module_of(finished(layered()))


def solved(module, **data):
    return module.solve({"a": 1.0, "b": 0.2}, {"G": G, "y": Y, **data}, steps=2, points=16)


FILL = 9.969209968386869e36
MISSING = {
    "masked": np.ma.array(Y, mask=[False, True]),
    "masked kernel": np.ma.masked_greater(G, 0.9),
    "masked whole numbers": np.ma.array([1, 2], mask=[True, False]),
    "fill value": np.array([0.5, FILL]),
    "fill value, single precision": np.array([FILL, 1.0], dtype=np.float32),
    "fill value, big-endian": np.array([FILL, 1.0], dtype=">f8"),
    "fill value, whole numbers": np.array([1, -2147483647], dtype=np.int32),
    "NaN of xarray": xr.DataArray([1.0, np.nan]),
}


@pytest.mark.parametrize("case", MISSING)
def test_missing_numbers_are_refused(case, two_layers):
    name = "G" if "kernel" in case else "y"
    with pytest.raises(two_layers.InputError, match=f"data '{name}'.*(masked|not finite)"):
        solved(two_layers, **{name: MISSING[case]})


def test_masks_and_numbers_that_hide_nothing(two_layers):
    expected = solved(two_layers)
    for y in (np.ma.array(Y), np.ma.array(Y, mask=False), Y.astype(">f8"), xr.DataArray(Y)):
        assert np.array_equal(solved(two_layers, y=y)["q"], expected["q"])
    assert np.isfinite(solved(two_layers, y=np.array([-2147483646, 3], dtype=np.int32))["q"][:, 0]).all()


# --- weights, time steps, options -----------------------------------------------------------------------------------


def populations():
    m = ds.Model("shares")
    t, _ = m.times("t s", continuous=True)
    c = m.parameters("c")
    M = m.order_parameter("M", t)
    one, two = m.site("one"), m.site("two")
    for site, name in ((one, "x"), (two, "v")):
        x = site.field(name, t, variance=1)
        site.equation(x.dot[t], -x[t] + M[t] / 2)
        site.observe(M[t], tanh(x[t]) + x[t])
    m.action = -M.hat[t] * M[t] + c * ds.log_Z(one) + (1 - c) * ds.log_Z(two)
    return m


def test_weights_that_numbers_decide():
    module = module_of(populations())
    run = lambda c: module.solve({"c": c}, {}, steps=2, points=16, dt=0.1)
    assert run(0.25)["status"] == "ok"
    wrong = ((-0.5, "one", "c is -0.5"), (0, "one", "c is 0"), (1, "two", "1 - c is 0"), (3, "two", "is -2"))
    for c, site, said in wrong:
        with pytest.raises(module.InputError, match=f"weight of site '{site}' must be positive, .*{said}"):
            run(c)
    assert "weight of site" not in ds.compile_model(finished(layered())).source.text, "nothing to check there"


def test_a_continuous_model_names_its_time_step():
    solver = ds.compile_model(populations()).solver
    with pytest.raises(ds.SolveError, match=r"dt is missing.*m.times\(..., dt=0.05\) or --dt"):
        solver.solve({"c": 0.5}, steps=2, points=16)
    module = interpreted(solver.text)
    found = [module.solve({"c": 0.5}, {}, steps=3, points=64, dt=dt)["time"][-1] for dt in (0.1, 0.3)]
    assert np.allclose(found, [0.2, 0.6])
    assert module_of(finished(network())).TIME_STEP == 0.2
    assert module_of(finished(layered())).TIME_STEP == 1.0, "steps of discrete time"


@pytest.mark.parametrize("dt", [0, -0.1, "0.1", True, float("inf"), float("nan")])
def test_time_steps_that_are_none(dt):
    with pytest.raises(ds.LanguageError, match="dt is the time step, a positive number"):
        ds.Model("m").times("t s", continuous=True, dt=dt)


def test_names_in_options():
    assert ds.Options(covariance="loss").covariance == ("loss",)
    assert ds.Options(outputs="f, K,").outputs == ("f", "K")
    assert ds.Options(covariance=["f", "K"]).covariance == ("f", "K")
    for wrong in (3, None, [1], [None]):
        with pytest.raises(ds.DmftsymError, match="names of quantities"):
            ds.Options(outputs=wrong)


# --- covariances ----------------------------------------------------------------------------------------------------


def driven():
    """A field that is its noise, with the covariance given as data."""
    m = ds.Model("driven")
    t, s = m.times("t s")
    K = m.data("K", t, s)
    C = m.order_parameter("C", t, s)
    site = m.site("unit")
    x = site.field("x", t)
    site.equation(x[t], 0)
    site.noise(x[t], x[s], K[t, s])
    site.observe(C[t, s], tanh(x[t]) * tanh(x[s]))
    return m


GRID = np.linspace(0, 1, 7)
POSITIVE = {
    "two": [[1, 0.4], [0.4, 2]],
    "one direction": np.outer([1, 2, -3], [1, 2, -3]),
    "smooth": np.exp(-((GRID[:, None] - GRID) ** 2)),
    "starts at zero": np.minimum.outer(GRID, GRID),
    "zero in between": np.diag([1.0, 0, 2]),
    "tiny": 1e-30 * np.exp(-((GRID[:, None] - GRID) ** 2)),
}
INDEFINITE = {  # the step at which it shows
    "no diagonal": ([[0, 1], [1, 0]], 1),
    "zero in the middle": ([[1, 0.5, 0], [0.5, 0.25, 0.3], [0, 0.3, 1]], 2),
    "three": ([[1, 1, 0], [1, 1, 1], [0, 1, 1]], 2),
    "too correlated": ([[1, 2], [2, 1]], 1),
    "negative": ([[-1, 0], [0, 1]], 0),
    "tiny": (1e-30 * np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]]), 1),
}


def check_covariances(module):
    options = {"points": 64, "measure": "sobol", "accuracy": np.inf}
    run = lambda K: module.solve({}, {"K": np.array(K, float)}, steps=len(K), **options)["status"]
    for case, K in POSITIVE.items():
        assert str(run(K)) == "ok", case
    for case, (K, step) in INDEFINITE.items():
        assert f"is not positive at step {step}" in str(run(K)), case


def test_evolving_covariances_that_are_not_positive():
    check_covariances(module_of(driven()))


@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
def test_evolving_covariances_that_are_not_positive_on_the_stand_in():
    text = ds.compile_model(driven(), ds.Options(backend="cupy")).source.text
    with stand_in():
        space: dict = {"__name__": "driven"}
        exec(compile(text, "driven.py", "exec"), space)
        module = type("module", (), {"solve": staticmethod(space["solve"])})
        check_covariances(module)
