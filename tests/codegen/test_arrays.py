"""Sums of terms as array code, against loops over every index."""

import ast
from itertools import product

import numpy as np
import pytest
from sympy import KroneckerDelta, exp, tanh

import dmftsym as ds
from dmftsym.codegen import tree
from dmftsym.codegen.array_printer import ArrayPrinter
from dmftsym.codegen.arrays import ArrayFormula, Arrays
from dmftsym.codegen.places import All, Moment, Number, Part
from dmftsym.codegen.targets import TARGETS
from dmftsym.errors import CodegenError
from dmftsym.language.sums import sum_over
from dmftsym.language.terms import Before, Term
from dmftsym.program.times import When

SIZES = {"P": 3, "Q": 2, "M": 5, "steps": 6}
NOW = 3

model = ds.Model("arrays")
t, s, r = model.times("t s r")
mu, nu, ka = model.indices("mu nu ka", size="P", axis="sample")
a, b = model.indices("a b", size="Q", axis="test")
i, j = model.indices("i j", size="M", axis="point", joins=(mu, a))
g = model.parameters("g", positive=True)
y, V, W = model.data("y", mu), model.data("V", a), model.data("W", mu, a)
A, K, Y = model.data("A", mu, nu), model.data("K", i, j), model.data("Y", t, mu)
f, C = model.order_parameter("f", mu, t), model.order_parameter("C", mu, t, nu, s)
PAST, UPTO = (Before(s, t),), (Before(s, t, True),)


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    shapes = {"y": "P", "V": "Q", "W": "PQ", "A": "PP", "K": "MM", "Y": "TP", "f": "PT", "C": "PTPT"}
    sizes = {"P": 3, "Q": 2, "M": 5, "T": 6}
    arrays = {name: rng.standard_normal([sizes[c] for c in axes]) for name, axes in shapes.items()}
    return {**arrays, **SIZES, "g": 1.7, "t": NOW}


def times(upto=False):
    return range(NOW + upto)


# terms, indices of the result, and the same by loops: v holds the arrays, the other arguments are the free indices
CASES = {
    "plain": ([Term(2 * y[mu])], (mu,), lambda v, m: 2 * v.y[m]),
    "outer product": ([Term(y[mu] * V[a] * g**2)], (mu, a), lambda v, m, p: v.y[m] * v.V[p] * v.g**2),
    "transposed": ([Term(W[mu, a] - V[a])], (a, mu), lambda v, p, m: v.W[m, p] - v.V[p]),
    "transposed square": ([Term(A[nu, mu])], (mu, nu), lambda v, m, n: v.A[n, m]),
    "middle axis": ([Term(W[nu, b] * y[mu])], (nu, mu, b), lambda v, n, m, p: v.W[n, p] * v.y[m]),
    "now": ([Term(f[mu, t] * Y[t, mu])], (mu,), lambda v, m: v.f[m, NOW] * v.Y[NOW, m]),
    "step before": ([Term(f[mu, t - 1])], (mu,), lambda v, m: v.f[m, NOW - 1]),
    "start": ([Term(f[mu, 0] - f[mu, t])], (mu,), lambda v, m: v.f[m, 0] - v.f[m, NOW]),
    "two times": ([Term(C[mu, t, nu, t])], (nu, mu), lambda v, n, m: v.C[m, NOW, n, NOW]),
    "sum": ([Term(A[mu, nu] * y[nu], (nu,))], (mu,), lambda v, m: sum(v.A[m, n] * v.y[n] for n in range(3))),
    "two sums": (
        [Term(A[mu, nu] * W[nu, a] * V[a], (nu, a))],
        (mu,),
        lambda v, m: sum(v.A[m, n] * v.W[n, p] * v.V[p] for n in range(3) for p in range(2)),
    ),
    "sum of a function": (
        [Term(exp(A[mu, nu]) * y[nu], (nu,))],
        (mu,),
        lambda v, m: sum(np.exp(v.A[m, n]) * v.y[n] for n in range(3)),
    ),
    "sum of powers": ([Term(y[nu] ** 2, (nu,))], (), lambda v: sum(v.y[n] ** 2 for n in range(3))),
    "sum without the result's index": (
        [Term(y[mu] * V[a], (a,))],
        (mu,),
        lambda v, m: v.y[m] * sum(v.V[p] for p in range(2)),
    ),
    "trace": ([Term(A[nu, nu], (nu,))], (), lambda v: sum(v.A[n, n] for n in range(3))),
    "diagonal": ([Term(A[mu, mu] * y[mu])], (mu,), lambda v, m: v.A[m, m] * v.y[m]),
    "diagonal in time": ([Term(C[mu, t, mu, t])], (mu,), lambda v, m: v.C[m, NOW, m, NOW]),
    "delta": ([Term(KroneckerDelta(mu, nu) * g)], (mu, nu), lambda v, m, n: v.g * (m == n)),
    "summed delta": ([Term(KroneckerDelta(mu, nu) * y[nu], (nu,))], (mu,), lambda v, m: v.y[m]),
    "parts of a stacked axis": (
        [Term(K[a, mu] * y[mu], (mu,)), Term(-K[a, b] * V[b], (b,))],
        (a,),
        lambda v, p: sum(v.K[3 + p, m] * v.y[m] for m in range(3)) - sum(v.K[3 + p, 3 + q] * v.V[q] for q in range(2)),
    ),
    "several terms": (
        [Term(y[mu] / g), Term(-W[mu, a] * V[a], (a,)), Term(-f[mu, t])],
        (mu,),
        lambda v, m: v.y[m] / v.g - sum(v.W[m, p] * v.V[p] for p in range(2)) - v.f[m, NOW],
    ),
    "past": (
        [Term(f[nu, s] * C[mu, t, nu, s], (nu, s), PAST)],
        (mu,),
        lambda v, m: sum(v.f[n, k] * v.C[m, NOW, n, k] for n in range(3) for k in times()),
    ),
    "up to now": (
        [Term(f[mu, s] * f[nu, s] / 3, (s,), UPTO)],
        (mu, nu),
        lambda v, m, n: sum(v.f[m, k] * v.f[n, k] / 3 for k in times(upto=True)),
    ),
    "past of one factor": (
        [Term(g * y[mu] * f[nu, s], (nu, s), PAST)],
        (mu,),
        lambda v, m: v.g * v.y[m] * sum(v.f[n, k] for n in range(3) for k in times()),
    ),
    "many letters": (
        [Term(A[mu, nu] * A[nu, ka] * W[ka, a] * W[mu, b], (nu, ka))],
        (mu, a, b),
        lambda v, m, p, q: sum(v.A[m, n] * v.A[n, k] * v.W[k, p] * v.W[m, q] for n in range(3) for k in range(3)),
    ),
    "nothing": ([], (), lambda v: 0.0),
}


class Values(dict):
    """Values by attribute, for readable loops."""

    __getattr__ = dict.__getitem__


def run(terms, target, values):
    code = ArrayFormula(t).sum_of_terms(tuple(terms), target)
    lengths = [SIZES[index.axis.size] for index in target]
    scope = {"np": np, "math": __import__("math"), "_before": lambda row, step: row}
    return np.broadcast_to(eval(code, scope, dict(values)), lengths)


def by_loops(function, target, values):
    ranges = [range(SIZES[index.axis.size]) for index in target]
    found = np.array([function(Values(values), *where) for where in product(*ranges)])
    return found.reshape([len(r) for r in ranges])


@pytest.mark.parametrize("case", CASES)
def test_sum_of_terms(case, values):
    terms, target, function = CASES[case]
    expected = by_loops(function, target, values)
    assert np.allclose(run(terms, target, values), expected, rtol=1e-13, atol=1e-15)


def test_the_loops_would_see_exchanged_indices(values):
    """Negative control: the same terms with the free indices the other way round."""
    terms, _, function = CASES["transposed square"]
    assert not np.allclose(run(terms, (nu, mu), values), by_loops(function, (mu, nu), values))


def test_an_index_that_the_result_lacks_is_an_error():
    with pytest.raises(CodegenError, match="W"):
        ArrayFormula(t).sum_of_terms((Term(W[mu, a]),), (mu,))


# as one would write them by hand
READABLE = {
    "0.5*np.sum((y - f[:, t])**2)": (Term((y[mu] - f[mu, t]) ** 2 / 2, (mu,)), ()),
    "y - f[:, t]": (Term(y[mu] - f[mu, t]), (mu,)),
    "(A @ y)/g": (Term(A[mu, nu] * y[nu] / g, (nu,)), (mu,)),
    "y @ A": (Term(A[nu, mu] * y[nu], (nu,)), (mu,)),
    "A @ W": (Term(A[mu, nu] * W[nu, a], (nu,)), (mu, a)),
    "(g + 1)*(A @ y)": (Term((g + 1) * A[mu, nu] * y[nu], (nu,)), (mu,)),
    "-2*np.sum(V)/(g + 1)": (Term(-2 * V[a] / (g + 1), (a,)), ()),
    "np.tanh(A @ y)**2": (Term(tanh(sum_over(nu)(A[mu, nu] * y[nu])) ** 2), (mu,)),
    "(A @ y)*y": (Term(y[mu] * sum_over(nu)(A[mu, nu] * y[nu])), (mu,)),
    "y[:, None] - W": (Term(y[mu] - W[mu, a]), (mu, a)),
}


@pytest.mark.parametrize("expected", READABLE)
def test_formulas_are_written_as_by_hand(expected):
    term, target = READABLE[expected]
    assert ArrayFormula(t).sum_of_terms((term,), target) == expected


# --- the tree itself --------------------------------------------------------------------------------------

PATHS = 4
path = tree.path_index("one")
h = tree.Named((mu, path), "h")
weight = tree.weights_of("one")
history = tree.Named((s, mu, path), "h_history", history=True)
past, now = Moment(When.PAST, t), Moment(When.NOW, t)
earlier = tree.Cut((s, mu, path), history, (past,))
joint = tree.Named((i, j), "K")
average = lambda *parts, target: tree.Average(target, parts, weight, 0)

# a node, and the same in NumPy
NODES = {
    "new axes": (tree.lined_up(tree.Named((mu,), "y"), (a, mu, b)), lambda v: v.y[None, :, None] * np.ones((2, 1, 2))),
    "other order": (tree.lined_up(tree.Named((mu, a), "W"), (a, mu)), lambda v: v.W.T),
    "diagonal": (tree.Diagonal((mu,), tree.Named((mu, mu), "A")), lambda v: np.diag(v.A)),
    "last part": (tree.Cut((a, j), joint, (Part(i.axis, a.axis), All())), lambda v: v.K[3:]),
    "first part": (tree.Cut((mu,), joint, (Part(i.axis, mu.axis), Number(2))), lambda v: v.K[:3, 2]),
    "times": (tree.Cut((mu, s), tree.Named((mu, t), "f"), (All(), past)), lambda v: v.f[:, :NOW]),
    "product": (
        tree.Einsum((a, path), (tree.Named((mu, a), "W"), h)),
        lambda v: np.array([sum(v.W[m, q] * v.h[m] for m in range(3)) for q in range(2)]),
    ),
    "matrix product": (
        tree.TensorDot((a, path), h, tree.lined_up(tree.Named((mu, a), "W"), (a, mu)), 1),
        lambda v: v.W.T @ v.h,
    ),
    "average": (average(h, target=(mu,)), lambda v: v.h @ v.weight_one),
    "average of a product": (
        average(h, earlier, target=(mu, s)),
        lambda v: np.array([[np.mean(v.h[m] * v.h_history[k, m]) for k in range(NOW)] for m in range(3)]),
    ),
}


@pytest.fixture(scope="module")
def with_paths(values):
    rng = np.random.default_rng(1)
    more = {"h": rng.standard_normal((3, PATHS)), "h_history": rng.standard_normal((6, 3, PATHS))}
    return {**values, **more, "weight_one": np.full(PATHS, 1 / PATHS)}


@pytest.mark.parametrize("case", NODES)
def test_node(case, with_paths):
    node, expected = NODES[case]
    expected = expected(Values(with_paths))
    found = eval(ArrayPrinter(TARGETS["numba"]).text(node), {"np": np}, dict(with_paths))
    assert np.broadcast_to(found, expected.shape) == pytest.approx(expected, rel=1e-13)


def names_in(text):
    functions = {"np", "math", "_before"}
    return {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)} - functions


@pytest.mark.parametrize("case", [*CASES, *NODES])
def test_a_tree_knows_the_names_in_its_text(case):
    node = NODES[case][0] if case in NODES else Arrays(t).total(tuple(CASES[case][0]), CASES[case][1])
    assert set(node.names()) == names_in(ArrayPrinter(TARGETS["numba"]).text(node))


def test_what_a_tree_says_of_itself():
    """The previous time is zero before the first; histories may wait on the host."""
    lagged = tree.before_start(tree.Cut((mu,), tree.Named((mu, t), "f"), (All(), Moment(When.LAG, t))), t)
    assert lagged.reads_before() and isinstance(lagged, tree.BeforeStart) and not h.reads_before()
    assert tree.before_start(h, t) is h
    assert earlier.reads_history() and not h.reads_history()
    assert h.over_paths() and not lagged.over_paths()


def test_weights_go_to_an_array_of_one_time():
    """On a device a history is not multiplied: it is one factor more."""
    texts = [ArrayPrinter(TARGETS[name]).text(average(earlier, h, target=(mu, s))) for name in ("numba", "cupy")]
    assert ["h_history[:t]*weight_one" in text for text in texts] == [True, False]
    assert texts[1].endswith(", h, weight_one)")


def test_the_letter_of_the_paths_is_kept_for_them(with_paths):
    """An index whose own letter would be p."""
    p = ds.Model("other").indices("p", size="P", axis="sample")
    renamed = tree.Named((p, path), "h")
    text = ArrayPrinter(TARGETS["numba"]).text(tree.Einsum((p,), (renamed, weight)))
    assert eval(text, {"np": np}, dict(with_paths)) == pytest.approx(with_paths["h"] @ with_paths["weight_one"])
