"""The random recurrent network against simulated networks, its exact linear solution, and known late-time values."""

import numpy as np
import pytest
from finite_networks import mean_and_error, simulate_recurrent

import dmftsym as ds
from dmftsym.models.loading import build_model


@pytest.fixture(scope="module")
def tanh_network():
    return ds.compile_model(build_model("recurrent"))


@pytest.mark.slow
def test_chaotic_network_reaches_its_known_variance(tanh_network):
    """g=1.5: <x^2> near 0.7477 at late times."""
    result = tanh_network.solve({"g": 1.5}, steps=700, dt=0.1, points=2**14, time_step_error=False)
    late = np.diag(result.Cx)[350:].mean()
    error = np.diag(result.se_Cx)[350:].mean()  # an upper bound: the average over times has a smaller one
    assert error < 0.03
    assert abs(late - 0.7477) < 3 * error
    assert abs(0.5 - 0.7477) > 3 * error, "the tolerance tells the variance from others"


def test_weakly_coupled_network_falls_silent(tanh_network):
    variance = np.diag(tanh_network.solve({"g": 0.5}, steps=400, dt=0.05, points=2**12, time_step_error=False).Cx)
    assert variance[0] == pytest.approx(1.0, abs=5e-3)
    assert variance[-1] < 1e-8
    rate = -np.log(variance[-1] / variance[-101]) / 5.0
    assert rate == pytest.approx(2 * (1 - 0.5), rel=0.15), "linear stability: exp(-2 (1 - g) t), with slow corrections"


def test_two_time_functions_agree_with_simulated_networks(tanh_network):
    steps, dt = 60, 0.1
    x = simulate_recurrent(2000, 8, 1.5, np.tanh, dt, steps, seed=5)
    result = tanh_network.solve({"g": 1.5}, steps=steps, dt=dt)
    pairs = [(0, 0), (20, 0), (20, 20), (40, 10), (59, 30), (59, 55), (59, 59)]
    misses = 0
    for name, y in (("C", np.tanh(x)), ("Cx", x)):
        for t, s in pairs:
            mean, error = mean_and_error((y[:, t] * y[:, s]).mean(-1))
            total = np.hypot(error, result[f"se_{name}"].values[t, s])
            assert abs(result[name].values[t, s] - mean) < 4 * total + 2 / 2000, (name, t, s)
            wrong = result[name].values[t - 1 if t else 1, s]
            misses += abs(wrong - mean) > 4 * total + 2 / 2000
    assert misses > 2, "values one step off must miss the tolerance somewhere"
    assert result.C.dims == ("time", "time2") and float(result.time2[1]) == dt


def test_linear_network_agrees_with_its_exact_recursion():
    """phi(x) = x: <x(t+1) x(s)> = (1 - dt) <x(t) x(s)> + dt <u(t) x(s)>, u Gaussian with covariance g^2 C."""
    g, dt, steps = 0.8, 0.1, 40
    C, B = np.zeros((steps, steps)), np.zeros((steps, steps))  # B(t, s) = <u(t) x(s)>
    C[0, 0] = 1.3
    for t in range(steps):
        for s in range(t + 1):
            B[t, s] = sum((1 - dt) ** (s - 1 - k) * dt * g**2 * C[t, k] for k in range(s))
        if t + 1 < steps:
            C[t + 1, : t + 1] = C[: t + 1, t + 1] = (1 - dt) * C[t, : t + 1] + dt * B[t, : t + 1]
            C[t + 1, t + 1] = (1 - dt) ** 2 * C[t, t] + 2 * (1 - dt) * dt * B[t, t] + dt**2 * g**2 * C[t, t]
    solver = ds.compile_model(build_model("recurrent", activation="linear"))
    result = solver.solve({"g": g, "x0_variance": 1.3}, steps=steps, dt=dt)
    assert result.attrs["measure"] == "gaussian, exact"
    assert np.abs(result.C.values - C).max() < 1e-8 and np.abs(result.Cx.values - C).max() < 1e-8
    result = solver.solve({"g": g, "x0_variance": 1.3}, steps=steps, dt=dt, points=2**17, measure="sobol")
    error = 4 * np.sqrt((result.se_C.values**2).mean()) + 1e-4
    assert error < 5e-3
    assert np.abs(result.C.values - C).max() < 3 * error
    assert np.allclose(result.C, result.Cx)
    coarse = solver.solve({"g": g * 1.03, "x0_variance": 1.3}, steps=steps, dt=dt)
    assert np.abs(coarse.C.values - C).max() > 3 * error, "three percent of g must show"


def test_monte_carlo_and_sobol_agree(tanh_network):
    one = tanh_network.solve({"g": 1.2}, steps=30, dt=0.1, measure="sobol")
    other = tanh_network.solve({"g": 1.2}, steps=30, dt=0.1, measure="monte-carlo", seed=4)
    error = np.hypot(one.se_C, other.se_C)
    assert (np.abs(one.C - other.C) < 6 * error + 1e-4).all()


def test_partially_symmetric_couplings_need_their_structure(tanh_network):
    with pytest.raises(ds.SolveError, match=r"rho.*symmetric=true"):
        tanh_network.solve({"g": 1.0, "rho": 0.5}, steps=5)
    assert tanh_network.solve({"g": 1.0, "rho": 0}, steps=2).attrs["status"] == "ok"
