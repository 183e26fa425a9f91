"""`dmftsym bench`: times of a backend against Numba on the same machine."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftsym.compiler import compile_model
from dmftsym.errors import SolveError
from dmftsym.models.loading import build_model
from dmftsym.options import Options
from dmftsym.runtime.backends import missing_device

CASES = ((8192, 50, 1), (8192, 50, 4), (32768, 50, 4), (32768, 100, 4), (131072, 100, 4))
QUICK = ((256, 4, 1), (256, 4, 2))


def bench(backend: str, depth: int, quick: bool) -> Table:
    """A table of times of `mlp` with `depth` hidden layers: paths × steps × samples, and the share of dgemm's rate.

    Raises `SolveError` where the backend has no device. Cost: minutes; `quick` takes tiny cases to see that it works.
    """
    missing = missing_device() if backend == "cupy" else ""
    if missing:
        raise SolveError(f"bench: nothing to measure, {missing}")
    modules = {
        name: compile_model(build_model("mlp", depth=depth), Options(backend=name)).solver.module
        for name in dict.fromkeys(("numba", backend))
    }
    rate = _product_rate(backend, 64 if quick else 4096)
    table = Table(
        title=f"mlp, {depth} hidden layers, mean solution; {backend}: {rate / 1e9:.1f} G multiply-adds/s in dgemm"
    )
    single = ("float32, s", "its error") if backend == "cupy" else ()
    times = tuple(f"{name}, s" for name in modules)
    for heading in ("paths", "steps", "samples", *times, "ratio", "share of dgemm", *single):
        table.add_column(heading, justify="right")
    for case in QUICK if quick else CASES:
        paths, steps, samples = case
        # rows of kernels, bases, noise, memory and drift: products of the samples' paths with all their past;
        # once for all paths and once for their parts
        work = 2 * (12 * (depth - 1) + 2) * paths * (samples * steps) ** 2 / 2
        table.add_row(*_row(modules, backend, work / rate, case))
    return table


def show(table: Table) -> None:
    """Print a table."""
    Console(width=max(Console().width, 110)).print(table)  # a pipe has 80 columns


def _row(modules, backend: str, ideal: float, case: tuple[int, int, int]) -> list[str]:
    """One case of paths, steps, samples; `ideal` is the time of its products at the rate of a large one."""
    paths, steps, samples = case
    rng = np.random.default_rng(0)
    data = {"X": rng.standard_normal((samples, samples + 2)), "y": rng.choice([-1.0, 1.0], samples)}
    parameters = {"gamma": 1.0, "eta": 0.02}
    times = {}
    for name, module in modules.items():
        run = partial(module.solve, parameters, data, points=paths, measure="sobol")
        run(steps=2)
        times[name] = _seconds(partial(run, steps=steps))
    ratio, share = times["numba"] / times[backend], ideal / times[backend]
    row = [str(paths), str(steps), str(samples), *(f"{t:.3f}" for t in times.values()), f"{ratio:.1f}", f"{share:.1%}"]
    if backend == "cupy":
        run(steps=2, precision="float32")
        begin = time.perf_counter()
        found = run(steps=steps, precision="float32")
        row += [f"{time.perf_counter() - begin:.3f}", f"{found['rounding_error']:.1e}"]
    return row


def _product_rate(backend: str, size: int) -> float:
    """Multiply-adds a second of a matrix product in double precision."""
    xp = __import__("cupy") if backend == "cupy" else np
    square = xp.ones((size, size))
    return size**3 / min(_seconds(lambda: float((square @ square)[0, 0])) for _ in range(3))


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin
