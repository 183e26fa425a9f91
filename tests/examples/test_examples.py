"""Every example runs; models in examples/ agree with their own finite-size simulation."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import dmftsym as ds
from dmftsym.models.loading import find_model

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(name):
    return ds.compile_model(find_model(str(EXAMPLES / f"{name}.py")).build({}))


def test_digits(tmp_path):
    result = load("digits").main(steps=40, points=4096, folder=tmp_path)
    assert (tmp_path / "digits.png").stat().st_size > 20_000
    with np.load(EXAMPLES / "digits.npz") as file:
        labels = file["y"]
    late = result.isel(time=-1)
    assert (np.sign(late.f) == labels).all()
    assert result.f_test.dims == ("test", "time") and result.K.shape == (12, 12, 40)
    assert float(result.loss[-1]) < 0.2 * float(result.loss[0])


def test_finite_width_is_figure_2(tmp_path):
    result = load("finite_width").main(gammas=(2,), folder=tmp_path)[2]
    assert (tmp_path / "finite_width.png").stat().st_size > 20_000
    variance = load("finite_width").variance
    assert variance(result, "Delta").max() == pytest.approx(0.0807, abs=2e-4)
    assert variance(result, "f_test", since_start=True)[-1] == pytest.approx(0.119, abs=1e-3)
    assert variance(result, "K")[0] == pytest.approx(1.7878, abs=1e-4)


@pytest.mark.slow
def test_deep_linear_is_figure_4(tmp_path):
    results = load("deep_linear").main(folder=tmp_path)
    assert (tmp_path / "deep_linear.png").stat().st_size > 20_000
    peaks = [np.diag(r.cov_Delta_Delta.values.reshape(30, 30)).max() for r in results.values()]
    assert peaks == pytest.approx([0.53, 0.60, 0.79, 1.0], rel=0.015)
    assert all(r.attrs["cov_measure"] == "gaussian, exact" for r in results.values())


@pytest.mark.slow
def test_variance_by_layer(tmp_path):
    result = load("variance_by_layer").main(steps=2, points=1024, folder=tmp_path)
    assert (tmp_path / "variance_by_layer.png").stat().st_size > 15_000
    relative = []
    for layer in (1, 2, 3):
        name = f"feature{layer}"
        relative.append(result[f"cov_{name}_{name}"].values[0, 0, 0, 0] / result[name].values[0, 0] ** 2)
    assert relative[0] < relative[1] < relative[2]
    # one layer alone: Var(tanh(h)^2)/<tanh(h)^2>^2 for h of variance 1
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    square, weights = np.tanh(nodes) ** 2, weights / weights.sum()
    assert relative[0] == pytest.approx((square**2 @ weights) / (square @ weights) ** 2 - 1, rel=0.05)


def simulate_populations(units, networks, steps, dt, g_E, g_I, nu_E, seed):
    rng = np.random.default_rng(seed)
    N_E = round(nu_E * units)
    g = np.where(np.arange(units) < N_E, g_E, g_I)
    tau = np.where(np.arange(units) < N_E, 1.0, 0.5)
    x = np.zeros((networks, steps, units))
    for e in range(networks):
        J = rng.standard_normal((units, units)) / np.sqrt(units)
        x[e, 0, :N_E] = 0.5 + rng.standard_normal(N_E)
        x[e, 0, N_E:] = 0.5 * rng.standard_normal(units - N_E)
        for t in range(steps - 1):
            rates = np.tanh(x[e, t])
            drive = nu_E * rates[:N_E].mean() - (1 - nu_E) * rates[N_E:].mean()
            x[e, t + 1] = x[e, t] + dt / tau * (-x[e, t] + 0.2 + drive + g * (J @ rates))
    return np.tanh(x[:, :, :N_E]), np.tanh(x[:, :, N_E:])


def test_two_populations_agree_with_their_simulation():
    parameters = {"g_E": 1.2, "g_I": 0.8, "nu_E": 0.8, "nu_I": 0.2}
    result = compiled("two_populations").solve(parameters, steps=40)
    exc, inh = simulate_populations(1000, 24, 40, 0.1, 1.2, 0.8, 0.8, seed=1)
    pairs = [(0, 0), (10, 10), (20, 5), (39, 39), (39, 20)]
    for rates, mean, kernel in ((exc, "m_E", "C_E"), (inh, "m_I", "C_I")):
        samples = rates.mean(-1)
        error = samples.std(0, ddof=1) / np.sqrt(len(samples))
        assert (np.abs(result[mean] - samples.mean(0)) < 4 * error + 1e-3).all()
        for t, s in pairs:
            products = (rates[:, t] * rates[:, s]).mean(-1)
            bound = 4 * products.std(ddof=1) / np.sqrt(len(products)) + 1e-3
            assert abs(result[kernel].values[t, s] - products.mean()) < bound
    equal_widths = compiled("two_populations").solve({**parameters, "nu_E": 0.5, "nu_I": 0.5}, steps=40)
    samples = exc.mean(-1)
    error = samples.std(0, ddof=1) / np.sqrt(len(samples))
    assert not (np.abs(equal_widths.m_E - samples.mean(0)) < 4 * error + 1e-3).all(), "the widths must matter"


def test_lotka_volterra_agrees_with_its_simulation():
    steps, S, mu, sigma = 120, 1000, 4.0, 0.5
    result = compiled("lotka_volterra").solve({"mu": mu, "sigma": sigma}, steps=steps)
    rng = np.random.default_rng(2)
    samples = np.zeros((20, steps, 2))
    for e in range(20):
        A = mu / S + sigma / np.sqrt(S) * rng.standard_normal((S, S))
        n = 0.5 + 0.1 * rng.standard_normal(S)
        for t in range(steps):
            samples[e, t] = n.mean(), (n * n).mean()
            n = n + 0.05 * (n * (1 - n - A @ n) + 0.01)
    error = samples.std(0, ddof=1) / np.sqrt(20)
    theory = np.stack([result.M.values, np.diag(result.C)], 1)
    assert (np.abs(theory - samples.mean(0)) < 4 * error + 5e-4).all()
    assert result.attrs["status"] == "ok"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.stem)
def test_every_example_is_tested(path):
    tests = "".join(p.read_text() for p in Path(__file__).parent.glob("test_*.py"))
    assert f'"{path.stem}"' in tests or f"({path.stem}, " in tests
    assert path.read_text().startswith('"""')
