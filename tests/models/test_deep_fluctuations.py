"""Finite-width fluctuations of deep networks: weights of paths moved, trained ensembles, exact closure, known kernels.

Tolerances are relative accuracies, or numbers of standard errors of the ensembles (2/E of a variance) and of the sample
paths (se_cov_*). Every tolerance is shown to fail for a result that is slightly wrong.
"""

import inspect
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import raw_library
from fluctuating_models import interpreted
from sympy import tanh

import dmftsym as ds
from dmftsym.models.loading import build_model

REFERENCE = Path(__file__).parents[1] / "reference"
ONE_SAMPLE = {"Kx": [[1.0]], "y": [1.0]}
TWO_SAMPLES = {"Kx": [[1.0, 0.4], [0.4, 0.8]], "y": [1.0, -0.7]}
PARAMETERS = {"gamma": 1.5, "eta": 0.3}
TEST_POINTS = ("f", "f_test", "Phi1_cross")
WITH_TEST_POINTS = {  # the second test point is the first sample
    "X": [[0.8, -0.4, 1.0], [-0.3, 1.1, 0.5]],
    "X_test": [[0.6, 0.9, -0.7], [0.8, -0.4, 1.0]],
    "y": [1.0, -0.5],
}


@cache
def network(depth, activation, covariance, **structure):
    model = build_model("mlp", depth=depth, activation=activation, **structure)
    return ds.compile_model(model, ds.Options(covariance=covariance)).solver.module


def without_fresh_normals(module):
    """The backward sweep without the averages of normals that are drawn later, which vanish but fluctuate."""
    source = inspect.getsource(module.adjoint_sweep)
    source, count = re.subn(r"fresh = state.adj_fresh_(\w+)", r"fresh = 0.0*state.adj_fresh_\1", source)
    assert count > 0
    namespace = dict(module.__dict__)
    exec(source, namespace)
    return namespace["adjoint_sweep"]


def without_projections(module):
    """Adjoints of matrices without what the projections of images on known functions fluctuate by."""

    class Without(module.MatrixAdjoint):
        def _spread(self, side, coefficients, first, second):
            if first is second:
                super()._spread(side, coefficients, first, second)

    return Without


def diagonal(cov):
    """N Var from N Cov, with the axes of the quantity."""
    shape = cov.shape[: cov.ndim // 2]
    return np.diag(cov.reshape(np.prod(shape), -1)).reshape(shape)


# Influence functions are derivatives


@pytest.mark.slow
@pytest.mark.usefixtures("averaged_form")
def test_influence_functions_are_derivatives_with_respect_to_the_weights_of_paths():
    """Central differences of the forward sweep (1e-6), for paths of both layers; a millionth of eta would show.

    In the averaged form: for matrices that are held the derivatives are others, of the same averages (theory 6.9).
    """
    options, steps, paths = ds.Options(covariance=TEST_POINTS), 3, 64
    module = ds.compile_model(raw_library.mlp(2, test=True), options).solver.module
    values, factors, _ = module._prepare(PARAMETERS, WITH_TEST_POINTS, steps)
    rng, normals = np.random.default_rng(0), {}
    for site in module.SITES:
        normals |= module.draw_normals(site, "monte-carlo", paths, rng, values, factors, steps)
    weights = {site: np.full(paths, 1 / paths) for site in module.SITES}

    def results(moved, eta=PARAMETERS["eta"]):
        outputs, status, _ = module.record_sweep(values | {"eta": eta}, factors, normals, moved, steps, 1.0)
        assert status == "ok"
        return np.concatenate([outputs[name].ravel() for name in module.COVARIANCES])

    recorded, _, _ = module.record_sweep(values, factors, normals, weights, steps, 1.0)
    shapes = {name: recorded[name].shape for name in module.COVARIANCES}
    quantity, place, _ = module._columns(shapes, {n: np.arange(np.prod(s)) for n, s in shapes.items()}, steps)
    seeds, count = module._seeds(shapes, quantity, place), len(place)
    sweep = without_fresh_normals(module)
    found, _ = sweep(values | {"(columns)": count}, recorded, normals, weights, steps, 1.0, seeds, (), steps - 1)
    for site in module.SITES:
        for path in (0, 17):
            ends = {}
            for eta in (PARAMETERS["eta"], PARAMETERS["eta"] * (1 + 1e-4)):
                moved = [weights | {site: weights[site] + s * 1e-6 * (np.arange(paths) == path)} for s in (1, -1)]
                ends[eta] = (results(moved[0], eta) - results(moved[1], eta)) / 2e-6
            right, wrong = ends.values()
            assert np.abs(found[site][:, path] - right).max() < 1e-7 * np.abs(right).max() + 1e-8
            assert np.abs(found[site][:, path] - wrong).max() > 1e-6


def test_seeds_of_symmetric_quantities_stand_for_both_halves():
    compiled = ds.compile_model(build_model("mlp", depth=2), ds.Options(covariance=("f", "K", "Phi1", "Phi2")))
    module = interpreted(compiled.source.text)
    cov = module.fluctuations(PARAMETERS, TWO_SAMPLES, steps=3, points=16, repeats=2)["cov_Phi1_Phi2"]
    assert np.allclose(cov, cov.transpose(2, 3, 0, 1, 4, 5, 6, 7), rtol=0, atol=1e-12)
    assert np.allclose(cov, cov.transpose(0, 1, 2, 3, 6, 7, 4, 5), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_a_test_point_that_is_a_sample_fluctuates_like_it():
    module = network(2, "tanh", TEST_POINTS, test=True)
    found = module.fluctuations(PARAMETERS, WITH_TEST_POINTS, steps=4, points=512, repeats=2)
    f, cross, own = (found[f"cov_{name}"] for name in ("f_f", "f_f_test", "f_test_f_test"))
    # of two equal values a memory is shared out between by ridge regression
    assert np.abs(own[1, :, 1] - f[0, :, 0]).max() < 1e-4 * f.max()
    assert np.abs(cross[:, :, 1] - f[:, :, 0]).max() < 1e-4 * f.max()
    assert np.abs(own[0, :, 0] - f[0, :, 0]).max() > 0.1 * f.max(), "the other test point does not"


# Ensembles of trained networks


def train_three_layers(width, networks, data, steps, seed):
    """f at samples and test points (networks, P + Q, steps), phi(h1) there (networks, P + Q, steps, width)."""
    rng = np.random.default_rng(seed)
    X, y = np.array(data["X"]), np.array(data["y"])
    points, (P, D) = np.concatenate([X, data["X_test"]]), X.shape
    gamma, eta = PARAMETERS["gamma"], PARAMETERS["eta"]
    V, W, w = (rng.standard_normal((networks, width, *rest)) for rest in ((D,), (width,), ()))
    f, features = [], []
    for _ in range(steps):
        first = np.tanh(np.einsum("end,pd->epn", V, points) / np.sqrt(D))
        second = np.tanh(first @ W.swapaxes(1, 2) / np.sqrt(width))
        f.append((second @ w[:, :, None])[:, :, 0] / (gamma * width))
        features.append(first)
        delta = y - f[-1][:, :P]
        g2 = (1 - second[:, :P] ** 2) * w[:, None]
        g1 = (1 - first[:, :P] ** 2) * (g2 @ W) / np.sqrt(width)
        w = w + eta * gamma * (delta[:, None] @ second[:, :P])[:, 0]
        W = W + eta * gamma / np.sqrt(width) * (delta[:, :, None] * g2).swapaxes(1, 2) @ first[:, :P]
        V = V + eta * gamma / np.sqrt(D) * (delta[:, :, None] * g1).swapaxes(1, 2) @ X
    return np.stack(f, 2), np.stack(features, 2)


@pytest.mark.slow
def test_test_points_of_three_layers_agree_with_trained_networks():
    """6000 networks, N = 200: variances of f, f_test and of the kernel between test points and samples (1.8 %)."""
    module, steps, width, batches = network(2, "tanh", TEST_POINTS, test=True), 5, 200, 60
    f, kernels = [], []
    for seed in range(batches):
        one, features = train_three_layers(width, 100, WITH_TEST_POINTS, steps, seed)
        f.append(one)
        kernels.append(np.einsum("eatn,ebsn->eatbs", features[:, 2:], features[:, :2]) / width)
    f, kernels = np.concatenate(f), np.concatenate(kernels)
    found = module.fluctuations(PARAMETERS, WITH_TEST_POINTS, steps=steps)
    theory = [diagonal(found[f"cov_{name}_{name}"]) for name in TEST_POINTS]
    sampled = [width * values.var(0) for values in (f[:, :2], f[:, 2:], kernels)]
    for name, value, expected in zip(TEST_POINTS, sampled, theory, strict=True):
        assert np.abs((value / expected).mean() - 1) < 3 * np.sqrt(2 / len(f)) + 2 / width, name
    joint = width * np.einsum("emt,eas->mtas", f[:, :2] - f[:, :2].mean(0), f[:, 2:] - f[:, 2:].mean(0)) / len(f)
    spread = np.sqrt(np.multiply.outer(theory[0], theory[1]))
    assert np.abs(joint - found["cov_f_f_test"]).max() < (4.5 * np.sqrt(2 / len(f)) + 2 / width) * spread.max()
    assert np.abs(theory[1][0] / theory[0][0] - 1).max() > 0.15, "the other test point is another case"


def ensemble_ratio(entries, name, theory, place=()):
    """N Var of an ensemble extrapolated in 1/N (a line, weighted by the networks) over theory, averaged over times.

    Returns ratios and their standard error, as large as if all times were one: a variance of E networks has 2/E.
    """
    widths = np.array([float(n) for n in entries])
    networks = np.array([entry["E"] for entry in entries.values()])
    values = np.array([np.array(entry[name]["Nvar"])[place] for entry in entries.values()])
    ratio = (values / np.where(theory > 1e-10, theory, np.nan)).reshape(len(widths), len(theory), -1)
    means = np.nanmean(ratio, axis=1)
    design = np.stack([np.ones(len(widths)), 1 / widths], 1)
    information = (design.T * networks) @ design
    return np.linalg.solve(information, (design.T * networks) @ means)[0], np.sqrt(2 * np.linalg.inv(information)[0, 0])


@pytest.fixture(scope="module")
def small():
    file = json.loads((REFERENCE / "three_layer_tanh_small.json").read_text())
    settings = file["settings"]
    module = network(2, "tanh", ("f", "K", "Phi1", "Phi2"))
    data = {"X": settings["X"], "y": settings["y"]}
    parameters = {"gamma": settings["gam"], "eta": settings["eta"]}
    run = lambda **options: module.fluctuations(parameters, data, steps=settings["T"], **options)
    return module, file["widths"], run


def ratios(widths, result):
    f = np.einsum("mtmt->tm", result["cov_f_f"])
    K = np.einsum("mntmnt->tmn", result["cov_K_K"])
    found = {"f": ensemble_ratio(widths, "f", f), "K": ensemble_ratio(widths, "ntk", K)}
    for layer in (1, 2):
        Phi = np.einsum("mtntmtnt->tmn", result[f"cov_Phi{layer}_Phi{layer}"])
        found[f"Phi{layer}"] = ensemble_ratio(widths, "Phi", Phi, layer - 1)
    return found


def test_three_layers_agree_with_trained_networks(small):
    """Averaged over times within 7 %: 2.6 % is the error of the extrapolated ensembles, 3 % that of few paths."""
    module, widths, run = small
    result = run(points=4096, repeats=2)
    for name, (ratio, error) in ratios(widths, result).items():
        assert error < 0.027 and np.abs(ratio - 1).max() < 0.07, name
    adjoint = module.MatrixAdjoint
    try:
        module.MatrixAdjoint = without_projections(module)
        wrong = ratios(widths, run(points=4096, repeats=2))
    finally:
        module.MatrixAdjoint = adjoint
    assert np.abs(wrong["f"][0] - 1).max() > 0.1, "the projections of images must show"


@pytest.mark.slow
def test_three_layers_agree_with_trained_networks_closely(small):
    _, widths, run = small
    for name, (ratio, _) in ratios(widths, run(points=16384)).items():
        assert np.abs(ratio - 1).max() < 0.05, name


@pytest.mark.slow
def test_longer_training_of_three_layers():
    """three_layer_tanh.json, 25 steps: N Var of f, K and Phi(t, t), averaged over times and samples, within 5 %.

    Every entry within 3 standard errors of the extrapolated ensembles (4.8 %). The theory is the mean of two samples,
    whose own errors are 1 to 3 % each.
    """
    file = json.loads((REFERENCE / "three_layer_tanh.json").read_text())
    settings = file["settings"]
    model = build_model("mlp", depth=2, activation="tanh")
    t, mu, nu = (model.index_symbols[name] for name in ("t", "mu", "nu"))
    for layer in (1, 2):
        model.define(f"now{layer}", mu, nu, t, model.tensors[f"Phi{layer}"][mu, t, nu, t])
    module = ds.compile_model(model, ds.Options(covariance=("f", "K", "now1", "now2"))).solver.module
    data, parameters = {"X": settings["X"], "y": settings["y"]}, {"gamma": settings["gam"], "eta": settings["eta"]}
    samples = [module.fluctuations(parameters, data, steps=settings["T"], seed=seed) for seed in (0, 1)]
    result = {f"cov_{q}_{q}": sum(each[f"cov_{q}_{q}"] for each in samples) / 2 for q in ("f", "K", "now1", "now2")}
    found = {"f": ensemble_ratio(file["widths"], "f", np.einsum("mtmt->tm", result["cov_f_f"]))}
    for name, recorded, place in (("K", "ntk", ()), ("now1", "Phi", 0), ("now2", "Phi", 1)):
        variance = np.einsum("mntmnt->tmn", result[f"cov_{name}_{name}"])
        ratio, error = ensemble_ratio(file["widths"], recorded, variance, place)
        found[name] = ratio[[0, 1, 3]], error  # each pair of samples once
    for name, (ratio, error) in found.items():
        assert abs(ratio.mean() - 1) < 0.05 and np.abs(ratio - 1).max() < 3 * error < 0.15, name


# Linear networks: exact


@pytest.mark.slow
def test_five_linear_layers_agree_with_trained_networks():
    """First ten steps, where a line in 1/N describes the corrections: within 3 standard errors of the networks."""
    file = json.loads((REFERENCE / "five_layer_linear.json").read_text())
    settings, steps = file["settings"], 10
    module = network(4, "linear", ("f",))
    data, parameters = {"X": settings["X"], "y": settings["y"]}, {"gamma": settings["gam"], "eta": settings["eta"]}
    result = module.fluctuations(parameters, data, steps=steps)
    assert str(result["cov_measure"]) == "gaussian, exact" and "se_cov_f_f" not in result
    f = np.einsum("mtmt->tm", result["cov_f_f"])
    first = slice(0, steps)
    ratio, error = ensemble_ratio(file["widths"], "f", f, first)
    assert error < 0.06 and np.abs(ratio - 1).max() < 3 * error
    ratio, error = ensemble_ratio(file["widths"], "f", 0.85 * f, first)
    assert np.abs(ratio - 1).max() > 3 * error


@pytest.mark.slow
def test_exact_and_sampled_covariances_of_a_linear_network_agree():
    """The same network closed by Wick's theorem and sampled: 5 standard errors (Student's law, eight parts)."""
    module = network(2, "linear", ("f", "Phi1", "G2"))
    exact = module.fluctuations(PARAMETERS, ONE_SAMPLE, steps=5)
    sampled = module.fluctuations(PARAMETERS, ONE_SAMPLE, steps=5, measure="sobol", points=8192)
    for name in ("cov_f_f", "cov_f_Phi1", "cov_Phi1_Phi1"):
        scale = np.abs(exact[name]).max()
        error = sampled[f"se_{name}"] + 2e-3 * scale
        assert np.abs(sampled[name] - exact[name]).max() > 0
        assert (np.abs(sampled[name] - exact[name]) < 5 * error).all() and error.max() < 0.08 * scale
        assert (np.abs(sampled[name] - 1.4 * exact[name]) > 5 * error).any(), "forty percent must show somewhere"


@pytest.mark.slow
def test_variance_builds_up_layer_by_layer():
    """One normalised input, linear: N Cov(Phi^l, Phi^l') = 2 min(l, l') at initialisation."""
    names = ("Phi1", "Phi2", "Phi3")
    found = network(3, "linear", names).fluctuations({"gamma": 1, "eta": 0.1}, ONE_SAMPLE, steps=1)
    for a, one in enumerate(names):
        for b, other in enumerate(names[a:], a):
            assert found[f"cov_{one}_{other}"].item() == pytest.approx(2 * (min(a, b) + 1), rel=1e-8)


@pytest.mark.slow
def test_variance_builds_up_layer_by_layer_for_relu():
    """sqrt(2) ReLU, one normalised input: N Cov(Phi^l, Phi^l') = 5 min(l, l')."""
    names = ("Phi1", "Phi2", "Phi3")
    found = network(3, "sqrt(2)*Max(h, 0)", names).fluctuations(
        {"gamma": 1, "eta": 0.1}, ONE_SAMPLE, steps=1, points=65536
    )
    for a, one in enumerate(names):
        for b, other in enumerate(names[a:], a):
            assert found[f"cov_{one}_{other}"].item() == pytest.approx(5 * (min(a, b) + 1), rel=0.02)


def explicit_response():
    """A memory that is no recall, on a site that is not linear."""
    m = ds.Model("kernel")
    t, s = m.times("t s", continuous=True, dt=0.1)
    C, R = m.order_parameter("C", t, s), m.order_parameter("R", t, s)
    site = m.site("unit")
    x = site.field("x", t, variance=1)
    memory = ds.past(s)(R[t, s] ** 2 * tanh(x[s]))
    site.action(-x.tilde[t] * (x.dot[t] + x[t] - memory) + x.tilde[t] * C[t, s] * x.tilde[s] / 2)
    site.action(C.hat[t, s] * tanh(x[t]) * tanh(x[s]) + R.hat[t, s] * tanh(x[t]) * x.tilde[s])
    m.action = -C.hat[t, s] * C[t, s] - R.hat[t, s] * R[t, s] + ds.log_Z(site)
    return m


def memory_elsewhere():
    """A memory of the right form that drives another field than the noise: no matrix has these rows and columns."""
    m = ds.Model("elsewhere")
    t, s = m.times("t s", continuous=True, dt=0.1)
    C, R = m.order_parameter("C", t, s), m.order_parameter("R", t, s)
    V = m.order_parameter("V", t)
    site = m.site("unit")
    x, v = site.field("x", t, variance=1), site.field("v", t, variance=1)
    site.action(-x.tilde[t] * (x.dot[t] + x[t]) + x.tilde[t] * C[t, s] * x.tilde[s] / 2)
    site.action(-v.tilde[t] * (v.dot[t] + v[t] - ds.past(s)(R[t, s] * tanh(x[s]))) + V.hat[t] * v[t] ** 2)
    site.action(C.hat[t, s] * tanh(x[t]) * tanh(x[s]) + R.hat[t, s] * tanh(x[t]) * x.tilde[s])
    m.action = -C.hat[t, s] * C[t, s] - R.hat[t, s] * R[t, s] - V.hat[t] * V[t] + ds.log_Z(site)
    return m


REFUSED = {
    "explicit response": (explicit_response, "C", r"response function R.*linear; unit is not: .*tanh"),
    "no random matrix": (memory_elsewhere, "V", r"recalled_R.*not that of one random matrix"),
    "response asked for": (lambda: build_model("mlp", depth=2), "A1", r"of 'A1': 'A1' is a response function"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_covariances_that_are_not_available_are_refused(case):
    build, name, words = REFUSED[case]
    with pytest.raises(ds.LoweringError, match=words):
        ds.compile_model(build(), ds.Options(covariance=(name,)))


def test_sampled_response_functions_are_refused():
    module = ds.compile_model(build_model("p_spin"), ds.Options(covariance=("C",))).solver.module
    with pytest.raises(module.InputError, match=r"response functions of site spin.*auto or gaussian, given: sobol"):
        module.fluctuations({"temperature": 1.0}, steps=3, measure="sobol")


def test_kinks_of_deep_networks_are_refused():
    module = network(2, "relu", ("f",))
    with pytest.raises(module.InputError, match=r"g\d.*kink.*steps 1 or a smooth activation"):
        module.fluctuations(PARAMETERS, ONE_SAMPLE, steps=2)
