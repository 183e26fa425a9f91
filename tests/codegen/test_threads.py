"""Kernels compiled for several threads against the same kernels compiled for one, which the other tests use."""

import numpy as np
import pytest
from two_threads import CASES

import dmftsym as ds
from dmftsym.models.loading import build_model


@pytest.mark.parametrize("case", [pytest.param("deep", marks=pytest.mark.slow), "two layers", "recurrent"])
def test_threads_do_not_change_results(case, started):
    """To 1e-11 of the largest entry: sums over paths are taken in another order."""
    name, structure, covariance, parameters, data = CASES[case]
    module = ds.compile_model(build_model(name, **structure), ds.Options(covariance=covariance)).solver.module
    options = {"steps": 4, "points": 5000, "measure": "sobol", "repeats": 2}
    expected = module.solve(parameters, data, **options) | module.fluctuations(parameters, data, **options)
    process, result = started[case]
    assert process.wait() == 0
    compared = 0
    for key, found in np.load(result).items():
        if found.dtype.kind == "f":
            allowed = 1e-11 * max(1.0, np.abs(expected[key]).max(initial=0.0))
            assert np.allclose(found, expected[key], rtol=0, atol=allowed, equal_nan=True), key
            compared += 1
    assert compared > 3
