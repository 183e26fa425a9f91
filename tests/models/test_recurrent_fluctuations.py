"""Finite-size fluctuations of the random recurrent network: simulated ensembles, exact linear response, brute force.

Tolerances are numbers of standard errors, of samples (see finite_networks) and of the sample paths (se_cov_*); every
one is shown to fail for a slightly wrong g.
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
def compiled(activation):
    return ds.compile_model(build_model("recurrent", activation=activation), ds.Options(covariance=("C",)))


def fluctuations(activation, parameters, steps, dt, points):
    result = compiled(activation).solver.module.fluctuations(parameters, steps=steps, dt=dt, points=points)
    assert result["cov_status"] == "ok" and result["cov_measure"].item().startswith("sobol")
    return result["cov_C_C"], result["se_cov_C_C"]


def relative_error(cov, se):
    """The mean relative error by sample paths of the variances, were all of them one."""
    return (np.einsum("tsts->ts", se) / np.einsum("tsts->ts", cov)).mean()


def test_covariances_agree_with_simulated_networks():
    """N·Cov(C(t, s), C(u, v)) at six times of 3000 networks each of N = 400 and 800, taken together.

    Every entry of the covariance within 4.5 standard errors (1.8 % of a variance by the networks, about 1 % by the
    paths). The average over variances within 3 standard errors and an allowance for corrections of order 1/N: of the
    two widths together they are 1.5 times the difference between the widths, measured at 2 %.
    """
    reference = json.loads((REFERENCE / "recurrent.json").read_text())
    settings, entries = reference["settings"], list(reference["widths"].values())
    assert list(reference["widths"]) == ["400", "800"]
    networks = np.array([entry["E"] for entry in entries])
    variances = np.array([entry["C"]["Nvar"] for entry in entries])
    pooled = np.tensordot(networks, [entry["Ncov_C_C"] for entry in entries], 1) / networks.sum()
    some = np.ix_(*[settings["times"]] * 4)

    def deviations(g, points):
        """Over their tolerances: the worst entry, the average of the variances, C(t, t) alone, C(t, s) with t ≠ s."""
        cov, se = (a[some] for a in fluctuations("tanh", {"g": g}, settings["T"], settings["dt"], points))
        error = np.hypot(covariance_error(cov, networks.sum()), se)
        yield np.abs((pooled - cov) / error).max() / 4.5
        size = len(settings["times"])
        equal = np.diag_indices(size)
        apart = np.tril_indices(size, -1)
        for rows in (np.tril_indices(size), equal, apart):
            part, part_se = (a[rows][(slice(None), *rows)] for a in (cov, se))
            chosen = np.array([v[rows] for v in variances])
            ratio, error = pooled_ratio(chosen, networks, part)
            widths = [mean_ratio(values, part, 1)[0] for values in chosen]
            paths = (np.diag(part_se) / np.diag(part)).mean()
            yield abs(ratio - 1) / (3 * np.hypot(error, paths) + 1.5 * abs(widths[0] - widths[1]))

    right = np.array(list(deviations(settings["g"], 8192)))
    assert (right < 1).all(), right
    wrong = np.array(list(deviations(0.92 * settings["g"], 4096)))
    assert (wrong > 1).all(), "eight percent of g must show"


def linear_closed_form(g, dt, steps, x0_variance):
    """phi(x) = x: C and N·Cov(C, C) in discrete time, exact.

    x = G x(0) + H u with Euler steps x(t+1) = (1 − dt) x(t) + dt u(t), u of covariance g² C, so C = C₀ + g² H C Hᵀ is
    linear in C. A fluctuation ε of averages over sites has Wick's covariance: (1 − D) δC = ε with D δC = g² H δC Hᵀ.
    """
    times = np.arange(steps)
    G = np.tril((1 - dt) ** (times[:, None] - times).clip(0).astype(float))
    H = dt * G @ np.eye(steps, k=-1)
    response = np.linalg.inv(np.eye(steps**2) - g**2 * np.einsum("ta,sb->tsab", H, H).reshape(steps**2, -1))
    C = (response @ (x0_variance * np.outer(G[:, 0], G[:, 0])).ravel()).reshape(steps, steps)
    wick = np.einsum("tu,sv->tsuv", C, C) + np.einsum("tv,su->tsuv", C, C)
    return C, (response @ wick.reshape(steps**2, -1) @ response.T).reshape(wick.shape)


def test_linear_network_agrees_with_its_exact_linear_response():
    """Exact closure to 1e-7 of the largest entry; sampled: within 5 standard errors, the whole within 1.5 %."""
    g, dt, steps, variance = 1.1, 0.3, 12, 1.3
    parameters = {"g": g, "x0_variance": variance}
    C, expected = linear_closed_form(g, dt, steps, variance)
    exact = compiled("linear").solve(parameters, steps=steps, dt=dt)
    assert exact.attrs["cov_measure"] == "gaussian, exact" and "se_cov_C_C" not in exact
    assert np.abs(exact.cov_C_C.values - expected).max() < 1e-7 * expected.max()
    result = compiled("linear").solve(parameters, steps=steps, dt=dt, covariance_points=16384, measure="sobol")
    assert result.cov_C_C.dims == ("time", "time2", "time3", "time4")
    assert np.abs(result.C.values - C).max() < 0.02 * C.max()
    cov, se = result.cov_C_C.values, result.se_cov_C_C.values
    assert se.max() < 0.02 * expected.max()
    error = np.maximum(se, np.sqrt((se**2).mean()))  # of four parts: three degrees of freedom
    assert np.abs((cov - expected) / error).max() < 5
    assert np.linalg.norm(cov - expected) < 0.015 * np.linalg.norm(expected)
    _, wrong = linear_closed_form(1.01 * g, dt, steps, variance)
    assert np.abs((cov - wrong) / error).max() > 5
    assert np.linalg.norm(cov - wrong) > 0.05 * np.linalg.norm(expected), "one percent of g must show"


def monte_carlo_sweeps(phi, g, dt, steps, paths, sweeps, seed):
    """C(t, s) of independent networks of `paths` units: given C so far, their inputs are Gaussian, covariance g² C."""
    rng = np.random.default_rng(seed)
    for _ in range(sweeps // 100):
        w, x = rng.standard_normal((100, steps, paths)), rng.standard_normal((100, paths))
        outputs, C = np.zeros((100, steps, paths)), np.zeros((100, steps, steps))
        for t in range(steps):
            outputs[:, t] = phi(x)
            C[:, t, : t + 1] = C[:, : t + 1, t] = np.einsum("em,esm->es", outputs[:, t], outputs[:, : t + 1]) / paths
            factor = np.linalg.cholesky(C[:, : t + 1, : t + 1] + 1e-12 * np.eye(t + 1))
            x = x + dt * (-x + g * np.einsum("es,esm->em", factor[:, t], w[:, : t + 1]))
        yield C


@pytest.mark.slow
def test_relu_network_agrees_with_independent_sweeps():
    """A kink, no jump: 6000 sweeps of 1000 paths; entries within 4.5 standard errors, their average within 3.

    1.8 % of a variance by the sweeps, 1.8 % by the sample paths of the theory.
    """
    g, dt, steps, paths, sweeps = 1.0, 0.25, 12, 1000, 6000
    assert not compiled("relu").solver.module.JUMPS
    C = np.concatenate(list(monte_carlo_sweeps(lambda x: np.maximum(x, 0), g, dt, steps, paths, sweeps, seed=3)))
    moved = (C - C.mean(0)).reshape(sweeps, -1)
    sampled = paths * (moved.T @ moved / (sweeps - 1)).reshape((steps,) * 4)

    def deviations(g):
        cov, se = fluctuations("relu", {"g": g}, steps, dt, 8192)
        yield np.abs((sampled - cov) / np.hypot(covariance_error(cov, sweeps), se)).max() / 4.5
        ratio, error = mean_ratio(np.einsum("tsts->ts", sampled), cov, sweeps)
        yield abs(ratio - 1) / (3 * np.hypot(error, relative_error(cov, se)))

    right, wrong = (np.array(list(deviations(value))) for value in (g, 1.04 * g))
    assert (right < 1).all(), right
    assert (wrong > 1).all(), "four percent of g must show"


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_covariance_is_symmetric_and_positive(activation):
    cov, _ = fluctuations(activation, {"g": 1.2}, 8, 0.2, 1024)
    assert np.allclose(cov, cov.transpose(1, 0, 2, 3), rtol=0, atol=1e-12)
    assert np.allclose(cov, cov.transpose(2, 3, 0, 1), rtol=0, atol=1e-12)
    values = np.linalg.eigvalsh(cov.reshape(64, 64))
    assert values.min() > -0.02 * values.max(), "positive but for the correction for the number of paths"
