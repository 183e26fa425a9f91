"""Random matrices that a sweep holds: the class of generated modules, sweeps against the interpreter, and averages.

Nothing here but the last tests compiles anything: generated modules are loaded as plain Python.
"""

import sys
from dataclasses import replace
from pathlib import Path

import matrix_models
import numpy as np
import pytest
from fluctuating_models import interpreted, prepared

import dmftsym as ds
from dmftsym.lowering.lower import lower, program_of
from dmftsym.lowering.schemes import scheme_named
from dmftsym.program.interpreter import interpret
from dmftsym.program.statements import Learning, MatrixProduct

sys.path.insert(0, str(Path(__file__).parents[1]))
from averaging import said_models

KX, Y = np.array([[1.0, 0.4], [0.4, 0.8]]), np.array([1.0, -0.7])


CASES = {
    "network": (lambda: ds.build_model("mlp", depth=2), {"gamma": 1.2, "eta": 0.3}, {"Kx": KX, "y": Y}),
    "tied": (said_models.tied, {"gamma": 1.2, "eta": 0.3}, {"Kx": KX, "y": Y}),
    "symmetric": (matrix_models.correlated, {"g": 1.4, "rho": -0.6}, {}),
    "unequal": (matrix_models.unequal, {"width": 0.6, "sigma": 1.2, "eta": 0.05, "rate": 0.1}, {"Kx": KX, "y": Y}),
    "ring": (matrix_models.ring, {"sigma": 1.1, "nu": 0.5, "tug": 0.7, "eta": 0.2}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_generated_sweeps_agree_with_the_interpreter(name):
    build, parameters, data = CASES[name]
    equations, wanted = ds.derive(build()), ("f",) if name in ("network", "tied", "unequal") else ()
    wanted = wanted or (("C", "D") if name == "ring" else ("C",))
    program = program_of(lower(equations, scheme_named("euler"), wanted))
    assert any(isinstance(s, MatrixProduct) for s in program.sweep.step)
    assert name == "symmetric" or any(isinstance(s, Learning) for s in program.sweep.epilogue)
    module = interpreted(ds.compile_model(build(), ds.Options(outputs=wanted)).source.text)
    values, factors, normals, weights = prepared(module, parameters, data, 5, 40)
    found, status, counts = module.sweep(values, factors, normals, weights, 5, module.TIME_STEP, None)
    assert status == "ok" and counts["directions"] > 1 and counts["dropped_variance"] < 1 / 40
    expected = interpret(program, values, factors, normals, weights, 5, module.TIME_STEP)
    for quantity in wanted:
        np.testing.assert_allclose(found[quantity], expected[quantity], rtol=0, atol=1e-10)
    wrong = interpret(_with_another_law(program), values, factors, normals, weights, 5, module.TIME_STEP)
    assert not all(np.allclose(found[q], wrong[q], rtol=0, atol=1e-8) for q in wanted), "a millionth must show"


def _with_another_law(program):
    """The program with a variance of its first matrix that is wrong by a millionth."""
    first = program.sampling.directions[0].matrix
    other = replace(first, variance=first.variance * (1 + 1e-6))
    change = lambda record: replace(record, matrix=other) if getattr(record, "matrix", None) == first else record
    directions = tuple(map(change, program.sampling.directions))
    program = program.with_sweep(
        step=tuple(map(change, program.sweep.step)), epilogue=tuple(map(change, program.sweep.epilogue))
    )
    return replace(program, sampling=replace(program.sampling, directions=directions))


# The class


@pytest.fixture(scope="module")
def generated():
    return interpreted(ds.compile_model(ds.build_model("mlp", depth=2)).source.text)


def asked(module, rng, tolerance=0.0, learn=True, scale=1.0):
    """A matrix of 30 rows and 50 columns that was asked several things, with what it gave at the end."""
    nu, mu, variance = 0.6, 1.0, 1.7
    sides = [(size, np.full(n, 1 / n), rng.standard_normal((32, n))) for size, n in ((nu, 30), (mu, 50))]
    W = module.RandomMatrix(*sides, 0.4, variance, 0.0, tolerance, 4)
    phi, g = rng.standard_normal((7, 50)), rng.standard_normal((6, 30))
    W.forward(phi[:2])
    W.backward(g[:3])
    if learn:
        W.learn(np.array([0.3, -0.2]), g[1:3], scale * phi[:2])
        W.learn(np.array([[0.3], [-0.2]]), g[1:3], phi[2:3], outer=True)
    W.forward(phi[2:5])
    W.decay(0.9)
    W.backward(g[3:])
    forward, backward = W.forward(phi), W.backward(g)
    return W, phi, g, forward, backward


def test_a_matrix_and_its_transpose_are_one_matrix(generated):
    """<g, W phi> = <W^T g, phi> for all that was ever asked, as sums over units; with what was learned and decayed."""
    _, phi, g, forward, backward = asked(generated, np.random.default_rng(1))
    one, other = 0.6 * g @ forward.T / 30, backward @ phi.T / 50
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    assert np.abs(one - (0.6 * g @ forward.T / 30) * 1.01).max() > 1e-4, "negative control"


def test_what_a_matrix_learns_is_added(generated):
    _, phi, g, forward, _ = asked(generated, np.random.default_rng(1))
    _, _, _, without, _ = asked(generated, np.random.default_rng(1), learn=False)
    over = lambda one, other: one @ other.T / 50  # of the columns, whose size is 1
    rates = 0.9 * np.array([0.3, -0.2])
    change = (rates * over(phi, phi[:2]) + rates * over(phi, phi[2:3])) @ g[1:3]
    np.testing.assert_allclose(forward - without, change, rtol=0, atol=1e-10)
    _, _, _, doubled, _ = asked(generated, np.random.default_rng(1), scale=2.0)
    assert np.abs(doubled - without - change).max() > 0.1, "twice as much learned must show"


def test_directions_are_orthonormal_and_images_have_the_variance(generated):
    W, *_ = asked(generated, np.random.default_rng(2))
    for side in (W.above, W.below):
        functions = side.functions[side.asked]
        gram = functions * side.weights / side.size @ functions.T
        np.testing.assert_allclose(gram, np.eye(len(gram)), rtol=0, atol=1e-13)
    drawn = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        sides = [(size, np.full(n, 1 / n), rng.standard_normal((32, n))) for size, n in ((0.6, 30), (1.0, 50))]
        matrix = generated.RandomMatrix(*sides, 0.0, 1.7, 0.0, 0.0)
        phi = np.random.default_rng(0).standard_normal((2, 50))
        values = matrix.forward(phi)
        drawn.append(values @ values.T / 30)
    mean, error = np.mean(drawn, axis=0), np.std(drawn, axis=0) / 20
    expected = 1.7 * phi @ phi.T / 50
    assert (np.abs(mean - expected) < 4 * error).all() and (np.abs(mean - 1.2 * expected) > 4 * error).any()


def test_a_tolerance_drops_what_is_small(generated):
    rng = np.random.default_rng(3)
    phi = rng.standard_normal(50)
    nearly = np.array([phi, phi + 0.01 * rng.standard_normal(50), rng.standard_normal(50)])
    counts = []
    for tolerance in (1e-3, 1e-6):
        sides = [(1.0, np.full(n, 1 / n), np.random.default_rng(4).standard_normal((32, n))) for n in (30, 50)]
        matrix = generated.RandomMatrix(*sides, 0.0, 1.0, 0.0, tolerance)
        matrix.forward(nearly)
        counts.append(matrix.directions)
        matrix.forward(nearly)
        assert matrix.dropped < tolerance and (matrix.dropped > 1e-5) == (tolerance == 1e-3)
    assert counts == [2, 3]


@pytest.mark.parametrize(("tolerance", "status"), [(None, "ok"), (0.3, "inaccurate: the truncation error of what ran")])
def test_the_status_tells_what_a_tolerance_left_out(generated, tolerance, status):
    options = {"steps": 3, "points": 128, "accuracy": 0.3, "tolerance": tolerance}
    found = generated.solve({"gamma": 1.2, "eta": 0.3}, {"Kx": KX, "y": Y}, **options)
    assert str(found["status"]).startswith(status), found["status"]
    assert (found["dropped_variance"] > 0.3**2) == (tolerance is not None)
    assert "take a smaller tolerance (0.09)" in str(found["status"]) or tolerance is None


def test_later_directions_have_normals_of_their_own(generated):
    """More directions than normals that were drawn before: they follow from those, so that a run can be repeated."""
    images = []
    for seed in (6, 6, 7):
        sides = [(1.0, np.full(n, 1 / n), np.random.default_rng(seed).standard_normal((2, n))) for n in (4000, 50)]
        matrix = generated.RandomMatrix(*sides, 0.0, 1.0, 0.0, None)
        images.append(matrix.forward(np.random.default_rng(0).standard_normal((5, 50))))
    assert np.array_equal(images[0], images[1]) and not np.allclose(images[0][4], images[2][4])
    correlation = np.corrcoef(matrix.above.functions[:5])
    assert np.abs(correlation - np.eye(5)).max() < 5 / np.sqrt(4000) and np.abs(images[0]).max() < 8


# Against the averaged equations, and against simulated systems


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in CASES if n != "unequal"])  # whose averaged ones are refused
def test_held_matrices_give_what_the_averaged_equations_give(name, monkeypatch):
    build, parameters, data = CASES[name]
    wanted = ("f",) if name in ("network", "tied") else ("C",)
    solve = lambda p: ds.compile_model(build(), ds.Options(outputs=wanted)).solve(
        p, data, steps=12, points=4096, seed=1, time_step_error=False
    )
    held = solve(parameters)
    monkeypatch.setattr("dmftsym.lowering.held.with_matrices", lambda equations, *_: (equations, None))
    averaged = solve(parameters)
    assert "directions" in held.attrs and "directions" not in averaged.attrs
    for quantity in wanted:
        error = np.hypot(held[f"se_{quantity}"], averaged[f"se_{quantity}"]).values + 1e-9
        z = np.abs(held[quantity] - averaged[quantity]).values / error
        assert np.sqrt((z**2).mean()) < 2.2 and z.max() < 6, (name, z.max())
    other = solve({key: value * 1.15 for key, value in parameters.items()})
    assert np.abs((other[wanted[0]] - held[wanted[0]]).values / error).max() > 6, "other parameters must show"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["network", "symmetric"])
def test_no_bias_of_a_tolerance_is_silent(name):
    """Common random numbers: what a tolerance changes is an error above the accuracy only where the status says so."""
    build, parameters, data = CASES[name]
    quantity, told, once = ("f", "C")[name == "symmetric"], [], {"time_step_error": False}
    module = ds.compile_model(build(), ds.Options(outputs=(quantity,))).solver.module
    solve = lambda seed, tolerance, accuracy: module.solve(
        *(parameters, data), steps=40, points=2048, seed=seed, tolerance=tolerance, accuracy=accuracy, **once
    )
    exact = [solve(seed, 1e-9, 1.0)[quantity] for seed in range(4)]
    for tolerance in (1e-2, 1e-1, 5e-1):
        for accuracy in (0.01, 0.05):
            runs = [solve(seed, tolerance, accuracy) for seed in range(4)]
            changes = np.array([run[quantity] - known for run, known in zip(runs, exact, strict=True)])
            bias = np.abs(changes.mean(axis=0)).max() / np.abs(exact[0]).max()
            told.append((bias > accuracy, all("truncation" in str(run["status"]) for run in runs)))
    assert all(said or not biased for biased, said in told)
    assert any(biased for biased, _ in told) and not all(biased for biased, _ in told)


def simulated(N, rng, steps, width, sigma, eta, rate):
    """f (samples, steps) of one system of `matrix_models.unequal` with dense matrices."""
    low, high = round(width * N), round(2 * width * N)
    W = 0.3 / N + sigma * rng.normal(size=(high, low)) / np.sqrt(N)
    V = np.sqrt(0.5 / N) * rng.normal(size=(high, high))
    noise = np.linalg.cholesky(KX) @ rng.normal(size=(2, low))
    u, found = np.zeros((2, high)), []
    for _ in range(steps):
        v = u @ W + noise
        h = np.tanh(v) @ W.T - sigma
        u = np.tanh(h) + np.tanh(h) @ V @ V.T
        f = (u**2).mean(axis=1)
        found.append(f)
        W = (1 - rate) * W + (eta * (Y - f) * np.tanh(u).T) @ np.tanh(v) / N
        V = V + eta * np.tanh(h).T @ KX @ u / N
    return np.array(found).T


@pytest.mark.slow
def test_unequal_widths_and_a_matrix_used_twice_agree_with_simulated_systems():
    """Two widths: the theory lies within the errors of what they extrapolate to, N to infinity."""
    _, parameters, data = CASES["unequal"]
    theory = ds.compile_model(matrix_models.unequal()).solve(parameters, data, steps=6, points=32768)
    rng, means, errors = np.random.default_rng(8), [], []
    for N, count in ((100, 800), (200, 400)):
        runs = np.array([simulated(N, rng, 6, **parameters) for _ in range(count)])
        means.append(runs.mean(axis=0))
        errors.append(runs.std(axis=0) / np.sqrt(count))
    limit, error = 2 * means[1] - means[0], np.sqrt(4 * errors[1] ** 2 + errors[0] ** 2 + theory.se_f.values**2)
    z = np.abs(theory.f.values - limit) / error
    assert np.sqrt((z**2).mean()) < 1.8 and z.max() < 4.5, z
    assert np.abs((theory.f.values * 1.05 - limit) / error).max() > 4.5, "five per cent must show"


def test_no_random_matrix_has_a_negative_variance(generated):
    sides = [(1.0, np.full(n, 1 / n), np.zeros((2, n))) for n in (4, 5)]
    for variance, correlation in ((-1.0, 0.0), (1.0, 1.2)):
        with pytest.raises(generated.InputError, match="no random matrix has the variance"):
            generated.RandomMatrix(*sides, 0.0, variance, correlation, None)


def test_a_matrix_may_have_any_name():
    """Names that the module needs, or that cannot stand in code, get another name there."""
    for name in ("np", "λ"):
        m = ds.Model("named")
        t, s = m.times("t s")
        C, unit, phi = m.order_parameter("C", t, s), m.site("unit"), m.activation("phi", "tanh")
        J, x = m.matrix(name, unit, unit), unit.field("x", t, variance=1)
        unit.equation(x[t], x[t - 1] + J @ phi(x[t - 1]))
        unit.observe(C[t, s], phi(x[t]) * phi(x[s]))
        module = interpreted(ds.compile_model(m).source.text)
        assert module.solve({}, steps=3, points=64)["directions"] > 0
