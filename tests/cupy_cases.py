"""Models for the CuPy target: their generated modules on the stand-in, and what Numba says of the same numbers."""

import types
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import NamedTuple

import matrix_models
import numpy as np
import pytest
import raw_library
from as_averaged import as_averaged
from cupy_stand_in import stand_in
from fluctuating_models import interpreted

import dmftsym as ds
from dmftsym.models.loading import build_model

TWO = {"Kx": np.array([[1.0, 0.4], [0.4, 0.8]]), "y": np.array([1.0, -0.7])}
THREE = {"Kx": np.array([[1.0, 0.4, 0.3], [0.4, 0.8, 0.1], [0.3, 0.1, 0.9]]), "y": np.array([1.0, -0.7])}
RICH = {"gamma": 1.5, "eta": 0.3}
LABELLED = THREE | {"y_test": np.array([1.0])}
EQUAL = {"Kx": np.ones((2, 2)), "y": np.array([1.0, 0.5])}
LOGISTIC = {"activation": "softplus", "loss": "logistic", "centered": True, "test_labels": True}
FEW = {"points": 256}


def raw_deep():
    """Two hidden layers and test points, averaged by hand."""
    return raw_library.mlp(2, test=True)


class Case(NamedTuple):
    """A model of the library with its structure, or a function that builds one, what is asked for, and a run."""

    model: str | Callable
    structure: dict
    outputs: tuple
    parameters: dict
    data: dict
    options: dict
    covariance: tuple = ()
    scheme: str = "euler"
    averaged: bool = False  # as the model was averaged: no matrix is held


CASES = {
    "two layers": Case("mlp", {}, ("sharpness", "Phi1"), RICH, TWO, {}),
    "sampled": Case("mlp", {"activation": "relu"}, ("G1",), RICH, TWO, {"measure": "sobol", "points": 300}),
    "options": Case("mlp", LOGISTIC, (), RICH, LABELLED, {}),
    "three layers": Case("mlp", {"depth": 2}, ("A1", "B1", "sharpness"), RICH, TWO, FEW),
    "four layers": Case("mlp", {"depth": 3, "activation": "erf", "test": True}, (), RICH, THREE, FEW),
    "equal samples": Case("mlp", {"depth": 2}, ("Phi1",), RICH, EQUAL, {"points": 64}),
    "deep linear": Case("mlp", {"depth": 2, "activation": "linear"}, (), RICH, TWO, {}),
    "recurrent": Case("recurrent", {}, ("R",), {"g": 1.4}, {}, FEW),
    "symmetric": Case("recurrent", {"symmetric": True}, (), {"g": 1.4, "rho": 0.5}, {}, FEW),
    "p_spin": Case("p_spin", {}, (), {"temperature": 0.7}, {}, {}),
    "matrices": Case(
        matrix_models.ring, {}, (), {"sigma": 1.1, "nu": 0.5, "tug": 0.7, "eta": 0.2}, {}, FEW | {"tolerance": 1e-4}
    ),
    "two passes": Case("recurrent", {"symmetric": True}, ("R",), {"g": 1.4, "rho": 0.5}, {}, FEW, scheme="heun"),
}
SPARSE = {"points": 128, "repeats": 2}
FLUCTUATING = {  # as other tests have them, so that Numba has compiled them already
    "tangents": Case("mlp", {}, (), RICH, TWO, {}, ("f", "K", "loss")),
    "tangents, options": Case("mlp", LOGISTIC, (), RICH, LABELLED, SPARSE, ("f_test", "loss_test", "sharpness")),
    "differences": Case("mlp", {"activation": "relu"}, (), RICH, TWO, SPARSE, ("f",)),
    "evolving": Case(raw_library.recurrent, {}, (), {"g": 1.4}, {}, SPARSE, ("C",), averaged=True),
    "influences": Case(raw_deep, {}, (), RICH, THREE, SPARSE, ("f", "f_test", "Phi1_cross"), averaged=True),
    "through matrices": Case("mlp", {"depth": 2, "test": True}, (), RICH, THREE, SPARSE, ("f", "f_test")),
    "correlated": Case("recurrent", {"symmetric": True}, (), {"g": 1.4, "rho": 0.5}, {}, SPARSE, ("C",)),
    "closed": Case("mlp", {"depth": 2, "activation": "linear"}, (), RICH, TWO, {}, ("f", "Phi1", "G2")),
    "kicks": Case("p_spin", {}, (), {"temperature": 0.7}, {}, {}, ("C", "mu")),
}
ALL = CASES | FLUCTUATING
TOLERANCE = 1e-12  # relative to the largest entry: sums are taken in another order


def built(case):
    """The model of a case."""
    return case.model() if callable(case.model) else build_model(case.model, **case.structure)


@cache
def source(name, backend):
    case = ALL[name]
    options = ds.Options(backend=backend, outputs=case.outputs, covariance=case.covariance, scheme=case.scheme)
    with as_averaged() if case.averaged else nullcontext():
        return ds.compile_model(built(case), options).source.text


def loaded(text):
    module = types.ModuleType("generated")
    with stand_in():
        exec(compile(text, "generated", "exec"), module.__dict__)
    return module


def run(name, module):
    case = ALL[name]
    if case.covariance:
        return module.fluctuations(case.parameters, case.data, steps=5, **case.options)
    return module.solve(case.parameters, case.data, steps=6, dt=0.1, **case.options)


def reference(name):
    case = ALL[name]
    few = (case.covariance and name != "tangents") or callable(case.model)
    if few or case.scheme != "euler":  # faster than compiling it
        return run(name, interpreted(source(name, "numba")))
    options = ds.Options(outputs=case.outputs, covariance=case.covariance)
    return run(name, ds.compile_model(built(case), options).solver.module)


def distance(expected, found):
    """The largest difference of two results, each array relative to its largest entry."""
    assert set(found) == set(expected)
    worst = 0.0
    for name, value in expected.items():
        if value.dtype.kind != "f":
            assert str(value) == str(found[name]), name
        elif not name.startswith("se_") and "estimated_error" not in name:
            assert np.array_equal(np.isnan(value), np.isnan(found[name])), name
            scale = max(1.0, np.nanmax(np.abs(value), initial=0.0))
            worst = max(worst, np.nanmax(np.abs(value - found[name]), initial=0.0) / scale)
    return worst


def on_hardware(cupy, name):
    """The module of a case with the real package, where there is a device."""
    if not cupy.cuda.is_available():
        pytest.skip("no CUDA device")
    case = ALL[name]
    options = ds.Options(backend="cupy", outputs=case.outputs, covariance=case.covariance, scheme=case.scheme)
    with as_averaged() if case.averaged else nullcontext():
        return ds.compile_model(built(case), options).solver.module
