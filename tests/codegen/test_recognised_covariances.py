"""Covariances of actions that were averaged by hand: they go through the random matrices that are found in them."""

import numpy as np
import pytest
import raw_library
from fluctuating_models import KX, Y, interpreted
from sympy import Heaviside, cos

import dmftsym as ds
from dmftsym.linearise.records import Fluctuations, Influences

CASES = {
    "network": (
        lambda: raw_library.mlp(depth=2),
        lambda: ds.build_model("mlp", depth=2),
        ({"gamma": 1.2, "eta": 0.3}, {"Kx": KX, "y": Y}),
        ("f", "K"),
    ),
    "recurrent": (raw_library.recurrent, lambda: ds.build_model("recurrent"), ({"g": 1.4}, {}), ("C",)),
}


def compiled(model, names):
    return ds.compile_model(model, ds.Options(covariance=names, outputs=names))


def covariances(found):
    return {name: array for name, array in found.items() if name.startswith("cov_") and np.ndim(array)}


@pytest.mark.parametrize("name", [pytest.param("network", marks=pytest.mark.slow), "recurrent"])
def test_the_same_as_of_the_said_model(name):
    """Both sweeps are the same arithmetic on the same sample paths."""
    raw, said, given, names = CASES[name]
    options, found = {"steps": 4, "points": 64, "repeats": 2, "accuracy": 100.0}, []
    for build in (raw, said):
        model = compiled(build(), names)
        assert isinstance(model.fluctuations, Influences) and model.program.sampling.directions
        found.append(interpreted(model.source.text))
    one, other = (covariances(module.fluctuations(*given, **options)) for module in found)
    assert set(one) == set(other) and f"cov_{names[0]}_{names[-1]}" in one
    for key, value in other.items():
        np.testing.assert_allclose(one[key], value, rtol=0, atol=1e-12 * np.abs(value).max())
    moved = covariances(found[0].fluctuations({k: v * (1 + 1e-6) for k, v in given[0].items()}, given[1], **options))
    assert any(np.abs(moved[k] - v).max() > 1e-9 * np.abs(v).max() for k, v in other.items()), "a millionth must show"


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_same_as_of_the_averaged_form(name, request):
    """Within standard errors: two ways to the same numbers, on other sample paths."""
    raw, _, given, names = CASES[name]
    options = {"steps": 8, "covariance_points": 8192, "points": 256, "time_step_error": False, "accuracy": 10.0}
    held = compiled(raw(), names).solve(*given, **options, seed=1)
    request.getfixturevalue("averaged_form")
    averaged_model = compiled(raw(), names)
    assert not averaged_model.program.sampling.directions
    averaged = averaged_model.solve(*given, **options, seed=2)
    other = compiled(raw(), names).solve({k: v * 1.1 for k, v in given[0].items()}, given[1], **options, seed=2)
    for key in covariances(held):
        error = np.hypot(held[f"se_{key}"], averaged[f"se_{key}"]).values
        error = np.maximum(error, np.sqrt((error**2).mean()))  # of four parts: three degrees of freedom
        z = (held[key] - averaged[key]).values / error
        assert np.sqrt((z**2).mean()) < 1.8 and np.abs(z).max() < 5, (key, np.abs(z).max())
        control = (held[key] - other[key]).values / error
        assert np.abs(control).max() > 5, "ten per cent of the parameters must show"


def asked_for(psi):
    """A recurrent network, averaged by hand, whose units are asked for psi beside their kernel."""
    m = ds.Model("asked")
    t, s = m.times("t s")
    C, q, site = m.order_parameter("C", t, s), m.order_parameter("q", t), m.site("unit")
    x, y, phi = site.field("x", t, variance=1), site.field("y", t), m.activation("phi", "tanh")
    site.equation(x[t], x[t - 1] / 2 + y[t - 1])
    site.equation(y[t], 0)
    site.noise(y[t], y[s], C[t, s])
    site.observe(C[t, s], phi(x[t]) * phi(x[s]))
    site.observe(q[t], psi(x[t] - 1))
    return m


@pytest.mark.parametrize(("psi", "way"), [(Heaviside, Fluctuations), (cos, Influences)])
def test_jumps_are_solved_as_they_were_averaged(psi, way):
    """A sweep backward misses what jumps add; where noise alone is left of a matrix, a sweep forward does not."""
    model = ds.compile_model(asked_for(psi), ds.Options(covariance=("q",)))
    assert isinstance(model.fluctuations, way) and bool(model.fluctuations.jumps) == (way is Fluctuations)
    assert bool(model.program.sampling.directions) == (way is Influences)
