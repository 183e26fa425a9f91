"""First-order changes of sums of products against central differences of their values, evaluated by plain loops."""

import numpy as np
import pytest
from brute_force import BruteForce
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Integer, Rational, cos, exp, log, sqrt, tanh

import dmftsym as ds
from dmftsym.derivation.functional import variation
from dmftsym.language.matrices import LargestEigenvalue, LeadingProjector
from dmftsym.language.symbols import Index, Tensor
from dmftsym.language.terms import Term, flatten

T, P = 3, 2
STEP, TOLERANCE = 1e-3, 1e-8  # differences of fourth order: STEP^4 times fifth derivatives, which reach thousands
m = ds.Model("toy")
t, s, u = m.times("t s u")
mu, nu, ka, i, j = m.indices("mu nu ka i j", size="P")
a = m.parameters("a", default=0.7)
K, y = m.data("K", mu, nu), m.data("y", mu)
phi = m.activation("phi", "tanh")
f, C = m.order_parameter("f", mu, t), m.order_parameter("C", mu, t, nu, s)
g = m.define("g", mu, t, f[mu, t] ** 2)
CHANGES = {q.name: Tensor(f"change_{q.name}", "data", q.indices) for q in (f, C, g)}
lead = ds.largest_eigenvalue(mu, nu)


class Numbers(BruteForce):
    """The evaluator with eigenvalues, and with definitions as quantities of their own."""

    def value(self, expr, at=None):
        at = at or {}
        if not isinstance(expr, LargestEigenvalue | LeadingProjector):
            return super().value(expr, at)
        row, column = expr.bound
        matrix = [[self.value(expr.body, {**at, row: i, column: j}) for j in range(P)] for i in range(P)]
        values, vectors = np.linalg.eigh(matrix)
        if isinstance(expr, LargestEigenvalue):
            return values[-1]
        i, j = (at[k] for k in expr.place)
        return vectors[i, -1] * vectors[j, -1]

    def _entry(self, entry, at):
        where = tuple(int(self.value(i, at)) for i in entry.indices)
        return float(self.values[entry.tensor.name][where]) if min(where) >= 0 else 0.0


def symmetric(values):
    return values + values.transpose(2, 3, 0, 1)


def arrays(seed):
    """Random values, changes (symmetric where the values are) and constants."""
    random = np.random.default_rng(seed)
    values, changes = (
        {name: random.normal(size=(P, T)) for name in "fg"} | {"C": symmetric(random.normal(size=(P, T, P, T)))}
        for _ in range(2)
    )
    kernel = random.normal(size=(P, P))
    slopes = (np.tanh, lambda x: 1 - np.tanh(x) ** 2)
    return values, changes, {"K": kernel + kernel.T, "y": random.normal(size=P), "a": 0.7, "phi": slopes, "P": P}


def change_of(entry):
    return CHANGES[entry.tensor.name][entry.indices] if entry.tensor.name in CHANGES else None


def error_of(terms, changed, free, seed=0):
    """The largest difference between the value of `changed` and the differences of the value of `terms`."""
    values, changes, fixed = arrays(seed)

    def at(shift):
        moved = {name: value + shift * STEP * changes[name] for name, value in values.items()}
        return Numbers({"time": T, "P": P}, fixed | moved).array(terms, free)

    differences = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP)
    known = fixed | values | {CHANGES[name].name: change for name, change in changes.items()}
    found = Numbers({"time": T, "P": P}, known).array(changed, free)
    scale = max(1.0, np.abs(differences).max())
    return np.abs(found - differences).max() / scale


FORMULAS = {
    "product": (y[mu] * f[mu, t] * f[nu, s] * C[mu, t, nu, s], (mu, nu, t, s)),
    "power": (f[mu, t] ** 3 + (2 + f[mu, t] ** 2) ** Rational(-3, 2), (mu, t)),
    "lagged and fixed times": (f[mu, t - 1] * f[mu, 0] ** 2, (mu, t)),
    "definition": (g[mu, t] ** 2 * f[mu, t] * a, (mu, t)),
    "diagonal": (ds.sum_over(mu)(C[mu, t, mu, s] ** 2), (t, s)),
    "activation": (phi(f[mu, t] * C[mu, t, mu, t]) * phi.d(1)(y[mu]), (mu, t)),
    "function": (log(1 + f[mu, t] ** 2) * tanh(f[mu, t] * f[nu, t]), (mu, nu, t)),
    "past": (ds.past(s, nu)(K[mu, nu] * f[nu, s] * C[mu, t, nu, s]) * f[mu, t], (mu, t)),
    "inclusive past": (ds.past(s, inclusive=True)(f[mu, s] ** 2 * g[mu, s]), (mu, t)),
    "past of the past": (ds.past(s)(f[mu, s] * ds.past(u)(C[mu, s, mu, u] * f[mu, u])), (mu, t)),
    "sum in a function": (sqrt(2 + tanh(ds.sum_over(nu)(K[mu, nu] * f[nu, t] ** 2))) * f[mu, t], (mu, t)),
    "sum in a sum in a function": (
        exp(-ds.sum_over(nu)(f[nu, t] * cos(ds.sum_over(ka)(K[nu, ka] * f[ka, t] * y[mu])))), (mu, t),
    ),
    "two sums with the same index in a function": (
        tanh(ds.sum_over(nu)(K[mu, nu] * f[nu, t]) * ds.sum_over(nu)(f[nu, t] ** 2)), (mu, t),
    ),
    "a sum squared": (cos(ds.sum_over(nu)(f[nu, t]) ** 2), (t,)),
    "a sum over an index that is free elsewhere": (
        Integer(2) + f[nu, t] * tanh(1 + ds.sum_over(mu)(f[mu, t] * C[mu, t, nu, t])), (nu, t),
    ),
    "eigenvalue": (lead(C[mu, t, nu, t]), (t,)),
    "eigenvalue of a function": (lead(K[mu, nu] + phi(C[mu, t, nu, t]) + f[mu, t] * f[nu, t]), (t,)),
    "eigenvalue beside its own indices": (y[mu] * f[nu, t] * lead(K[mu, nu] * C[mu, t, nu, t]), (mu, nu, t)),
    "function of two eigenvalues": (
        tanh(lead(C[mu, t, nu, t]) / 3) * ds.largest_eigenvalue(nu, ka)(C[nu, s, ka, s] ** 2), (t, s),
    ),
    "eigenvalue of a matrix with sums": (
        lead(ds.sum_over(ka)(C[mu, t, ka, t] * K[ka, mu] * K[ka, nu] * C[nu, t, ka, t]) + f[mu, t] * f[nu, t]), (t,),
    ),
    "eigenvalue in a sum": (ds.sum_over(ka)(f[ka, t] * lead(C[mu, t, nu, t] * y[ka] ** 2 + K[mu, nu])), (t,)),
    "eigenvalue in a sum in a function": (
        tanh(ds.sum_over(ka)(lead(y[ka] * C[mu, t, nu, t] + f[ka, t] * K[mu, nu]))), (t,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name):
    formula, free = FORMULAS[name]
    terms = flatten(formula, t)
    changed = variation(terms, change_of)
    assert error_of(terms, changed, free) < TOLERANCE
    slightly_wrong = tuple(Term(1.0001 * term.body, term.bound, term.constraints) for term in changed)
    assert error_of(terms, slightly_wrong, free) > 10 * TOLERANCE  # negative control: off by a ten-thousandth


@pytest.mark.parametrize("name", ("past", "past of the past"))
def test_without_its_constraints_a_change_misses_the_tolerance(name):
    formula, free = FORMULAS[name]
    terms = flatten(formula, t)
    loose = tuple(Term(term.body, term.bound) for term in variation(terms, change_of))
    assert error_of(terms, loose, free) > 1e-2


def test_what_does_not_change_has_no_change():
    terms = flatten(y[mu] * f[mu, t] * K[mu, nu] + lead(K[mu, nu]) + ds.sum_over(nu)(y[nu]), t)
    assert variation(terms, lambda entry: None) == ()
    only = variation(terms, lambda entry: change_of(entry) if entry.tensor == f else None)
    assert len(only) == 1 and only[0].body == y[mu] * K[mu, nu] * CHANGES["f"][mu, t]


def test_entries_at_two_places_change_one_after_the_other():
    """f[mu, t] and f[nu, t] are different entries, even where they are the same number."""
    terms = flatten(f[mu, t] * f[nu, t], t)
    bodies = {term.body for term in variation(terms, change_of)}
    assert bodies == {f[mu, t] * CHANGES["f"][nu, t], f[nu, t] * CHANGES["f"][mu, t]}


DIRECTIONS = {
    "sum": (ds.sum_over(mu, nu)(K[mu, nu] * f[mu, t] * f[nu, t]), ()),
    "sum in a function": (tanh(ds.sum_over(nu)(f[nu, t] ** 2)), ()),
    "sum beside a free index": (tanh(ds.sum_over(nu)(K[mu, nu] * f[nu, t])), (mu,)),
    "eigenvalue": (lead(C[mu, t, nu, t]), ()),
}


def along(direction, name):
    """The change of a formula when f and C change in a direction that is an index of its own."""
    formula, free = DIRECTIONS[name]
    values, _, fixed = arrays(0)
    wide = {q: np.random.default_rng(k).normal(size=(P, *values[q].shape)) for k, q in enumerate("fC")}
    wide["C"] = wide["C"] + wide["C"].transpose(0, 3, 4, 1, 2)
    tensors = {q.name: Tensor(f"wide_{q.name}", "data", (direction, *q.indices)) for q in (f, C)}
    numbers = Numbers({"time": T, "P": P}, fixed | values | {f"wide_{q}": array for q, array in wide.items()})
    change = lambda e: tensors[e.tensor.name][(direction, *e.indices)] if e.tensor.name in tensors else None
    return numbers.array(variation(flatten(formula, t), change), (direction, *free, t))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_change_with_an_index_of_its_own(name):
    expected = along(Index("r", mu.axis), name)
    assert np.abs(expected).max() > 0.1
    for other in (ka, Index("nu1", mu.axis), Index("mu'", mu.axis)):
        np.testing.assert_allclose(along(other, name), expected, rtol=1e-12)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_change_with_an_index_that_the_formula_sums(name):
    np.testing.assert_allclose(along(nu, name), along(Index("r", mu.axis), name), rtol=1e-12)


def leaves(draw, indices):
    one, other = draw(st.sampled_from(indices)), draw(st.sampled_from(indices))
    entries = [f[one, t], f[one, 0], g[one, t], C[one, t, other, t], C[one, t, one, 0], K[one, other], y[one], a]
    return draw(st.sampled_from(entries))


@st.composite
def formulas(draw, indices=(mu,), depth=3):
    """Products, sums, functions, sums over indices and eigenvalues, up to three deep."""
    unused = [k for k in (nu, ka) if k not in indices]
    kinds = ["leaf", "product", "sum", "function"] + ["index sum"] * bool(unused) + ["eigenvalue"] * (i not in indices)
    kind = draw(st.sampled_from(kinds)) if depth else "leaf"
    inner = lambda more=(): draw(formulas((*indices, *more), depth - 1))
    if kind == "leaf":
        return leaves(draw, indices)
    if kind == "product":
        return inner() * inner()
    if kind == "sum":
        return inner() + Rational(1, 2) * inner()
    if kind == "function":
        return draw(st.sampled_from([tanh, cos, phi, lambda x: sqrt(1 + x**2)]))(inner())
    if kind == "index sum":
        return ds.sum_over(unused[0])(leaves(draw, (unused[0],)) * tanh(inner(unused[:1])))
    matrix = C[i, t, j, t] + K[i, j] * tanh(draw(formulas(tuple(k for k in indices if k != i), depth - 1)))
    return ds.largest_eigenvalue(i, j)(matrix)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(formulas(), st.integers(0, 3))
def test_random_formulas(formula, seed):
    terms = flatten(formula, t)
    assert error_of(terms, variation(terms, change_of), (mu, t), seed) < 10 * TOLERANCE


@pytest.mark.parametrize(
    "formula",
    [
        ds.sum_over(nu)(f[nu, t]) * tanh(ds.sum_over(nu)(f[nu, t] ** 2)),
        ds.sum_over(nu)(f[nu, t]) * ds.largest_eigenvalue(nu, ka)(C[nu, t, ka, t]),
    ],
    ids=("sum in a function", "eigenvalue"),
)
def test_a_sum_beside_something_that_binds_the_same_index(formula):
    terms = flatten(formula, t)
    assert error_of(terms, variation(terms, change_of), (t,)) < TOLERANCE
