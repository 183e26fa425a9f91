"""Factors of covariances: of sources that evolve, step by step, and of static ones.

A source v whose covariance is given as data is observed as C = <v v>. Fed with a complete set of orthogonal paths
instead of random ones, a sweep returns C = F F^T of its factor F, without any sampling error.
"""

import numpy as np
import pytest

import dmftsym as ds

EXACT = 1e-8  # of the largest covariance: far below any sampling error, above a jitter of 1e-10 of the variances


@pytest.fixture(scope="module")
def probe():
    """The compiled source: one number (size 1) or a vector (other sizes) a step."""
    model = ds.Model("probe")
    t, s = model.times("t s")
    mu, nu = model.indices("mu nu", size="P", axis="sample")
    given, C = model.data("given", t, mu, s, nu), model.order_parameter("C", t, mu, s, nu)
    site = model.site("unit")
    v = site.field("v", t, mu)
    site.equation(v[t, mu], 0)
    site.noise(v[t, mu], v[s, nu], given[t, mu, s, nu])
    site.observe(C[t, mu, s, nu], v[t, mu] * v[s, nu])
    return ds.compile_model(model)


@pytest.fixture
def rebuild(probe):
    """rebuild(covariance, size): F F^T, the number of null directions, and how the sweep ended."""

    def run(covariance, size=1):
        total = len(covariance)
        shape = (total // size, size, total // size, size)
        normals = {group.name: np.sqrt(total) * np.eye(total) for group in probe.program.sampling.groups}
        weights = {"unit": np.full(total, 1 / total)}
        values = {"given": covariance.reshape(shape), "P": size}
        found, status, counts = probe.solver.module.sweep(values, {}, normals, weights, shape[0], 1.0, None)
        return found["C"].reshape(total, total), counts["null_directions"], status

    return run


def error(found, covariance):
    return np.abs(found - covariance).max() / np.abs(covariance).max()


def random_covariance(total, rank, seed=0):
    factor = np.random.default_rng(seed).standard_normal((total, rank))
    return factor @ factor.T


def smooth_kernel(times):
    """exp(-(t - s)^2/2), whose numerical rank is far below the number of times."""
    return np.exp(-((times[:, None] - times) ** 2) / 2)


@pytest.mark.parametrize("size", (1, 2, 3))
def test_positive_matrix(size, rebuild):
    covariance = random_covariance(24, 30)
    found, null, status = rebuild(covariance, size)
    assert (null, status) == (0, "ok")
    assert error(found, covariance) < EXACT
    covariance[20, 3] = covariance[3, 20] = covariance[20, 3] * 1.001
    assert error(found, covariance) > EXACT  # negative control: one covariance off by a thousandth


@pytest.mark.parametrize("size", (1, 2, 4))
@pytest.mark.parametrize("rank", (1, 5))
def test_singular_matrix_counts_its_null_directions(size, rank, rebuild):
    covariance = random_covariance(16, rank)
    found, null, status = rebuild(covariance, size)
    assert (null, status) == (16 - rank, "ok")
    assert error(found, covariance) < EXACT


@pytest.mark.parametrize("span", (2.0, 10.0, 100.0))
def test_smooth_kernel_of_two_hundred_times(span, rebuild):
    """On a grid of step d, the variance given the k times before is prod_{j <= k} (1 - exp(-j d^2)): closed form.

    Leaving out a direction of variance r <= 1e-9 changes a later covariance by at most sqrt(r) = 3.2e-5.
    """
    times = np.linspace(0, span, 200)
    covariance = smooth_kernel(times)
    found, null, status = rebuild(covariance)
    assert status == "ok"
    assert error(found, covariance) < 3.2e-5
    conditional = np.cumprod([1.0, *(1 - np.exp(-j * times[1] ** 2) for j in range(1, 200))])
    assert null <= (conditional < 1e-8).sum() and (null > 0) == (conditional[-1] < 1e-8)
    assert error(found, smooth_kernel(1.001 * times)) > 3.2e-5  # negative control: a longer grid


def test_sources_that_are_copies_of_one_another(rebuild):
    """Two identical sources: one direction a step is null."""
    covariance = np.kron(smooth_kernel(np.arange(0, 20, 2.0)), np.ones((2, 2)))
    found, null, status = rebuild(covariance, 2)
    assert (null, status) == (10, "ok")
    assert error(found, covariance) < EXACT


def test_zero_covariance(rebuild):
    found, null, status = rebuild(np.zeros((6, 6)), 2)
    assert (null, status) == (6, "ok") and not found.any()


INDEFINITE = (
    [[1.0, 2.0], [2.0, 1.0]],
    [[-1.0, 0.0], [0.0, 1.0]],
    [[1.0, 0.0], [0.0, -1e-3]],
    [[1.0, 0.5, 0.0, 0.0], [0.5, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
)


@pytest.mark.parametrize("size", (1, 2))
@pytest.mark.parametrize("matrix", INDEFINITE, ids=("2x2", "negative variance", "small", "4x4"))
def test_indefinite_matrix_is_refused(matrix, size, rebuild):
    matrix = np.array(matrix)
    assert np.linalg.eigvalsh(matrix)[0] < -1e-4
    assert "not positive" in rebuild(matrix, size)[2]
    assert rebuild(matrix @ matrix, size)[2] == "ok"  # negative control


def test_sampled_paths_have_the_covariance(probe):
    """The covariance of random paths agrees with the data within its sampling error."""
    covariance = random_covariance(12, 5, seed=4)
    data = {"given": covariance.reshape(6, 2, 6, 2)}
    result = probe.solver.module.solve({}, data, steps=6, measure="monte-carlo", points=16384)
    found, se = (result[name].reshape(12, 12) for name in ("C", "se_C"))
    rms = lambda values: np.sqrt(np.mean(values**2))
    assert rms(found - covariance) < 4 * rms(se) < rms(found - 1.1 * covariance)


@pytest.mark.parametrize(("total", "rank"), [(1, 1), (6, 9), (8, 3)])
def test_static_factor(total, rank, recurrent):
    covariance = random_covariance(total, rank)
    factor = recurrent._factor(covariance, "u")
    assert factor.shape == (total, min(total, rank))
    assert error(factor @ factor.T, covariance) < 1e-13
    assert error(factor @ factor.T, (1 + 1e-12) * covariance) > 1e-13  # negative control


def test_static_factor_of_nothing(recurrent):
    assert recurrent._factor(np.zeros((3, 3)), "u").shape == (3, 0)


def test_static_factor_refuses_an_indefinite_matrix(recurrent):
    with pytest.raises(ValueError, match=r"u_h.*-1"):
        recurrent._factor(np.array([[1.0, 2.0], [2.0, 1.0]]), "u_h")
    rounding = random_covariance(8, 3) - 1e-13 * np.eye(8)  # a null direction that rounding made negative is fine
    assert recurrent._factor(rounding, "u_h").shape == (8, 3)
