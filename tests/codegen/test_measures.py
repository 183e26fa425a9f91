"""Averaging rules: their errors are as large as they say, they agree with one another, and they know their memory."""

import math
import re
import tracemalloc

import numpy as np
import pytest

import dmftsym as ds

PARAMETERS = {"gamma": 1.0, "eta": 0.3}


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.fixture(scope="module")
def runs(mlp):
    """Twelve runs with different seeds, for both rules that sample: f after the first step and its se."""
    rng = np.random.default_rng(1)
    data = {"X": rng.standard_normal((3, 5)), "y": np.array([1.0, -1.0, 0.5])}
    options = {"steps": 6, "points": 2048}
    found = {}
    for rule in ("sobol", "monte-carlo"):
        results = [mlp.solve(PARAMETERS, data, measure=rule, seed=seed, **options) for seed in range(12)]
        found[rule] = tuple(np.stack([r[name][:, 1:] for r in results]) for name in ("f", "se_f"))
    return found


@pytest.mark.parametrize("rule", ("sobol", "monte-carlo"))
def test_sampling_error_is_the_spread_between_seeds(rule, runs):
    f, se = runs[rule]
    ratio = rms(f.std(axis=0, ddof=1)) / rms(se)
    assert 0.5 < ratio < 2
    assert not 0.5 < ratio * math.sqrt(8) < 2  # negative control: the spread of single scramblings is told apart


def test_sobol_beats_monte_carlo(runs):
    assert rms(runs["sobol"][1]) < 0.5 * rms(runs["monte-carlo"][1])


def test_the_error_of_monte_carlo_falls_as_the_root_of_the_number_of_paths(mlp, three_samples):
    options = {"steps": 4, "measure": "monte-carlo"}
    few, many = (
        rms([mlp.solve(PARAMETERS, three_samples, points=n, seed=s, **options)["se_f"][:, 1:] for s in range(6)])
        for n in (1024, 16384)
    )
    assert 0.6 < few / many / 4 < 1.6


@pytest.mark.parametrize("rule", ("sobol", "monte-carlo"))
def test_rules_agree_with_gauss_hermite(rule, mlp, two_samples):
    reference = mlp.solve(PARAMETERS, two_samples, steps=6, measure="hermite")
    assert reference["estimated_error"] < 1e-6
    sampled = mlp.solve(PARAMETERS, two_samples, steps=6, measure=rule, points=16384)
    for name in ("f", "K", "loss"):
        error = rms(sampled[f"se_{name}"][..., 1:])
        assert rms((sampled[name] - reference[name])[..., 1:]) < 4 * error, name
    other = mlp.solve({"gamma": 1.0, "eta": 0.33}, two_samples, steps=6, measure="hermite")
    assert rms((other["f"] - reference["f"])[:, 1:]) > 4 * rms(sampled["se_f"][:, 1:])  # negative control: eta


def test_auto_takes_gauss_hermite_where_it_is_accurate(mlp, two_samples, three_samples):
    few = mlp.solve(PARAMETERS, two_samples, steps=3)
    assert str(few["measure"]).startswith("hermite") and "se_f" not in few
    many = mlp.solve(PARAMETERS, three_samples, steps=3, points=256)
    assert str(many["measure"]).startswith("sobol") and many["se_f"].shape == (3, 3)
    # three samples in a plane: a null direction leaves three dimensions
    flat = mlp.solve(PARAMETERS, {**three_samples, "X": three_samples["X"][:, :2]}, steps=3)
    assert str(flat["measure"]).startswith("hermite")


def test_auto_does_not_take_gauss_hermite_across_a_kink(compiled, two_samples):
    module = compiled("mlp", activation="relu").solver.module
    assert str(module.solve(PARAMETERS, two_samples, steps=3, points=256)["measure"]).startswith("sobol")


def test_the_error_estimate_of_gauss_hermite_is_honest(mlp, two_samples):
    """With few nodes the reported relative error bounds the true one, and is not far above it."""
    exact = mlp.solve(PARAMETERS, two_samples, steps=6, measure="hermite", points=40)
    rough = mlp.solve(PARAMETERS, two_samples, steps=6, measure="hermite", points=8)
    true = max(np.abs(rough[n] - exact[n]).max() / np.abs(exact[n]).max() for n in mlp.OUTPUTS)
    assert true < rough["estimated_error"] < 100 * true


@pytest.mark.parametrize("points", (100, 200, 400, 4000))
def test_very_many_nodes_are_right_or_refused(points, mlp):
    """NumPy's weights overflow from about 370 nodes on. At h = 1e-15 the network is linear: few nodes are exact."""
    data = {"Kx": np.array([[1e-30]]), "y": np.ones(1)}
    solve = lambda points: mlp.solve(PARAMETERS, data, steps=2, measure="hermite", points=points)
    try:
        found = solve(points)
    except ValueError as refusal:
        assert str(points) in str(refusal)
        return
    assert np.allclose(found["K"], solve(40)["K"], rtol=1e-10, atol=0)


@pytest.mark.parametrize("rule", ("sobol", "monte-carlo"))
def test_seeds_reproduce_bit_for_bit(rule, mlp, recurrent, three_samples):
    for module, parameters, data in ((mlp, PARAMETERS, three_samples), (recurrent, {"g": 1.5}, {})):
        solve = lambda seed: module.solve(parameters, data, steps=5, measure=rule, points=64, seed=seed)  # noqa: B023
        first, again, other = solve(3), solve(3), solve(4)
        assert all(np.array_equal(first[name], again[name]) for name in first)
        name = next(iter(module.OUTPUTS))
        assert not np.array_equal(first[name], other[name])


def test_seeds_change_every_scrambling(recurrent):
    """Different repeats of one seed, and the same repeat of different seeds, use different points."""
    values = [float(recurrent.solve({"g": 1.5}, steps=2, points=64, repeats=1, seed=s)["Cx"][0, 1]) for s in range(8)]
    assert len(set(values)) == 8
    assert (recurrent.solve({"g": 1.5}, steps=2, points=64)["se_Cx"] > 0).all()


def test_a_model_without_randomness():
    """x(t) = 1 + sum_{s<t} x(s) = 2^t, whatever the rule."""
    model = ds.Model("deterministic")
    t, s = model.times("t s")
    C = model.order_parameter("C", t, s)
    site = model.site("unit")
    x = site.field("x", t)
    site.equation(x[t], 1 + ds.past(s)(x[s]))
    site.observe(C[t, s], x[t] * x[s])
    solver = ds.compile_model(model).solver.module
    doubling = 2.0 ** np.arange(5)
    for measure in ("sobol", "monte-carlo", "auto"):
        found = solver.solve({}, {}, steps=5, measure=measure, points=16)["C"]
        assert np.allclose(found, np.outer(doubling, doubling), rtol=1e-12), measure


@pytest.fixture
def estimates(recurrent, monkeypatch):
    """The estimates of memory against which solve checks its limit, in the order in which it makes them."""
    made, original = [], recurrent.memory_bytes
    monkeypatch.setattr(recurrent, "memory_bytes", lambda *a: made.append(original(*a)) or made[-1])
    return made


def test_memory_that_is_too_much_is_refused_before_it_is_taken(recurrent, estimates):
    with pytest.raises(ValueError, match=r"reduce.*steps.*20000.*points") as refusal:
        recurrent.solve({"g": 1.5}, steps=20000, points=32768, memory_limit=2**30)
    numbers = [float(n) for n in re.findall(r"[\d.]+(?= GiB)", str(refusal.value))]
    assert numbers == pytest.approx([max(estimates) / 2**30, 1.0], abs=0.06)
    assert numbers[0] > 20000**2 * 8 / 2**30  # C alone


def test_memory_that_suffices_is_accepted(recurrent):
    assert str(recurrent.solve({"g": 1.5}, steps=20, points=64, memory_limit=2**26, accuracy=1.0)["status"]) == "ok"


def test_gauss_hermite_respects_the_memory_limit(mlp, two_samples):
    with pytest.raises(ValueError, match="reduce"):
        mlp.solve(PARAMETERS, two_samples, steps=3, measure="hermite", points=40, memory_limit=2**18)


def peak_bytes(call) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("steps", "points"),
    [(200, 16384), pytest.param(200, 2048, marks=pytest.mark.slow), (300, 128)],
    ids=("many paths", "fewer paths", "few paths, where results count most"),
)
def test_the_estimate_of_memory_is_near_the_measured_peak(steps, points, recurrent, estimates):
    recurrent.solve({"g": 1.5}, steps=2, points=64)  # compile first
    estimates.clear()
    peak = peak_bytes(lambda: recurrent.solve({"g": 1.5}, steps=steps, points=points))
    assert 1 / 1.5 < max(estimates) / peak < 1.5
