"""Peaks of memory of runs in processes of their own, beside what the generated module says that they need.

Run as a script: ``python tests/memory_peaks.py [CASE...]`` prints a table, in MiB.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Run:
    """A model of the library and a run of it, large enough that a few MiB do not matter, small enough to be quick."""

    model: str
    steps: int
    settings: dict = field(default_factory=dict)
    parameters: dict = field(default_factory=dict)
    samples: int = 0
    points: int | None = None
    covariance: tuple = ()
    measure: str = "auto"


NETWORK = {"gamma": 1, "eta": 0.1}
RECURRENT = {"g": 1.5}
SPIN = {"p": 3, "temperature": 0.5}
RUNS = {
    "mlp1": Run("mlp", 6, {"depth": 1}, NETWORK, 10, 2**17),
    "mlp1_relu": Run("mlp", 6, {"depth": 1, "activation": "relu"}, NETWORK, 24, 2**16),
    "mlp1_linear": Run("mlp", 400, {"depth": 1, "activation": "linear"}, NETWORK, 80, None),
    "mlp2": Run("mlp", 16, {"depth": 2}, NETWORK, 4, 2**14),
    "mlp3": Run("mlp", 10, {"depth": 3}, NETWORK, 4, 2**14),
    "mlp2_linear": Run("mlp", 20, {"depth": 2, "activation": "linear"}, NETWORK, 24, None),
    "recurrent": Run("recurrent", 100, {}, RECURRENT, 0, 2**15),
    "recurrent_symmetric": Run("recurrent", 60, {"symmetric": "true"}, RECURRENT | {"rho": 0.3}, 0, 2**15),
    "p_spin": Run("p_spin", 120, {}, SPIN, 0, 2**15, measure="sobol"),
    "p_spin_closed": Run("p_spin", 800, {}, SPIN),
    "cov_mlp1": Run("mlp", 4, {"depth": 1}, NETWORK, 3, 2**14, ("f", "K")),
    "cov_mlp1_f": Run("mlp", 4, {"depth": 1, "activation": "relu"}, NETWORK, 6, 2**14, ("f",)),
    "cov_mlp2": Run("mlp", 6, {"depth": 2}, NETWORK, 3, 2**12, ("f",)),
    "cov_mlp2_K": Run("mlp", 4, {"depth": 2}, NETWORK, 3, 2**12, ("f", "K")),
    "cov_mlp3": Run("mlp", 4, {"depth": 3}, NETWORK, 3, 2**12, ("f",)),
    "cov_mlp2_linear": Run("mlp", 8, {"depth": 2, "activation": "linear"}, NETWORK, 3, None, ("f",)),
    "cov_recurrent": Run("recurrent", 16, {}, RECURRENT, 0, 2**13, ("C",)),
    "cov_recurrent_symmetric": Run("recurrent", 12, {"symmetric": "true"}, RECURRENT | {"rho": 0.3}, 0, 2**13, ("C",)),
    "cov_p_spin": Run("p_spin", 24, {}, SPIN, 0, None, ("C",)),
}


def resident(key: str) -> float:
    """A line of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key + ":")).split()[1])


def data_of(run: Run, samples: int) -> dict:
    import numpy as np

    if not samples:
        return {}
    X = np.random.default_rng(3).standard_normal((samples, 2 * samples + 3))
    return {"X": X, "y": np.sign(X[:, 0])}


def measure(name: str) -> dict:
    """The peak of a run in this process beyond what it held before, and what the module estimates."""
    from dmftsym.compiler import compile_model
    from dmftsym.models.loading import find_model
    from dmftsym.options import Options

    run = RUNS[name]
    model = find_model(run.model).build(run.settings)
    module = compile_model(model, Options(covariance=run.covariance)).solver.module
    few = {"steps": 3, "measure": run.measure, "points": run.points and 64}
    options = {"steps": run.steps, "measure": run.measure, "points": run.points}
    module.solve(run.parameters, data_of(run, min(run.samples, 2)), **few)
    if run.covariance:
        module.fluctuations(run.parameters, data_of(run, min(run.samples, 2)), **few)
    data = data_of(run, run.samples)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = resident("VmRSS")
    function, estimate = (
        (module.fluctuations, module.memory_of_fluctuations)
        if run.covariance
        else (module.solve, module.memory_of_solve)
    )
    needed = estimate(run.parameters, data, **options)
    status = function(run.parameters, data, **options)["cov_status" if run.covariance else "status"]
    return {"peak": resident("VmHWM") - before, "needed": needed, "status": str(status)}


def measured(name: str) -> dict:
    """`measure` in a fresh process, after one that has filled the cache of compiled code."""
    command = [sys.executable, str(Path(__file__)), "--one", name]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        for name in sys.argv[1:] or RUNS:
            found = measured(name)
            peak, needed = found["peak"] / 2**20, found["needed"] / 2**20
            print(f"{name:24} peak {peak:8.1f}  needed {needed:8.1f}  ratio {needed / peak:5.2f}  {found['status']}")
