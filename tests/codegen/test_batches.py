"""Covariances whose sample paths do not fit into the memory together: independent batches, and their mean."""

import numpy as np
import pytest
from cupy_cases import ALL, TOLERANCE, built, distance, loaded, source
from cupy_stand_in import COMPILER

import dmftsym as ds

STEPS, POINTS = 5, 8192


def numba(case):
    options = ds.Options(outputs=case.outputs, covariance=case.covariance)
    return ds.compile_model(built(case), options).solver.module


def covariances(case, module, **options):
    return module.fluctuations(
        case.parameters, case.data, steps=STEPS, points=POINTS, repeats=4, measure="monte-carlo", **options
    )


def limit_for(case, module, paths):
    values, *_ = module._prepare(case.parameters, case.data, STEPS)
    if hasattr(module, "_sketch_bytes"):
        return 1.01 * max(module._fluctuation_bytes(values, STEPS, paths, 1), module._sketch_bytes(64, paths))
    return 1.01 * module._fluctuation_bytes(values, STEPS, dict.fromkeys(module.SITES, paths), (), 1)


def test_batches_agree_with_all_paths_together():
    case = ALL["evolving"]
    module = numba(case)
    whole = covariances(case, module)
    batches = covariances(case, module, memory_limit=limit_for(case, module, 2048))
    assert str(whole["cov_measure"]).endswith("4 independent batches of 2048 paths")
    assert str(batches["cov_measure"]).endswith("16 independent batches of 512 paths, 4 at a time")
    for key in (key for key in whole if key.startswith("cov_") and f"se_{key}" in whole):
        error = np.hypot(whole[f"se_{key}"], batches[f"se_{key}"])
        known = error > 1e-3 * error.max()
        difference = np.abs(whole[key] - batches[key])[known] / error[known]
        assert np.sqrt(np.mean(difference**2)) < 2, key
        ratio = np.median(batches[f"se_{key}"][known] / whole[f"se_{key}"][known])
        assert 0.25 < ratio < 4, "as many paths, about the same error"


def test_batches_are_not_made_ever_smaller():
    case = ALL["influences"]
    module = numba(case)
    with pytest.raises(module.InputError, match=r"the covariances need about .*sample paths \(2048\)"):
        covariances(case, module, memory_limit=2**20)


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels")
def test_batches_on_a_device_are_those_of_numba():
    case, steps = ALL["influences"], 3
    module, found = numba(case), []
    values, *_ = module._prepare(case.parameters, case.data, steps)
    limit = 1.01 * module._fluctuation_bytes(values, steps, dict.fromkeys(module.SITES, 2048), (), 1)
    for each in (module, loaded(source("influences", "cupy"))):
        options = {"points": 4096, "repeats": 2, "memory_limit": limit}
        found.append(each.fluctuations(case.parameters, case.data, steps=steps, **options))
    assert str(found[0]["cov_measure"]).endswith("2 at a time")
    assert distance(*found) < TOLERANCE
