"""Errors and status: rules that converge to a wrong answer, quantities that vanish, runaways, the time step."""

import math
import re

import numpy as np
import pytest
from fluctuating_models import interpreted
from scipy.integrate import quad

import dmftsym as ds
from dmftsym.models.loading import build_model


def moments(activation):
    """q = <phi(x)^2> and p = <x phi(x)>, x ~ N(0, v), at every time."""
    m = ds.Model("moments")
    t, s = m.times("t s")
    v = m.parameters("v", positive=True)
    phi = m.activation("phi", activation)
    q, p = m.order_parameter("q", t), m.order_parameter("p", t)
    site = m.site("unit")
    x = site.field("x", t)
    site.equation(x[t], 0)
    site.noise(x[t], x[s], v)
    site.observe(q[t], phi(x[t]) ** 2)
    site.observe(p[t], x[t] * phi.d(1)(x[t]))
    return m


def slope(activation):
    """G = <phi'(x)^2>, x ~ N(0, v)."""
    m = ds.Model("slope")
    t, s = m.times("t s")
    v = m.parameters("v", positive=True)
    phi = m.activation("phi", activation)
    G = m.order_parameter("G", t)
    site = m.site("unit")
    x = site.field("x", t)
    site.equation(x[t], 0)
    site.noise(x[t], x[s], v)
    site.observe(G[t], phi.d(1)(x[t]) ** 2)
    return m


def module_of(model, **options):
    return interpreted(ds.compile_model(model, ds.Options(**options)).source.text)


def gaussian_average(function, variance, breaks):
    sd = math.sqrt(variance)
    weight = lambda x: math.exp(-x * x / (2 * variance)) / (sd * math.sqrt(2 * math.pi))
    return quad(lambda x: function(x) * weight(x), -9 * sd, 9 * sd, points=breaks, limit=4000)[0]


def logistic(x):
    return 0.5 * (1 + math.tanh(x / 2))


HARD = {  # formula, variance, the square of its derivative, where it is steep
    "steep": ("logistic(40*h)", 0.8, lambda x: (40 * logistic(40 * x) * logistic(-40 * x)) ** 2, (-0.1, 0, 0.1)),
    "large inputs": ("tanh", 90.0, lambda x: (1 - math.tanh(x) ** 2) ** 2, (-3, 0, 3)),
    "aside": (
        "tanh(h) + exp(-((h - 3/5)/(1/50))**2)",
        1.0,
        lambda x: (1 - math.tanh(x) ** 2 - 2 * (x - 0.6) / 0.0004 * math.exp(-(((x - 0.6) / 0.02) ** 2))) ** 2,
        (0.5, 0.6, 0.7),
    ),
}


@pytest.mark.parametrize("case", HARD)
def test_a_rule_that_converges_to_a_wrong_answer_is_found_out(case):
    formula, variance, integrand, breaks = HARD[case]
    right = gaussian_average(integrand, variance, breaks)
    module = module_of(slope(formula))
    found = module.solve({"v": variance}, steps=1, points=4096)
    error = abs(found["G"][0] - right)
    assert str(found["measure"]).startswith("sobol") and error < 3.5 * found["se_G"][0]
    forced = module.solve({"v": variance}, steps=1, measure="hermite")
    missed = abs(forced["G"][0] - right) / max(right, forced["G"][0])
    assert missed > 0.2, "negative control: Gauss-Hermite fails here"
    assert forced["estimated_error"] > 0.3 * missed and str(forced["status"]).startswith("inaccurate: the quadrature")


def test_two_even_rules_agree_on_the_wrong_answer():
    """The check is needed: rules with 40 and 30 nodes agree to 1e-3 where both miss most of the average."""
    formula, variance, integrand, breaks = HARD["steep"]
    module, right = module_of(slope(formula)), gaussian_average(integrand, variance, breaks)
    one, other = (module.solve({"v": variance}, steps=1, measure="hermite", points=n)["G"][0] for n in (40, 30))
    assert abs(one - other) < 1e-3 * right and abs(one - right) > 0.5 * right
    assert all((n - module._coarser(n)) % 2 == 1 for n in (5, 8, 28, 40, 64)) and module._coarser(2) == 1


def test_a_smooth_average_still_takes_gauss_hermite():
    module = module_of(slope("tanh"))
    for seed in range(20):  # 8 standard errors of 8 parts are never exceeded by chance
        found = module.solve({"v": 0.3}, steps=1, seed=seed)
        assert str(found["measure"]).startswith("hermite, 64") and found["estimated_error"] < 1e-6
    right = gaussian_average(lambda x: (1 - math.tanh(x) ** 2) ** 2, 0.3, (0,))
    assert found["G"][0] == pytest.approx(right, rel=1e-7)


@pytest.mark.parametrize("measure", ("hermite", "sobol", "monte-carlo"))
def test_a_quantity_that_vanishes_by_symmetry_is_judged_by_its_terms(measure):
    """<x^2 sin x> = 0, with terms of size one."""
    m = ds.Model("odd")
    t, s = m.times("t s")
    q = m.order_parameter("q", t)
    site = m.site("unit")
    x = site.field("x", t)
    site.equation(x[t], 0)
    site.noise(x[t], x[s], 2)
    site.observe(q[t], x[t] ** 2 * m.activation("phi", "sin")(x[t]))
    found = module_of(m).solve({}, steps=1, measure=measure, points=60 if measure == "hermite" else 2048)
    assert abs(found["q"][0]) < 0.2 and found["estimated_error"] < 0.05 and str(found["status"]) == "ok"
    if measure == "monte-carlo":
        assert 0.3 < found["estimated_error"] * math.sqrt(2048) < 3


def test_the_status_names_error_quantity_bound_and_what_to_do():
    module = module_of(moments("Max(h, 0)"))
    solve = lambda **options: module.solve({"v": 1.0}, steps=1, measure="monte-carlo", points=128, **options)
    strict, loose = solve(accuracy=0.01), solve(accuracy=0.9)
    words = re.fullmatch(
        r"inaccurate: the sampling error of (q|p) is (\S+), above 0.01; take more points \(128\)", str(strict["status"])
    )
    assert words and float(words[2]) == pytest.approx(float(strict["estimated_error"]), rel=0.05)
    assert str(loose["status"]) == "ok" and loose["estimated_error"] == strict["estimated_error"]
    with pytest.raises(module.InputError, match=r"accuracy.*-1"):
        solve(accuracy=-1)


def growing(rate):
    """x(t) = rate x(t - 1), C = <x x>: every step multiplies C(t, t) by the square of the rate."""
    m = ds.Model("growing")
    t, s = m.times("t s")
    r = m.parameters("r")
    C = m.order_parameter("C", t, s)
    site = m.site("unit")
    x = site.field("x", t, variance=2)
    site.equation(x[t], r * x[t - 1])
    site.observe(C[t, s], x[t] * x[s])
    return module_of(m).solve({"r": rate}, steps=40)


def test_a_runaway_is_called_where_it_leaves_its_scale():
    """The scale is the largest of 1, r and the first steps, C(1, 1) = 2 r^2: beyond 1e6 times that 7 steps later."""
    found = growing(3.0)
    step = next(k for k in range(40) if 2 * 9.0**k > 1e6 * 2 * 9.0)
    assert str(found["status"]) == f"diverged: C is beyond 1e+06 times its scale at step {step}"
    times = np.arange(step + 1)
    assert np.allclose(found["C"][: step + 1, : step + 1], 2 * 3.0 ** np.add.outer(times, times), rtol=1e-12)
    assert np.isnan(found["C"][step + 1 :]).all() and np.isnan(found["C"][:, step + 1 :]).all()


@pytest.mark.parametrize("rate", (1.1, -1.15, 0.5))
def test_growth_within_its_scale_is_no_runaway(rate):
    found = growing(rate)
    assert str(found["status"]) == "ok" and np.isfinite(found["C"]).all()


def test_what_comes_back_is_no_runaway():
    """A pulse of 1e7 that is over after two steps."""
    module, values = module_of(moments("tanh")), {"v": 1.0}
    pulse = {"q": np.array([1.0, 1.0, 1e7, 1e7, 1.0]), "p": np.ones(5), "status": np.array("ok")}
    assert str(module._stop_at_runaway(pulse, values, 5)["status"]) == "ok"
    stays = pulse | {"q": np.array([1.0, 1.0, 1e5, 1e7, 1e9])}
    assert "q is beyond 1e+06 times its scale at step 3" in str(module._stop_at_runaway(stays, values, 5)["status"])
    assert str(module._stop_at_runaway(stays, {"v": 1e4}, 5)["status"]) == "ok", "the parameters set a scale"


def relaxing(formula="h", noisy=0):
    """dx/dt = -x (+ white noise), C = <phi(x(t)) phi(x(s))>."""
    m = ds.Model("relaxing")
    t, s = m.times("t s", continuous=True, dt=0.1)
    phi = m.activation("phi", formula)
    C = m.order_parameter("C", t, s)
    site = m.site("unit")
    x = site.field("x", t, variance=1)
    site.equation(x.dot[t], -x[t])
    if noisy:
        site.noise(x[t], x[t], noisy)
    site.observe(C[t, s], phi(x[t]) * phi(x[s]))
    return m


def test_the_error_of_the_time_step_is_the_distance_from_the_closed_form():
    module = module_of(relaxing())
    times, errors = {}, {}
    for dt in (0.05, 0.1, 0.2):
        found = module.solve({}, steps=int(2 / dt) + 1, dt=dt, accuracy=1.0)
        right = np.exp(-np.add.outer(found["time"], found["time"]))
        errors[dt] = math.sqrt(np.mean((found["C"] - right) ** 2))
        times[dt] = float(found["time_step_error"])
        assert 0.6 < times[dt] / errors[dt] < 1.7 and found["time_step_uncertainty"] == 0
    assert 3 < errors[0.2] / errors[0.05] < 6, "first order"
    poor = module.solve({}, steps=11, dt=0.2, accuracy=0.01)
    words = r"inaccurate: the time step error of C is .*above 0.01; take a smaller dt \(0.2\)"
    assert re.match(words, str(poor["status"]))
    skipped = module.solve({}, steps=11, dt=0.2, accuracy=0.01, time_step_error=False)
    assert str(skipped["status"]) == "ok" and "time_step_error" not in skipped


def test_a_run_that_diverges_at_twice_the_time_step_is_not_ok():
    """Euler's rule is stable up to dt = 2: at 1.5 it gives numbers, far from the closed form."""
    found = module_of(relaxing()).solve({}, steps=60, dt=1.5)
    assert str(found["status"]).startswith("inaccurate: the time step error of C is ") and found["time_step_error"] > 1


@pytest.mark.parametrize("noisy", (0, 2))
def test_sampling_noise_is_no_error_of_the_time_step(noisy):
    """At dt = 1e-3 nothing is left of it; at dt = 0.4 it is far above what sampling can explain."""
    module = module_of(relaxing("tanh", noisy))
    options = {"measure": "monte-carlo", "points": 512, "accuracy": 10.0}
    fine = module.solve({}, steps=9, dt=1e-3, **options)
    assert fine["time_step_error"] < 0.2 * fine["time_step_uncertainty"] and fine["time_step_uncertainty"] > 0.01
    rough = module.solve({}, steps=9, dt=0.4, **(options | {"points": 4096}))
    assert rough["time_step_error"] > rough["time_step_uncertainty"]


def test_white_noise_of_two_steps_adds_up():
    module = module_of(relaxing("tanh", 2))
    name, rng = module.WHITE[0], np.random.default_rng(0)
    for steps in (4, 5):
        normals = {name: rng.standard_normal((steps, 1, 1000)), "x_start": rng.standard_normal((1, 1000))}
        _, coarse = module._on_every_other_step({}, normals, steps)
        assert coarse[name].shape == ((steps + 1) // 2, 1, 1000) and coarse["x_start"] is normals["x_start"]
        assert np.allclose(coarse[name][1], (normals[name][2] + normals[name][3]) / math.sqrt(2))
    assert np.array_equal(coarse[name][2], normals[name][4])


def test_a_delta_function_is_no_error_of_the_time_step():
    """<w w> of white noise is 1/dt at equal times; only the correlations beside them can be compared."""
    module = module_of(relaxing())
    values = np.exp(-np.add.outer(np.arange(6), np.arange(6)) / 10)
    fine, coarse = {"C": values + 10 * np.eye(6)}, {"C": values[::2, ::2] + 5 * np.eye(3)}
    none = {"C": np.zeros((6, 6))}
    found, _ = module._time_step_errors(fine, none, coarse)
    assert found["C"] < 0.2
    found, _ = module._time_step_errors({"C": values + 1}, none, {"C": values[::2, ::2]})
    assert found["C"] == pytest.approx(1.0)


def test_student_t_widens_the_error_of_few_parts():
    """Two of it are the 95.45 % quantile of Student's distribution times the error of a mean."""
    from scipy.stats import t

    module = module_of(moments("tanh"))
    for parts in (4, 8, 32):
        exact = t.ppf(0.9772498680518208, parts - 1) / 2
        assert module._standard_error(1.0, parts) * math.sqrt(parts) == pytest.approx(exact, rel=0.01)


def test_few_sample_paths_do_not_become_a_coarse_rule():
    """points are sample paths in all; only the measure hermite reads them as nodes a dimension."""
    module = module_of(build_model("mlp"), covariance=("f",))
    assert [module._nodes("auto", n, 3) for n in (12, 63, 64, 8000)] == [0, 0, 4, 20]
    assert module._nodes("hermite", 12, 3) == 12
    data = {"Kx": np.array([[1.0, 0.3], [0.3, 0.8]]), "y": np.array([1.0, -0.7])}
    found = module.fluctuations({"gamma": 1, "eta": 0.3}, data, steps=3, points=12, repeats=4)
    assert str(found["cov_measure"]).startswith("sobol, 4 independent scramblings of 4 paths")
    status = str(found["cov_status"])
    assert found["cov_estimated_error"] > 0.15 and status.startswith("inaccurate: the sampling error of cov_f_f is ")
    assert "more covariance_points" in status


def test_covariances_that_run_away_are_called():
    """A learning rate that is far too large: the means grow by orders of magnitude a step, and their covariances."""
    module = module_of(build_model("mlp"), covariance=("f",))
    data = {"Kx": np.array([[1.0, 0.3], [0.3, 0.8]]), "y": np.array([1.0, -0.7])}
    solve = lambda eta: module.fluctuations(
        {"gamma": 1, "eta": eta}, data, steps=14, measure="sobol", points=16, repeats=2, accuracy=np.inf
    )
    wild, tame = solve(20.0), solve(0.05)
    found = re.fullmatch(r"diverged: cov_f_f is beyond 1e\+12 times its scale at step (\d+)", str(wild["cov_status"]))
    assert found and str(tame["cov_status"]) == "ok"
    step = int(found[1])
    assert np.isfinite(wild["cov_f_f"][:, : step + 1, :, : step + 1]).all()
    assert np.isnan(wild["cov_f_f"][:, step + 1 :]).all() and np.isnan(wild["se_cov_f_f"][:, :, :, step + 1 :]).all()
