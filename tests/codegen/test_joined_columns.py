"""Columns of a sweep backward that begin at different times: together, apart, and replaced by combinations."""

import numpy as np
import pytest
from fluctuating_models import interpreted

import dmftsym as ds

PARAMETERS = {"gamma": 1.2, "eta": 0.3}
DATA = {"Kx": np.array([[1.0, 0.4], [0.4, 0.8]]), "y": np.array([1.0, -0.7])}
STEPS, PATHS = 6, 24


@pytest.fixture(scope="module")
def sweeps():
    """The module, what `joined_sweep` takes but for the room, and all influences by one plain sweep."""
    options = ds.Options(covariance=("f", "K", "Phi1"))
    module = interpreted(ds.compile_model(ds.build_model("mlp", depth=2), options).source.text)
    taken = {}

    def plain(values, recorded, normals, weights, steps, dt, seeds_of, times, at_once):
        count = len(times)
        sized, seeds = values | {"(columns)": count}, seeds_of(0, count, count)
        found, _ = module.adjoint_sweep(sized, recorded, normals, weights, steps, dt, seeds, (), int(times[0]))
        taken.setdefault("first", ((values, recorded, normals, weights, steps, dt, seeds_of, times), found))
        return found, count

    joined, module.joined_sweep = module.joined_sweep, plain
    module.fluctuations(PARAMETERS, DATA, steps=STEPS, points=PATHS, repeats=1)
    module.joined_sweep = joined
    return module, *taken["first"]


@pytest.mark.parametrize("together", [16, 7])
def test_columns_that_begin_later_give_what_a_sweep_of_all_gives(sweeps, together, monkeypatch):
    module, arguments, expected = sweeps
    monkeypatch.setattr(module, "BEGINNING", together)
    monkeypatch.setattr(module, "NEGLIGIBLE", 1e-12)
    found, count = module.joined_sweep(*arguments, 1000)
    assert count == len(arguments[-1]) > 3 * together
    for site, influence in expected.items():
        scale = np.abs(influence).max()
        assert np.abs(found[site] - influence).max() < 1e-9 * scale
    monkeypatch.setattr(module, "NEGLIGIBLE", 0.3)
    rough, _ = module.joined_sweep(*arguments, 1000)
    assert max(np.abs(rough[s] - expected[s]).max() / np.abs(expected[s]).max() for s in rough) > 1e-4, "too few"


def test_where_there_is_room_for_few_columns_the_others_wait(sweeps, monkeypatch):
    module, arguments, expected = sweeps
    monkeypatch.setattr(module, "NEGLIGIBLE", 1e-12)
    found, count = module.joined_sweep(*arguments, 30)
    assert 0 < count < len(arguments[-1])
    for site, influence in expected.items():
        assert np.abs(found[site] - influence[:count]).max() < 1e-9 * np.abs(influence).max()
