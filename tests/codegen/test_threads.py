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


@pytest.mark.parametrize("case", CASES)
def test_threads_do_not_change_results(case, tmp_path):
    """To 1e-11 of the largest entry: sums over paths are taken in another order."""
    name, structure, covariance, parameters, data = CASES[case]
    source = ds.compile_model(build_model(name, **structure), ds.Options(covariance=covariance)).source
    assert "parallel=True" in source.text
    file = tmp_path / "solver.py"
    file.write_text(source.text)
    np.savez(tmp_path / "in.npz", **data, **{f"parameter_{k}": v for k, v in parameters.items()})
    arguments = [str(file), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=True)
    module = ds.compile_model(build_model(name, **structure), ds.Options(covariance=covariance)).solver.module
    options = {"steps": 4, "points": 5000, "measure": "sobol", "repeats": 2}
    expected = module.solve(parameters, data, **options) | module.fluctuations(parameters, data, **options)
    compared = 0
    for key, found in np.load(tmp_path / "out.npz").items():
        if found.dtype.kind == "f":
            allowed = 1e-11 * max(1.0, np.abs(expected[key]).max(initial=0.0))
            assert np.allclose(found, expected[key], rtol=0, atol=allowed, equal_nan=True), key
            compared += 1
    assert compared > 3
