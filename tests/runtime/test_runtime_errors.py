"""What bad parameters, data and options get, and what is left of a run that diverges."""

import re

import numpy as np
import pytest

from dmftsym.errors import SolveError
from dmftsym.runtime import progress

GOOD = {"gamma": 1, "eta": 0.1}
KERNEL = np.array([[1.0, 0.2], [0.2, 1.0]])
LABELS = np.array([1.0, -1.0])
DATA = {"Kx": KERNEL, "y": LABELS}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"gamma": 1}, "'eta' is missing.*gamma, eta"),
        ({**GOOD, "beta": 1}, "'beta'.*gamma, eta"),
        ({**GOOD, "eta": "fast"}, "'eta'.*number.*fast"),
        ({**GOOD, "eta": [1, 2]}, "'eta'.*number"),
        ({**GOOD, "gamma": 0}, "'gamma'.*above 0.*0"),
        ({**GOOD, "eta": -0.1}, "'eta'.*at least 0.*-0.1"),
        ({**GOOD, "eta": float("inf")}, "'eta'.*finite.*inf"),
        ({**GOOD, "gamma": float("nan")}, "'gamma'.*finite.*nan"),
    ],
)
def test_bad_parameters_are_named(parameters, words, network):
    with pytest.raises(SolveError, match=words):
        network.solve(parameters, DATA, steps=2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"Kx": KERNEL}, "'y'.*missing"),
        ({"y": LABELS}, "'Kx'.*missing.*'X'"),
        ({**DATA, "z": LABELS}, "'z'.*X, y, Kx"),
        ({"Kx": KERNEL, "y": np.ones(3)}, r"'y'.*\(2,\).*\(3,\)"),
        ({"Kx": np.ones((2, 3)), "y": LABELS}, r"'Kx'.*\(2, 2\).*\(2, 3\)"),
        ({"Kx": np.ones((2, 2, 1)), "y": LABELS}, r"'Kx'.*\(2, 2, 1\)"),
        ({"X": np.ones((3, 4)), "y": LABELS}, r"'(X|y)'.*\(.*3.*\)"),
        ({"Kx": KERNEL * np.nan, "y": LABELS}, "'Kx'.*NaN"),
        ({"Kx": KERNEL, "y": np.array([1.0, np.inf])}, "'y'.*infinity"),
        ({"Kx": np.array([[1.0, 0.2], [0.3, 1.0]]), "y": LABELS}, "'Kx'.*symmetric"),
        ({"Kx": np.array([[1.0, 2.0], [2.0, 1.0]]), "y": LABELS}, "covariance.*not positive.*-1"),
        ({"Kx": KERNEL.astype(complex), "y": LABELS}, "'Kx'.*complex"),
        ({"Kx": KERNEL, "y": np.array(["3", "5"])}, "'y'.*real numbers"),
        ({"Kx": KERNEL, "y": np.array([None, 1])}, "'y'.*real numbers.*object"),
        ({"Kx": np.ones((0, 0)), "y": np.ones(0)}, "'sample'.*no entries"),
    ],
)
def test_bad_data_are_named(data, words, network):
    with pytest.raises(SolveError, match=words):
        network.solve(GOOD, data, steps=2)


def test_what_rounding_does_to_a_covariance_is_accepted(network):
    """Asymmetry and negative eigenvalues of the size of rounding errors, and null directions, are no errors."""
    kernel = np.array([[1.0, 1.0 + 1e-13], [1.0, 1.0]])
    assert np.isfinite(network.solve(GOOD, {"Kx": kernel, "y": LABELS}, steps=2).f).all()


@pytest.mark.parametrize("dtype", (np.float32, np.int64, bool, list))
def test_real_numbers_of_any_kind_are_accepted(dtype, network):
    labels = [1, 0] if dtype is list else np.array([1, 0]).astype(dtype)
    expected = network.solve(GOOD, {"Kx": KERNEL, "y": np.array([1.0, 0.0])}, steps=3, points=4)
    found = network.solve(GOOD, {"Kx": KERNEL, "y": labels}, steps=3, points=4)
    assert np.array_equal(found.f, expected.f)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps.*at least 1.*0"),
        ({"steps": 2.5}, "steps.*whole.*2.5"),
        ({"dt": 0.0}, "dt.*positive.*0"),
        ({"dt": float("nan")}, "dt.*positive.*nan"),
        ({"measure": "simpson"}, "measure.*simpson"),
        ({"measure": "gaussian"}, "gaussian"),
        ({"points": 1}, "points.*at least 2.*1"),
        ({"seed": -1, "measure": "sobol"}, "seed.*-1"),
    ],
)
def test_bad_options_are_named(options, words, network):
    with pytest.raises(SolveError, match=words):
        network.solve(GOOD, DATA, **{"steps": 2, **options})


def test_a_value_that_the_model_does_not_support_yet(recurrent):
    with pytest.raises(SolveError, match=r"'rho' must be 0.*symmetric=true.*0\.5"):
        recurrent.solve({"g": 1.5, "rho": 0.5}, steps=2)


def test_hermite_for_evolving_sources_is_refused(recurrent):
    with pytest.raises(SolveError, match=r"hermite.*evolving.*sobol"):
        recurrent.solve({"g": 1.5}, steps=2, measure="hermite")


def test_more_points_than_sobol_numbers_reach(network):
    """2^18 points a scrambling, each with its mirror image; the table has 17 bits."""
    result = network.solver.module.solve(GOOD, DATA, steps=1, measure="sobol", points=2**19, repeats=1)
    assert result["paths"] == 2**19 and np.abs(result["f"]).max() < 1e-12


@pytest.fixture(scope="module", params=[(50, 0), (50, 1), (5, 0), (5, 2)], ids="eta={0[0]} seed={0[1]}".format)
def diverged(request, network, samples):
    """Runs with a learning rate that is far too large, some so that scramblings diverge at different steps."""
    eta, seed = request.param
    options = {"steps": 60, "measure": "sobol", "points": 64, "seed": seed}
    return network.solve({"gamma": 1, "eta": eta}, samples, **options)


def test_divergence_names_quantity_and_step(diverged):
    found = re.search(r"diverged: (\w+) .*step (\d+)", diverged.attrs["status"])
    assert found, diverged.attrs["status"]
    name, step = found[1], int(found[2])
    assert name in ("f", "K", "loss", "Delta", "Phi1", "G1") and 2 < step < 59
    for name in ("f", "K", "loss", "Phi1"):
        values = diverged[name].transpose("time", ...)
        before = values[:step].isel(time2=slice(step)) if "time2" in values.dims else values[:step]
        assert np.isfinite(before).all(), name
        assert np.isnan(values[step + 1 :]).all(), name
    assert abs(diverged.f[:, 1:step]).min() > 0  # what was computed is kept


def test_a_good_learning_rate_does_not_diverge(network, samples):
    result = network.solve({"gamma": 1, "eta": 0.1}, samples, steps=60, measure="sobol", points=64, accuracy=0.5)
    assert result.attrs["status"] == "ok" and np.isfinite(result.f).all()


def test_progress_is_told_step_by_step(network, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0.0)
    with progress.progress_bar("solving", enabled=False) as report:
        assert report is None
    seen = []
    network.solver.module.solve(GOOD, DATA, steps=3, measure="hermite", points=2, progress=lambda *a: seen.append(a))
    assert seen == [(1, 3), (2, 3), (3, 3)] * 2
    quiet = network.solve(GOOD, DATA, steps=3, points=4)
    assert np.array_equal(network.solve(GOOD, DATA, steps=3, points=4, progress=True).f, quiet.f)
