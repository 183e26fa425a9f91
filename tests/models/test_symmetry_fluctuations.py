"""N Cov with response functions in the feedback, against simulated networks and spin glasses of finite size.

Tolerances are numbers of standard errors, of the samples and of the sample paths; each is shown to fail where the
correlation rho of the couplings enters the fluctuations wrongly.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from finite_networks import covariance_error, mean_ratio, pooled_ratio

import dmftsym as ds
from dmftsym.models.loading import build_model

REFERENCE = Path(__file__).parents[1] / "reference"


@cache
def solver(name, **structure):
    return ds.compile_model(build_model(name, **structure), ds.Options(covariance=("C",))).solver


def variances(cov):
    return np.einsum("tsts->ts", cov)


def couplings(rho, networks, units, rng):
    """J_ij of variance 1/N with Corr(J_ij, J_ji) = rho, on the diagonal of variance (1 + rho)/N."""
    Z = rng.standard_normal((networks, units, units)) / np.sqrt(units)
    plus, minus = np.sqrt(1 + rho) / 2, np.sqrt(1 - rho) / 2
    return (plus + minus) * Z + (plus - minus) * Z.swapaxes(1, 2)


def simulate_networks(rho, g, dt, steps, units, networks, seed):
    rng = np.random.default_rng(seed)
    for _ in range(networks // 50):
        J, x = g * couplings(rho, 50, units, rng), rng.standard_normal((50, units))
        values = []
        for _ in range(steps):
            values.append(np.tanh(x))
            x = x + dt * (-x + (J @ values[-1][:, :, None])[:, :, 0])
        values = np.stack(values, 1)
        yield values @ values.swapaxes(1, 2) / units


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.7, -0.7])
def test_partially_symmetric_network_agrees_with_simulated_networks(rho):
    """All of N·Cov(C, C) within 4.5 standard errors, the average of the variances within 3 (of about 1 %)."""
    g, dt, steps, units, networks = 1.5, 0.5, 6, 200, 8000
    C = np.concatenate(list(simulate_networks(rho, g, dt, steps, units, networks, seed=5)))
    moved = (C - C.mean(0)).reshape(networks, -1)
    sampled = units * (moved.T @ moved / (networks - 1)).reshape((steps,) * 4)

    def deviations(rho):
        module = solver("recurrent", symmetric=True).module
        result = module.fluctuations({"g": g, "rho": rho}, steps=steps, dt=dt, points=8192)
        cov, se = result["cov_C_C"], result["se_cov_C_C"]
        yield np.abs((sampled - cov) / np.hypot(covariance_error(cov, networks), se)).max() / 4.5
        ratio, error = mean_ratio(variances(sampled), cov, networks)
        yield abs(ratio - 1) / (3 * np.hypot(error, (variances(se) / variances(cov)).mean()) + 2 / units)

    right, wrong = (np.array(list(deviations(value))) for value in (rho, 0.4 * rho))
    assert (right < 1).all(), right
    assert wrong.max() > 1.3, wrong


def test_a_correlation_that_no_matrix_has_is_refused(monkeypatch):
    """By the bounds of the parameter; and for models without them, where the covariances meet it."""
    module = solver("recurrent", symmetric=True).module
    for calculation in (module.solve, module.fluctuations):
        with pytest.raises(module.InputError, match=r"'rho' must be a finite number between -1.0 and 1.0, given: 1.01"):
            calculation({"g": 1.0, "rho": 1.01}, steps=3, points=64)
    monkeypatch.setitem(module.PARAMETERS, "rho", (0.0, None, False, None, None, ""))
    for rho in (1.01, -1.5):
        with pytest.raises(module.InputError, match=rf"correlation.* between -1 and 1.*here {rho}"):
            module.fluctuations({"g": 1.0, "rho": rho}, steps=3, points=64)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.5, -0.5])
def test_partially_symmetric_network_agrees_with_the_ensembles(rho):
    """Forty steps of dt = 0.1: the variances of C, 1360 networks of three widths, pooled."""
    reference = json.loads((REFERENCE / "recurrent_symmetry.json").read_text())
    times, entries = reference["settings"]["times"], list(reference["rho"][str(rho)].values())
    networks = np.array([entry["E"] for entry in entries])
    chosen = np.array([np.array(entry["C"]["Nvar"])[np.tril_indices(len(times))] for entry in entries])

    def deviation(rho):
        module = solver("recurrent", symmetric=True).module
        cov = module.fluctuations({"g": 1.5, "rho": rho}, steps=41, dt=0.1)["cov_C_C"][np.ix_(*[times] * 4)]
        rows = np.tril_indices(len(times))
        ratio, error = pooled_ratio(chosen, networks, cov[rows][(slice(None), *rows)])
        return abs(ratio - 1) / (3 * error)

    assert deviation(rho) < 1
    assert deviation(0.0) > 1


def simulate_spins(temperature, dt, steps, units, systems, seed):
    """Spherical two-spin model on its sphere at every step: force J x, J symmetric, its multiplier a root."""
    rng = np.random.default_rng(seed)
    for _ in range(systems // 50):
        J, x = couplings(1.0, 50, units, rng), rng.standard_normal((50, units))
        values = []
        for _ in range(steps):
            values.append(x)
            free = x + dt * (J @ x[:, :, None])[:, :, 0] + np.sqrt(2 * temperature * dt) * rng.standard_normal(x.shape)
            c0, c1, c2 = ((a * b).mean(1) for a, b in ((free, free), (free, -2 * dt * x), (dt * x, dt * x)))
            root = c1 * (1 + np.sqrt(1 - 4 * (c0 - 1) * c2 / c1**2))
            x = free - dt * x * (-2 * (c0 - 1) / root)[:, None]
        values = np.stack(values, 1)
        yield values @ values.swapaxes(1, 2) / units


@pytest.mark.slow
def test_two_spin_model_agrees_with_simulated_spins():
    """Entries C(t, s) with t ≠ s (on the sphere C(t, t) = 1 for t > 0) within 4.5 standard errors and 3 in the mean.

    The action takes its memory from earlier times alone, couplings also bind a time to itself: 1 % at this dt.
    """
    temperature, dt, steps, units, systems = 0.4, 0.05, 21, 150, 6000
    times = np.arange(0, steps, 5)
    C = np.concatenate(list(simulate_spins(temperature, dt, steps, units, systems, seed=6)))[:, times][:, :, times]
    rows = np.tril_indices(len(times), -1)
    moved = (C - C.mean(0))[(slice(None), *rows)]
    sampled = units * moved.T @ moved / (systems - 1)
    assert np.abs(np.diagonal(C, axis1=1, axis2=2)[:, 1:] - 1).max() < 1e-12

    def deviations(temperature):
        result = solver("p_spin").solve({"p": 2, "temperature": temperature}, steps=steps, dt=dt)
        cov = result.cov_C_C.values[np.ix_(*[times] * 4)]
        assert np.abs(np.diagonal(variances(cov))[1:]).max() < 1e-9, "C(t, t) does not fluctuate"
        cov = cov[rows][(slice(None), *rows)]
        error = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / systems)
        yield np.abs((sampled - cov) / error).max() / 4.5
        ratio, error = mean_ratio(np.diag(sampled), cov, systems)
        yield abs(ratio - 1) / (3 * error + 0.01)

    right, wrong = (np.array(list(deviations(value))) for value in (temperature, 0.75 * temperature))
    assert (right < 1).all(), right
    assert wrong.max() > 1.3, wrong
