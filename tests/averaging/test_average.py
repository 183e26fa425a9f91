"""The average over random matrices: the same systems as hand-written actions, and simulated finite systems."""

import numpy as np
import pytest
import raw_library
from said_models import family, tied
from sympy import Rational

import dmftsym as ds
from dmftsym.averaging.average import average_disorder


def _same_system(said, raw):
    """Equal processes line by line; the same saddle-point equations and conjugates of every order parameter."""
    names = [t.name for t in raw.tensors.values() if t.kind == "order parameter"]
    assert names and names == [t.name for t in said.tensors.values() if t.kind == "order parameter"]
    one, other = ds.derive(said), ds.derive(raw)
    assert one.disorder is not None and other.disorder is None and one.disorder.added == ()
    assert one.process.text() == other.process.text()
    for name, formula in raw.definitions.items():
        assert str(formula) == str(said.definitions[name])
    for name in names:
        mine, theirs = (d.saddle_point.equation(name) for d in (one, other))
        assert str(mine.right_side()) == str(theirs.right_side())
        assert str(one.action.conjugate(mine.tensor)) == str(other.action.conjugate(theirs.tensor))


_FAST = [(2, {"test": True}), (3, {"loss": "logistic", "centered": True})]
_SLOW = [(3, {"test": True, "loss": "logistic", "centered": True}), (5, {}), (5, {"test": True})]


@pytest.mark.parametrize("depth, structure", [*_FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in _SLOW)])
def test_the_average_of_a_deep_network_is_the_hand_written_action(depth, structure):
    _same_system(ds.build_model("mlp", depth=depth, **structure), raw_library.mlp(depth, **structure))


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_average_of_a_recurrent_network_is_the_hand_written_action(symmetric):
    said = ds.build_model("recurrent", symmetric=symmetric)
    _same_system(said, raw_library.recurrent(symmetric=symmetric))


def test_another_network_is_another_system():
    with pytest.raises(AssertionError):
        _same_system(ds.build_model("recurrent", symmetric=True), raw_library.recurrent())
    with pytest.raises(AssertionError):
        _same_system(ds.build_model("mlp", depth=2, centered=True), raw_library.mlp(2))


def test_a_model_without_matrices_is_its_own_average():
    model = ds.build_model("p_spin")
    assert average_disorder(model).model is model
    assert ds.derive(model).disorder is None


def test_the_average_does_not_change_what_the_user_wrote():
    model = tied()
    before = str(model.action), [str(t) for s in model.sites.values() for t in s.terms]
    ds.derive(model)
    assert before == (str(model.action), [str(t) for s in model.sites.values() for t in s.terms])
    assert list(model.matrices) == ["W"] and set(model.sites["unit"].tensors) >= {"v", "w", "h1", "g2"}


# --- finite systems -------------------------------------------------------------------------------------


def _matrix(rng, rows, columns, width):
    return rng.normal(size=(rows, columns)) / np.sqrt(width)


def _trained(X, y, steps, eta, gamma, width, rng, times=2):
    """f of one network trained through several uses of one matrix."""
    U, W, w = rng.normal(size=(width, X.shape[1])), rng.normal(size=(width, width)), rng.normal(size=width)
    found = np.zeros((len(y), steps))
    for t in range(steps):
        v = U @ X.T / np.sqrt(X.shape[1])
        h = [v]
        for _ in range(times):
            h.append(v + W @ np.tanh(h[-1]) / np.sqrt(width))
        found[:, t] = w @ np.tanh(h[-1]) / (gamma * width)
        Delta = y - found[:, t]
        g = [w[:, None] / np.cosh(h[-1]) ** 2]
        for below in h[-2::-1]:
            g.append(W.T @ g[-1] / np.sqrt(width) / np.cosh(below) ** 2)
        g = g[::-1]
        w = w + eta * gamma * np.tanh(h[-1]) @ Delta
        for k in range(times):
            W = W + eta * gamma / np.sqrt(width) * (g[k + 1] * Delta) @ np.tanh(h[k]).T
        U = U + eta * gamma / np.sqrt(X.shape[1]) * (sum(g) * Delta) @ X
    return found


@pytest.mark.slow
def test_a_matrix_that_is_used_twice_in_a_step_and_learns():
    rng = np.random.default_rng(0)
    X, y, steps = rng.normal(size=(2, 5)), np.array([1.0, -0.5]), 8
    par = {"gamma": 1.0, "eta": 0.3}
    theory = ds.compile_model(tied()).solve(par, {"Kx": X @ X.T / 5, "y": y}, steps=steps, points=2**13)
    runs = {
        N: np.array([_trained(X, y, steps, 0.3, 1.0, N, rng) for _ in range(E)]) for N, E in ((200, 300), (100, 600))
    }
    mean = 2 * runs[200].mean(0) - runs[100].mean(0)
    error = np.sqrt(4 * runs[200].var(0) / 300 + runs[100].var(0) / 600 + theory.se_f.values**2)
    z = (theory.f.values - mean) / error
    assert np.sqrt(np.mean(z**2)) < 1.5 and np.abs(z).max() < 4.5
    assert np.abs((0.9 * theory.f.values - mean) / error).max() > 10


def test_a_family_of_matrices_between_sites_of_unequal_width():
    """Both ends are linear, so the theory is exact; 200 systems of width 120, extrapolated from two widths."""
    par, steps, dt = {"sigma": 0.7, "nu": 0.5, "kappa": 1.2}, 12, 0.1
    result = ds.compile_model(family()).solve(par, {}, steps=steps)
    assert result.attrs["measure"].startswith("gaussian")
    rng = np.random.default_rng(1)

    def run(N):
        M = int(par["nu"] * N)
        W = [par["sigma"] * _matrix(rng, M, N, N) for _ in range(2)]
        x, y, xs, ys = rng.normal(size=(2, N)), rng.normal(size=M), [], []
        for _ in range(steps):
            xs.append(x)
            ys.append(y)
            y, x = (
                y + dt * (-y + sum(w @ v for w, v in zip(W, x, strict=True))),
                x + dt * (-x - par["kappa"] * np.array([w.T @ y for w in W])),
            )
        xs, ys = np.array(xs), np.array(ys)
        return np.einsum("tkn,sjn->ktjs", xs, xs) / N, ys @ ys.T / M

    for name, place in (("C", 0), ("D", 1)):
        large, small = (np.array([run(N)[place] for _ in range(E)]) for N, E in ((120, 200), (60, 200)))
        mean, error = 2 * large.mean(0) - small.mean(0), np.sqrt((4 * large.var(0) + small.var(0)) / 200)
        z = (result[name].values - mean) / error
        assert np.sqrt(np.mean(z**2)) < 1.6 and np.abs(z).max() < 5
        assert np.abs((1.5 * result[name].values - mean) / error).max() > 10


def _linear_network(couplings):
    """dx/dt = -x + (what `couplings` makes of the model, its site and x), C = <x x>."""
    m = ds.Model("linear")
    t, s = m.times("t s", continuous=True, dt=0.1)
    neuron = m.site("neuron")
    x, C = neuron.field("x", t, variance=1), m.order_parameter("C", t, s)
    neuron.equation(x.dot[t], -x[t] + couplings(m, neuron, x[t]))
    neuron.observe(C[t, s], x[t] * x[s])
    return ds.compile_model(m).solve({}, {}, steps=15).C.values


@pytest.mark.parametrize("rho", [pytest.param(0, marks=pytest.mark.slow), Rational(2, 5), -1])
def test_a_matrix_and_its_transpose_in_one_equation(rho):
    """a J + b J^T is a random matrix with variance a^2 + b^2 + 2 a b rho, and correlation of its own."""
    a, b = Rational(1, 2), Rational(4, 5)

    def both(m, neuron, x):
        J = m.matrix("J", neuron, neuron, symmetry=rho)
        return a * J @ x + b * J.T @ x

    def one(m, neuron, x):
        variance = a**2 + b**2 + 2 * a * b * rho
        symmetry = ((a**2 + b**2) * rho + 2 * a * b) / variance
        return m.matrix("J", neuron, neuron, variance=variance, symmetry=symmetry) @ x

    assert np.allclose(_linear_network(both), _linear_network(one), rtol=1e-9, atol=1e-12)
    independent = lambda m, n, x: m.matrix("J", n, n, variance=a**2 + b**2 + 2 * a * b * rho) @ x
    assert not np.allclose(_linear_network(both), _linear_network(independent), rtol=1e-2)


def test_two_uses_of_a_matrix_are_one_of_the_sum():
    """J @ x + J @ (2 x) is 3 J @ x, and a matrix of mean mu adds mu <x>, which vanishes here."""
    twice = lambda m, n, x: (lambda J: J @ x + J @ (2 * x))(m.matrix("J", n, n, symmetry=Rational(1, 2)))
    once = lambda m, n, x: 3 * m.matrix("J", n, n, mean=1, symmetry=Rational(1, 2)) @ x
    assert np.allclose(_linear_network(twice), _linear_network(once), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("continuous", [False, True])
def test_a_matrix_that_learns_from_itself_and_decays(continuous):
    """W(t+1) = (1 - lam) W + eta y x^T/N with x constant, y = W x: then y(t) = (1 - lam + eta)^t y(0), <x^2> = 1."""
    m = ds.Model("hebb")
    t, s = m.times("t s", continuous=continuous, **({"dt": 0.01} if continuous else {}))
    lam, eta, sigma = m.parameters("lam eta sigma", positive=True)
    below, above = m.site("below"), m.site("above", size=2)
    W = m.matrix("W", above, below, variance=sigma**2)
    x, y = below.field("x", t), above.field("y", t)
    below.equation(x[t], 0)
    below.noise(x[t], x[s], 1)
    above.equation(y[t], W @ x[t])
    W.learn(t, eta, y[t], x[t])
    W.decay(lam)
    D = m.order_parameter("D", t, s)
    above.observe(D[t, s], y[t] * y[s])
    result = ds.compile_model(m).solve({"lam": 0.3, "eta": 0.5, "sigma": 0.8}, {}, steps=30)
    times = np.arange(30) * (0.01 if continuous else 1.0)
    grown = np.exp(0.2 * times) if continuous else 1.2**times
    assert np.allclose(result.D.values, 0.64 * np.outer(grown, grown), rtol=2e-3 if continuous else 1e-10)
    assert not np.allclose(result.D.values, 0.64, rtol=2e-2)


# --- refusals -------------------------------------------------------------------------------------------


def _blank():
    m = ds.Model("blank")
    t, _ = m.times("t s")
    a, b = m.site("a"), m.site("b")
    return m, t, a, b, a.field("x", t), b.field("y", t)


def test_slips_are_named_in_the_users_symbols():
    m, t, a, b, x, y = _blank()
    J = m.matrix("J", a, b)
    cases = {
        "x\\[t\\] belongs to site a, expected b": lambda: J @ x[t],
        "y\\[t\\] belongs to site b, expected a": lambda: J.T @ y[t],
        "a matrix acts to its right": lambda: y[t] @ J,
        "the name 'J' is declared twice": lambda: m.matrix("J", a, b),
        "only where rows and columns are one site": lambda: m.matrix("K", a, b, symmetry=0.5),
        "is between -1 and 1": lambda: m.matrix("K", a, a, symmetry=2),
        "variance of matrix K is negative": lambda: m.matrix("K", a, a, variance=-1),
        "its rows are the units of a site": lambda: m.matrix("K", "a", b),
        "is a number or a parameter": lambda: m.matrix("K", a, b, mean=x[t]),
        "a function of the fields of site b is expected": lambda: J @ 1,
        "the rate y\\[t\\] is one of all units": lambda: J.learn(t, y[t], x[t], y[t]),
        "the first argument is a time index": lambda: J.learn(1, 1, x[t], y[t]),
        "stands at the time t - 1, expected t": lambda: J.learn(t, 1, x[t - 1], y[t]),
        "size of site c is a positive number": lambda: m.site("c", size=0),
    }
    for message, slip in cases.items():
        with pytest.raises(ds.LanguageError, match=message):
            slip()


def test_a_product_at_the_wrong_site_is_refused():
    m, t, a, b, x, y = _blank()
    J = m.matrix("J", a, b)
    a.equation(x[t], J.T @ x[t])
    b.equation(y[t], 0)
    with pytest.raises(ds.LanguageError, match="gives values to the units of site b and can only stand there"):
        ds.derive(m)


def test_a_family_is_asked_which_member():
    m, t, a, b, _, y = _blank()
    k = m.indices("k", size=3)
    J = m.matrix("J", a, b, k)
    with pytest.raises(ds.LanguageError, match=r"is a family: say which one, J\[k\]"):
        J @ y[t]
    with pytest.raises(ds.LanguageError, match="is declared with the indices"):
        J[k, k]


def test_matrices_belong_to_a_model_and_act_on_units():
    m, t, a, b, x, y = _blank()
    J = m.matrix("J", a, b)
    other, u, c, d, v, w = _blank()
    c.equation(v[u], J @ y[t])
    d.equation(w[u], 0)
    with pytest.raises(ds.LanguageError, match="holds a matrix of another model"):
        ds.derive(other)
    a.equation(x[t], J @ y[t])
    b.equation(y[t], 0)
    m.define("q", t, J @ y[t])
    with pytest.raises(ds.LanguageError, match="a quantity of single units"):
        ds.derive(m)


def test_correlated_entries_with_an_index_in_front_are_refused():
    m = ds.Model("indexed")
    t, _ = m.times("t s", continuous=True, dt=0.1)
    k = m.indices("k", size=2)
    c, n = m.data("c", k), m.site("n")
    x, J = n.field("x", t, variance=1), m.matrix("J", n, n, symmetry=1)
    y = n.field("y", k, t, variance=1)
    n.equation(x.dot[t], -x[t])
    n.equation(y.dot[k, t], -y[k, t] + c[k] * J @ x[t])
    with pytest.raises(ds.LanguageError, match="may have no index but the time"):
        ds.derive(m)
