"""Models said with random matrices against their finite systems, simulated with dense matrices."""

from pathlib import Path

import numpy as np
import pytest

import dmftsym as ds

EXAMPLES = Path(__file__).parents[2] / "examples"


def _matrix(rng, rows, columns, width):
    return rng.normal(size=(rows, columns)) / np.sqrt(width)


def hopfield(N, rng, steps, alpha, g, dt=0.1):
    """C(t, s) of one network."""
    xi, x, found = _matrix(rng, N, int(alpha * N), N), rng.normal(size=N), []
    for _ in range(steps):
        found.append(np.tanh(x))
        x = x + dt * (-x + g * xi @ (xi.T @ np.tanh(x)))
    return {"C": np.array(found) @ np.array(found).T / N}


def reciprocal_lotka_volterra(N, rng, steps, mu, sigma, rho, dt=0.05):
    """M(t) and C(t, s) of one community."""
    one, other = rng.normal(size=(2, N, N))
    even, odd = (one + one.T) / np.sqrt(2), (other - other.T) / np.sqrt(2)
    alpha = mu / N + sigma / np.sqrt(N) * (np.sqrt((1 + rho) / 2) * even + np.sqrt((1 - rho) / 2) * odd)
    n, found = 0.5 + 0.1 * rng.normal(size=N), []
    for _ in range(steps):
        found.append(n)
        n = n + dt * (n * (1 - n - alpha @ n) + 0.01)
    found = np.array(found)
    return {"M": found.mean(axis=1), "C": found @ found.T / N}


def consumer_resource(N, rng, steps, mu, sigma, K, m, nu, dt=0.05):
    """Mean abundances of one community."""
    c = mu / N + sigma * _matrix(rng, N, int(nu * N), N)
    n, r = 0.5 + 0.1 * rng.normal(size=N), 0.5 + 0.1 * rng.normal(size=int(nu * N))
    found = {"N": [], "R": []}
    for _ in range(steps):
        found["N"].append(n.mean())
        found["R"].append(r.mean())
        n, r = n + dt * (n * (c @ r - m) + 0.01), r + dt * (r * (K - r - c.T @ n) + 0.01)
    return found


def ridge_regression(N, rng, steps, alpha, ridge, dt=0.05):
    """Test and training error of one set of examples."""
    X, teacher, w = _matrix(rng, int(alpha * N), N, N), rng.normal(size=N), rng.normal(size=N)
    noise, found = 0.5 * rng.normal(size=int(alpha * N)), {"Q": [], "train": []}
    for _ in range(steps):
        e = X @ (teacher - w) + noise
        found["Q"].append(np.mean((w - teacher) ** 2))
        found["train"].append(np.mean(e**2))
        w = w + dt * (X.T @ e - ridge * w)
    return found


def perceptron(N, rng, steps, alpha, eta):
    """Overlap, norm and loss of one student."""
    X, teacher, w = _matrix(rng, int(alpha * N), N, N), rng.normal(size=N), rng.normal(size=N)
    found = {"m": [], "Q": [], "loss": []}
    for _ in range(steps):
        h, error = X @ w, np.tanh(X @ teacher) - np.tanh(X @ w)
        found["m"].append(np.mean(w * teacher))
        found["Q"].append(np.mean(w**2))
        found["loss"].append(np.mean(error**2) / 2)
        w = w + eta * X.T @ (error / np.cosh(h) ** 2)
    return found


def random_features(N, rng, steps, alpha, beta, ridge, dt=0.05):
    """Test error of one set of examples and features."""
    X, F = _matrix(rng, int(alpha * N), N, N), _matrix(rng, int(beta * N), N, N)
    teacher, w, noise = rng.normal(size=N), np.zeros(len(F)), 0.5 * rng.normal(size=len(X))
    found = {"Q": []}
    for _ in range(steps):
        v = teacher - F.T @ w
        found["Q"].append(np.mean(v**2))
        w = w + dt * (F @ (X.T @ (X @ v + noise)) - ridge * w)
    return found


CASES = [
    (hopfield, {"alpha": 0.5, "g": 1.2}, 30),
    (reciprocal_lotka_volterra, {"mu": 4.0, "sigma": 0.7, "rho": -0.5}, 60),
    (consumer_resource, {"mu": 1.0, "sigma": 0.5, "K": 1.0, "m": 0.5, "nu": 1.5}, 60),
    (ridge_regression, {"alpha": 2.0, "ridge": 0.1}, 40),
    (perceptron, {"alpha": 3.0, "eta": 0.3}, 12),
    (random_features, {"alpha": 2.0, "beta": 1.5, "ridge": 0.1}, 40),
]


@pytest.mark.slow
@pytest.mark.parametrize(("simulated", "parameters", "steps"), CASES, ids=lambda c: getattr(c, "__name__", ""))
def test_finite_systems_approach_the_theory(simulated, parameters, steps):
    """Means of two widths, extrapolated in 1/N; neighbouring times share their error. 30 per cent off would be seen."""
    model = ds.build_model(str(EXAMPLES / f"{simulated.__name__}.py"))
    result = ds.compile_model(model).solve(parameters, {}, steps=steps, points=2**13)
    rng, runs = np.random.default_rng(7), 100
    large, small = ([simulated(N, rng, steps, **parameters) for _ in range(runs)] for N in (400, 200))
    for name in large[0]:
        theory = result[name].values
        error = result[f"se_{name}"].values if f"se_{name}" in result else 0.0
        values, half = (np.array([run[name] for run in each]) for each in (large, small))
        mean = 2 * values.mean(axis=0) - half.mean(axis=0)
        error = np.sqrt((4 * values.var(axis=0) + half.var(axis=0)) / runs + error**2) + 1e-9
        z = (theory - mean) / error
        assert np.sqrt(np.mean(z**2)) < 2.2 and np.abs(z).max() < 5, name
        assert np.abs((1.3 * theory - mean) / error).max() > 3, name


@pytest.mark.parametrize("path", sorted(c[0].__name__ for c in CASES))
def test_each_is_short(path):
    text = (EXAMPLES / f"{path}.py").read_text()
    assert len([line for line in text.split('"""')[2].splitlines() if line.strip()]) <= 25
