"""Random matrices found in actions that were averaged by hand: the same systems as said ones, and the same numbers."""

import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import raw_library
from evaluator import own_paths
from random_models import Drawn
from sympy import Integer, cos, tanh

import dmftsym as ds
from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.responses import separate_responses
from dmftsym.language.disorder import MatrixSymbol
from dmftsym.language.symbols import Index
from dmftsym.lowering.clock import with_clock
from dmftsym.lowering.gaussian import close_linear_sites
from dmftsym.lowering.held import Asked
from dmftsym.lowering.lower import lower, program_of
from dmftsym.lowering.recognise import recognise
from dmftsym.lowering.schemes import scheme_named
from dmftsym.program.factors import square_root
from dmftsym.program.interpreter import State, interpret

sys.path.insert(0, str(Path(__file__).parents[1]))
from averaging import said_models

EXAMPLES = Path(__file__).parents[2] / "examples"
EULER, SLOW = scheme_named("euler"), pytest.mark.slow
KX, Y = np.array([[1.0, 0.3], [0.3, 0.8]]), np.array([1.0, -0.7])


def example(name):
    return ds.build_model(str(EXAMPLES / f"{name}.py"))


def without_matrices(model):
    """The equations of a model, as if its average had been taken by hand."""
    return replace(ds.derive(model), disorder=None)


def found_in(equations, closed=None):
    """What is recognised in equations as the lowering prepares them."""
    written, _ = separate_responses(equations.saddle_point.equations)
    timed = with_clock(replace(equations, saddle_point=replace(equations.saddle_point, equations=written)))
    closed = close_linear_sites(timed)[1].sites if closed is None else closed
    return recognise(timed, closed, learning=True)


# The same system as the said one


def described(system, names):
    """Products, equations, covariances and laws, with the matrices under other `names`; summed indices numbered."""
    symbols = {m.symbol: MatrixSymbol(names.get(m.name, m.name)) for m in system.matrices}
    said = {p.tensor[p.tensor.indices]: p.applied.xreplace(symbols) for p in system.products}
    equations = {
        str(e.field): ({(t.body.xreplace(said), t.bound, t.constraints) for t in e.terms}, e.sources)
        for p in system.processes
        for e in p.equations
    }
    definitions = {
        str(d.tensor): {t.body.xreplace(said) for t in d.terms} for p in system.processes for d in p.definitions
    }
    matrices = {}
    for m in system.matrices:
        learned = {_numbered(part) for part in m.learned}
        ends = (m.rows.name, m.columns.name, len(m.indices))
        matrices[names.get(m.name, m.name)] = (*ends, m.variance, m.symmetry, learned)
    return equations, definitions, [p.covariances for p in system.processes], matrices


def _numbered(part):
    """A learned part with its summed indices named in the order in which they stand on its left side."""
    inside = [i for side in (part.left, part.right) for e in sorted(side.atoms(Index), key=str) for i in [e]]
    summed = [i for i in dict.fromkeys(inside) if not i.is_time and i not in part.member]
    names = {i: Index(f"sum{k}", i.axis) for k, i in enumerate(summed)}
    return (*(e.xreplace(names) for e in (part.rate, part.left, part.right)), part.member)


SAID = {
    "network of 2 layers": (lambda: ds.build_model("mlp", depth=2), {"W_h2": "W1"}),
    "network of 3 layers": (lambda: ds.build_model("mlp", depth=3), {"W_h2": "W1", "W_h3": "W2"}),
    "recurrent": (lambda: ds.build_model("recurrent", symmetric=True), {"J_x": "J"}),
    "tied": (said_models.tied, {"J_W_out": "W"}),
    "family": (said_models.family, {"W_y": "W"}),
    "hopfield": (lambda: example("hopfield"), {"W_xi_back": "xi"}),
    "perceptron": (lambda: example("perceptron"), {"W_h": "X"}),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=SLOW) if n in ("tied", "network of 3 layers", "perceptron") else n for n in SAID]
)
def test_what_was_said_is_found_again(name):
    build, names = SAID[name]
    equations = ds.derive(build())
    found = found_in(replace(equations, disorder=None), closed=())
    mine, said = described(found, names), described(equations.disorder, {})
    if name == "hopfield":  # the transpose of what was said
        assert {(str(p.applied.body), p.applied.transposed) for p in found.products} == {
            ("xi_back[t]", True), ("phi(x[t])", False)}  # fmt: skip
        assert [(m.rows.name, m.columns.name, m.variance) for m in found.matrices] == [("pattern", "neuron", 1)]
        return
    assert mine[1:] == said[1:]
    assert {k: v[1] for k, v in mine[0].items()} == {k: v[1] for k, v in said[0].items()}
    if name != "perceptron":  # there a sum stands in another order
        assert mine[0] == said[0]
    other = replace(equations.disorder, matrices=(replace(equations.disorder.matrices[0], variance=Integer(3)),))
    assert mine != described(other, {}), "a variance of 3 must show"


def raw_network(depth, test=False):
    return raw_library.mlp(depth=depth, test=test)


@pytest.mark.parametrize(
    ("depth", "test"), [(2, True), *(pytest.param(*c, marks=SLOW) for c in ((2, False), (3, True)))]
)
def test_a_network_averaged_by_hand(depth, test):
    """Noise, memories and drifts of every layer are those of one matrix; test points are further queries of it."""
    found = found_in(ds.derive(raw_network(depth, test)))
    equations, _, covariances, matrices = described(found, {f"W_h{k + 1}": f"W{k}" for k in range(1, depth)})
    said = described(ds.derive(ds.build_model("mlp", depth=depth)).disorder, {})
    assert {n: e for n, e in equations.items() if "test" not in n and n != "h1"} == {
        n: e for n, e in said[0].items() if n != "h1"
    }
    assert matrices == said[3] and len(covariances) == depth
    products = [str(p.applied) for p in found.products]
    assert sum("h_test" in p for p in products) == (depth - 1 if test else 0)
    assert not any(s.kind == "evolving" for p in found.processes for e in p.equations for s in e.sources)


def test_a_recurrent_network_averaged_by_hand():
    for symmetric, rho in ((False, "0"), (True, "rho")):
        found = found_in(ds.derive(raw_library.recurrent(symmetric=symmetric)))
        (J,) = found.matrices
        assert (str(J.variance), str(J.symmetry), J.learned) == ("g**2", rho, [])
        assert found.processes[0].equations[0].right_side().has(found.products[0].tensor)


def test_populations_of_other_sizes_have_a_matrix_for_each_pair():
    """Their covariance is one definition, a sum over the populations."""
    found = found_in(ds.derive(example("two_populations")))
    laws = {(m.rows.name, m.columns.name): str(m.variance) for m in found.matrices}
    to_E, to_I = "g_E**2", "g_I**2/tau_I**2"
    assert laws == {("E", "E"): to_E, ("E", "I"): to_E, ("I", "E"): to_I, ("I", "I"): to_I}


# What is no matrix


def both_ways(a=1, b=1, forward=1, backward=1, drift=1, sizes=(1, 1), bracket=False):
    """h = W v and z = W^T g, averaged: memories a, b, covariances forward, backward, a drift in the equation of h."""
    m = ds.Model("pair")
    t, s = m.times("t s")
    low, high = m.site("low"), m.site("high")
    C, G, A, B = (m.order_parameter(n, t, s, on_request=True) for n in "CGAB")
    q = m.order_parameter("q", t)
    x, z, h = low.field("x", t), low.field("z", t), high.field("h", t)
    v, g = low.define("v", t, tanh(x[t])), high.define("g", t, tanh(h[t]) + cos(h[t]))
    past = ds.past(s)((a * A[t, s] + drift * C[t, s]) * g[s]) if bracket else None
    past = past or a * ds.past(s)(A[t, s] * g[s]) + drift * ds.past(s)(C[t, s] * g[s])
    low.action(-x.tilde[t] * (x[t] - z[t - 1]) + x.tilde[t] * x.tilde[s] / 2)
    low.action(-z.tilde[t] * (z[t] - ds.past(s)(G[t, s] * v[s])) + backward * z.tilde[t] * G[t, s] * z.tilde[s] / 2)
    low.action(b * z.tilde[t] * ds.past(s, inclusive=True)(B[t, s] * v[s]) + C.hat[t, s] * v[t] * v[s])
    low.action(A.hat[t, s] * v[t] * z.tilde[s])
    high.action(-h.tilde[t] * (h[t] - past) + forward * h.tilde[t] * C[t, s] * h.tilde[s] / 2)
    high.action(B.hat[t, s] * g[t] * h.tilde[s] + G.hat[t, s] * g[t] * g[s] + q.hat[t] * g[t])
    one, two = sizes
    pairs = {C: one, A: one, G: two, B: two, q: two}
    m.action = (
        one * ds.log_Z(low) + two * ds.log_Z(high) - sum(n * p.hat[p.indices] * p[p.indices] for p, n in pairs.items())
    )
    return m


RIGHT = {
    "one matrix": {},
    "in a bracket": {"bracket": True},
    "variance 4": {"a": 4, "b": 4, "forward": 4, "backward": 4},
    "half of it backward": {"a": 2, "b": 2, "forward": 4},
    "sizes 1 and 4": {"a": 1, "b": 4, "backward": 4, "sizes": (1, 4)},
    "the transpose with a minus": {"a": -1, "b": -1},
}
WRONG = {
    "twice the memory": {"a": 2},
    "twice both memories": {"a": 2, "b": 2},
    "twice the noise": {"forward": 2},
    "noise without": {"b": 0},
    "equal sizes": {"a": 1, "b": 4, "backward": 4},
}


@pytest.mark.parametrize("name", RIGHT)
def test_factors_of_one_matrix(name):
    found = found_in(ds.derive(both_ways(**RIGHT[name])))
    (W,) = found.matrices
    options = {"a": 1, "forward": 1, "sizes": (1, 1)} | RIGHT[name]
    assert options["forward"] == W.variance * options["sizes"][0]
    learned_by_both = name in ("one matrix", "in a bracket", "variance 4")
    assert len(W.learned) == (1 if learned_by_both else 0), "a drift that one equation alone has stays a drift"
    drifts = [t for p in found.processes for e in p.equations for t in e.terms if t.constraints]
    assert len(drifts) == (0 if learned_by_both else 2)


@pytest.mark.parametrize("name", WRONG)
def test_factors_of_no_matrix(name):
    assert found_in(ds.derive(both_ways(**WRONG[name]))) is None


def test_a_kernel_that_is_not_one_average_is_noise_as_before():
    """p-spin couplings, data, white and static noise, and covariances that hold more than a matrix leaves."""
    assert found_in(ds.derive(ds.build_model("p_spin"))) is None
    for covariance in (lambda C, t, s: C[t, s] ** 2, lambda C, t, s: C[t, s] + 1, lambda C, t, s: C[t, s] * C[t, t]):
        m = ds.Model("noise")
        t, s = m.times("t s")
        C, site = m.order_parameter("C", t, s), m.site("one")
        x, y = site.field("x", t), site.field("y", t)
        site.equation(x[t], 0)
        site.noise(x[t], x[s], 1)
        site.equation(y[t], 0)
        site.noise(y[t], y[s], covariance(C, t, s))
        site.observe(C[t, s], tanh(x[t]) * tanh(x[s]) + 0 * y[t])
        assert found_in(ds.derive(m)) is None


# The same numbers


def solved(program, numbers, steps, dt, seed, paths=2000):
    """The outputs of a program on independent paths."""
    weights = {site: np.full(paths, 1 / paths) for site in program.sampling.sites}
    state, rng, normals, factors = State(program, numbers, {}, weights, steps, dt), np.random.default_rng(seed), {}, {}
    for start in program.sampling.starts:
        size = math.prod(state.length(i) for i in start.field.indices if not i.is_time)
        normals[f"{start.field}_start"] = rng.standard_normal((size, paths))
    for group in program.sampling.groups:
        size = state.draws.size(group)
        shape = (size,) if group.static else (steps, size) if group.white else (steps * size,)
        normals[group.name] = rng.standard_normal((*shape, paths))
        if group.static:
            factors[group.name] = square_root(state.draws.covariance(group))
    for directions in program.sampling.directions:
        family = math.prod(state.length(i) for i in directions.matrix.family)
        normals[directions.name] = rng.standard_normal((40 * family, paths))
    found = interpret(program, numbers, factors, normals, weights, steps, dt)
    return {tensor.name: found[tensor.name] for tensor in program.facts.outputs}


def compared(one, other, names):
    """Means over runs, and their difference over its error, for all entries of all quantities together."""
    values, scores = [], []
    for name in names:
        mine, theirs = (np.array([run[name].ravel() for run in runs]) for runs in (one, other))
        error = np.sqrt(mine.var(0, ddof=1) / len(mine) + theirs.var(0, ddof=1) / len(theirs))
        moving = error > 1e-9
        np.testing.assert_allclose(mine.mean(0)[~moving], theirs.mean(0)[~moving], rtol=0, atol=1e-7)
        values.append(theirs.mean(0)[moving] / error[moving])
        scores.append((mine.mean(0) - theirs.mean(0))[moving] / error[moving])
    return np.concatenate(values), np.concatenate(scores)


def rms(values):
    return np.sqrt(np.mean(values**2))


def ring():
    """Two matrices, one a shift, used forward and backward, which learn; averaged."""
    m = ds.Model("ring")
    t, _ = m.times("t s", continuous=True, dt=0.1)
    k = m.indices("k", size=2, axis="shift")
    sigma, nu, pull, eta = m.parameters("sigma nu pull eta", positive=True)
    near, far = m.site("near"), m.site("far", size=nu)
    W, phi = m.matrix("W", far, near, k, variance=sigma**2), m.activation("phi", "tanh")
    x, y = near.field("x", k, t, variance=1), far.field("y", t, variance=1)
    far.equation(y.dot[t], -y[t] + ds.sum_over(k)(W[k] @ phi(x[k, t])))
    near.equation(x.dot[k, t], -x[k, t] - pull * W[k].T @ phi(y[t]))
    W[k].learn(t, eta, phi(y[t]), phi(x[k, t]))
    C, D = m.order_parameter("C", k, t), m.order_parameter("D", t)
    near.observe(C[k, t], x[k, t] ** 2)
    far.observe(D[t], y[t] ** 2)
    return without_matrices(m)


def beside_other_noise():
    """A recurrent network with noise of another kind, one more drift, and a site without matrices."""
    m = ds.Model("beside")
    t, s = m.times("t s")
    C, E, q = m.order_parameter("C", t, s), m.order_parameter("E", t, s), m.order_parameter("q", t)
    one, two = m.site("one"), m.site("two")
    x, y, w, v = one.field("x", t, variance=1), one.field("y", t), one.field("w", t), two.field("v", t)
    one.equation(y[t], ds.past(s)(C[t, s] * tanh(x[s])) / 4)
    one.noise(y[t], y[s], C[t, s] ** 2 + 1)
    one.equation(w[t], cos(x[t]))
    one.noise(w[t], w[s], 2 * C[t, s])
    one.equation(x[t], x[t - 1] / 2 + y[t - 1] + w[t - 1])
    one.observe(C[t, s], tanh(x[t]) * tanh(x[s]))
    two.equation(v[t], 0)
    two.noise(v[t], v[s], E[t, s] / 2)
    one.observe(E[t, s], cos(x[t]) * cos(x[s]))
    two.observe(q[t], tanh(v[t]) ** 2)
    return m


NUMBERS = {
    "family": (ring, {"sigma": 1.1, "nu": 0.5, "pull": 0.7, "eta": 0.5}),
    "beside other noise": (beside_other_noise, {}),
    "network": (
        lambda: raw_network(2, True),
        {"gamma": 1.0, "eta": 0.5, "Kx": np.eye(3) + 0.3, "y": Y, "P": 2, "Q": 1},
    ),
    "recurrent": (lambda: raw_library.recurrent(symmetric=True), {"g": 1.8, "rho": 0.7, "x0_variance": 1.0}),
    "two populations": (
        lambda: example("two_populations"),
        {"g_E": 1.6, "g_I": 1.2, "nu_E": 0.75, "nu_I": 0.25, "w_E": 1, "w_I": 1, "I_E": 0.2, "I_I": 0.2, "tau_I": 0.5},
    ),
    "both ways": (lambda: both_ways(a=0.25, b=1, forward=0.25, sizes=(1, 4)), {}),
}


@pytest.mark.parametrize("name", ["both ways", *(pytest.param(n, marks=SLOW) for n in NUMBERS if n != "both ways")])
def test_numbers_of_the_averaged_form(name):
    build, numbers = NUMBERS[name]
    built, steps, runs = build(), 8, 8
    equations = built if isinstance(built, Derivation) else ds.derive(built)
    wanted = {"network": ("f", "f_test", "K"), "recurrent": ("C",)}.get(name, equations.action.outputs)
    dt = equations.action.declared.time_step or 1.0
    forms = [program_of(lower(equations, EULER, Asked(wanted=wanted, matrices=held))) for held in (True, False)]
    assert forms[0].sampling.directions and not forms[1].sampling.directions
    one, other = ([solved(p, numbers, steps, dt, seed) for seed in range(runs)] for p in forms)
    values, scores = compared(one, other, wanted)
    assert rms(scores) < 1.7 and np.abs(scores).max() < 6
    assert rms(scores + 0.1 * values) > 3, "ten per cent off must show"


RECOGNISED = (3, 5, 16, 21, 46, 52, 56, 91, 107, 119)  # of the first 120 seeds


def drawn_in_order(evaluator):
    """The sources of a group in the order of their fields: what a matrix is asked later may need what it gave."""
    fields = [f"u_{field.name}" for site in evaluator.action.sites for field in site.fields]
    order = lambda name: "_".join(sorted(re.split("_(?=u_)", name), key=fields.index)) if "_u_" in name else name
    evaluator.normals = {order(name): array for name, array in evaluator.normals.items()}
    return evaluator


@pytest.mark.parametrize("seed", [pytest.param(s, marks=SLOW) for s in RECOGNISED])
def test_random_models_against_the_evaluator(seed):
    drawn = Drawn(seed)
    equations, steps, runs = ds.derive(drawn.model), 3, 8
    dt, numbers = drawn.model.time_step or 1.0, drawn.data | drawn.parameters | {"P": 2}
    program = program_of(lower(equations, EULER, equations.action.outputs))
    assert program.sampling.directions
    names = [t.name for t in program.facts.outputs]
    one = [solved(program, numbers, steps, dt, run) for run in range(runs)]
    by_hand = [drawn_in_order(own_paths(drawn.model, numbers, steps, 2000, 100 + run, dt)) for run in range(runs)]
    other = [{name: model.array(name) for name in names} for model in by_hand]
    values, scores = compared(one, other, names)
    assert rms(scores) < 2 and np.abs(scores).max() < 7
    assert rms(scores + 0.3 * values) > 3, "thirty per cent off must show"
