"""The normal form of sums: every operation must keep the value, which plain loops or einsum give independently."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from brute_force import BruteForce
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import KroneckerDelta, Rational

import dmftsym as ds
from dmftsym.language.terms import (
    Before,
    Term,
    as_expression,
    avoid,
    collapse_deltas,
    contract,
    flatten,
    multiply,
    rename,
    substitute,
)

T, P = 4, 2
random = np.random.default_rng(0)
VALUES = {
    "eta": 0.7,
    "K": random.normal(size=(P, P)),
    "y": random.normal(size=P),
    "x": random.normal(size=T),
    "x.tilde": random.normal(size=T),
    "h": random.normal(size=(P, T)),
    "C": random.normal(size=(T, T)),
    "phi": (np.tanh,),
}
NUMBERS = BruteForce({"time": T, "P": P}, VALUES)


def declare():
    m = ds.Model("toy")
    t, s, u, r = m.times("t s u r")
    mu, nu = m.indices("mu nu", size="P")
    eta = m.parameters("eta")
    K, y, C = m.data("K", mu, nu), m.data("y", mu), m.order_parameter("C", t, s)
    phi = m.activation("phi", "tanh")
    site = m.site("A")
    x, h = site.field("x", t), site.field("h", mu, t)
    return SimpleNamespace(**locals())


d = declare()
t, s, u, mu, nu = d.t, d.s, d.u, d.mu, d.nu


def at_every_time(terms):
    return NUMBERS.array(terms, (t,))


def test_flatten_gives_sums_over_the_past_their_upper_time():
    K, x, h, tilde = (VALUES[k] for k in ("K", "x", "h", "x.tilde"))
    action = d.x.tilde[t] * (d.x[t] - d.eta * d.y[mu] * ds.past(s, nu)(d.K[mu, nu] * d.phi(d.h[nu, s]) * d.x[s]))
    expected = tilde @ x
    for now, m, n in product(range(T), range(P), range(P)):
        memory = sum(K[m, n] * np.tanh(h[n, then]) * x[then] for then in range(now))
        expected -= tilde[now] * 0.7 * VALUES["y"][m] * memory
    terms = contract(flatten(action), (), "here")
    assert NUMBERS.total(terms) == pytest.approx(expected, rel=1e-12)
    wrong = [Term(term.body, term.bound) for term in terms]  # the control: without the constraints s < t
    assert abs(NUMBERS.total(wrong) - expected) > 1e-3


def test_upper_times():
    x = VALUES["x"]
    lengths = {}
    for name, node, upper in (
        ("strict", ds.past(s)(d.x[s]), t),
        ("inclusive", ds.past(s, inclusive=True)(d.x[s]), t),
        ("before wins", ds.past(s, before=t)(d.x[s]), u),
        ("lagged", ds.past(s, before=t - 1)(d.x[s]), None),
    ):
        lengths[name] = at_every_time(flatten(node, upper))
    past = np.array([x[:now].sum() for now in range(T)])
    np.testing.assert_allclose(lengths["strict"], past)
    np.testing.assert_allclose(lengths["inclusive"], past + x)
    np.testing.assert_allclose(lengths["before wins"], past)
    np.testing.assert_allclose(lengths["lagged"], [0, *past[:-1]])


def test_nested_sums_are_ordered_in_time():
    x, h = VALUES["x"], VALUES["h"][0]
    nested = ds.past(s)(d.x[s] * ds.past(u)(d.h[0, u]))
    expected = [sum(x[b] * h[a] for b in range(now) for a in range(b)) for now in range(T)]
    np.testing.assert_allclose(at_every_time(flatten(nested, t)), expected)


def test_powers_are_products_of_independent_sums():
    cube = flatten((d.x[t] - ds.past(s)(d.x[s])) ** 3, t)
    x = VALUES["x"]
    np.testing.assert_allclose(at_every_time(cube), [(x[k] - x[:k].sum()) ** 3 for k in range(T)])


def test_repeated_indices_are_summed_like_einsum():
    K, y, h, C, x = (VALUES[k] for k in ("K", "y", "h", "C", "x"))
    for expr, free, expected in (
        (d.y[mu] * d.K[mu, nu] * d.y[nu], (), np.einsum("m,mn,n", y, K, y)),
        (d.K[mu, nu] * d.h[nu, t], (mu, t), np.einsum("mn,nt->mt", K, h)),
        (d.x[t] * d.C[t, s] * d.x[s] ** 2, (), np.einsum("t,ts,s,s", x, C, x, x)),
        (d.K[mu, mu] * d.h[mu, t], (t,), np.einsum("mm,mt->t", K, h)),
        (d.y[mu] ** 2 * d.h[mu, t], (mu, t), np.einsum("m,m,mt->mt", y, y, h)),
        (d.phi(d.h[mu, t]) * d.y[mu], (t,), np.einsum("mt,m->t", np.tanh(h), y)),
        (ds.sum_over(mu)(d.h[mu, t]), (t,), h.sum(0)),
    ):
        result = NUMBERS.array(contract(flatten(expr), free, "here"), free)
        np.testing.assert_allclose(result, expected, rtol=1e-12)


# --- renaming ---------------------------------------------------------------------------------------------------------

MEMORY = Term(d.C[t, s] * d.x[u], (u,), (Before(u, t),))


def test_rename_is_simultaneous():
    original = NUMBERS.array((MEMORY,), (t, s))
    swapped = rename(MEMORY, {t: s, s: t})
    np.testing.assert_allclose(NUMBERS.array((swapped,), (t, s)), original.T)
    assert rename(swapped, {t: s, s: t}) == MEMORY
    assert rename(MEMORY, {}) == MEMORY


def test_avoid_keeps_the_value_and_frees_the_names():
    moved = avoid(MEMORY, [u, s])
    assert u not in moved.bound and len(moved.bound) == 1
    np.testing.assert_allclose(NUMBERS.array((moved,), (t, s)), NUMBERS.array((MEMORY,), (t, s)))
    assert avoid(MEMORY, [t, s]) == MEMORY


def test_multiply_keeps_sums_with_the_same_names_apart():
    squares = multiply((MEMORY, MEMORY, Term(d.x[u])))
    expected = NUMBERS.array((MEMORY,), (t, s))[..., None] ** 2 * VALUES["x"]
    np.testing.assert_allclose(NUMBERS.array((squares,), (t, s, u)), expected)


def test_substitute_and_deltas():
    np.testing.assert_allclose(
        NUMBERS.array((substitute(MEMORY, t, s + 1),), (s,)),
        [VALUES["C"][k + 1, k] * VALUES["x"][: k + 1].sum() if k + 1 < T else 0 for k in range(T)],
    )
    body = d.C[t, s] * KroneckerDelta(mu, nu) * d.h[nu, t] * KroneckerDelta(s, 0)
    sums = Term(body, (nu, s), (Before(s, t),))
    result = collapse_deltas(sums)
    assert not result.body.has(KroneckerDelta) and not result.bound
    np.testing.assert_allclose(NUMBERS.array((result,), (mu, t)), NUMBERS.array((sums,), (mu, t)))
    free = Term(KroneckerDelta(mu, nu) * d.y[mu])
    assert collapse_deltas(free) == free


# --- round trips ------------------------------------------------------------------------------------------------------

TIMES = (d.t, d.s, d.u)


def formulas(depth=0):
    """Random formulas at the time TIMES[depth]; sums at the same depth use the same index name."""
    now = TIMES[depth]
    overlap = ds.sum_over(mu)(d.h[mu, now] * d.y[mu])
    result = st.sampled_from([d.x[now], 2 * d.eta * d.x[now] - 1, overlap, Rational(3, 2)])
    if depth + 1 < len(TIMES):
        then = TIMES[depth + 1]
        sums = st.builds(
            lambda body, inclusive, twice: ds.past(*(then, mu)[: 1 + twice], before=now, inclusive=inclusive)(body),
            formulas(depth + 1),
            st.booleans(),
            st.booleans(),
        )
        result |= sums
    pairs = st.tuples(result, result)
    squares = result.map(lambda e: e**2) if depth == 1 else result
    return squares | pairs.map(lambda p: p[0] * p[1]) | pairs.map(lambda p: p[0] + p[1])


@settings(derandomize=True, deadline=None, max_examples=40)
@given(formulas())
def test_flatten_and_back(formula):
    expected = [NUMBERS.value(formula, {t: now}) for now in range(T)]
    terms = flatten(formula)
    np.testing.assert_allclose(at_every_time(terms), expected, rtol=1e-9, atol=1e-9)
    back = as_expression(terms)
    np.testing.assert_allclose([NUMBERS.value(back, {t: now}) for now in range(T)], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "term",
    [
        Term(d.C[t, s] * d.x[u], (t, u), (Before(u, t),)),
        Term(d.C[t, u] * d.x[t], (u,), (Before(t, u, inclusive=True),)),
        Term(d.K[mu, nu] * d.h[nu, u] * d.x[t], (nu, u), (Before(u, t, inclusive=True),)),
        Term(d.C[d.r, u] * d.x[t], (d.r, u), (Before(d.r, t), Before(u, d.r))),
        # Regression: a constraint between two free times is not shown.
        Term(d.C[t, s] * d.x[t], (), (Before(s, t),)),
        Term(d.C[t, s] * d.x[u], (u,), (Before(s, t, inclusive=True), Before(u, s))),
        # Regression: the inner sum comes out in front if its constraint is listed first.
        Term(d.C[d.r, u] * d.x[t], (d.r, u), (Before(u, d.r), Before(d.r, t))),
        # Regression: a time between two others, t < u < s or t < u < r, is summed twice in the printed expression.
        Term(d.C[t, s] * d.x[u], (u,), (Before(t, u), Before(u, s))),
        Term(d.C[d.r, u] * d.x[t], (u, d.r), (Before(t, u), Before(u, d.r))),
    ],
)
def test_printed_sums_have_the_value_of_the_term(term):
    expected = NUMBERS.array((term,), (t, s, mu))
    printed = as_expression((term,))
    result = [NUMBERS.value(printed, dict(zip((t, s, mu), where, strict=True))) for where in np.ndindex(T, T, P)]
    np.testing.assert_allclose(np.reshape(result, expected.shape), expected)


def test_fresh_names_do_not_meet_free_upper_times():
    # Regression: the new name for t is checked against the body only, not against the upper time t1 of the sum.
    (t1,) = d.m.times("t1")
    moved = avoid(Term(d.x[t], (t,), (Before(t, t1),)), [t])
    np.testing.assert_allclose(NUMBERS.array((moved,), (t1,)), [VALUES["x"][:k].sum() for k in range(T)])
