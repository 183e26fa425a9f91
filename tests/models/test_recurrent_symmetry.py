"""Partially symmetric couplings: simulated networks, the exact recursion of the linear network, known stability."""

import json
from pathlib import Path

import numpy as np
import pytest
from finite_networks import extrapolate

import dmftsym as ds
from dmftsym.models.loading import build_model

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "recurrent_symmetry.json").read_text())
TIMES = {name: REFERENCE["settings"][name] for name in ("times", "R_times", "R_sources")}
ENTRIES = {"C": (TIMES["times"],) * 2, "Cx": (TIMES["times"],) * 2, "R": (TIMES["R_times"], TIMES["R_sources"])}
LIMIT = 4  # standard errors: of the ensembles extrapolated in 1/N and of the solver's sampling, added in quadrature


@pytest.fixture(scope="module")
def solvers():
    """The network with the memory of rho and, as the library builds it by default, without."""
    return {symmetric: ds.compile_model(build_model("recurrent", symmetric=symmetric)) for symmetric in (True, False)}


def solve(solver, rho, points=2**13):
    return solver.solve({"g": 1.5, "rho": rho}, steps=41, dt=0.1, points=points)


def distance(result, rho, name):
    """The largest distance from the ensembles of this rho, in standard errors (plus 1e-5: R(s, s) = 0 is exact)."""
    expected, error = extrapolate(REFERENCE["rho"][str(rho)], name)
    value, sampling = (result[key].values[np.ix_(*ENTRIES[name])] for key in (name, f"se_{name}"))
    total = np.hypot(error, sampling) + 1e-5
    assert total.max() < 0.02 * np.abs(expected).max(), "the data must say something"
    return (np.abs(value - expected) / total).max()


@pytest.mark.parametrize("rho", [0.5, -0.5, 0.0])
def test_two_time_functions_and_responses_agree_with_simulated_networks(solvers, rho):
    result, near = solve(solvers[True], rho), solve(solvers[True], rho - 0.07, 2**12)
    for name in ENTRIES:
        assert distance(result, rho, name) < LIMIT, name
        assert distance(near, rho, name) > LIMIT, f"0.07 of rho must show in {name}"
    assert np.abs(np.triu(result.R)).max() == 0, "causality: R(t, s) = 0 for s >= t"


def test_without_the_memory_the_networks_are_missed(solvers):
    """The default structure has no memory: right for rho = 0, far away from the networks of rho = 0.5 and -0.5."""
    result, same = solve(solvers[False], 0), solve(solvers[True], 0)
    for name in ENTRIES:
        assert distance(result, 0.0, name) < LIMIT, name
        assert distance(result, 0.5, name) > 50 and distance(result, -0.5, name) > 50, name
        error = np.hypot(result[f"se_{name}"], same[f"se_{name}"])
        assert np.sqrt(np.mean(((result[name] - same[name]) / error) ** 2)) < 2, "rho = 0: the same equations"


def test_response_is_the_slope_of_the_transfer_function_after_one_step(solvers):
    """R(s+1, s) = <phi'(x(s+1))> = 1 - C(s+1, s+1) for tanh: a kick has only just arrived."""
    result = solve(solvers[True], 0.5)
    R, C = result.R.values, result.C.values
    assert np.abs(np.diag(R, -1) - (1 - np.diag(C)[1:])).max() < 1e-12
    assert np.abs(np.diag(R, -2) - (1 - np.diag(C)[2:])).max() > 0.01, "a step later it has decayed"


def linear_recursion(g, rho, variance, dt, steps):
    """phi(x) = x. R(t+1, s) = R(t, s) + dt (-R(t, s) + rho g^2 dt sum_k R(t, k) R(k, s)), R(s+1, s) = 1; and C.

    x(t) = P(t) x(0) + dt sum_s R(t, s) u(s), u Gaussian with covariance g^2 C; P obeys the equation of R.
    """
    R, P, C = np.zeros((steps, steps)), np.ones(steps), np.zeros((steps, steps))
    for t in range(steps - 1):
        R[t + 1] = (1 - dt) * R[t] + rho * g**2 * dt**2 * R[t] @ R
        R[t + 1, t] += 1
        P[t + 1] = (1 - dt) * P[t] + rho * g**2 * dt**2 * R[t] @ P
    for t in range(steps):
        for s in range(t + 1):
            C[t, s] = C[s, t] = variance * P[t] * P[s] + dt**2 * g**2 * R[t, :t] @ C[:t, :s] @ R[s, :s]
    return C, R


@pytest.mark.parametrize("rho", [0.6, -0.4])
def test_linear_network_closed_exactly_and_sampled(rho):
    solver = ds.compile_model(build_model("recurrent", activation="linear", symmetric=True))
    parameters = {"g": 0.7, "rho": rho, "x0_variance": 1.3}
    C, R = linear_recursion(0.7, rho, 1.3, 0.1, 40)
    exact = solver.solve(parameters, steps=40, dt=0.1)
    assert exact.attrs["measure"] == "gaussian, exact"
    assert np.abs(exact.C.values - C).max() < 1e-7, "the jitter 1e-10 of the covariance, and directions that it hides"
    assert np.abs(exact.R.values - R).max() < 1e-9
    sampled = solver.solve(parameters, steps=40, dt=0.1, points=2**13, measure="sobol")
    error = 5 * np.maximum(sampled.se_C.values, np.sqrt((sampled.se_C.values**2).mean()))
    assert error.max() < 0.05
    assert (np.abs(sampled.C.values - C) < error).all()
    assert np.abs(sampled.R.values - R).max() < 1e-9, "the response of a linear network does not depend on its paths"
    without, _ = linear_recursion(0.7, 0.0, 1.3, 0.1, 40)
    assert (np.abs(sampled.C.values - without) > error).any() and np.abs(exact.C.values - without).max() > 0.02


def test_linear_stability_depends_on_the_symmetry():
    """The eigenvalues of J fill an ellipse that reaches 1 + rho: g (1 + rho) = 1 is where decay turns into growth."""
    solver = ds.compile_model(build_model("recurrent", activation="linear", symmetric=True))
    for rho in (0.8, -0.5):
        growth = []
        for factor in (0.9, 1.15):
            result = solver.solve({"g": factor / (1 + rho), "rho": rho}, steps=160, dt=0.1)
            late = np.diag(result.C)
            growth.append(np.log(late[-1] / late[-41]))
        assert growth[0] < 0 < growth[1], (rho, growth)
