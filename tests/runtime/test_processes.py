"""Processes that are forked after a run, and threads that run at once, whatever Numba's threading layer."""

import os
import subprocess
import sys

import pytest

from dmftsym.runtime import parallel

SCRIPT = """
import multiprocessing, os, sys, threading
import numba
import dmftsym as ds
from dmftsym.models.loading import build_model

covariance = ("C",) if sys.argv[1] == "covariance" else ()
solver = ds.compile_model(build_model("recurrent"), ds.Options(covariance=covariance)).solver

def run(seed):
    found = solver.solve({"g": 1.5}, steps=4, points=64, measure="sobol", seed=seed)
    return [float(found.C[3, 2]), *([float(found.cov_C_C[3, 3, 3, 3])] if "cov_C_C" in found else [])]

expected = [run(0), run(1)]
layer = numba.threading_layer()
with multiprocessing.get_context("fork").Pool(2) as pool:
    children = pool.map_async(run, [0, 1]).get(100)
found = {}
threads = [threading.Thread(target=lambda k=k: found.update({k: run(k % 2)})) for k in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
close = lambda one, two: all(abs(a - b) < 1e-10 * abs(a) for a, b in zip(one, two))
assert all(map(close, expected, children)), (expected, children)
assert all(close(found[k], expected[k % 2]) for k in range(4)), (expected, found)
assert not close(*expected)
print(layer)
"""
LAYERS = ("omp", "workqueue")


@pytest.mark.slow
@pytest.mark.parametrize("what", ("mean", "covariance"))
@pytest.mark.parametrize("layer", LAYERS)
def test_forks_and_threads_after_a_run(layer, what, tmp_path):
    own = {"DMFTSYM_CACHE": str(tmp_path)}  # the kernels of other tests are compiled for one thread
    environment = os.environ | {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"} | own
    command = [sys.executable, "-c", SCRIPT, what]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout == f"{layer}\n", done.stderr


def test_a_child_of_a_process_with_threads_knows_that_it_lacks_them(monkeypatch):
    parallel_module = type(sys)("numba.np.ufunc.parallel")
    monkeypatch.setitem(sys.modules, "numba.np.ufunc.parallel", parallel_module)
    for started in (False, True):
        parallel_module._is_initialized = started
        state = parallel._State()
        with state.running:
            state.forked()
        assert state.lost is started
    parallel_module._is_initialized = False
    state.forked()
    assert state.lost, "a child of a child"


def test_forking_is_noted():
    read, write = os.pipe()
    process = os.fork()
    if not process:
        os.write(write, b"1" if parallel._state.running.acquire(blocking=False) else b"0")
        os._exit(0)
    os.waitpid(process, 0)
    assert os.read(read, 1) == b"1"


def test_serial_source_has_no_threads():
    text = "@njit(parallel=True, cache=True)\ndef f(x):\n    for i in prange(3): pass\n"
    assert "parallel=True" in text and "parallel=True" not in parallel.serial(text)


def test_a_module_alone_refuses_a_forked_process(monkeypatch):
    from fluctuating_models import interpreted

    import dmftsym as ds
    from dmftsym.models.loading import build_model

    module = interpreted(ds.compile_model(build_model("recurrent")).source.text)
    module.solve({"g": 1.5}, steps=2, points=4, measure="monte-carlo")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(module.InputError, match="forked") as error:
        module.solve({"g": 1.5}, steps=2, points=4, measure="monte-carlo")
    assert "\n" not in str(error.value)
