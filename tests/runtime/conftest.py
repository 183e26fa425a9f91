"""Solvers and data that the tests of the runtime share."""

import numpy as np
import pytest

from dmftsym import Options, compile_model
from dmftsym.models.loading import build_model


@pytest.fixture(scope="session")
def network():
    """The two-layer network with all kernels."""
    return compile_model(build_model("mlp"), Options(outputs=("Phi1", "G1")))


@pytest.fixture(scope="session")
def recurrent():
    """The recurrent network."""
    return compile_model(build_model("recurrent"))


@pytest.fixture(scope="session")
def samples():
    """Three samples in five dimensions."""
    return {"X": np.random.default_rng(1).standard_normal((3, 5)), "y": np.array([1.0, -1.0, 0.5])}


@pytest.fixture(scope="session")
def result(network, samples):
    """A short sampled run of the two-layer network."""
    options = {"steps": 4, "dt": 0.5, "measure": "sobol", "points": 128, "seed": 7}
    return network.solve({"gamma": 1, "eta": 0.2}, samples, **options)
