"""Compiled models, built once and shared by the tests of generated code."""

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import two_threads

from dmftsym import Options, compile_model
from dmftsym.models.loading import build_model

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def compiled():
    """compiled("mlp", test=True): the compiled library model or model file, the same object for the same arguments."""

    @cache
    def build(spec, outputs=(), **structure):
        path = EXAMPLES / f"{spec}.py"
        return compile_model(build_model(str(path) if path.exists() else spec, **structure), Options(outputs=outputs))

    return build


@pytest.fixture(scope="session")
def mlp(compiled):
    """The generated module of the two-layer network with tanh."""
    return compiled("mlp").solver.module


@pytest.fixture(scope="session")
def recurrent(compiled):
    """The generated module of the recurrent network with tanh."""
    return compiled("recurrent").solver.module


@pytest.fixture
def three_samples():
    """Three inputs in five dimensions with labels: the sources of the network have four dimensions."""
    rng = np.random.default_rng(1)
    return {"X": rng.standard_normal((3, 5)), "y": np.array([1.0, -1.0, 0.5])}


@pytest.fixture
def two_samples():
    """Two samples by their kernel: the sources have three dimensions, so that a Gauss-Hermite rule can serve."""
    return {"Kx": np.array([[0.2, 0.06], [0.06, 0.3]]), "y": np.array([1.0, -1.0])}


@pytest.fixture(scope="session", autouse=True)
def started(request, tmp_path_factory):
    """The runs that test_threads.py waits for: half a minute on the other processor, while others are tested."""
    wanted = any(item.path.name == "test_threads.py" for item in request.session.items)
    running = two_threads.start(tmp_path_factory.mktemp) if wanted else {}
    yield running
    for process, _ in running.values():
        process.kill()


@pytest.fixture(scope="session")
def cupy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("cupy", reason="CuPy is not installed")
