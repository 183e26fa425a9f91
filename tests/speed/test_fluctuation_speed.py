"""Speed and memory of finite-width covariances: python -m pytest -m speed -s tests/speed"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_speed import FIGURE_2, best, slope

import dmftsym as ds
from dmftsym.models.loading import build_model

pytestmark = pytest.mark.speed

SCRIPT = """
import resource, time
import dmftsym as ds
structure = dict(activation="tanh(0.4*h)/0.4", test=True, centered=True)
model = ds.build_model("mlp", **structure)
run = ds.compile_model(model, ds.Options(covariance=("f", "f_test", "K"))).solver.module.fluctuations
for steps in ({warm}, {steps}):
    begin = time.perf_counter()
    run({{"gamma": 1, "eta": {eta}}}, {data}, steps=steps)
    seconds = time.perf_counter() - begin
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def measured(steps, eta):
    """Seconds of a warm run and gigabytes at its peak, in a process of its own."""
    code = SCRIPT.format(warm=3, steps=steps, eta=eta, data=FIGURE_2)
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return tuple(map(float, out.stdout.split()))


def test_figure_2_with_all_three_covariances():
    """arXiv:2304.03408, figure 2: under ten seconds and one gigabyte; the unit of the ratio is the mean solution."""
    seconds, memory = measured(250, 0.01)
    solver = ds.compile_model(build_model("mlp", activation="tanh(0.4*h)/0.4", test=True, centered=True))
    mean = best(lambda: solver.solve({"gamma": 1, "eta": 0.01}, FIGURE_2, steps=250))
    print(f"\nfigure 2, covariances: {seconds:.2f} s, {memory:.2f} GiB; mean solution {mean:.2f} s")
    print(f"ratio {seconds / mean:.0f}")
    assert memory < 1.0


def test_a_thousand_steps():
    seconds, memory = measured(1000, 0.0025)
    print(f"\nfigure 2 with 1000 steps: {seconds:.1f} s, {memory:.2f} GiB")


def test_cost_in_steps_and_samples():
    compiled = ds.compile_model(build_model("mlp"), ds.Options(covariance=("f", "K")))
    run = compiled.solver.module.fluctuations
    rng = np.random.default_rng(0)

    def once(steps, samples):
        X = rng.standard_normal((samples, 8))
        y = np.sign(rng.standard_normal(samples))
        run({"gamma": 1, "eta": 0.1}, {"X": X, "y": y}, steps=steps, measure="sobol", points=8192)

    once(3, 2)
    steps, samples = [20, 40, 80], [1, 2, 4]
    in_steps = [best(lambda n=n: once(n, 2), 1) for n in steps]
    in_samples = [best(lambda n=n: once(20, n), 1) for n in samples]
    print(f"\nsteps {steps}, P=2: {np.round(in_steps, 2)} s, slope {slope(steps, in_steps):.2f}")
    print(f"samples {samples}, 20 steps: {np.round(in_samples, 2)} s, slope {slope(samples, in_samples):.2f}")
    assert slope(steps, in_steps) < 2.5


def test_jumps_and_two_time_sources():
    relu = ds.compile_model(build_model("mlp", activation="relu"), ds.Options(covariance=("f",)))
    data = {"Kx": [[1.0, 0.3], [0.3, 0.8]], "y": [1.0, -1.0]}
    run = lambda: relu.solver.module.fluctuations({"gamma": 1, "eta": 0.1}, data, steps=20)
    run()
    recurrent = ds.compile_model(build_model("recurrent"), ds.Options(covariance=("C",)))
    other = lambda: recurrent.solver.module.fluctuations({"g": 1.5}, steps=25, dt=0.2, points=4096)
    other()
    print(f"\nReLU, P=2, 20 steps: {best(run, 1):.1f} s; recurrent, 25 steps, 4096 paths: {best(other, 1):.1f} s")


def test_deep_network():
    """three_layer_tanh.json (two hidden layers, P = 2, 25 steps) with covariances of f and K."""
    settings = json.loads((Path(__file__).parents[1] / "reference" / "three_layer_tanh.json").read_text())["settings"]
    module = ds.compile_model(build_model("mlp", depth=2), ds.Options(covariance=("f", "K"))).solver.module
    data, parameters = {"X": settings["X"], "y": settings["y"]}, {"gamma": settings["gam"], "eta": settings["eta"]}
    module.fluctuations(parameters, data, steps=2, points=256)
    times = {}
    for steps in (6, 12, 25):
        begin = time.perf_counter()
        module.fluctuations(parameters, data, steps=steps)
        times[steps] = time.perf_counter() - begin
    print(f"\ntwo hidden layers, covariances of f and K: {times[25]:.1f} s at 25 steps")
    print(f"slope in steps {np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0]:.2f}")
