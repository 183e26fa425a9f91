"""Deep networks: trained networks, the linear closure as matrix algebra, the lazy limit, test points, responses."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from finite_networks import extrapolate, mean_and_error
from reference.lazy_kernels import kernels

import dmftsym as ds
from dmftsym.models.loading import build_model

REFERENCE = Path(__file__).parents[1] / "reference"
X = np.array([[1.0, 0.3, -0.5, 0.2], [-0.4, 1.1, 0.6, -0.2]])
Y = np.array([1.0, -0.8])
LIMIT = 4  # standard errors: of the ensembles extrapolated in 1/N and of the solver's sampling, added in quadrature


@cache
def network(outputs=(), **structure):
    return ds.compile_model(build_model("mlp", **structure), ds.Options(outputs=outputs))


def train(width, networks, X, y, gamma, eta, steps, seed, X_test):
    """Trained tanh networks with two hidden layers: outputs f (networks, steps, P + Q), training points first."""
    rng, P, D = np.random.default_rng(seed), len(y), X.shape[1]
    f, points = np.zeros((networks, steps, P + len(X_test))), np.concatenate([X, X_test]).T / np.sqrt(D)
    for e in range(networks):
        W0, W1, w = (rng.standard_normal(shape) for shape in ((width, D), (width, width), width))
        for t in range(steps):
            a1 = np.tanh(W0 @ points)
            a2 = np.tanh(W1 @ a1 / np.sqrt(width))
            f[e, t] = w @ a2 / (gamma * width)
            delta = y - f[e, t, :P]
            g2 = (1 - a2[:, :P] ** 2) * w[:, None]
            g1 = (1 - a1[:, :P] ** 2) * (W1.T @ g2) / np.sqrt(width)
            w = w + eta * gamma * a2[:, :P] @ delta
            W1 += eta * gamma / np.sqrt(width) * (g2 * delta) @ a1[:, :P].T
            W0 += eta * gamma * (g1 * delta) @ points[:, :P].T
    return f


# --- trained networks, tanh -----------------------------------------------------------------------


def ensemble(name):
    reference = json.loads((REFERENCE / f"{name}.json").read_text())
    settings = reference["settings"]
    inputs = {"X": np.array(settings["X"]), "y": np.array(settings["y"])}
    return reference["widths"], {"gamma": settings["gam"], "eta": settings["eta"]}, inputs, settings["T"]


def as_in_the_ensemble(result, depth):
    """f, tangent kernel, Phi at equal times and Phi against t=0, each with its sampling error, axes as in the files."""
    read = lambda name: (result[name].values, result[f"se_{name}"].values if f"se_{name}" in result else 0.0)
    at = lambda name, pattern: tuple(np.einsum(pattern, v) if np.ndim(v) else v for v in read(name))
    layers = [[f"Phi{k}" for k in range(1, depth + 1)], ("mtnt->tmn", "mtn->tmn")]
    start = lambda name: tuple(v[..., 0].transpose(1, 0, 2) if np.ndim(v) else v for v in read(name))
    stack = lambda pairs: tuple(np.array(v) for v in zip(*pairs, strict=True))
    broad = lambda pairs: [(v, np.broadcast_to(e, v.shape)) for v, e in pairs]
    return {
        "f": at("f", "mt->tm"),
        "ntk": at("K", "mnt->tmn"),
        "Phi": stack(broad(at(name, "mtnt->tmn") for name in layers[0])),
        "Phi_t0": stack(broad(start(name) for name in layers[0])),
    }


def distance(widths, name, value, sampling):
    """The largest distance from the extrapolated ensembles, in standard errors (plus 1e-5: f(0) = 0 is exact)."""
    expected, error = extrapolate(widths, name)
    total = np.hypot(error, sampling) + 1e-5
    assert total.max() < 0.03 * np.abs(expected).max(), "the data must say something"
    return (np.abs(value - expected) / total).max()


@pytest.mark.parametrize("name", ["three_layer_tanh_small", "three_layer_tanh"])
def test_two_hidden_layers_agree_with_trained_networks(name):
    """At every step f, tangent kernel and Phi of both layers, at equal times and against t=0."""
    widths, parameters, inputs, steps = ensemble(name)
    solver = network(("Phi1", "Phi2"), depth=2)
    result = solver.solve(parameters, inputs, steps=steps, points=2**15)
    wrong = solver.solve(parameters | {"eta": 1.1 * parameters["eta"]}, inputs, steps=steps, points=2**15)
    off = as_in_the_ensemble(wrong, 2)
    for quantity, values in as_in_the_ensemble(result, 2).items():
        assert distance(widths, quantity, *values) < LIMIT, quantity
        assert distance(widths, quantity, *off[quantity]) > LIMIT, f"ten percent of eta must show in {quantity}"


def three_layers(memory=True, instant=True, pair=False, samples=True):
    """Two hidden tanh layers, A and B observed through hats; without them, with B at earlier times only; or a pair.

    Without `samples` it has one sample with Kx = 1 and no index for it.
    """
    m = ds.Model("three_layers")
    t, s = m.times("t s")
    gamma, eta = m.parameters("gamma eta", positive=True)
    indices = m.indices("mu nu", size="P", axis="sample") if samples else ((), ())
    mu, nu = ((i,) if samples else () for i in indices)
    Kx = m.data("Kx", *mu, *nu)[*mu, *nu] if samples else 1
    y = m.data("y", *mu)[*mu] if samples else 1
    phi, f = m.activation("phi", "tanh"), m.order_parameter("f", *mu, t)
    names = ("Phi1", "G2", "A1", "B1")
    Phi, G, A, B = kernels = [m.order_parameter(name, *mu, t, *nu, s, on_request=True) for name in names]
    Delta = m.define("Delta", *mu, t, y - f[*mu, t])
    one, two = m.site("layer1"), m.site("layer2")
    h1, z1, h2 = one.field("h1", *mu, t), one.field("z1", *mu, t), two.field("h2", *mu, t)
    z2, here, there = two.field("z2", t), (*mu, t), (*nu, s)
    g1 = one.define("g1", *here, phi.d(1)(h1[here]) * z1[here])
    g2 = two.define("g2", *here, phi.d(1)(h2[here]) * z2[t])
    drift = lambda kernel, x: eta * gamma * ds.past(s, *nu)(Delta[there] * kernel * x)
    one.action(
        -h1.tilde[here] * (h1[here] - drift(Kx, g1[there]))
        - z1.tilde[here] * (z1[here] - drift(G[*here, *there], phi(h1[there])))
        + h1.tilde[here] * Kx * h1.tilde[there] / 2
        + z1.tilde[here] * G[*here, *there] * z1.tilde[there] / 2
        + Phi.hat[*here, *there] * phi(h1[here]) * phi(h1[there])
    )
    two.action(
        -h2.tilde[here] * (h2[here] - drift(Phi[*here, *there], g2[there]))
        - z2.tilde[t] * (z2[t] - eta * gamma * ds.past(s, *nu)(Delta[there] * phi(h2[there])))
        + h2.tilde[here] * Phi[*here, *there] * h2.tilde[there] / 2
        + z2.tilde[t] * z2.tilde[s] / 2
        + f.hat[here] * z2[t] * phi(h2[here]) / gamma
        + G.hat[*here, *there] * g2[here] * g2[there]
    )
    past = lambda inclusive, x: x if pair else ds.past(s, *nu, inclusive=inclusive)(x)
    if memory:
        two.action(h2.tilde[here] * past(False, A[*here, *there] * g2[there]))
        one.action(z1.tilde[here] * past(instant, B[*here, *there] * phi(h1[there])))
    if not pair:
        one.action(A.hat[*here, *there] * phi(h1[here]) * z1.tilde[there])
        two.action(B.hat[*here, *there] * g2[here] * h2.tilde[there])
    explicit = -sum(q.hat[q.indices] * q[q.indices] for q in ([f, Phi, G] if pair else [f, *kernels]))
    explicit -= A[*here, *there] * B[*there, *here] if pair else 0
    m.action = explicit + ds.log_Z(one) + ds.log_Z(two)
    return m


@pytest.mark.parametrize(
    ("left_out", "expected"), [("nothing", 0), ("memory", 100), pytest.param("instant", 5.5, marks=pytest.mark.slow)]
)
def test_the_memory_terms_are_needed_for_f(left_out, expected):
    """Without A and B, or without the equal-time part of B, f leaves the ensemble by so many standard errors.

    (A recalled B still holds most of its equal-time part, see lowering/test_memory_and_closure.py: less than it would.)
    """
    widths, parameters, inputs, steps = ensemble("three_layer_tanh_small")
    model = three_layers(left_out != "memory", left_out != "instant", pair=left_out == "nothing")
    data = {"Kx": inputs["X"] @ inputs["X"].T / 2, "y": inputs["y"]}
    result = ds.compile_model(model).solve(parameters, data, steps=steps, points=2**16)
    found = distance(widths, "f", result.f.values.T, result.se_f.values.T)
    assert found > expected
    if left_out == "nothing":
        assert found < LIMIT


@pytest.mark.slow
def test_the_hat_form_of_both_response_functions_equals_the_pair():
    _, parameters, inputs, steps = ensemble("three_layer_tanh_small")
    data = {"Kx": inputs["X"] @ inputs["X"].T / 2, "y": inputs["y"]}
    hats, pair = (ds.compile_model(three_layers(pair=p)) for p in (False, True))
    one, other = (c.solve(parameters, data, steps=steps, points=2**13).f for c in (hats, pair))
    assert np.abs(one - other).max() < 1e-10


def test_points_outside_the_training_set_agree_with_trained_networks():
    """f within 4 standard errors of 300 networks of width 300 and 2/300."""
    X_test = np.array([[0.5, 0.5, -0.2, 0.1], [-1.0, 0.2, 0.9, 0.9]])
    f, error = mean_and_error(train(300, 300, X, Y, 1.5, 0.3, 10, 3, X_test))
    solver = network(depth=2, test=True)
    inputs = {"X": X, "y": Y, "X_test": X_test}
    result = solver.solve({"gamma": 1.5, "eta": 0.3}, inputs, steps=10, points=2**14)
    assert (np.abs(result.f.values.T - f[:, :2]) < 4 * error[:, :2] + 2 / 300).all()
    assert (np.abs(result.f_test.values.T - f[:, 2:]) < 4 * error[:, 2:] + 2 / 300).all()
    assert not (np.abs(result.f_test.values[::-1].T - f[:, 2:]) < 4 * error[:, 2:] + 2 / 300).all(), "points exchanged"


@pytest.mark.parametrize("activation", ["tanh", pytest.param("linear", marks=pytest.mark.slow)])
def test_a_test_point_that_is_a_training_point_has_its_output(activation):
    solver = network(depth=2, test=True, activation=activation)
    inputs = {"X": X, "y": Y, "X_test": X[::-1]}
    result = solver.solve({"gamma": 1.2, "eta": 0.25}, inputs, steps=8, points=2**12)
    assert result.attrs["measure"].startswith("gaussian" if activation == "linear" else "sobol")
    accuracy = 1e-10 if activation == "linear" else 1e-7  # sampled: the jitter 1e-10 of evolving covariances
    assert np.abs(result.f_test.values - result.f.values[::-1]).max() < accuracy
    assert np.abs(result.f.values[0] - result.f.values[1]).max() > 0.3, "exchanged points would show"


# --- linear networks ------------------------------------------------------------------------------

# of exact closure: the jitter 1e-10 of evolving covariances, and directions that it hides, amplified by the memory
ACCURACY, ACCURACY_OF_KERNELS = 5e-9, 5e-7


def linear_network(Kx, y, gamma, eta, depth, steps):
    """The equations of theory.md §4 for phi(h) = h as matrices over (time, sample), whole trajectories iterated.

    With C = A + eta gamma Phi Delta (strictly earlier), E = B + eta gamma G Delta: h = (1 - C E)^-1 (u + C r),
    z = (1 - E C)^-1 (r + E u). Returns f (P, T) and the lists Phi^0.., G^0.., A^0.., B^0.. as (T, P, T, P).
    """
    P, size = len(y), steps * len(y)
    earlier = np.kron(np.tril(np.ones((steps, steps)), -1), np.ones((P, P)))
    unit, ones = np.eye(size), np.ones((size, size))
    Phi = [np.kron(np.ones((steps, steps)), Kx)] + [0 * ones for _ in range(depth)]
    G = [0 * ones for _ in range(depth + 1)] + [ones]  # G[k] is G^k, k = 1..L+1
    A, B = [0 * ones for _ in range(depth + 1)], [0 * ones for _ in range(depth + 1)]
    f = np.zeros(size)
    for last in [*np.repeat(range(steps), 3), *[steps] * 25]:  # later steps stand still until earlier ones are right
        old, delta = f, np.where(np.arange(size) < last * P, np.tile(y, steps) - f, 0)
        for k in range(1, depth + 1):
            C = A[k - 1] + eta * gamma * earlier * Phi[k - 1] * delta
            E = B[k] + eta * gamma * earlier * G[k + 1] * delta
            forward, backward = np.linalg.inv(unit - C @ E), np.linalg.inv(unit - E @ C)
            Phi[k] = forward @ (Phi[k - 1] + C @ G[k + 1] @ C.T) @ forward.T
            G[k] = backward @ (G[k + 1] + E @ Phi[k - 1] @ E.T) @ backward.T
            A[k] = forward @ C if k < depth else A[k]
            B[k - 1] = backward @ E if k > 1 else B[k - 1]
        f = np.diag(forward @ (C @ G[k + 1] + Phi[k - 1] @ E.T) @ backward.T) / gamma
    assert np.abs(f - old).max() < 1e-13, "the iteration has converged"
    blocks = lambda matrices: [q.reshape(steps, P, steps, P) for q in matrices]
    return f.reshape(steps, P).T, blocks(Phi), blocks(G), blocks(A), blocks(B)


@pytest.mark.slow
def test_five_layers_closed_exactly_sampled_and_trained():
    widths, parameters, inputs, steps = ensemble("five_layer_linear")
    solver = network(tuple(f"Phi{k}" for k in (1, 2, 3, 4)), depth=4, activation="linear")
    exact = solver.solve(parameters, inputs, steps=steps)
    assert exact.attrs["measure"] == "gaussian, exact"
    found = as_in_the_ensemble(exact, 4)
    wrong = solver.solve(parameters | {"eta": 0.8 * parameters["eta"]}, inputs, steps=steps)
    off = as_in_the_ensemble(wrong, 4)
    sampled = solver.solve(parameters, inputs, steps=steps, measure="sobol", points=2**12)
    for quantity, (value, error) in as_in_the_ensemble(sampled, 4).items():
        assert distance(widths, quantity, *found[quantity]) < LIMIT, quantity
        assert distance(widths, quantity, *off[quantity]) > LIMIT, f"a fifth of eta must show in {quantity}"
        typical = np.maximum(error, np.sqrt((error**2).mean()))
        assert (np.abs(value - found[quantity][0]) < 5 * typical).all(), quantity
        shows = (np.abs(value - off[quantity][0]) > 5 * typical).any()
        assert shows or quantity in ("Phi", "Phi_t0"), "kernels change less than their sampling error"
    f, *_ = linear_network(inputs["X"] @ inputs["X"].T / 4, inputs["y"], 1.0, 0.05, 4, steps)
    assert np.abs(exact.f.values - f).max() < ACCURACY, "the same equations, whole trajectories iterated"


@pytest.mark.parametrize(
    ("depth", "errors"),
    [
        pytest.param(2, (0.5026572, 0.1265583, 0.0074874), marks=pytest.mark.slow),
        (3, (0.3609199, 0.0299138, 0.0002249)),
    ],
)
def test_linear_network_of_one_sample_and_its_reversal(depth, errors):
    """y - f at steps 4, 10, 20; and the network read from its output to its input is the same: Phi^l = G^(L+1-l)."""
    layers = range(1, depth + 1)
    outputs = tuple(f"{q}{k}" for q in ("Phi", "G") for k in layers)
    responses = tuple(f"{q}{k}" for q in "AB" for k in layers[:-1])
    solver = network(outputs + responses, depth=depth, activation="linear")
    result = solver.solve({"gamma": 1.0, "eta": 0.05}, {"Kx": [[1.0]], "y": [1.0]}, steps=21)
    assert np.abs(1 - result.f.values[0, [4, 10, 20]] - errors).max() < 1e-7
    f, Phi, G, A, B = linear_network(np.ones((1, 1)), np.ones(1), 1.0, 0.05, depth, 21)
    assert np.abs(result.f.values - f).max() < ACCURACY
    two_times = lambda name: result[name].values.reshape(21, 21)
    for k in layers:
        assert np.abs(two_times(f"Phi{k}") - Phi[k][:, 0, :, 0]).max() < ACCURACY_OF_KERNELS
        assert np.abs(two_times(f"Phi{k}") - two_times(f"G{depth + 1 - k}")).max() < 1e-9
    for k in layers[:-1]:
        assert np.abs(two_times(f"A{k}") - A[k][:, 0, :, 0]).max() < ACCURACY_OF_KERNELS
        assert np.abs(two_times(f"B{k}") - B[k][:, 0, :, 0]).max() < ACCURACY_OF_KERNELS
        assert np.abs(two_times(f"A{k}") - two_times(f"B{depth - k}")).max() < 1e-9
    other = solver.solve({"gamma": 1.0, "eta": 0.05}, {"Kx": [[0.9]], "y": [1.0]}, steps=21)
    assert np.abs(other.Phi1.values - other[f"G{depth}"].values).max() > 0.01, "with Kx = 0.9 they differ"
    assert np.abs(Phi[1] - G[1]).max() > 0.01, "and so do the kernels of other layers"


# --- lazy limit -----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["erf", pytest.param("relu", marks=pytest.mark.slow)])
@pytest.mark.parametrize("depth", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_small_gamma_gives_the_lazy_closed_form(activation, depth):
    """f(t) = (1 - (1 - eta K)^t) y with the analytic K; f and K within 5 of their sampling errors (and the next order).

    Pairs of opposite backward fields keep noise of order 1/gamma out of f.
    """
    gamma, Kx = 1e-3, X @ X.T / X.shape[1]
    order = gamma**2 if activation == "erf" else 0.3 * gamma  # paths that cross the kink of relu do not come back
    lazy = lambda K: np.array([Y - np.linalg.matrix_power(np.eye(2) - 0.2 * K, t) @ Y for t in range(12)]).T
    K, other = (kernels(Kx, k, activation)[2] for k in (depth, depth + 1))
    solver = network(depth=depth, activation=activation)
    result = solver.solve({"gamma": gamma, "eta": 0.2}, {"X": X, "y": Y}, steps=12, points=2**15, measure="sobol")
    for name, expected, wrong in (("f", lazy(K), lazy(other)), ("K", K[..., None], other[..., None])):
        tolerance = 5 * result[f"se_{name}"].values.max() + order  # all times share one error, known to a quarter
        assert tolerance < 0.01
        assert np.abs(result[name].values - expected).max() < tolerance
        assert np.abs(result[name].values - wrong).max() > 1.5 * tolerance, "the kernel of another depth"


# --- response functions ---------------------------------------------------------------------------


def layers_by_kicks(result, gamma, eta, y, paths, seed):
    """Both hidden layers simulated with the kernels of a result (P = 1): A1 and B1 by central differences, and Stein.

    Returns pairs (mean, standard error) of A1, B1, <phi(h1(t)) r1(s)>, <g2(t) u2(s)>, all (T, T).
    """
    rng, steps = np.random.default_rng(seed), result.sizes["time"]
    two = lambda name: result[name].values.reshape(steps, steps)
    rate = eta * gamma * (y - result.f.values[0])
    gaussian = lambda C: np.linalg.cholesky(C + 1e-12 * np.eye(steps)) @ rng.standard_normal((steps, paths))
    static = lambda: np.ones((steps, 1)) * rng.standard_normal(paths)
    sources = [(static(), gaussian(two("G2"))), (gaussian(two("Phi1")), static())]
    coupling = [(0 * two("A1"), two("B1"), 1 + 0 * two("G2"), two("G2")), (two("A1"), 0, two("Phi1"), 1)]

    def simulate(u, r, A, B, below, above):
        a, g = np.zeros((steps, paths)), np.zeros((steps, paths))
        for t in range(steps):
            past = slice(0, t)
            h = u[t] + (A[t, past] + rate[past] * below[t, past]) @ g[past]
            a[t] = np.tanh(h)
            memory = B[t, : t + 1] @ a[: t + 1] if np.ndim(B) else 0.0
            above_row = above[t, past] if np.ndim(above) else np.ones(t)
            g[t] = (1 - a[t] ** 2) * (r[t] + memory + (rate[past] * above_row) @ a[past])
        return a, g

    found = []
    for layer, (u, r) in enumerate(sources):
        kicked = (r, u)[layer]
        slope, stein = np.zeros((2, steps, steps)), np.zeros((2, steps, steps))
        plain = simulate(u, r, *coupling[layer])[layer]
        for s in range(steps):
            ends = []
            for sign in (1, -1):
                moved = kicked.copy()
                moved[s] += sign * 1e-4
                ends.append(simulate(*((u, moved) if layer == 0 else (moved, r)), *coupling[layer])[layer])
            slope[:, :, s] = mean_and_error(((ends[0] - ends[1]) / 2e-4).T)
            stein[:, :, s] = mean_and_error((plain * kicked[s]).T)
        found.append((slope, stein))
    return found


def agree_with_kicks(result, gamma, eta):
    """A1 and B1 of a result: zero where causality says, equal to differences under kicks, and Stein's formula."""
    steps = result.sizes["time"]
    A, B, Phi, G = (result[name].values.reshape(steps, steps) for name in ("A1", "B1", "Phi1", "G2"))
    assert (np.triu(A) == 0).all() and (np.triu(B, 1) == 0).all(), "A(t, s) = 0 for s >= t, B(t, s) = 0 for s > t"
    assert np.abs(np.diag(B)).max() > 0.05 and np.abs(A).max() > 0.05
    found = layers_by_kicks(result, gamma, eta, 1.0, 40000, seed=1)
    for name, R, kernel, (slope, stein) in (("A1", A, G, found[0]), ("B1", B, Phi, found[1])):
        sampling = result[f"se_{name}"].values.reshape(steps, steps)
        tolerance = 5 * np.hypot(slope[1], sampling) + 1e-4
        assert tolerance.max() < 0.2 * np.abs(R).max()
        assert (np.abs(R - slope[0]) < tolerance).all(), name
        assert (np.abs(R @ kernel - stein[0]) < 5 * stein[1] + 5 * sampling.max()).all(), name
        assert not (np.abs(np.tril(R, -2) - slope[0]) < tolerance).all(), "without its latest part"
        assert not (np.abs(R - stein[0]) < 5 * stein[1] + 5 * sampling.max()).all(), "without the covariance"


def test_requested_response_functions_of_one_sample():
    """A1 and B1 by explicit tangents while the memory itself is recalled without them."""
    solver = ds.compile_model(three_layers(pair=True, samples=False), ds.Options(outputs=("A1", "B1", "Phi1", "G2")))
    result = solver.solve({"gamma": 1.5, "eta": 0.3}, steps=6, points=2**14)
    agree_with_kicks(result.expand_dims("sample"), 1.5, 0.3)


def test_requested_response_functions_of_the_library_model():
    solver = network(("A1", "B1", "Phi1", "G2"), depth=2)
    result = solver.solve({"gamma": 1.5, "eta": 0.3}, {"Kx": [[1.0]], "y": [1.0]}, steps=6, points=2**14)
    agree_with_kicks(result, 1.5, 0.3)
