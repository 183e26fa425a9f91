"""Random models in continuous time by scheme heun: errors of second order, and the limit of Euler's rule.

The models are those of `random_models.py`. Nothing random is left but a few paths with given normals: white noise is
zero, an evolving source follows its first normals, so that finer steps solve the same equations better.
"""

import warnings

import numpy as np
import pytest
from fluctuating_models import interpreted, prepared
from random_models import Drawn

import dmftsym as ds

INTERVALS, DURATION, PATHS = (8, 16, 32), 0.5, 4
DEFAULT, ALL = (2, 32, 36), range(150)
REFUSED = "one step earlier|drives no time derivative|jumps to infinity|inside the range|at equal times"


def compiled(drawn, scheme):
    """The text of the module of a model in continuous time, None where it is rightly refused."""
    try:
        return ds.compile_model(drawn.model, ds.Options(scheme=scheme)).source.text
    except ds.DmftsymError as error:
        if scheme == "heun":
            assert any(words in str(error) for words in REFUSED.split("|")), error
        return None


def data_of(drawn, module, times):
    """The model's data, those in time as a smooth function of it."""
    own = {name: np.asarray(array) for name, array in drawn.data.items() if name in module.DATA}
    in_time = {name for name in own if "time" in module.DATA[name][0]}
    return {name: np.cos(3 * times) * array[0] if name in in_time else array for name, array in own.items()}


def run(drawn, text, intervals):
    """All results at the coarsest times; response functions, which are densities at equal times, left out."""
    module, step = interpreted(text), DURATION / intervals
    data = data_of(drawn, module, step * np.arange(intervals + 1))
    parameters = {name: value for name, value in drawn.parameters.items() if name in module.PARAMETERS}
    values, factors, normals, weights = prepared(module, parameters, data, intervals + 1, PATHS)
    rng = np.random.default_rng(drawn.seed)
    for site in module.SITES:
        static = len(module.antithetic_signs(site, values, factors))
        here = module._moving_dimensions(site, values, 1)
        moving = np.zeros((module._moving_dimensions(site, values, intervals + 1), PATHS))
        drawn_once = rng.standard_normal((static + here, PATHS))
        normals |= module.split_normals(site, drawn_once[:static], moving, values, factors)
        for name in normals:
            if f"noise_{name}.draw(" in text and normals[name].ndim == 2:
                first = len(normals[name]) // (intervals + 1)
                normals[name][:first] = np.random.default_rng(7).standard_normal((first, PATHS))
    found, status, _ = module.sweep(values, factors, normals, weights, intervals + 1, step, None)
    assert status == "ok"
    every = lambda name: tuple(
        slice(None, None, intervals // INTERVALS[0]) if axis == "time" else slice(None) for axis in module.OUTPUTS[name]
    )
    return {name: array[every(name)] for name, array in found.items() if not name.startswith("R")}


def largest(array):
    return np.abs(array).max(initial=0.0)


@pytest.mark.parametrize("seed", [s if s in DEFAULT else pytest.param(s, marks=pytest.mark.slow) for s in ALL])
def test_errors_of_second_order(seed):
    drawn = Drawn(seed)
    texts = {"euler": compiled(drawn, "euler")} if drawn.continuous else {}
    texts |= {"heun": compiled(drawn, "heun")} if texts.get("euler") else {}
    if not texts.get("heun"):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = {scheme: [run(drawn, text, n) for n in INTERVALS] for scheme, text in texts.items()}
    for name in runs["heun"][0]:
        euler, heun = ([r[name] for r in runs[scheme]] for scheme in ("euler", "heun"))
        limit = (4 * heun[2] - heun[1]) / 3
        plain = largest(euler[2] - limit)
        assert largest((8 * euler[2] - 6 * euler[1] + euler[0]) / 3 - limit) < max(2e-6, 0.12 * plain), name
        coarse, fine = largest(heun[1] - heun[0]), largest(heun[2] - heun[1])
        assert fine < max(1e-5, coarse / 3), name  # small errors may not be those of the leading order
