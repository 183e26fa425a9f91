"""Standard errors cover: the truth lies within two of them for 90 to 99 per cent of the entries, over 12 or 24 seeds.

The truth comes from runs with many more sample paths. Entries of one run are correlated, so that every run counts as
one: its share of entries within two standard errors is averaged over runs and quantities.
"""

from pathlib import Path

import numpy as np
import pytest

import dmftsym as ds
from dmftsym.models.loading import build_model

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"
SEEDS, POINTS = range(24), 512
X = np.random.default_rng(1).standard_normal((3, 5))
THREE = {"X": X, "y": np.array([1.0, -1.0, 0.5])}
TWO = {"X": X[:2], "y": np.array([1.0, -1.0])}
TRAINED = {"gamma": 1.0, "eta": 0.3}
MORE = {"two_populations": 60}  # runs: the entries of one run move together
RARE = {"lotka_volterra": 4096}  # abundances have a long tail: few paths rarely meet what scatters most
CASES = {  # build, quantities with covariances, parameters, data, steps and time step
    "mlp": (lambda: build_model("mlp"), ("f", "K"), TRAINED, THREE, {"steps": 8}),
    "mlp relu": (lambda: build_model("mlp", activation="relu"), ("f",), TRAINED, THREE, {"steps": 8}),
    "mlp depth=2": (lambda: build_model("mlp", depth=2), ("f",), TRAINED, TWO, {"steps": 6}),
    "recurrent": (lambda: build_model("recurrent"), ("C",), {"g": 1.5}, {}, {"steps": 20, "dt": 0.2}),
    "recurrent rho": (
        lambda: build_model("recurrent", symmetric=True),
        ("C",),
        {"g": 1.5, "rho": 0.5},
        {},
        {"steps": 20, "dt": 0.2},
    ),
    "lotka_volterra": (
        lambda: build_model(str(EXAMPLES / "lotka_volterra.py")),
        ("M",),
        {"mu": 4, "sigma": 0.5},
        {},
        {"steps": 20, "dt": 0.2},
    ),
    "two_populations": (
        lambda: build_model(str(EXAMPLES / "two_populations.py")),
        ("m_E",),
        {"g_E": 1.2, "g_I": 0.8, "nu_E": 0.8, "nu_I": 0.2},
        {},
        {"steps": 15, "dt": 0.2},
    ),
}


def shares(truth, runs, names, width=2.0):
    """The shares of the entries of every run and quantity that are within so many standard errors of the truth."""
    found = []
    for name in names:
        for run in runs:
            error = run[f"se_{name}"]
            kept = error > 1e-9 * np.abs(truth[name]).max()  # what is exact has no error
            found.append((np.abs(run[name] - truth[name])[kept] < width * error[kept]).mean())
    return found


@pytest.mark.parametrize("case", CASES)
def test_two_standard_errors_cover_means(case):
    build, _, parameters, data, options = CASES[case]
    module = ds.compile_model(build()).solver.module
    solve = lambda points, seed: module.solve(
        parameters, data, measure="sobol", points=points, seed=seed, time_step_error=False, **options
    )
    truth, runs = solve(128 * POINTS, 1000), [solve(POINTS, seed) for seed in SEEDS[:12]]
    within = np.mean(shares(truth, runs, module.OUTPUTS))
    print(f"{case}: {100 * within:.1f} % of the means within two standard errors")
    assert 0.9 <= within <= 0.99
    assert np.mean(shares(truth, runs, module.OUTPUTS, 0.5)) < 0.65  # negative control: errors four times as small


@pytest.mark.parametrize("case", CASES)
def test_two_standard_errors_cover_covariances(case):
    build, covariance, parameters, data, options = CASES[case]
    module = ds.compile_model(build(), ds.Options(covariance=covariance)).solver.module
    options = options | {"steps": 6}
    solve = lambda points, seed: module.fluctuations(
        parameters, data, measure="sobol", points=points, seed=seed, **options
    )
    points = RARE.get(case, POINTS)
    truth, runs = (
        solve(max(16 * points, 32 * POINTS), 1000),
        [solve(points, seed) for seed in range(MORE.get(case, len(SEEDS)))],
    )
    names = [name for name in truth if f"se_{name}" in truth and name.startswith("cov_")]
    within = np.mean(shares(truth, runs, names))
    print(f"{case}: {100 * within:.1f} % of the covariances within two standard errors")
    assert 0.9 <= within <= 0.99
    assert np.mean(shares(truth, runs, names, 0.5)) < 0.65
