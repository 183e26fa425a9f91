"""Analytic kernels of a deep network at initialisation, for erf and ReLU: NumPy and SciPy only.

    python tests/reference/lazy_kernels.py        (checks against integration and a wide network, seconds)

Weights N(0,1), no bias, phi(h) = erf(h) or max(h, 0). With L hidden layers Phi^0 = Kx,
Phi^l = <phi phi> and G^l = G^{l+1} <phi' phi'> over N(0, Phi^{l-1}), G^{L+1} = 1, and the tangent kernel of a
network in mean-field parameterisation is K = sum_{l=0}^{L} G^{l+1} Phi^l (all products elementwise).
"""

from itertools import pairwise

import numpy as np
from scipy.special import erf


def erf_averages(cov):
    """<erf erf> (arcsine kernel) and <erf' erf'> of every pair, over N(0, cov)."""
    scale = 1 + 2 * np.diag(cov)
    product = np.outer(scale, scale)
    values = 2 / np.pi * np.arcsin(2 * cov / np.sqrt(product))
    return values, 4 / np.pi / np.sqrt(product - 4 * cov**2)


def relu_averages(cov):
    """<relu relu> and <relu' relu'> of every pair (arc-cosine kernels of degree 1 and 0), over N(0, cov)."""
    norm = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    cosine = np.clip(cov / norm, -1, 1)
    np.fill_diagonal(cosine, 1)
    angle = np.arccos(cosine)
    values = norm * (np.sqrt(1 - cosine**2) + (np.pi - angle) * cosine) / (2 * np.pi)
    return values, (np.pi - angle) / (2 * np.pi)


AVERAGES = {"erf": erf_averages, "relu": relu_averages}


def kernels(Kx, depth, activation):
    """Phi^0 .. Phi^L, G^1 .. G^{L+1} (two lists of L+1 kernels) and the tangent kernel K, for L = depth."""
    phi, slopes = [np.asarray(Kx, float)], []
    for _ in range(depth):
        value, slope = AVERAGES[activation](phi[-1])
        phi.append(value)
        slopes.append(slope)
    g = [np.ones_like(phi[0])]
    for slope in reversed(slopes):
        g.insert(0, g[0] * slope)
    return phi, g, sum(one * other for one, other in zip(g, phi, strict=True))


def averages_by_integration(cov, activation, nodes=400):
    """The same two averages for one pair, by Gauss-Legendre in polar coordinates."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    root = np.linalg.cholesky(cov)
    cuts = [0.0, 2 * np.pi]
    if activation == "relu":  # panels end where a field changes its sign
        cuts += [np.arctan2(-row[0], row[1]) % (2 * np.pi) for row in root]
        cuts += [np.arctan2(row[0], -row[1]) % (2 * np.pi) for row in root]
    cuts = np.unique(cuts)
    radius, radial = 5 * (points + 1), 5 * weights  # the Gaussian beyond 10 is 2e-22
    radial = radial * radius * np.exp(-(radius**2) / 2) / (2 * np.pi)
    phi, dphi = FUNCTIONS[activation]
    total = np.zeros(2)
    for low, high in pairwise(cuts):
        angle, around = low + (high - low) * (points + 1) / 2, weights * (high - low) / 2
        first, second = root @ np.stack([np.outer(radius, f(angle)).ravel() for f in (np.cos, np.sin)])
        density = np.outer(radial, around).ravel()
        total += [density @ (phi(first) * phi(second)), density @ (dphi(first) * dphi(second))]
    return total


FUNCTIONS = {
    "erf": (erf, lambda h: 2 / np.sqrt(np.pi) * np.exp(-(h**2))),
    "relu": (lambda h: np.maximum(h, 0), lambda h: (h > 0).astype(float)),
}


def tangent_kernel_of_network(X, depth, activation, width, rng):
    """The tangent kernel of one finite network (mean-field parameterisation) at initialisation."""
    phi, dphi = FUNCTIONS[activation]
    fields, weights, below = [], [], X.T / np.sqrt(X.shape[1])
    overlap = [below.T @ below]
    for layer in range(depth):
        weights.append(rng.standard_normal((width, below.shape[0])))
        fields.append(weights[-1] @ below * (1 if layer == 0 else width**-0.5))
        below = phi(fields[-1])
        overlap.append(below.T @ below / width)
    total = overlap[-1]
    back = rng.standard_normal((width, 1))
    for layer in reversed(range(depth)):
        g = dphi(fields[layer]) * back
        total = total + g.T @ g / width * overlap[layer]
        back = weights[layer].T @ g / np.sqrt(width)
    return total


def check():
    """Print the largest differences from quadrature, and from 40 networks of width 1000 with their standard errors."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3, 4))
    Kx = X @ X.T / 4
    pairs = [(i, j) for i in range(3) for j in range(i)]
    for activation in AVERAGES:
        exact = AVERAGES[activation](Kx)
        gaps = [
            averages_by_integration(Kx[np.ix_([i, j], [i, j])], activation) - [e[i, j] for e in exact] for i, j in pairs
        ]
        print(activation, "quadrature: largest difference", np.abs(gaps).max())
        for depth in (1, 2, 4):
            K = kernels(Kx, depth, activation)[2]
            nets = np.array([tangent_kernel_of_network(X, depth, activation, 1000, rng) for _ in range(40)])
            error = nets.std(0, ddof=1) / np.sqrt(len(nets))
            print(
                activation, "L =", depth, "networks: largest (mean - K) / se", np.abs((nets.mean(0) - K) / error).max()
            )


if __name__ == "__main__":
    check()
