"""The two-layer network against closed forms, a second evaluation of the same process, and trained networks."""

import json
from pathlib import Path

import numpy as np
import pytest
from finite_networks import extrapolate, mean_and_error, train_two_layers, two_layers_by_quadrature
from scipy.special import erf

import dmftsym as ds
from dmftsym.models.loading import build_model

REFERENCE = Path(__file__).parents[1] / "reference"
X = np.array([[1.0, 0.3, -0.5, 0.2], [-0.4, 1.1, 0.6, -0.2], [0.2, -0.7, 0.9, 1.3]])
Y = np.array([1.0, -0.8, 0.4])


def solve(steps, gamma=1.0, eta=0.2, data=None, measure="auto", points=None, outputs=(), **structure):
    compiled = ds.compile_model(build_model("mlp", **structure), ds.Options(outputs=outputs))
    data = {"X": X, "y": Y} if data is None else data
    return compiled.solve({"gamma": gamma, "eta": eta}, data, steps=steps, measure=measure, points=points)


def linear_closed_form(gamma, eta, steps, second_order=1.0):
    f, K, fs, Ks = 0.0, 2.0, [], []
    for _ in range(steps):
        fs.append(f)
        Ks.append(K)
        delta = 1 - f
        f, K = (
            f + eta * K * delta + second_order * eta**2 * gamma**2 * f * delta**2,
            K + 4 * eta * gamma**2 * f * delta + second_order * eta**2 * gamma**2 * delta**2 * K,
        )
    return np.array(fs), np.array(Ks)


@pytest.mark.parametrize("gamma", [0.5, 1, 3, 6])
def test_linear_network_agrees_with_its_closed_form(gamma):
    result = solve(40, gamma, 0.2, {"Kx": [[1.0]], "y": [1.0]}, activation="linear")
    f, K = linear_closed_form(gamma, 0.2, 40)
    assert result.attrs["measure"] == "gaussian, exact"
    assert np.abs(result.f.values[0] - f).max() < 1e-10
    assert np.abs(result.K.values[0, 0] - K).max() < 1e-10
    without_square, _ = linear_closed_form(gamma, 0.2, 40, second_order=0.0)
    assert np.abs(result.f.values[0] - without_square).max() > 1e-3, "the tolerance must notice the order eta^2"


def test_tanh_agrees_with_ensembles_of_trained_networks():
    reference = json.loads((REFERENCE / "two_layer_tanh.json").read_text())
    settings = reference["settings"]
    data = {"X": np.array(settings["X"]), "y": np.array(settings["y"])}
    expected, error = extrapolate(reference["widths"], "f")
    expected_K, error_K = extrapolate(reference["widths"], "ntk")

    result = solve(settings["T"], settings["gam"], settings["eta"], data)
    assert (np.abs(result.f.values.T - expected) < 4 * error + 1e-3).all()
    assert (np.abs(result.K.values.transpose(2, 0, 1) - expected_K) < 4 * error_K + 3e-3).all()

    wrong = solve(settings["T"], settings["gam"], 0.99 * settings["eta"], data)
    assert not (np.abs(wrong.f.values.T - expected) < 4 * error + 1e-3).all(), "one percent of eta must show"


@pytest.mark.parametrize(
    ("activation", "phi", "dphi"),
    [
        ("tanh", np.tanh, lambda h: 1 - np.tanh(h) ** 2),
        ("erf", erf, lambda h: 2 / np.sqrt(np.pi) * np.exp(-h * h)),
        ("tanh(0.4*h)/0.4", lambda h: np.tanh(0.4 * h) / 0.4, lambda h: 1 - np.tanh(0.4 * h) ** 2),
        ("relu", lambda h: np.maximum(h, 0), lambda h: (h > 0) * 1.0),
        ("sin(h) + h/2", lambda h: np.sin(h) + h / 2, lambda h: np.cos(h) + 0.5),
    ],
)
def test_generated_sweep_equals_trajectories_written_out(activation, phi, dphi):
    """The same quadrature points through a direct evaluation of every sum over the past: equal to rounding."""
    data = {"X": X[:2], "y": Y[:2]}
    result = solve(9, 1.3, 0.15, data, "hermite", 10, ("Phi1", "G1"), activation=activation)
    Kx = X[:2] @ X[:2].T / X.shape[1]
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)
    grid = np.stack([g.ravel() for g in np.meshgrid(nodes, nodes, nodes, indexing="ij")])
    product = np.einsum("i,j,k->ijk", weights, weights, weights).ravel()
    values, vectors = np.linalg.eigh(Kx)
    sources = np.concatenate([vectors * np.sqrt(values) @ grid[:2], grid[2:]])
    f, Phi, G = two_layers_by_quadrature(phi, dphi, Kx, Y[:2], 1.3, 0.15, 9, sources, product / product.sum())
    assert np.allclose(result.f, f, rtol=0, atol=1e-12)
    assert np.allclose(result.Phi1, Phi, rtol=0, atol=1e-11)
    assert np.allclose(result.G1, G, rtol=0, atol=1e-11)
    K = np.einsum("mtnt->mnt", Phi) + Kx[:, :, None] * np.einsum("mtnt->mnt", G)
    assert np.allclose(result.K, K, rtol=0, atol=1e-11)
    assert result.Phi1.dims == ("sample", "time", "sample2", "time2")


@pytest.mark.parametrize(
    ("activation", "phi", "dphi"),
    [
        ("relu", lambda h: np.maximum(h, 0), lambda h: (h > 0) * 1.0),
        ("softplus", lambda h: np.logaddexp(0, h), lambda h: 1 / (1 + np.exp(-h))),
    ],
)
def test_activations_agree_with_trained_networks(activation, phi, dphi):
    f, error = mean_and_error(train_two_layers(1500, 60, phi, dphi, X, Y, 1.0, 0.2, 25, seed=1)[0])
    result = solve(25, activation=activation)
    assert (np.abs(result.f.values.T - f) < 4 * error + 2 / 1500).all()
    assert not (np.abs(solve(25, eta=0.15, activation=activation).f.values.T - f) < 4 * error + 2 / 1500).all()


@pytest.mark.parametrize("loss", ["logistic", "log(1 + exp(-y*f))"])
def test_logistic_loss_centred_network_and_test_points_agree_with_trained_networks(loss):
    X_test = np.array([[0.5, 0.5, -0.2, 0.1], [-1.0, 0.2, 0.3, 0.9]])
    labels = np.sign(Y)
    minus_dloss = lambda f, y: y / (1 + np.exp(y * f))
    f, _ = train_two_layers(
        1500, 60, np.tanh, lambda h: 1 - np.tanh(h) ** 2, X, labels, 1.5, 0.3, 25, 3, minus_dloss, True, X_test
    )
    f, error = mean_and_error(f - f[:, :1])
    data = {"X": X, "y": labels, "X_test": X_test}
    result = solve(25, 1.5, 0.3, data, loss=loss, centered=True, test=True)
    assert (np.abs(result.f.values.T - f[:, :3]) < 4 * error[:, :3] + 2 / 1500).all()
    assert (np.abs(result.f_test.values.T - f[:, 3:]) < 4 * error[:, 3:] + 2 / 1500).all()
    expected_loss = np.log1p(np.exp(-labels[:, None] * result.f.values)).sum(0)
    assert np.allclose(result.loss, expected_loss, atol=1e-3)


def test_edge_of_stability_in_discrete_time():
    """eta K starts above 2: it ends below 2 (catapult), or alternates about 2 with f, as the exact map does."""
    data = {"Kx": [[1.0]], "y": [1.0]}
    for eta, cycle in ((0.8, 1), (1.2, 1), (1.05, 2)):
        gamma = 1.0 if cycle == 2 else 0.5
        result = solve(300, gamma, eta, data, activation="linear")
        f, K = linear_closed_form(gamma, eta, 300)
        assert np.abs(result.f.values[0] - f).max() < 1e-8
        late = eta * result.K.values[0, 0, -20:]
        if cycle == 1:
            assert np.ptp(late) < 1e-6 and late.max() < 2
        else:
            assert eta * K[0] > 2 and np.ptp(late) > 0.5
            assert late.min() < 2 < late.max() and abs(late.mean() - 2) < 0.1
    gradient_flow_would = solve(300, 1.0, 0.02, data, activation="linear").K.values[0, 0]
    assert np.ptp(gradient_flow_would[-20:]) < 1e-3, "small steps settle"


def test_large_learning_rate_with_tanh_settles_below_two_over_eta():
    result = solve(300, 1.0, 2.5, {"Kx": [[1.0]], "y": [1.0]})
    K = 2.5 * result.K.values[0, 0]
    assert K[0] > 2 and K[:4].max() > K[0], "progressive sharpening"
    assert 1.5 < K[-1] < 2 and abs(result.f.values[0, -1] - 1) < 1e-3


def test_initial_kernels_are_the_known_ones():
    """NNGP and tangent kernels at t=0 of erf (Williams 1998) and ReLU (Cho & Saul 2009)."""
    Kx = X @ X.T / X.shape[1]
    norms = np.sqrt(np.diag(Kx))
    cosine = np.clip(Kx / np.outer(norms, norms), -1, 1)
    angle = np.arccos(cosine)
    relu_phi = np.outer(norms, norms) * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)
    relu_g = (np.pi - angle) / (2 * np.pi)
    scale = np.sqrt(np.outer(1 + 2 * np.diag(Kx), 1 + 2 * np.diag(Kx)))
    erf_phi = 2 / np.pi * np.arcsin(2 * Kx / scale)
    erf_g = 4 / np.pi / np.sqrt(np.outer(1 + 2 * np.diag(Kx), 1 + 2 * np.diag(Kx)) - 4 * Kx**2)
    for activation, phi, g in (("relu", relu_phi, relu_g), ("erf", erf_phi, erf_g)):
        result = solve(1, activation=activation)
        error = 4 * np.sqrt((result.se_K.values**2).mean())  # eight scramblings: pool the errors of the entries
        assert (np.abs(result.K.values[:, :, 0] - (phi + Kx * g)) < error).all()
        assert error < 5e-3
        assert np.abs(phi - g).max() > 0.05, "taking phi for its derivative would show"


def test_lazy_limit():
    result = solve(60, 1e-4, 0.3, activation="tanh")
    K = result.K.values[:, :, 0]
    f = np.array([Y - np.linalg.matrix_power(np.eye(3) - 0.3 * K, t) @ Y for t in range(60)]).T
    assert np.abs(result.f.values - f).max() < 5e-3
    assert np.abs(result.f.values - result.f.values[:, :1]).max() > 0.3


def test_inputs_and_their_kernel_are_the_same_data():
    X_test = X[:2] * 0.7 + 0.1
    stacked = np.concatenate([X, X_test])
    by_input = solve(10, data={"X": X, "y": Y, "X_test": X_test}, test=True)
    by_kernel = solve(10, data={"Kx": stacked @ stacked.T / X.shape[1], "y": Y}, test=True)
    assert np.allclose(by_input.f_test, by_kernel.f_test, atol=1e-9)
    assert by_input.f_test.dims == ("test", "time")
    assert np.allclose(by_input.f, solve(10).f, atol=2e-3), "test points feed nothing back"


def test_singular_input_kernel():
    """Two equal inputs: the source covariance has a null direction, the two predictions coincide."""
    result = solve(15, data={"X": X[[0, 0]], "y": [1.0, 0.5]})
    assert np.allclose(result.f[0], result.f[1], atol=1e-12)
    assert result.attrs["measure"].startswith("hermite"), "two dimensions are left"
    alone = solve(15, eta=0.4, data={"X": X[:1], "y": [0.75]})
    assert np.allclose(result.f[0], alone.f[0], atol=1e-8), "two equal samples act as one with twice the rate"


@pytest.mark.parametrize("depth", [0, -1, 1.5])
def test_a_depth_that_is_no_number_of_layers_is_refused(depth):
    with pytest.raises(ds.LanguageError, match=f"depth.*{depth}"):
        build_model("mlp", depth=depth)
