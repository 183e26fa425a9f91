"""Runs of generated modules with kernels for two threads, each in a process of its own."""

import subprocess
import sys

import numpy as np

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


def start(folder_named):
    """Start all cases; returns by name the process and the file of its result."""
    running = {}
    for case, (name, structure, covariance, parameters, data) in CASES.items():
        folder = folder_named(name)
        source = ds.compile_model(build_model(name, **structure), ds.Options(covariance=covariance)).source
        assert "parallel=True" in source.text
        (folder / "solver.py").write_text(source.text)
        np.savez(folder / "in.npz", **data, **{f"parameter_{k}": v for k, v in parameters.items()})
        files = [str(folder / file) for file in ("solver.py", "in.npz", "out.npz")]
        running[case] = subprocess.Popen([sys.executable, "-c", SCRIPT, *files]), files[-1]
    return running
