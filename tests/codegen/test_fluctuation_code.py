"""Generated covariances, without compilation: derivatives against differences of whole sweeps with changed weights.

A sweep with M paths of weights w is a finite network; N·Cov is the sum over paths of w times the square of the
response to the weight of that path, divided by the relative size of its site. Every term can be had by differences.
"""

from functools import partial

import numpy as np
import pytest
from fluctuating_models import (
    CASES,
    KX,
    LEARN,
    POPULATIONS,
    Y,
    compiled_case,
    correlated_sources,
    interpreted,
    module_of,
    prepared,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Rational, cos

import dmftsym as ds
from dmftsym.models.loading import build_model

STEPS = 4
SIZES = {"two_populations": {"E": 0.75, "I": 0.25}, "follower": {"a": 0.25, "b": 0.75}}


def run(name, paths=9, seed=5, steps=STEPS):
    """A case ready to sweep: module, arguments of a sweep, time step; random weights, more paths on later sites."""
    module, case = module_of(name), CASES[name]
    paths = {site: paths + 2 * k for k, site in enumerate(module.SITES)}
    values, factors, normals, weights = prepared(module, case.parameters, case.data, steps, paths, seed)
    rng = np.random.default_rng(seed)
    weights = {site: w * rng.uniform(0.5, 1.5, len(w)) for site, w in weights.items()}
    return module, (values, factors, normals, {site: w / w.sum() for site, w in weights.items()}, steps)


def swept(module, arguments, weights):
    values, factors, normals, _, steps = arguments
    result, status, _ = module.sweep(values, factors, normals, weights, steps, module.TIME_STEP, None)
    assert status == "ok"
    return result


def response(module, arguments, modes, stride=1e-3):
    """The change of all results per change of the weights w (1 + psi), by differences of fourth order."""
    moved = {}
    for k in (-2, -1, 1, 2):
        changed = {site: w * (1 + k * stride * modes[site]) for site, w in arguments[3].items()}
        moved[k] = swept(module, arguments, changed)
    return {
        name: (8 * (moved[1][name] - moved[-1][name]) - (moved[2][name] - moved[-2][name])) / (12 * stride)
        for name in moved[1]
    }


def influences(module, arguments, names):
    """Site, weight of a path, and the response to it of every named quantity, for all paths."""
    for site, weight in arguments[3].items():
        for path in range(len(weight)):
            psi = {other: np.zeros(len(w)) for other, w in arguments[3].items()}
            psi[site] = np.where(np.arange(len(weight)) == path, 1 / weight[path] - 1, -1.0)
            found = response(module, arguments, psi, stride=1e-3 * weight[path])
            yield site, weight[path], {name: found[name] for name in names}


def covariances_by_influence(module, arguments, names, sizes=SIZES, left_out=None):
    """N·Cov as a sum over paths; `left_out`: a site whose paths do not count."""
    total = {}
    for site, weight, influence in influences(module, arguments, names):
        factor = 0.0 if site == left_out else weight / sizes.get(module.MODEL, {}).get(site, 1.0)
        for k, one in enumerate(names):
            for other in names[k:]:
                part = factor * np.multiply.outer(influence[one], influence[other])
                total[f"cov_{one}_{other}"] = total.get(f"cov_{one}_{other}", 0.0) + part
    return total


def covariances(module, arguments, responses=None, seed=0, memory_limit=None):
    values, factors, normals, weights, steps = arguments
    responses = responses or module.tangent_sweep
    found, _, status = module._covariances(
        values, factors, normals, weights, steps, module.TIME_STEP, seed, responses, memory_limit
    )
    assert status == "ok"
    return found


def distance(one, other, names=None):
    """The largest difference, of each array relative to its largest entry."""
    names = names or [name for name in one if name in other]
    assert names
    return max(np.abs(one[n] - other[n]).max() / max(np.abs(other[n]).max(), 1e-3) for n in names)


# --- first-order changes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_tangents_are_derivatives_of_sweeps(name):
    """Two random modes at once; rounding leaves 1e-16 over the stride of 1e-3, amplified by evolving factors."""
    module, arguments = run(name)
    values, factors, normals, weights, steps = arguments
    rng = np.random.default_rng(1)
    modes = {site: rng.standard_normal((2, len(w))) for site, w in weights.items()}
    changes, status, _ = module.tangent_sweep(
        values | {"(columns)": 2}, factors, normals, weights, steps, module.TIME_STEP, modes
    )
    assert status == "ok"
    expected = [response(module, arguments, {site: m[r] for site, m in modes.items()}) for r in range(2)]
    for quantity, (_, column) in module.COVARIANCES.items():
        one, other = (np.take(changes[quantity], r, axis=column) for r in range(2))
        assert distance({quantity: one}, expected[0], [quantity]) < 1e-8
        assert distance({quantity: other}, expected[1], [quantity]) < 1e-8
        assert distance({quantity: other}, expected[0], [quantity]) > 1e-2  # negative control: the other mode


@pytest.mark.parametrize("name", CASES)
def test_covariances_are_sums_over_the_influence_of_paths(name):
    """Directions in which observables scatter less than 1e-7 of the largest are dropped: 1e-6 of a covariance."""
    module, arguments = run(name)
    names = list(CASES[name].covariance)
    found = covariances(module, arguments)
    assert distance(found, covariances_by_influence(module, arguments, names)) < 2e-6
    for site in module.SITES if len(module.SITES) > 1 else ():
        incomplete = covariances_by_influence(module, arguments, names, left_out=site)
        assert distance(found, incomplete) > 1e-3  # negative control: one site does not scatter
    fewer = covariances_by_influence(module, run(name, seed=6)[1], names)
    assert distance(found, fewer) > 1e-2  # negative control: other paths


@pytest.mark.parametrize("name", CASES)
def test_both_methods_agree(name):
    """Differences of fourth order with a stride of 0.05; the recursions of lag are steep."""
    module, arguments = run(name, paths=24)
    by_tangents = covariances(module, arguments)
    by_differences = covariances(module, arguments, module._differences)
    error = distance(by_differences, by_tangents)
    assert error < {"lag": 1e-2}.get(name, 1e-3)
    if not set(module.COVARIANCES) <= set(module.FOLLOWING):
        rough = lambda *arguments: module._differences(*arguments, stride=0.4)
        assert distance(covariances(module, arguments, rough), by_tangents) > 10 * error  # negative control


@pytest.mark.parametrize("name", CASES)
def test_covariances_are_symmetric_and_positive(name):
    module, arguments = run(name)
    for quantity, value in covariances(module, arguments).items():
        if quantity in {f"cov_{n}_{n}" for n in CASES[name].covariance}:
            size = int(np.sqrt(value.size))
            matrix = value.reshape(size, size)
            np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-12 * np.abs(matrix).max())
            assert np.linalg.eigvalsh(matrix)[0] > -1e-10 * np.abs(matrix).max()


@pytest.mark.parametrize("name", ("mlp", "mlp-test", "drift", "lag", "memory", "chain", "explicit"))
def test_excess_is_half_the_second_derivative_times_the_covariance(name):
    """The chain rule is checked above; its derivative along every change gives the second order."""
    module, arguments = run(name)
    values, factors, normals, weights, steps = arguments
    averages, _, _ = module.plain_sweep(values, factors, normals, weights, steps, module.TIME_STEP)
    rng = np.random.default_rng(2)
    columns = 3
    changes = {n: rng.standard_normal((columns, *a.shape)) for n, a in averages.items()}
    placed = lambda each: {n: np.moveaxis(c, 0, module.AVERAGES[n]) for n, c in each.items()}
    chain = lambda q, dq: module.chain_sweep(
        values | {"(columns)": len(next(iter(dq.values())))}, q, placed(dq), steps, module.TIME_STEP
    )[0]
    found = chain(averages, changes)
    excesses = [n for n in found if n.startswith("excess_")]
    assert excesses
    for excess in excesses:
        quantity = excess.removeprefix("excess_")
        if quantity not in module.COVARIANCES:
            continue
        column, total = module.COVARIANCES[quantity][1], 0.0
        for r in range(columns):
            along = {n: c[r : r + 1] for n, c in changes.items()}
            near = {k: {n: q + k * 1e-4 * along[n][0] for n, q in averages.items()} for k in (-2, -1, 1, 2)}
            at = {k: np.take(chain(q, along)[quantity], 0, axis=column) for k, q in near.items()}
            total = total + (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * 1e-4)
        assert distance({excess: found[excess]}, {excess: total / 2}) < 1e-7
        assert distance({excess: found[excess]}, {excess: total}) > 1e-2  # negative control: without the half


def test_quadratic_functions_have_the_excess_of_their_covariance():
    """loss = sum (y - f)^2/2 is larger by half the trace of N·Cov f, K is linear."""
    module, arguments = run("mlp")
    found = covariances(module, arguments)
    np.testing.assert_allclose(found["excess_loss"], np.einsum("mtmt->t", found["cov_f_f"]) / 2, rtol=1e-9)
    assert "excess_K" not in found and "excess_f" not in found


# --- directions of the weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_modes_are_orthonormal_and_have_no_mean(name):
    module, arguments = run(name, paths=20)
    values, factors, normals, weights, steps = arguments
    closed, observed, status = module._fluctuation_modes(values, factors, normals, weights, steps, module.TIME_STEP, 0)
    assert status == "ok" and set(closed) | set(observed) <= set(module.SITES)
    for site, weight in weights.items():
        modes = np.concatenate([each[site] for each in (closed, observed) if site in each])
        np.testing.assert_allclose((modes * weight) @ modes.T, np.eye(len(modes)), atol=1e-10)
        np.testing.assert_allclose(modes @ weight, 0, atol=1e-7)
        assert len(modes) < len(weight)


@pytest.mark.parametrize("name", ("mlp", "recurrent", "pair", "two_populations"))
def test_covariances_do_not_depend_on_the_random_combinations(name):
    module, arguments = run(name, paths=30)
    first, second = (covariances(module, arguments, seed=seed) for seed in (0, 7))
    assert distance(first, second) < 1e-5


@pytest.mark.parametrize(("samples", "steps"), [(8, 1), (8, 2), (24, 1), pytest.param(24, 2, marks=pytest.mark.slow)])
def test_many_observables_at_few_times(samples, steps):
    module = interpreted(ds.compile_model(build_model("mlp"), ds.Options(covariance=("f",))).source.text)
    rng = np.random.default_rng(0)
    data = {"X": rng.standard_normal((samples, 40)), "y": rng.standard_normal(samples)}
    arguments = (*prepared(module, LEARN, data, steps, 60), steps)
    found = covariances(module, arguments)["cov_f_f"][:, 0, :, 0]
    _, factors, normals, weights, _ = arguments
    observable = np.tanh(factors["u_h"] @ normals["u_h"]) * (factors["u_z"] @ normals["u_z"]) / LEARN["gamma"]
    expected = np.cov(observable, aweights=weights["hidden"], ddof=0)
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()


def unequal_sites():
    """A site with static sources in two dimensions, and a deterministic one: under a Gauss-Hermite rule 1 path."""
    m = ds.Model("unequal")
    t, s = m.times("t s")
    i = m.indices("i", size="n", axis="feature")
    a, b = m.data("alpha", i), m.data("beta", i)
    f, q = m.order_parameter("f", i, t), m.order_parameter("q", t)
    big, small = m.site("big"), m.site("small")
    x, y, z = big.field("x", t), big.field("y", t), small.field("z", t)
    for field in (x, y):
        big.equation(field[t], 0)
        big.noise(field[t], field[s], 1)
    big.observe(f[i, t], cos(a[i] * x[t] + b[i] * y[t]))
    small.equation(z[t], 1)
    small.observe(q[t], z[t])
    return m


def test_a_site_with_few_paths_does_not_limit_the_others():
    module = interpreted(ds.compile_model(unequal_sites(), ds.Options(covariance=("f",))).source.text)
    rng = np.random.default_rng(0)
    data = {"alpha": rng.uniform(-7, 7, 120), "beta": rng.uniform(-7, 7, 120)}
    values, factors, normals, weights = prepared(module, {}, data, 8, {"big": 300, "small": 3})
    closed, observed, _ = module._fluctuation_modes(values, factors, normals, weights, 8, 1.0, 0)
    modes = np.concatenate([each["big"] for each in (closed, observed) if "big" in each])
    weight = weights["big"]
    x, y = (factors[name] @ normals[name] for name in ("u_x", "u_y"))
    observable = np.cos(data["alpha"][:, None] * x + data["beta"][:, None] * y)
    centred = observable - (observable @ weight)[:, None]
    rest = centred - ((centred * weight) @ modes.T) @ modes
    assert np.abs(rest).max() < 1e-3


def still():
    """A deterministic site drives a random one; its average does not fluctuate."""
    m = ds.Model("still")
    t, s = m.times("t s")
    q, p = m.order_parameter("q", t), m.order_parameter("p", t)
    a, b = m.site("a"), m.site("b")
    x, v = a.field("x", t), b.field("v", t)
    a.equation(x[t], Rational(1, 3))
    a.observe(q[t], x[t] ** 2)
    b.equation(v[t], ds.past(s)(q[s]))
    b.noise(v[t], v[s], 1)
    b.observe(p[t], v[t])
    return m


def test_an_average_that_does_not_scatter_has_no_covariance():
    module = interpreted(ds.compile_model(still(), ds.Options(covariance=("q", "p"))).source.text)
    found = module.fluctuations({}, {}, steps=3, measure="sobol", points=64)
    assert np.abs(found["cov_q_q"]).max() < 1e-12 and np.abs(found["cov_q_p"]).max() < 1e-12
    np.testing.assert_allclose(found["cov_p_p"], 1.0, rtol=0.5)


def test_modes_of_one_site_leave_the_others_alone():
    module, arguments = run("two_populations", paths=12)
    values, factors, normals, weights, steps = arguments
    closed, _, _ = module._fluctuation_modes(values, factors, normals, weights, steps, module.TIME_STEP, 0)
    count = sum(map(len, closed.values()))
    columns = [module._columns_of(closed, values, first, 1) for first in range(count)]
    for column in columns:
        moving = [site for site, psi in column.items() if np.abs(psi).max() > 0]
        assert len(moving) == 1
        psi, share = column[moving[0]][0], SIZES["two_populations"][moving[0]]
        assert psi**2 @ weights[moving[0]] == pytest.approx(1 / share, rel=1e-9)
    together = module._columns_of(closed, values, 0, count)
    for site in module.SITES:
        np.testing.assert_array_equal(together[site], np.concatenate([c[site] for c in columns]))
    middle = module._columns_of(closed, values, 5, count - 9)
    assert all(np.array_equal(middle[site], together[site][5 : count - 4]) for site in module.SITES)


# --- networks of finite width ---------------------------------------------------------------------------------------


def brute_force(module, parameters, data, steps, paths, runs, names):
    """N times the sample covariance of `runs` networks; `paths`: units of every site; returns also N."""
    width = sum(paths.values()) if len(paths) > 1 else next(iter(paths.values()))
    samples = {name: [] for name in names}
    for seed in range(runs):
        values, factors, normals, weights = prepared(module, parameters, data, steps, paths, seed)
        result, _, _ = module.plain_sweep(values, factors, normals, weights, steps, module.TIME_STEP)
        for name in names:
            samples[name].append(result[name])
    return {name: width * np.var(sample, axis=0) for name, sample in samples.items()}


def diagonal(value):
    size = int(np.sqrt(value.size))
    return np.diag(value.reshape(size, size)).reshape(value.shape[: value.ndim // 2])


@pytest.mark.slow
def test_two_populations_scatter_like_networks_of_both_sizes():
    """800 networks of 60 + 20 units: 5 % on a variance, 1/N corrections of a few percent more."""
    module = module_of("two_populations")
    names = ("m_E", "m_I", "C_I")
    found = interpreted(
        ds.compile_model(CASES["two_populations"].build(), ds.Options(covariance=names)).source.text
    ).fluctuations(POPULATIONS, {}, steps=3, measure="sobol", points=512, repeats=2)
    networks = brute_force(module, POPULATIONS, {}, 3, {"E": 60, "I": 20}, 800, ("m_E", "m_I", "C_I"))
    for name in names:
        theory = diagonal(found[f"cov_{name}_{name}"])
        assert np.abs(theory / networks[name] - 1).max() < 0.2
        assert np.abs(theory / networks[name] - 1).mean() < 0.1
        assert np.abs(0.75 * theory / networks[name] - 1).mean() > 0.15  # negative control: the other site's share


def threshold_units():
    """q = <theta(h)>, h = u + a times the sum of earlier q: a unit whose field crosses zero jumps."""
    m = ds.Model("threshold")
    t, s = m.times("t s")
    a = m.parameters("a")
    phi = m.activation("phi", "relu")
    q = m.order_parameter("q", t)
    site = m.site("unit")
    h = site.field("h", t)
    site.equation(h[t], a * ds.past(s)(q[s]))
    site.noise(h[t], h[s], 1)
    site.observe(q[t], phi.d(1)(h[t]))
    return m


def test_jumps_need_differences():
    """Two steps in closed form: q(1) moves by psi theta(u + a/2) + a p(a/2) dq(0), p the density of u.

    With a = 3/2: N Var q(1) = P (1 - P) + c (1 - P) + c^2/4 with P = P(u > -3/4) = 0.77337, c = 3/2 p(3/4) = 0.45169.
    """
    module = interpreted(ds.compile_model(threshold_units(), ds.Options(covariance=("q",))).source.text)
    assert len(module.JUMPS) == 1 and "dphi_h[t]" in module.JUMPS[0]
    options = {"steps": 2, "measure": "sobol", "points": 1024, "repeats": 1}
    found = {
        method: module.fluctuations({"a": 1.5}, {}, method=method, **options)["cov_q_q"]
        for method in ("auto", "differences", "tangent")
    }
    np.testing.assert_array_equal(found["auto"], found["differences"])
    one = 0.77337
    slope = 1.5 * np.exp(-(0.75**2) / 2) / np.sqrt(2 * np.pi)
    covariance = (1 - one) / 2 + slope / 4
    expected = np.array([[0.25, covariance], [covariance, one * (1 - one) + slope * (1 - one) + slope**2 / 4]])
    np.testing.assert_allclose(found["auto"], expected, rtol=0.02)
    assert found["tangent"][1, 1] < 0.6 * expected[1, 1]  # negative control: derivatives along paths miss the jump


def test_smooth_models_have_no_jumps():
    assert not any(module_of(name).JUMPS for name in ("mlp", "mlp-logistic", "recurrent", "lotka_volterra"))


# --- factors of covariances -----------------------------------------------------------------------------------------


def factorised(module, covariance, size):
    """The factor of a covariance of times of `size` values each, built up step by step, and the rows that open it."""
    total = len(covariance)
    factor, active, rank = np.zeros((total, total)), np.zeros(total, dtype=int), 0
    for step in range(total // size):
        row = covariance[step * size : (step + 1) * size, : (step + 1) * size]
        opened = module._extend_factor(factor, active, rank, np.ascontiguousarray(row), step)
        assert opened >= 0
        rank += opened
    return factor[:, :rank], active[:rank]


def varied(module, covariance, changes, size):
    """The first-order change of the factor for several changes of the covariance."""
    total = len(covariance)
    factor, active = factorised(module, covariance, size)
    wide = np.zeros((total, total))
    wide[:, : factor.shape[1]] = factor
    result = np.zeros((len(changes), total, total))
    for step in range(total // size):
        rows = np.ascontiguousarray(changes[:, step * size : (step + 1) * size, : (step + 1) * size])
        known = active[active < (step + 1) * size]
        module._vary_factor(wide, result, known, rows, step)
    return result[:, :, : factor.shape[1]]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1), size=st.sampled_from([1, 2, 3]), times=st.integers(1, 4), rank=st.integers(1, 14)
)
def test_the_change_of_a_factor_is_its_derivative(seed, size, times, rank):
    """Covariances B B^T of any rank, moved along changes of B, which keep the rank: null directions stay null."""
    module, rng = module_of("recurrent"), np.random.default_rng(seed)
    total = size * times
    B, directions = rng.standard_normal((total, rank)), rng.standard_normal((2, total, rank))
    covariance = B @ B.T
    changes = np.stack([d @ B.T + B @ d.T for d in directions])
    factor, active = factorised(module, covariance, size)
    if np.linalg.svd(B)[1].min() < 0.2 or np.abs(np.diag(factor[active])).min() < 0.2:
        return  # close to another rank derivatives are large
    found = varied(module, covariance, changes, size)
    for r in range(2):
        near = {k: B + k * 1e-4 * directions[r] for k in (-2, -1, 1, 2)}
        moved = {k: factorised(module, C @ C.T, size)[0] for k, C in near.items()}
        assert all(m.shape == factor.shape for m in moved.values())
        differences = (8 * (moved[1] - moved[-1]) - (moved[2] - moved[-2])) / 12e-4
        scale = max(1.0, np.abs(differences).max())
        assert np.abs(found[r] - differences).max() < 1e-6 * scale
        assert np.abs(1.001 * found[r] - differences).max() > 1e-6 * scale or not np.abs(found[r]).max() > 0.01
        product = found[r] @ factor.T + factor @ found[r].T
        assert np.abs(product - changes[r]).max() < 1e-6 * max(1.0, np.abs(changes[r]).max())


def test_null_rows_change_with_the_others():
    """Every value twice: the second copy opens no column, but moves like the first."""
    module = module_of("recurrent")
    one = np.array([[2.0, 0.5, 0.1], [0.5, 1.5, 0.4], [0.1, 0.4, 1.0]])
    change = np.array([[0.3, 0.1, -0.2], [0.1, -0.4, 0.2], [-0.2, 0.2, 0.5]])
    twice = lambda matrix: np.kron(matrix, np.ones((2, 2)))
    factor, active = factorised(module, twice(one), 2)
    assert factor.shape == (6, 3) and active.tolist() == [0, 2, 4]
    (found,) = varied(module, twice(one), twice(change)[None], 2)
    np.testing.assert_allclose(found[1::2], found[::2], atol=1e-8)
    np.testing.assert_allclose(found @ factor.T + factor @ found.T, twice(change), atol=1e-8)


def test_a_covariance_that_vanishes_has_a_factor_without_columns():
    module = module_of("recurrent")
    assert varied(module, np.zeros((4, 4)), np.zeros((2, 4, 4)), 2).shape == (2, 4, 0)
    assert not module._varied_square_root(np.zeros((3, 0)), np.zeros((2, 3, 3))).any()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 5), rank=st.integers(1, 6), columns=st.integers(1, 3))
def test_the_change_of_a_square_root(seed, size, rank, columns):
    """F' F^T + F F'^T is the change, for changes within the range of F."""
    module, rng = module_of("white"), np.random.default_rng(seed)
    B, D = rng.standard_normal((size, rank)), rng.standard_normal((columns, size, rank))
    change = D @ B.T + B @ D.swapaxes(1, 2)
    factor = module._factor(B @ B.T, "u")
    if factor.shape[1] == 0 or np.linalg.svd(factor)[1].min() < 1e-2:
        return
    inside = factor @ np.linalg.pinv(factor)
    change = inside @ change @ inside
    found = module._varied_square_root(factor, change)
    assert found.shape == (columns, *factor.shape)
    product = found @ factor.T
    assert np.abs(product + product.swapaxes(1, 2) - change).max() < 1e-9 * max(1.0, np.abs(change).max())


def symmetric_noise(kind):
    """White noise of two components whose covariance <phi phi> is, by symmetry, a multiple of one."""
    m = ds.Model("symmetric")
    t, _ = m.times("t s", continuous=True, dt=0.1)
    i, j = m.indices("i j", size=2, axis="component")
    q = m.order_parameter("q", i, j, t)
    phi = m.activation("phi", kind)
    site = m.site("unit")
    x = site.field("x", i, t, variance=1)
    site.equation(x.dot[i, t], -x[i, t])
    site.noise(x[i, t], x[j, t], q[i, j, t])
    site.observe(q[i, j, t], phi(x[i, t]) * phi(x[j, t]))
    return m


def test_sweeps_with_white_noise_of_several_components_are_smooth_in_the_weights():
    """Groups of paths that map the components onto each other: <phi phi> is a multiple of one, without eigenvectors."""
    module = interpreted(ds.compile_model(symmetric_noise("tanh"), ds.Options(covariance=("q",))).source.text)
    values, factors, normals, weights = prepared(module, {}, {}, 3, 48)
    x = normals["x_start"].reshape(2, 8, 6)
    for image in range(8):  # both signs of both components, and their exchange
        signs = np.array([1 - 2 * (image & 1), 1 - (image & 2)])[:, None]
        x[:, image] = signs * (x[:, 0][::-1] if image & 4 else x[:, 0])
    normals["x_start"] = x.reshape(2, 48)
    psi = np.random.default_rng(0).standard_normal(48)

    def at(shift):
        changed = {"unit": weights["unit"] * (1 + shift * psi)}
        result, status, _ = module.plain_sweep(values, factors, normals, changed, 3, module.TIME_STEP)
        assert status == "ok"
        return result["q"]

    assert np.abs(at(0.0)[0, 1, 0]) < 1e-15 and np.ptp(np.diag(at(0.0)[..., 0])) < 1e-15
    assert np.abs(at(1e-6) - at(-1e-6)).max() < 1e-4


# --- the calculation as a whole -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ("mlp", "two_populations", "follower", "white", "chain"))
@pytest.mark.parametrize("at_once", (1, 3))
def test_columns_in_portions(name, at_once, monkeypatch):
    """A few columns at a time give the same, to rounding."""
    module, arguments = run(name)
    whole = covariances(module, arguments)
    monkeypatch.setattr(module, "_columns_at_once", lambda *_: at_once)
    parts = covariances(module, arguments)
    assert set(parts) == set(whole) and distance(parts, whole) < 1e-10
    calls = []

    def forgetful(*arguments, sweep):
        """A sweep, except that the first one returns nothing but zeros."""
        calls.append(1)
        changes, status, null = sweep(*arguments)
        return ({n: c * (len(calls) != 1) for n, c in changes.items()}, status, null)

    for sweep in {"tangent_sweep", "direct_sweep"} & set(vars(module)):
        monkeypatch.setattr(module, sweep, partial(forgetful, sweep=getattr(module, sweep)))
    assert distance(covariances(module, arguments), whole) > 1e-4  # negative control: one portion is lost


def test_memory_decides_how_many_columns_run_at_once():
    module, arguments = run("mlp")
    values = arguments[0]
    count = lambda limit, paths=2**14: module._columns_at_once(values, 40, paths, 100, limit)
    assert count(2**50) == 100 and count(1) == 1
    numbers = [count(2.0**k) for k in range(20, 34)]
    assert numbers == sorted(numbers) and len(set(numbers)) > 3
    one, ten = (module._fluctuation_bytes(values, 40, 2**14, columns) for columns in (1, 10))
    assert 8 * 2**14 * 9 < ten - one  # at least one number a column and path


@pytest.mark.parametrize("name", ("mlp", "recurrent"))
def test_a_calculation_that_does_not_fit_is_refused(name):
    module, case = module_of(name), CASES[name]
    words = r"covariances need about [\d.]+ GiB, [\d.]+ GiB are there; reduce"
    with pytest.raises(module.InputError, match=words) as error:
        module.fluctuations(case.parameters, case.data, steps=50, memory_limit=2**20)
    assert "steps (50)" in str(error.value) and ", ".join(module.COVARIANCES) in str(error.value)
    assert "\n" not in str(error.value)
    module.fluctuations(case.parameters, case.data, steps=2, points=16, repeats=2, memory_limit=2**28)


def test_many_results_count_as_memory():
    """N·Cov K of 200 samples at 50 times has 4e12 entries, whatever the number of paths."""
    module = module_of("mlp")
    data = {"Kx": np.eye(200), "y": np.ones(200)}
    with pytest.raises(module.InputError, match=r"covariances need about \d{4,}\.\d GiB"):
        module.fluctuations(LEARN, data, steps=50, points=64)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "exact"}, "method must be auto, tangent or differences.*exact"),
        ({"measure": "gauss"}, "measure must be.*gauss"),
        ({"points": 1}, "points.*at least 2.*1"),
        ({"steps": 0}, "steps.*at least 1"),
        ({"dt": -1.0}, "dt.*positive"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_options_are_named(options, words):
    module, case = module_of("mlp"), CASES["mlp"]
    with pytest.raises(module.InputError, match=words):
        module.fluctuations(case.parameters, case.data, **({"steps": 3} | options))


def test_quadrature_and_sampling_agree():
    """Gauss-Hermite with 6 nodes in three dimensions against 512 Sobol points."""
    module, case = module_of("mlp-logistic"), CASES["mlp-logistic"]
    exact = module.fluctuations(case.parameters, case.data, steps=2, measure="hermite", points=6)
    sampled = module.fluctuations(case.parameters, case.data, steps=2, measure="sobol", points=512, repeats=2)
    assert "hermite" in str(exact["cov_measure"]) and "sobol" in str(sampled["cov_measure"])
    assert not any(name.startswith("se_") for name in exact)
    assert exact["cov_estimated_error"] < 1e-2 and exact["cov_status"] == "ok"
    for name in ("cov_f_f", "cov_f_loss", "cov_loss_loss"):
        assert np.abs(sampled[name] - exact[name]).max() < 0.15 * np.abs(exact[name]).max()
        assert sampled[f"se_{name}"].shape == exact[name].shape
        assert np.isfinite(sampled[f"se_{name}"]).all()


def test_a_coarse_rule_that_fails_is_no_crash(monkeypatch):
    module, case = interpreted(compiled_case("mlp-logistic").source.text), CASES["mlp-logistic"]
    right, calls = module._covariances, []

    def fails_first(*arguments):
        calls.append(1)
        return ({}, 0, "diverged: f is not finite at step 2") if len(calls) == 1 else right(*arguments)

    monkeypatch.setattr(module, "_covariances", fails_first)
    found = module.fluctuations(case.parameters, case.data, steps=2, measure="hermite", points=4)
    assert found["cov_estimated_error"] > 0.1


def test_a_run_that_diverges_has_no_covariances():
    module, case = module_of("mlp"), CASES["mlp"]
    found = module.fluctuations({"gamma": 1, "eta": 1e60}, case.data, steps=9, measure="sobol", points=16)
    assert "diverged" in str(found["cov_status"]) and np.isinf(found["cov_estimated_error"])
    assert not any(name.startswith("cov_f") for name in found)


def test_the_seed_decides():
    module, case = module_of("recurrent"), CASES["recurrent"]
    one, again, other = (
        module.fluctuations(case.parameters, {}, steps=3, points=32, repeats=2, seed=seed)["cov_C_C"]
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@pytest.mark.parametrize("name", CASES)
def test_one_step_is_enough(name):
    module, case = module_of(name), CASES[name]
    data = {n: v[:1] if n == "angle" else v for n, v in case.data.items()}
    found = module.fluctuations(case.parameters, data, steps=1, points=16, repeats=2, accuracy=np.inf)
    assert str(found["cov_status"]) == "ok"
    assert all(np.isfinite(v).all() for n, v in found.items() if n.startswith("cov_") and v.dtype.kind == "f")


def test_two_sources_that_are_one():
    """y is a copy of x: one direction a step is null, and tangents still equal differences."""
    m = correlated_sources()
    module = interpreted(ds.compile_model(m, ds.Options(covariance=("A",))).source.text)
    ones = {"Kx": np.ones((2, 2))}
    arguments = (*prepared(module, {}, ones, 3, 10), 3)
    _, _, counts = module.sweep(*arguments[:3], arguments[3], 3, 1.0, None)
    assert counts["null_directions"] > 0
    found = covariances(module, arguments)
    assert distance(found, covariances_by_influence(module, arguments, ["A"])) < 1e-4


# --- compiled -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", (pytest.param("two_populations", marks=pytest.mark.slow), "pair"))
def test_compiled_kernels_give_the_same(name):
    """Sums are reordered: equal to rounding."""
    compiled, module, case = compiled_case(name).solver.module, module_of(name), CASES[name]
    options = {"steps": 3, "points": 64, "repeats": 2}
    one, other = (m.fluctuations(case.parameters, case.data, **options) for m in (compiled, module))
    assert set(one) == set(other)
    assert distance(one, other, [n for n in one if n.startswith("cov_") and one[n].ndim]) < 1e-9


def test_several_blocks_of_paths(monkeypatch):
    """Kernels with columns handle paths in blocks; the last one is shorter."""
    module = interpreted(compiled_case("mlp").source.text)
    arguments = (*prepared(module, CASES["mlp"].parameters, {"Kx": KX, "y": Y}, 3, 11), 3)
    whole = covariances(module, arguments)
    monkeypatch.setattr(module, "BLOCK", 4)
    assert distance(covariances(module, arguments), whole) < 1e-10
