"""Finite networks simulated with NumPy only: ground truth that knows nothing of the theory."""

import numpy as np


def train_two_layers(
    width, networks, phi, dphi, X, y, gamma, eta, steps, seed, minus_dloss=None, centred=False, X_test=None
):
    """Train two-layer networks: f (networks, steps, P + Q) and tangent kernel (networks, steps, P, P)."""
    rng = np.random.default_rng(seed)
    minus_dloss = minus_dloss or (lambda f, y: y - f)
    P, D = X.shape
    points = X if X_test is None else np.concatenate([X, X_test])
    Kx = X @ X.T / D
    f = np.zeros((networks, steps, len(points)))
    K = np.zeros((networks, steps, P, P))
    for e in range(networks):
        W, w = rng.standard_normal((width, D)), rng.standard_normal(width)
        for t in range(steps):
            h = W @ points.T / np.sqrt(D)
            f[e, t] = w @ phi(h) / (gamma * width)
            output = f[e, t, :P] - (f[e, 0, :P] if centred else 0)
            delta = minus_dloss(output, y)
            a, g = phi(h[:, :P]), dphi(h[:, :P]) * w[:, None]
            K[e, t] = (a.T @ a + g.T @ g * Kx) / width
            w = w + eta * gamma * a @ delta
            W = W + eta * gamma / np.sqrt(D) * (g * delta) @ X
    return f, K


def two_layers_by_quadrature(phi, dphi, Kx, y, gamma, eta, steps, points, weights):
    """The effective process written out once more: whole trajectories, past sums spelled out, given quadrature points.

    points (P + 1, n): sources of h and z. Returns f (P, T), Phi (P, T, P, T), G (P, T, P, T).
    """
    P, n = len(y), points.shape[1]
    h, z = np.zeros((steps, P, n)), np.zeros((steps, n))
    delta, f = np.zeros((steps, P)), np.zeros((P, steps))
    for t in range(steps):
        h[t], z[t] = points[:P], points[P]
        for s in range(t):
            for nu in range(P):
                z[t] += eta * gamma * delta[s, nu] * phi(h[s, nu])
                for mu in range(P):
                    h[t, mu] += eta * gamma * delta[s, nu] * Kx[mu, nu] * dphi(h[s, nu]) * z[s]
        f[:, t] = (z[t] * phi(h[t])) @ weights / gamma
        delta[t] = y - f[:, t]
    a, g = phi(h), dphi(h) * z[:, None]
    return f, np.einsum("tmp,snp,p->mtns", a, a, weights), np.einsum("tmp,snp,p->mtns", g, g, weights)


def simulate_recurrent(units, networks, g, phi, dt, steps, seed, x0_variance=1.0):
    """Euler steps of random recurrent networks: x (networks, steps, units)."""
    rng = np.random.default_rng(seed)
    x = np.zeros((networks, steps, units))
    for e in range(networks):
        J = rng.standard_normal((units, units)) / np.sqrt(units)
        x[e, 0] = np.sqrt(x0_variance) * rng.standard_normal(units)
        for t in range(steps - 1):
            x[e, t + 1] = x[e, t] + dt * (-x[e, t] + g * J @ phi(x[e, t]))
    return x


def mean_and_error(samples):
    """Mean over the first axis and its standard error."""
    return samples.mean(0), samples.std(0, ddof=1) / np.sqrt(len(samples))


def extrapolate(by_width, quantity):
    """Weighted straight line in 1/N through ensemble means: value at N → ∞ and its standard error."""
    inverse = np.array([1 / int(width) for width in by_width])
    means = np.array([entry[quantity]["mean"] for entry in by_width.values()])
    errors = np.array([entry[quantity]["se"] for entry in by_width.values()]) + 1e-15
    design = np.stack([np.ones_like(inverse), inverse], 1)
    weights = 1 / errors**2
    normal = np.einsum("wa,w...,wb->...ab", design, weights, design)
    right = np.einsum("wa,w...->...a", design, weights * means)
    covariance = np.linalg.inv(normal)
    return np.einsum("...ab,...b->...a", covariance, right)[..., 0], np.sqrt(covariance[..., 0, 0])


def mean_ratio(variances, covariance, networks):
    """Mean over all entries of N·(sample variance)/theory, and its standard error from the number of networks.

    Sample variances of `networks` Gaussian samples covary by 2 Cov_ab²/networks; covariance has the axes of variances
    twice. The error tells how many of the entries, which move together, are independent.
    """
    matrix = covariance.reshape(variances.size, variances.size)
    expected = np.diag(matrix)
    correlation = matrix / np.sqrt(np.outer(expected, expected))
    return (variances.ravel() / expected).mean(), np.sqrt(2 * (correlation**2).mean() / networks)


def pooled_ratio(variances, networks, covariance):
    """`mean_ratio` of ensembles of several widths (first axis) taken together, and its standard error."""
    networks = np.array(networks)
    ratios, errors = np.array([mean_ratio(values, covariance, 1) for values in variances]).T
    return ratios @ networks / networks.sum(), errors[0] / np.sqrt(networks.sum())


def extrapolated_ratio(variances, networks, widths, covariance):
    """`mean_ratio` on a weighted straight line in 1/N at N → ∞, and its standard error."""
    pairs = zip(variances, networks, strict=True)
    ratios, errors = np.array([mean_ratio(values, covariance, count) for values, count in pairs]).T
    design = np.stack([np.ones(len(ratios)), 1 / np.array(widths)], 1) / errors[:, None]
    inverse = np.linalg.inv(design.T @ design)
    return (inverse @ design.T @ (ratios / errors))[0], np.sqrt(inverse[0, 0])


def covariance_error(covariance, networks):
    """Standard error of sample covariances (one half of the axes against the other) from so many networks."""
    half = covariance.ndim // 2
    size = int(np.prod(covariance.shape[:half]))
    variance = np.diag(covariance.reshape(size, size))
    return np.sqrt((np.outer(variance, variance).reshape(covariance.shape) + covariance**2) / networks)
