"""Make the ensembles of finite networks that tests of fluctuations compare with: NumPy only, no theory.

    python tests/reference/make_ensembles.py two_layer_relu        (minutes each on two cores)

Every file holds settings and, for each width N, means with standard errors and N·(sample covariances).
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def statistics_of(batches, width, pairs):
    """Means, standard errors, N·variances of every quantity and N·covariances of pairs, from batches of samples."""
    total, sums, squares, products = 0, {}, {}, {}
    first = None
    for batch in batches:
        count = len(next(iter(batch.values())))
        first = first or {name: values.mean(0) for name, values in batch.items()}  # avoids cancellation
        total += count
        moved = {name: values - first[name] for name, values in batch.items()}
        for name, values in moved.items():
            sums[name] = sums.get(name, 0) + values.sum(0)
            squares[name] = squares.get(name, 0) + (values**2).sum(0)
        for key, (one, other, subscripts) in pairs.items():
            products[key] = products.get(key, 0) + np.einsum(subscripts, moved[one], moved[other])
    result = {"E": total}
    for name in sums:
        mean = sums[name] / total
        variance = (squares[name] - total * mean**2) / (total - 1)
        result[name] = {
            "mean": (first[name] + mean).tolist(),
            "se": np.sqrt(variance / total).tolist(),
            "Nvar": (width * variance).tolist(),
        }
    for key, (one, other, subscripts) in pairs.items():
        outer = np.einsum(subscripts, (sums[one] / total)[None], (sums[other] / total)[None])
        result[key] = (width * (products[key] / total - outer)).tolist()
    return result


def train_two_layers(width, networks, settings, phi, dphi, minus_dloss, loss, rng):
    """One batch of networks trained at once: f (networks, T, P + Q), ntk (networks, T, P, P), loss (networks, T)."""
    X, y = np.array(settings["X"]), np.array(settings["y"])
    points = np.concatenate([X, np.array(settings["X_test"])]) if "X_test" in settings else X
    P, D = X.shape
    gamma, eta, steps, centred = (settings[k] for k in ("gam", "eta", "T", "centred"))
    Kx = X @ X.T / D
    W, w = rng.standard_normal((networks, D, width)), rng.standard_normal((networks, 1, width))
    result = {"f": [], "ntk": [], "loss": []}
    initial = 0.0
    for t in range(steps):
        h = points @ W / np.sqrt(D)
        value = phi(h)
        f = (w * value).sum(-1) / (gamma * width)
        initial = f[:, :P] if centred and t == 0 else initial
        output = f[:, :P] - initial
        delta = minus_dloss(output, y)
        a, g = value[:, :P], dphi(h[:, :P]) * w
        result["f"].append(f)
        result["ntk"].append((a @ a.swapaxes(1, 2) + g @ g.swapaxes(1, 2) * Kx) / width)
        result["loss"].append(loss(output, y).sum(-1))
        w = w + eta * gamma * (delta[:, :, None] * a).sum(1, keepdims=True)
        W = W + eta * gamma / np.sqrt(D) * (X.T @ (g * delta[:, :, None]))
    return {name: np.stack(values, 1) for name, values in result.items()}


def relu_ensemble():
    """Two layers, ReLU, three correlated samples, rich."""
    rng = np.random.default_rng(42)
    X = rng.standard_normal((3, 4))
    settings = {"act": "relu", "X": X.tolist(), "y": [1.0, -0.6, 0.4], "gam": 2.0, "eta": 0.1, "T": 30}
    settings |= {"centred": False, "loss": "square"}
    phi, dphi = lambda h: np.maximum(h, 0), lambda h: (h > 0).astype(float)
    square = lambda f, y: y - f, lambda f, y: (f - y) ** 2 / 2
    return _two_layers(settings, phi, dphi, square, {250: 40000, 1000: 20000, 2000: 12000})


def options_ensemble():
    """Two layers, tanh, centred, logistic loss, two training and two test points."""
    rng = np.random.default_rng(43)
    X, X_test = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    settings = {"act": "tanh", "X": X.tolist(), "X_test": X_test.tolist()}
    settings |= {"y": [1.0, -1.0], "gam": 1.5, "eta": 0.4, "T": 20, "centred": True, "loss": "logistic"}
    logistic = lambda f, y: y / (1 + np.exp(y * f)), lambda f, y: np.logaddexp(0, -y * f)
    return _two_layers(settings, np.tanh, lambda h: 1 - np.tanh(h) ** 2, logistic, {500: 20000, 2000: 12000})


def _two_layers(settings, phi, dphi, functions, sizes):
    pairs = {"Ncov_f_ntk": ("f", "ntk", "etm,etno->tmno"), "Ncov_f_f_late": ("f", "f", "etm,esn->tmsn")}
    widths = {}
    for width, networks in sizes.items():
        rng = np.random.default_rng([width, 1])
        batches = (train_two_layers(width, 200, settings, phi, dphi, *functions, rng) for _ in range(networks // 200))
        widths[str(width)] = statistics_of(batches, width, pairs)
        print(width, flush=True)
    return {"settings": settings, "widths": widths}


def recurrent_ensemble():
    """Random recurrent networks, tanh, rho = 0, Euler steps: C(t, s) on a grid of times."""
    settings = {"g": 1.6, "dt": 0.2, "T": 26, "times": [0, 5, 10, 15, 20, 25]}
    widths = {}
    for units in (400, 800):
        rng = np.random.default_rng([units, 2])
        batches = (simulate_recurrent(units, 50, settings, rng) for _ in range(60))
        widths[str(units)] = statistics_of(batches, units, {"Ncov_C_C": ("C", "C", "ets,euv->tsuv")})
        print(units, flush=True)
    return {"settings": settings, "widths": widths}


def simulate_recurrent(units, networks, settings, rng):
    """C(t, s) = φ(x(t))·φ(x(s))/N at the recorded times, one row a network."""
    phi = []
    x = rng.standard_normal((networks, units))
    J = rng.standard_normal((networks, units, units)) * settings["g"] / np.sqrt(units)
    for t in range(settings["T"]):
        value = np.tanh(x)
        if t in settings["times"]:
            phi.append(value)
        x = x + settings["dt"] * (-x + np.einsum("eij,ej->ei", J, value))
    phi = np.stack(phi, 1)
    return {"C": phi @ phi.swapaxes(1, 2) / units}


def simulate_symmetric(units, rho, settings, rng):
    """One network with Corr(J_ij, J_ji) = rho: C and Cx between the recorded times, R by kicks of random sign."""
    times, sources, late = (settings[k] for k in ("times", "R_sources", "R_times"))
    dt, eps, vectors = (settings[k] for k in ("dt", "eps", "sign_vectors"))
    Z = rng.standard_normal((units, units)) * settings["g"] / np.sqrt(units)
    plus, minus = np.sqrt(1 + rho) / 2, np.sqrt(1 - rho) / 2
    J = (plus + minus) * Z + (plus - minus) * Z.T  # Z + Z^T and Z - Z^T are independent
    signs = rng.choice([-1.0, 1.0], (units, vectors))
    kick = eps * np.concatenate([signs, -signs], 1)
    x = np.repeat(rng.standard_normal((units, 1)), 1 + len(sources) * 2 * vectors, 1)  # column 0 is not kicked
    values, fields, response = [], [], []
    for t in range(settings["T"]):
        value = np.tanh(x)
        if t in times:
            values.append(value[:, 0])
            fields.append(x[:, 0].copy())
        if t in late:
            pairs = value[:, 1:].reshape(units, len(sources), 2, vectors)
            moved = np.einsum("nk,nsk->s", signs, pairs[:, :, 0] - pairs[:, :, 1])
            response.append(moved / (2 * eps * dt * units * vectors))
        drift = J @ value - x
        if t in sources:
            first = 1 + sources.index(t) * 2 * vectors
            drift[:, first : first + 2 * vectors] += kick
        x += dt * drift
    values, fields = np.array(values), np.array(fields)
    return {"C": values @ values.T / units, "Cx": fields @ fields.T / units, "R": np.array(response)}


def symmetry_ensemble():
    """Recurrent networks with partially symmetric couplings: correlations and the response, measured by kicks."""
    settings = {"act": "tanh", "g": 1.5, "dt": 0.1, "T": 41, "times": [0, 5, 10, 20, 40]}
    settings |= {"R_times": [1, 5, 6, 10, 11, 20, 40], "R_sources": [0, 5, 10], "eps": 1e-3, "sign_vectors": 4}
    settings |= {
        "dynamics": "x(t+1) = x(t) + dt (-x(t) + g J phi(x(t)) + u(t)), x(0) ~ N(0,1), u = 0 but for kicks",
        "J": "variance 1/N, Corr(J_ij, J_ji) = rho, diagonal of variance (1+rho)/N",
        "R": "R(t,s) = mean of xi.(phi+(t) - phi-(t)) / (2 eps dt N), u(s) = +-eps xi, xi random signs",
    }
    results = {}
    for index, rho in enumerate([0.5, -0.5, 0.0]):
        results[str(rho)] = {}
        for units, networks in {500: 960, 1000: 320, 2000: 80}.items():
            rng = np.random.default_rng([units, 3, index])
            runs = (simulate_symmetric(units, rho, settings, rng) for _ in range(networks))
            batches = ({name: value[None] for name, value in run.items()} for run in runs)
            results[str(rho)][str(units)] = rounded(statistics_of(batches, units, {}))
            print(rho, units, flush=True)
    return {"settings": settings, "rho": results}


def rounded(data, digits=8):
    """The same nested data with every number rounded to so many significant digits."""
    if isinstance(data, dict):
        return {key: rounded(value, digits) for key, value in data.items()}
    if isinstance(data, list):
        return [rounded(value, digits) for value in data]
    return float(f"{data:.{digits}g}") if isinstance(data, float) else data


ENSEMBLES = {
    "two_layer_relu": relu_ensemble,
    "two_layer_options": options_ensemble,
    "recurrent": recurrent_ensemble,
    "recurrent_symmetry": symmetry_ensemble,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or ENSEMBLES:
        (HERE / f"{name}.json").write_text(json.dumps(ENSEMBLES[name]()) + "\n")
