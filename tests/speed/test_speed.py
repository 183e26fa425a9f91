"""Speed, measured in one run on one machine: python -m pytest -m speed -s tests/speed

Prints seconds and ratios; only ratios and slopes are asserted.
"""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from finite_networks import two_layers_by_quadrature

import dmftsym as ds
from dmftsym.models.loading import build_model

pytestmark = pytest.mark.speed
FIGURE_2 = {"Kx": [[1.0, 0.5156], [0.5156, 1.0]], "y": [1.0]}


def best(function, repeats=3):
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def slope(sizes, times):
    return np.polyfit(np.log(sizes), np.log(times), 1)[0]


def test_one_sample_and_one_test_point_for_250_steps():
    """The curves of arXiv:2304.03408, figure 2; the plain NumPy version evaluates the same sums on the same points."""
    solver = ds.compile_model(build_model("mlp", activation="tanh(0.4*h)/0.4", test=True, centered=True))
    run = lambda: solver.solve({"gamma": 1, "eta": 0.01}, FIGURE_2, steps=250)
    run()
    solved = best(run)
    nodes, weights = np.polynomial.hermite_e.hermegauss(28)
    grid = np.stack([g.ravel() for g in np.meshgrid(nodes, nodes, indexing="ij")])
    product = np.outer(weights, weights).ravel()
    phi, dphi = lambda h: np.tanh(0.4 * h) / 0.4, lambda h: 1 - np.tanh(0.4 * h) ** 2
    plain = best(
        lambda: two_layers_by_quadrature(
            phi, dphi, np.eye(1), np.ones(1), 1.0, 0.01, 250, grid, product / product.sum()
        ),
        1,
    )
    print(f"\nfigure 2: solve {solved:.2f} s with test point; plain NumPy without it {plain:.2f} s")
    print(f"ratio {plain / solved:.1f}")
    assert solved < plain


@pytest.mark.parametrize("name", ["mlp", "recurrent"])
def test_derivation_and_start(name, tmp_path):
    script = f"""
import time; begin = time.perf_counter()
import dmftsym as ds
from dmftsym.models.loading import build_model
imported = time.perf_counter() - begin
begin = time.perf_counter()
solver = ds.compile_model(build_model("{name}"))
derived = time.perf_counter() - begin
begin = time.perf_counter()
solver.solve({{"gamma": 1, "eta": 0.1}} if "{name}" == "mlp" else {{"g": 1}},
             {{"Kx": [[1.0]], "y": [1.0]}} if "{name}" == "mlp" else {{}}, steps=2, points=64)
print(imported, derived, time.perf_counter() - begin)
"""
    environment = {**os.environ, "DMFTSYM_CACHE": str(tmp_path)}
    rows = []
    for _ in range(2):
        begin = time.perf_counter()
        out = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        rows.append([*map(float, out.stdout.split()), time.perf_counter() - begin])
    (imports, derivation, jit, _), (_, _, cached, start) = rows
    print(
        f"\n{name}: imports {imports:.2f} s, derivation and code {derivation:.2f} s, first solve with JIT {jit:.2f} s, "
        f"from cache {cached:.2f} s, whole cached start {start:.2f} s"
    )
    assert cached < jit


def test_cost_of_one_time_quantities_is_linear_in_steps():
    solver = ds.compile_model(build_model("mlp"))
    data = {"Kx": [[1.0]], "y": [1.0]}
    sizes = [200, 400, 800, 1600]
    run = lambda steps: solver.solve({"gamma": 1, "eta": 0.05}, data, steps=steps, measure="hermite", points=60)
    run(10)
    times = [best(lambda steps=steps: run(steps)) for steps in sizes]
    print(f"\ntwo layers, steps {sizes}: {np.round(times, 3)} s, slope {slope(sizes, times):.2f}")
    assert slope(sizes, times) < 1.3


def test_cost_of_two_time_kernels_is_quadratic_in_steps():
    solver = ds.compile_model(build_model("recurrent"))
    sizes = [400, 800, 1600]
    run = lambda steps: solver.solve({"g": 1.5}, steps=steps, dt=0.05)
    run(10)
    times = [best(lambda steps=steps: run(steps), 2) for steps in sizes]
    print(f"\nrecurrent, steps {sizes}: {np.round(times, 2)} s, slope {slope(sizes, times):.2f}")
    assert slope(sizes, times) < 2.4


def test_share_of_matrix_product_rate():
    """Two-time averages against the same number of multiply-adds in NumPy's matrix product."""
    solver = ds.compile_model(build_model("recurrent"))
    steps, points = 600, 16384
    solver.solve({"g": 1.5}, steps=10, points=points)
    solved = best(lambda: solver.solve({"g": 1.5}, steps=steps, points=points), 1)
    multiply_adds = 2 * 3 * points * steps**2 / 2  # whole and parts; C, Cx and the draw of the noise
    a = np.random.default_rng(0).standard_normal((1500, 1500))
    product = best(lambda: a @ a)
    ratio = solved / (product * multiply_adds / 1500**3)
    print(f"\nrecurrent {steps} steps: {solved:.2f} s, {ratio:.1f} times dgemm's time")


def test_two_hidden_layers():
    """L = 2, tanh, P = 1, 50 steps, 8192 paths: seconds, and the time of as many multiply-adds in a matrix product."""
    solver = ds.compile_model(build_model("mlp", depth=2)).solver.module
    run = lambda steps=50: solver.solve(
        {"gamma": 1, "eta": 0.1}, {"Kx": [[1.0]], "y": [1.0]}, steps=steps, points=8192, repeats=1
    )
    run()
    solved = best(run)
    steps, paths, size = 50, 8192, 1024
    # a step: kernel rows, bases, noise, memory and drift of both layers, 14 products of (paths) and (paths, past)
    count = 14 * paths * steps**2 / 2
    square = np.random.default_rng(0).standard_normal((size, size))
    rate = size**3 / best(lambda: square @ square)
    times = [best(lambda n=n: run(n), 2) for n in (50, 100, 200)]
    print(f"\ntwo hidden layers: {solved:.3f} s, {solved * rate / count:.1f} x the time of its products in dgemm")
    print(f"slope in steps {slope((50, 100, 200), times):.2f} ({', '.join(f'{t:.2f}' for t in times)} s)")
    assert slope((50, 100, 200), times) < 2.3


def test_three_hidden_layers_with_four_samples_fit_in_four_gigabytes():
    solver = ds.compile_model(build_model("mlp", depth=3)).solver.module
    rng = np.random.default_rng(0)
    data = {"X": rng.standard_normal((4, 6)), "y": rng.choice([-1.0, 1.0], 4)}
    begin = time.perf_counter()
    result = solver.solve({"gamma": 1, "eta": 0.05}, data, steps=200, points=8192, repeats=1, memory_limit=4 * 2**30)
    print(f"\nthree hidden layers, P = 4, 200 steps, 8192 paths: {time.perf_counter() - begin:.1f} s with JIT")
    assert str(result["status"]).startswith(("ok", "inaccurate"))  # one part tells no error
