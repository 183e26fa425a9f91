"""Shared fixtures: generated code goes to a folder of its own, so that every run compiles what it tests.

Kernels are compiled for one thread, which takes a third of the time; tests/codegen/test_threads.py compares with the
kernels for several threads, and the speed tests and everything that runs in a process of its own use those.
"""

import os
import tempfile

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes share the processors: threads of each would wait for others
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
else:
    os.environ["DMFTSYM_CACHE"] = tempfile.mkdtemp(prefix="dmftsym-tests-")  # the processes share what they compile

import numba
import pytest
from as_averaged import as_averaged

os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_configure(config):
    if "speed" in config.getoption("markexpr").replace("not speed", ""):
        return
    compiler = numba.njit
    numba.njit = lambda *args, parallel=False, **options: compiler(*args, **options)


@pytest.fixture
def averaged_form():
    """Models are solved as they were averaged: no matrix is held."""
    with as_averaged():
        yield
