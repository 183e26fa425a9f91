"""Blocks of the symbolic Hessian in numbers, against differences of the saddle residual; −H^{-1} against the code."""

import numpy as np
import pytest
from as_averaged import as_averaged
from dense_reference import Paths, dense_block, dense_hessian, order_parameters

import dmftsym as ds

TANH = (np.tanh, lambda h: 1 - np.tanh(h) ** 2, lambda h: -2 * np.tanh(h) * (1 - np.tanh(h) ** 2))


def recurrent_network():
    """The random recurrent network with the order parameters C and Cx alone."""
    m = ds.Model("recurrent")
    t, s = m.times("t s", continuous=True, dt=0.05)
    g, x0_variance = m.parameters("g x0_variance", positive=True)
    phi = m.activation("phi", "tanh")
    C, Cx = m.order_parameter("C", t, s), m.order_parameter("Cx", t, s)
    neuron = m.site("neuron")
    x = neuron.field("x", t, variance=x0_variance)
    neuron.equation(x.dot[t], -x[t])
    neuron.noise(x[t], x[s], g**2 * C[t, s])
    neuron.observe(C[t, s], phi(x[t]) * phi(x[s]))
    neuron.observe(Cx[t, s], x[t] * x[s])
    return m


def hermite(dimensions, nodes):
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.stack([g.ravel() for g in np.meshgrid(*[points] * dimensions, indexing="ij")])
    product = np.ones(1)
    for _ in range(dimensions):
        product = np.multiply.outer(product, weights / weights.sum()).ravel()
    return grid, product


class TwoLayers:
    """Two layers, tanh, one sample: saddle point on Gauss-Hermite nodes, and paths for given order parameters."""

    names, steps = ("f", "Phi1", "G1"), 4

    def __init__(self, nodes=8):
        self.derivation = ds.derive(ds.build_model("mlp", activation="tanh"))
        self.normals, self.weights = hermite(2, nodes)
        self.parameters = {"gamma": 1.3, "eta": 0.7}
        self.data = {"Kx": np.array([[0.9]]), "y": np.array([1.2])}
        self.solution = self._solve()

    def paths(self, order_parameters):
        sources = {"u_h": np.sqrt(0.9) * self.normals[:1], "u_z": self.normals[1]}
        numbers = self.parameters | self.data | order_parameters
        sizes = {"sample": 1, "time": self.steps}
        return Paths(self.derivation, sizes, numbers, {"phi": TANH}, sources, {}, self.weights)

    def _solve(self):
        q = {"f": np.zeros((1, self.steps)), "Phi1": 0.0, "G1": 0.0}
        for _ in range(self.steps):  # causal: one more step is right after every pass
            q = order_parameters(self.derivation, self.paths(q))
        return q

    def covariances(self, nodes):
        compiled = ds.compile_model(ds.build_model("mlp", activation="tanh"), ds.Options(covariance=self.names))
        run = compiled.solver.module.fluctuations
        return run(self.parameters, self.data, steps=self.steps, measure="hermite", points=nodes)


class Recurrent:
    """Recurrent network, tanh: sources with covariance g² C, drawn through a Cholesky factor at product nodes."""

    names, steps, dt = ("C", "Cx"), 3, 0.4

    def __init__(self, nodes=8):
        self.derivation = ds.derive(recurrent_network())
        self.normals, self.weights = hermite(3, nodes)  # the source at the last time acts on nothing
        self.parameters = {"g": 1.4, "x0_variance": 0.8, "rho": 0.0}
        self.solution = self._solve()

    def paths(self, order_parameters):
        C = (order_parameters["C"] + order_parameters["C"].T) / 2
        factor = 1.4 * np.linalg.cholesky(C + 1e-13 * np.eye(len(C)))[:2, :2]
        sources = {"u_x": np.concatenate([factor @ self.normals[1:], np.zeros((1, len(self.weights)))])}
        starts = {"x": {(): np.sqrt(0.8) * self.normals[0]}}
        numbers = self.parameters | order_parameters
        sizes = {"time": self.steps}
        return Paths(self.derivation, sizes, numbers, {"phi": TANH}, sources, starts, self.weights, self.dt)

    def _solve(self):
        q = {"C": np.eye(3), "Cx": np.eye(3)}
        for _ in range(self.steps + 1):
            q = order_parameters(self.derivation, self.paths(q))
        return q

    def covariances(self, nodes):
        with as_averaged():
            compiled = ds.compile_model(recurrent_network(), ds.Options(covariance=self.names))
        module = compiled.solver.module
        values = module.check_parameters({"g": 1.4, "x0_variance": 0.8})
        padding = np.zeros((1, len(self.weights)))
        normals = {"x_start": self.normals[:1], "u_x": np.concatenate([self.normals[1:], padding])}
        weights = {"neuron": self.weights}
        result, _, status = module._covariances(
            values, {}, normals, weights, self.steps, self.dt, 0, module.tangent_sweep, None
        )
        assert status == "ok"
        return result


@pytest.fixture(scope="module")
def two_layers():
    return TwoLayers()


@pytest.fixture(scope="module")
def recurrent():
    return Recurrent()


def residual_difference(case, target, source, step=1e-5):
    """∂⟨O_target⟩/∂(source entry) by central differences of the saddle point's right-hand side, same paths."""
    rows = []
    for where in np.ndindex(*case.solution[source].shape):
        ends = []
        for sign in (1, -1):
            moved = {k: v.copy() for k, v in case.solution.items()}
            moved[source][where] += sign * step
            ends.append(order_parameters(case.derivation, case.paths(moved))[target].ravel())
        rows.append((ends[0] - ends[1]) / (2 * step))
    return np.array(rows).T


@pytest.mark.parametrize("target", ["f", "Phi1", "G1"])
def test_two_layer_drives_are_differences_of_the_residual(two_layers, target):
    d, paths = two_layers.derivation, two_layers.paths(two_layers.solution)
    q = {t.name: t for t in d.action.order_parameters}
    block = dense_block(d.hessian.block(q[target].hat, q["f"]), paths)
    expected = residual_difference(two_layers, target, "f") - (np.eye(len(block)) if target == "f" else 0)
    assert np.abs(block - expected).max() < 1e-8
    assert np.abs(block).max() > 0.1
    wrong = residual_difference(two_layers, target, "f") * 1.001 - (np.eye(len(block)) if target == "f" else 0)
    assert np.abs(block - wrong).max() > 1e-5  # a thousandth would be noticed


@pytest.mark.parametrize("target", ["C", "Cx"])
def test_recurrent_drives_are_differences_of_the_residual(recurrent, target):
    d, paths = recurrent.derivation, recurrent.paths(recurrent.solution)
    q = {t.name: t for t in d.action.order_parameters}
    block = dense_block(d.hessian.block(q[target].hat, q["C"]), paths) + (np.eye(9) if target == "C" else 0)
    expected = residual_difference(recurrent, target, "C")  # the source needs a symmetric C: each half takes half
    assert np.abs(block).max() > 0.05
    assert np.abs(block - expected).max() < 1e-4 * np.abs(expected).max()  # quadrature: Price against Cholesky
    assert np.abs(block - 1.01 * expected).max() > 1e-3 * np.abs(expected).max()


def covariance_of(case, result):
    """The blocks of a result as one matrix over all order parameters."""
    rows = []
    for a in case.names:
        row = []
        for b in case.names:
            key, swapped = f"cov_{a}_{b}", f"cov_{b}_{a}"
            n = case.solution[a].size
            row.append(result[key].reshape(n, -1) if key in result else result[swapped].reshape(-1, n).T)
        rows.append(np.concatenate(row, 1))
    return np.concatenate(rows)


def dense_covariance(case):
    matrix, offsets = dense_hessian(case.derivation, case.paths(case.solution))
    start = offsets["order parameter", case.names[0]]
    sigma = -np.linalg.inv(matrix)
    return sigma[start:, start:], sigma[:start, :start]


def test_two_layer_covariances_are_minus_the_inverse_hessian(two_layers):
    expected, conjugates = dense_covariance(two_layers)
    given = covariance_of(two_layers, two_layers.covariances(8))
    assert np.abs(given - expected).max() < 1e-9 * np.abs(expected).max()
    assert np.abs(conjugates).max() < 1e-9  # conjugates do not fluctuate
    assert np.abs(covariance_of(two_layers, two_layers.covariances(7)) - expected).max() > 1e-7


def test_recurrent_covariances_are_minus_the_inverse_hessian(recurrent):
    expected, conjugates = dense_covariance(recurrent)
    given = covariance_of(recurrent, recurrent.covariances(8))
    assert np.abs(given - expected).max() < 1e-5 * np.abs(expected).max()  # quadrature: Price against Cholesky
    assert np.abs(given).max() > 0.1
    assert np.abs(conjugates).max() < 1e-9
