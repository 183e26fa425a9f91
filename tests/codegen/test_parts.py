"""Parts of the sample paths in one generated sweep give what each gives in a sweep of its own."""

from functools import cache

import matrix_models
import numpy as np
import pytest
from fluctuating_models import CASES, KX, Y, interpreted, prepared

import dmftsym as ds
from dmftsym.models.loading import build_model

STEPS, PATHS, PARTS, TOLERANCE = 4, 24, 3, 1e-11  # relative to the largest entry: sums are taken in another order
GIVEN = {"gamma": 1.2, "eta": 0.3}, {"Kx": KX, "y": Y}
MODELS = {
    "one layer": (lambda: build_model("mlp"), *GIVEN, "euler"),
    "two layers": (lambda: build_model("mlp", depth=2), *GIVEN, "euler"),
    "linear": (lambda: build_model("mlp", depth=2, activation="linear"), *GIVEN, "euler"),
    "three layers": (lambda: build_model("mlp", depth=3), *GIVEN, "euler"),
    "recurrent": (lambda: build_model("recurrent"), {"g": 1.4}, {}, "euler"),
    "correlated": (matrix_models.correlated, {"g": 1.4, "rho": -0.6}, {}, "euler"),
    "ring": (matrix_models.ring, {"sigma": 1.1, "nu": 0.5, "tug": 0.7, "eta": 0.2}, {}, "euler"),
    "p_spin": (lambda: build_model("p_spin"), {"temperature": 0.7}, {}, "euler"),
} | {name: (case.build, case.parameters, case.data, case.scheme) for name, case in CASES.items()}
QUICK = ("two layers", "correlated", "ring", "white", "memory", "heun, two_populations")


@cache
def module_of(name):
    build, _, _, scheme = MODELS[name]
    return interpreted(ds.compile_model(build(), ds.Options(scheme=scheme)).source.text)


def drawn(name):
    """A module, and what its sweep takes for each of several parts of the paths."""
    _, parameters, data, _ = MODELS[name]
    module = module_of(name)
    return module, [prepared(module, parameters, data, STEPS, PATHS, seed) for seed in range(PARTS)]


def side_by_side(tables):
    return {key: np.concatenate([own[key] for own in tables], axis=-1) for key in tables[0]}


def together_and_alone(name):
    module, given = drawn(name)
    values, factors, normals, weights = zip(*given, strict=True)
    dt = module.TIME_STEP or 0.1
    parted, joined = values[0] | {"(parts)": PARTS}, (side_by_side(normals), side_by_side(weights))
    together, *_ = module.sweep(parted, factors[0], *joined, STEPS, dt, None)
    alone = [module.sweep(*each, STEPS, dt, None)[0] for each in given]
    return together, {key: np.stack([own[key] for own in alone]) for key in alone[0]}


def distance(one, other):
    assert set(one) == set(other)
    found = 0.0
    for name, expected in other.items():
        assert one[name].shape == expected.shape and np.array_equal(np.isnan(one[name]), np.isnan(expected)), name
        size = np.nanmax(np.abs(expected), initial=1e-300)
        found = max(found, np.nanmax(np.abs(one[name] - expected), initial=0.0) / size)
    return found


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in MODELS])
def test_parts_side_by_side_are_what_they_are_alone(name):
    if name == "plain":
        pytest.skip("its data fix the number of steps")
    together, alone = together_and_alone(name)
    assert distance(together, alone) < TOLERANCE
    other = {key: np.roll(array, 1, axis=0) for key, array in together.items()}
    moves = any(np.ptp(array, axis=0).any() for array in alone.values())
    assert not moves or distance(other, alone) > 1e-3, "negative control: parts differ"


@pytest.mark.parametrize("letters", ["mp,np->amn", "mp,p->am", "amn,np->mp", "an,np->p", "smp,mp->asm", "am,np,mp->an"])
def test_products_of_parts(letters):
    module = module_of("two layers")
    rng, sizes = np.random.default_rng(1), {"a": 3, "p": 15, "m": 4, "n": 2, "s": 5}
    inputs, output = letters.split("->")
    arrays = [rng.standard_normal([sizes[k] for k in each]) for each in inputs.split(",")]
    found = module._einsum_of_parts(letters, 3, *arrays)
    parts, over = [], [each.endswith("p") for each in inputs.split(",")]
    for k in range(3):
        own = [x[..., 5 * k : 5 * k + 5] if paths else x[k] for x, paths in zip(arrays, over, strict=True)]
        parts.append(np.einsum(letters.replace("a", ""), *own))
    expected = np.concatenate(parts, axis=-1) if output.endswith("p") else np.stack(parts)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert not np.allclose(found, np.roll(expected, 1, axis=-1 if output.endswith("p") else 0)), "negative control"
