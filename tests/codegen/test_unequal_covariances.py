"""Covariances of a network of unequal widths, with a variance, a mean, decay and matrices used twice in a step.

Against simulated systems with dense matrices, which share nothing with the compiler.
"""

import matrix_models
import numpy as np
import pytest
from fluctuating_models import interpreted
from test_held_matrices import CASES, simulated

import dmftsym as ds

STEPS = 4


def covariance(runs, N):
    """N Cov of the entries of independent systems, and its standard errors."""
    runs = runs.reshape(len(runs), -1)
    moved = runs - runs.mean(axis=0)
    each = N * moved[:, :, None] * moved[:, None, :]
    return each.mean(axis=0) * len(runs) / (len(runs) - 1), each.std(axis=0) / np.sqrt(len(runs))


@pytest.mark.slow
def test_covariances_agree_with_simulated_systems():
    """Two widths: the theory lies within the errors of what they extrapolate to, N to infinity. About a minute."""
    _, parameters, data = CASES["unequal"]
    model = ds.compile_model(matrix_models.unequal(), ds.Options(covariance=("f",)))
    options = {"steps": STEPS, "points": 256, "covariance_points": 65536}
    theory = model.solve(parameters, data, **options, time_step_error=False)
    expected, own = (theory[name].values.reshape(2 * STEPS, 2 * STEPS) for name in ("cov_f_f", "se_cov_f_f"))
    rng, found = np.random.default_rng(9), []
    for N, count in ((100, 8000), (200, 5000)):
        runs = np.array([simulated(N, rng, STEPS, **parameters) for _ in range(count)])
        found.append(covariance(runs, N))
    limit = 2 * found[1][0] - found[0][0]
    error = np.sqrt(4 * found[1][1] ** 2 + found[0][1] ** 2 + own**2)
    assert np.diag(error / limit).max() < 0.08
    z = (expected - limit) / error
    assert np.sqrt((z**2).mean()) < 1.8 and np.abs(z).max() < 4, z
    assert np.abs((1.3 * expected - limit) / error).max() > 4, "thirty per cent must show"


@pytest.mark.slow
def test_zeros_that_a_matrix_was_asked_have_an_adjoint():
    """At the first step the transpose acts on what was one step before, nothing: no direction is open then."""
    _, parameters, data = CASES["unequal"]
    module = interpreted(ds.compile_model(matrix_models.unequal(), ds.Options(covariance=("f",))).source.text)
    found = module.fluctuations(parameters, data, steps=2, points=64, repeats=2, accuracy=100.0)
    first = found["cov_f_f"][:, 0, :, 0]
    assert np.isfinite(found["cov_f_f"]).all() and np.linalg.eigvalsh(first).min() > 0
