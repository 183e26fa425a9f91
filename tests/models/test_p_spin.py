"""The spherical p-spin model against the Cugliandolo-Kurchan equations, exact solutions, equilibrium and ageing.

Euler steps are of first order in dt; 2*(result at dt/2) - (result at dt) is of second order, like the reference.
"""

from functools import cache

import numpy as np
import pytest
from reference.cugliandolo_kurchan import exact_two_spin, fdt_violation, integrate, plateau

import dmftsym as ds
from dmftsym.models.loading import build_model


@cache
def solver():
    return ds.compile_model(build_model("p_spin"))


def solve(p, temperature, duration, dt):
    options = {"steps": round(duration / dt) + 1, "dt": dt}
    result = solver().solve({"p": p, "temperature": temperature}, accuracy=np.inf, **options)
    assert result.attrs["measure"] == "gaussian, exact" and result.attrs["status"] == "ok"
    return {name: result[name].values for name in ("C", "R", "mu")}


def coarser(run, factor=2):
    return {name: values[(slice(None, None, factor),) * values.ndim] for name, values in run.items()}


def extrapolated(p, temperature, duration, dt):
    """Euler's values at dt, and those extrapolated from dt and dt/2, on the grid of dt."""
    euler, half = solve(p, temperature, duration, dt), coarser(solve(p, temperature, duration, dt / 2))
    return euler, {name: 2 * half[name] - euler[name] for name in euler}


def distances(run, expected):
    """Largest differences; R below the diagonal (Euler's kick arrives one step later: R(t, t) = 0, R(t+dt, t) = 1)."""
    gap = {name: np.abs(run[name] - expected[name]) for name in run}
    return {"C": gap["C"].max(), "R": np.tril(gap["R"], -1).max(), "mu": gap["mu"].max()}


@pytest.mark.parametrize("temperature", [0.8, 0.5])
def test_three_spins_agree_with_an_independent_integration(temperature):
    """C to 5e-4, R to 4e-3 and mu to 1e-3 at dt = 0.025: second order, so a quarter of the error at dt = 0.05."""
    fine, finer = (integrate(3, temperature, round(5 / dt) + 1, dt) for dt in (0.025, 0.0125))
    at_fine = coarser(finer)
    expected = {name: (4 * at_fine[name] - fine[name]) / 3 for name in fine}
    accuracy = {"C": 5e-4, "R": 4e-3, "mu": 1e-3}
    errors = {}
    for dt, grid in ((0.05, coarser(expected)), (0.025, expected)):
        euler, result = extrapolated(3, temperature, 5, dt)
        errors[dt], plain = distances(result, grid), distances(euler, grid)
        for name in accuracy:
            assert plain[name] > 5 * accuracy[name], f"{name} before extrapolation"
    for name, limit in accuracy.items():
        assert errors[0.025][name] < limit, (name, errors)
        assert 3 < errors[0.05][name] / errors[0.025][name] < 5, (name, errors)
    warmer = distances(extrapolated(3, temperature + 0.02, 5, 0.025)[1], expected)
    assert all(warmer[name] > 2 * accuracy[name] for name in ("C", "mu")), "0.02 of temperature must show"


def test_two_spins_at_zero_temperature_have_their_exact_solution():
    """C and mu to 5e-5, R to 2e-3 at dt = 0.025, errors of second order."""
    errors = {}
    for dt in (0.05, 0.025):
        exact = exact_two_spin(dt * np.arange(round(5 / dt) + 1))
        euler, result = extrapolated(2, 0.0, 5, dt)
        errors[dt] = distances(result, exact)
        assert distances(euler, exact)["C"] > 1e-3, "before extrapolation"
    for name, limit in {"C": 5e-5, "R": 2e-3, "mu": 5e-5}.items():
        assert errors[0.025][name] < limit, (name, errors)
        assert 3 < errors[0.05][name] / errors[0.025][name] < 5, (name, errors)


@pytest.mark.parametrize(("p", "temperature"), [(2, 0.0), (3, 0.5), (3, 0.8), (4, 1.2)])
def test_the_constraint_holds_to_rounding(p, temperature):
    """C(t, t) = 1 at every step, however coarse; the multiplier of the continuous equations would miss it by dt."""
    run = solve(p, temperature, 20, 0.1)
    assert np.abs(np.diag(run["C"]) - 1).max() < 1e-12
    drift = (1 - 0.1 * run["mu"][0]) ** 2 + 2 * temperature * 0.1 + p / 2 * 0.1**2
    assert abs(drift - 1) < 1e-10, "the first step, written out: its root is mu(0), up to the jitter of the noise"
    continuous = (1 - 0.1 * temperature) ** 2 + 2 * temperature * 0.1 + p / 2 * 0.1**2
    assert abs(continuous - 1) > 5e-3
    assert (np.triu(run["R"]) == 0).all() and np.abs(np.diag(run["R"], -1) - 1).max() < 1e-12


def test_equilibrium_above_the_transition():
    """T = 0.8, late: mu = T + p/(2T), and R = -C'(tau)/T up to 2e-3 of R = 1 for central differences of Euler's C."""
    euler, result = extrapolated(3, 0.8, 29, 0.1)
    assert abs(result["mu"][-1] - (0.8 + 3 / 1.6)) < 0.015
    assert abs(euler["mu"][-1] - (0.8 + 3 / 1.6)) > 0.05, "before extrapolation"
    difference, largest = fdt_violation(euler, 0.8, 0.1, 15)
    assert difference < 2e-3 and largest == 1
    assert fdt_violation(euler, 0.88, 0.1, 15)[0] > 0.05, "another temperature"
    assert fdt_violation(solve(3, 0.5, 29, 0.1), 0.5, 0.1, 15)[0] > 0.01, "below the transition it is violated"


def waiting_and_halving(run, dt, waits):
    """The time that C(t_w + tau, t_w) takes to fall to 0.5, for every waiting time."""
    return [np.argmax(run["C"][round(w / dt) :, round(w / dt)] < 0.5) * dt for w in waits]


def test_ageing_and_a_plateau_appear_below_the_transition_only():
    """T_d = 0.6124 for p = 3: below it C halts near q the longer, the older the system; above it does not age."""
    q, late_mu = plateau(3, 0.5)
    runs = {temperature: solve(3, temperature, 59, 0.1) for temperature in (0.5, 0.8)}
    young, old = waiting_and_halving(runs[0.5], 0.1, (5, 20))
    assert old > 2 * young > 0, "half as old, half as long"
    before, after = waiting_and_halving(runs[0.8], 0.1, (5, 20))
    assert 0 < before <= after < 1.2 * before < 5
    slope = {T: np.diff([run["C"][400 + lag, 400] for lag in (50, 100)])[0] / -5 for T, run in runs.items()}
    assert slope[0.5] < 0.01 < 0.02 < slope[0.8], "tau from 5 to 10 after 40: flat, or falling"
    assert abs(runs[0.5]["C"][450, 400] - q) < 0.07 and runs[0.8]["C"][450, 400] < q - 0.2
    mu = extrapolated(3, 0.5, 29, 0.1)[1]["mu"]
    assert mu[100] < mu[200] < mu[-1] < late_mu < mu[-1] + 0.2, "mu creeps up to its late value"
    assert abs(mu[-1] - (0.5 + 3 / (2 * 0.5))) > 0.3, "which is not that of equilibrium"


def rms(array):
    return float(np.sqrt(np.mean(array[np.tril_indices(len(array))] ** 2)))


def test_the_error_of_the_time_step_is_told():
    """C against a run with a fourth of the time step, and steps that are too large for any use."""
    solve = lambda **options: solver().solve({"temperature": 0.6}, **options)
    run = lambda dt, **options: solve(steps=round(4 / dt) + 1, dt=dt, **options)
    fine = run(0.0125, time_step_error=False)
    for dt in (0.05, 0.1):
        found = run(dt, accuracy=1.0)
        places = slice(None, None, round(dt / 0.0125))
        error = {n: rms(found[n].values - fine[n].values[places, places]) for n in ("C", "R")}
        assert error["C"] < found.attrs["time_step_error"] < 3 * max(error.values())
    for dt in (0.25, 0.35, 0.4):
        status = solve(steps=120, dt=dt).attrs["status"]
        assert status.startswith(("inaccurate: the time step error of ", "diverged: ")), dt
    assert run(0.05).attrs["status"] == "ok"
