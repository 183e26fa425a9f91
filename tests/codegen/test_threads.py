"""Kernels compiled for several threads against the same kernels compiled for one, which the other tests use."""

import subprocess
import sys

import numpy as np
import pytest

import dmftsym as ds
from dmftsym.models.loading import build_model

DATA = {"Kx": np.array([[1.0, 0.4], [0.4, 0.8]]), "y": np.array([1.0, -0.7])}
CASES = {  # model, structure, covariances, parameters, data
    "deep": ("mlp", {"depth": 2}, ("f", "Phi1"), {"gamma": 1.5, "eta": 0.3}, DATA),
    "two layers": ("mlp", {}, ("f",), {"gamma": 1.5, "eta": 0.3}, DATA),
    "recurrent": ("recurrent", {}, ("C",), {"g": 1.4}, {}),
}
SCRIPT = """
import runpy, sys
import numba, numpy as np
numba.set_num_threads(2)
module = runpy.run_path(sys.argv[1])
data = dict(np.load(sys.argv[2]))
parameters = {k.removeprefix("parameter_"): float(data.pop(k)) for k in list(data) if k.startswith("parameter_")}
results = module["solve"](parameters, data, steps=4, points=5000, measure="sobol", repeats=2)
results |= module["fluctuations"](parameters, data, steps=4, points=5000, measure="sobol", repeats=2)
np.savez(sys.argv[3], **results)
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """All cases with kernels for two threads, each in a process of its own: (process, file of its result)."""
    running = {}
    for case, (name, structure, covariance, parameters, data) in CASES.items():
        folder = tmp_path_factory.mktemp(name)
        source = ds.compile_model(build_model(name, **structure), ds.Options(covariance=covariance)).source
        assert "parallel=True" in source.text
        (folder / "solver.py").write_text(source.text)
        np.savez(folder / "in.npz", **data, **{f"parameter_{k}": v for k, v in parameters.items()})
        files = [str(folder / file) for file in ("solver.py", "in.npz", "out.npz")]
        running[case] = subprocess.Popen([sys.executable, "-c", SCRIPT, *files]), files[-1]
    yield running
    for process, _ in running.values():
        process.kill()


@pytest.mark.parametrize("case", CASES)
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
