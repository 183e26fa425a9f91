"""Functional derivatives against central differences of an action that NumPy evaluates on its own."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from brute_force import BruteForce
from sympy import Integer, exp, log

import dmftsym as ds
from dmftsym.derivation import functional
from dmftsym.derivation.functional import functional_derivative, not_after, strictly_before
from dmftsym.language.reading import read_action
from dmftsym.language.terms import Before, Term, contract, flatten

T, P, ETA = 3, 2, 0.6
random = np.random.default_rng(1)
ARRAYS = {
    "K": random.normal(size=(P, P)),
    "y": random.normal(size=P),
    "h": random.normal(size=(P, T)),
    "z": random.normal(size=T),
    "h.tilde": random.normal(size=(P, T)),
    "z.tilde": random.normal(size=T),
    "f": random.normal(size=(P, T)),
    "C": random.normal(size=(T, T)),
}


def declare():
    m = ds.Model("toy")
    t, s, u = m.times("t s u")
    mu, nu = m.indices("mu nu", size="P")
    eta = m.parameters("eta")
    K, y = m.data("K", mu, nu), m.data("y", mu)
    f, C = m.order_parameter("f", mu, t), m.order_parameter("C", t, s)
    Delta = m.define("Delta", mu, t, y[mu] - f[mu, t] + f[mu, 0])
    M = m.define("M", mu, t, ds.past(s, before=t)(Delta[mu, s] * f[mu, s]))
    G = m.define("G", mu, t, log(1 + Delta[mu, t] ** 2 + M[mu, t] ** 2))
    phi = m.activation("phi", "tanh")
    site = m.site("A")
    h, z = site.field("h", mu, t), site.field("z", t)
    site.action(
        -h.tilde[mu, t] * (h[mu, t] - eta * ds.past(s, nu)(Delta[nu, s] * K[mu, nu] * phi(h[nu, s]) * z[s]) + f[mu, 0])
        - z.tilde[t] * (z[t] - f[mu, t - 1] * y[mu] - f[1, t] * M[mu, t] * y[mu])
        + z.tilde[t] * C[t, s] * z.tilde[s] / 2
        + z.tilde[t] * ds.past(s)(C[t, s] * z[s])
        + z.tilde[t] * ds.past(s, inclusive=True)(C[s, t - 1] * f[0, s])
        + z.tilde[t] * C[t, t] * f[mu, t] ** 2 * G[mu, t]
        + f.hat[mu, t] * h[mu, t] * z[t]
        + C.hat[t, s] * z[t] * z[s]
    )
    return SimpleNamespace(action=read_action(m), **locals())


d = declare()
VALUES = {**ARRAYS, "eta": ETA, "phi": (np.tanh,), "f.hat": np.zeros((P, T)), "C.hat": np.zeros((T, T))}
NUMBERS = BruteForce({"time": T, "P": P}, VALUES, d.action)
TERMS = d.action.sites[0].terms


def action_by_hand(f, C):
    """The action above at vanishing conjugates, as loops over times and matrix products over samples."""
    K, y, h, z, ht, zt = (ARRAYS[k] for k in ("K", "y", "h", "z", "h.tilde", "z.tilde"))
    delta = y[:, None] - f + f[:, :1]
    M = np.stack([(delta * f)[:, :now].sum(1) for now in range(T)], axis=1)
    G = np.log(1 + delta**2 + M**2)
    total = zt @ C @ zt / 2
    for t in range(T):
        memory = sum(K @ (delta[:, s] * np.tanh(h[:, s])) * z[s] for s in range(t))
        total -= ht[:, t] @ (h[:, t] - ETA * memory + f[:, 0])
        total -= zt[t] * (z[t] - f[1, t] * (M[:, t] @ y) - (f[:, t - 1] @ y if t else 0))
        total += zt[t] * (C[t, :t] @ z[:t] + (C[: t + 1, t - 1] @ f[0, : t + 1] if t else 0))
        total += zt[t] * C[t, t] * (f[:, t] ** 2 @ G[:, t])
    return total


def differences(name):
    """Central differences of `action_by_hand` with respect to every entry of one order parameter."""
    result = np.zeros_like(ARRAYS[name])
    for where in np.ndindex(*result.shape):
        shifted = [dict(f=ARRAYS["f"].copy(), C=ARRAYS["C"].copy()) for _ in range(2)]
        shifted[0][name][where] += 1e-5
        shifted[1][name][where] -= 1e-5
        result[where] = (action_by_hand(**shifted[0]) - action_by_hand(**shifted[1])) / 2e-5
    return result


def error_of(terms, tensor, at):
    return np.abs(NUMBERS.array(terms, at) - differences(tensor.name)).max()


def test_both_evaluations_of_the_action_agree():
    assert NUMBERS.total(TERMS) == pytest.approx(action_by_hand(ARRAYS["f"], ARRAYS["C"]), rel=1e-12)


@pytest.mark.parametrize("names", [("mu", "t", "s"), ("nu", "s", "t"), ("nu", "u", "s")])
def test_derivatives(names):
    mu, t, s = (d.m.index_symbols[n] for n in names)
    for tensor, at in ((d.f, (mu, t)), (d.C, (t, s))):
        assert error_of(functional_derivative(TERMS, tensor, at, d.action), tensor, at) < 1e-8


def test_wrong_derivatives_miss_the_tolerance(monkeypatch):
    at = (d.mu, d.t)
    right = functional_derivative(TERMS, d.f, at, d.action)
    unconstrained = [Term(term.body, term.bound) for term in right]
    assert error_of(unconstrained, d.f, at) > 1e-2
    monkeypatch.setattr(functional, "_derivative_of_definition", lambda *_: ())
    assert error_of(functional_derivative(TERMS, d.f, at, d.action), d.f, at) > 1e-2


def test_derivatives_of_derivatives_are_symmetric():
    one, other = (d.mu, d.t), (d.nu, d.s)
    half = functional_derivative(TERMS, d.f, one, d.action)
    hessian = NUMBERS.array(functional_derivative(half, d.f, other, d.action), one + other)
    assert np.abs(hessian).max() > 0.1
    np.testing.assert_allclose(hessian, hessian.transpose(2, 3, 0, 1), rtol=1e-10, atol=1e-12)


def test_conjugates_and_absent_tensors():
    derivative = functional_derivative(TERMS, d.f.hat, (d.nu, d.s), d.action)
    assert derivative == (Term(d.h[d.nu, d.s] * d.z[d.s]),)
    assert functional_derivative(d.action.pair_terms, d.h, (d.mu, d.t), d.action) == ()


def derivative_of_definition(write, exact):
    """A model whose definition W[t] is summed with z.tilde; `exact` gives dW[t]/df[mu, s] as an array.

    `write` makes the definition and returns its value at the time t.
    """
    m = ds.Model("toy")
    t, s, t1 = m.times("t s t1")
    mu, nu = m.indices("mu nu", size="P")
    y, K = m.data("y", mu), m.data("K", mu, nu)
    f = m.order_parameter("f", mu, t)
    W = write(SimpleNamespace(**locals()))
    site = m.site("A")
    z = site.field("z", t)
    site.equation(z[t], W)
    site.observe(f[mu, t], y[mu] * z[t])
    action = read_action(m)
    numbers = BruteForce({"time": T, "P": P}, VALUES, action)
    terms = contract(flatten(z.tilde[t] * W), (), "here")
    expected = np.einsum("t,tms->ms", ARRAYS["z.tilde"], exact(ARRAYS["f"]))
    for at in ((mu, t), (nu, s)):
        derivative = functional_derivative(terms, f, at, action)
        np.testing.assert_allclose(numbers.array(derivative, at), expected, atol=1e-12)


SAME_TIME = np.eye(T)[:, None, :]
PAST = np.tril(np.ones((T, T)), -1)[:, None, :]


def test_sums_inside_functions():
    derivative_of_definition(
        lambda p: p.m.define("W", p.t, log(ds.sum_over(p.mu)(exp(p.f[p.mu, p.t]))))[p.t],
        lambda f: SAME_TIME * (np.exp(f) / np.exp(f).sum(0)),
    )


@pytest.mark.parametrize("summed", ["s", "t1", "t"])
def test_names_in_definitions_do_not_matter(summed):
    # Regression (for "t"): the definition W[t1] = sum over t < t1 is captured where its entry W[t] is differentiated.
    def history(p):
        then, now = p.m.index_symbols[summed], p.t1 if summed == "t" else p.t
        return p.m.define("W", now, ds.past(then, before=now)(ds.sum_over(p.mu)(p.f[p.mu, then] ** 2)))[p.t]

    derivative_of_definition(history, lambda f: PAST * 2 * f)


@pytest.mark.parametrize("used", ["nu", "mu"])
def test_names_inside_functions_do_not_matter(used):
    # Regression (for "mu"): the index that is summed inside the function captures the argument of the definition.
    def write(p):
        W = p.m.define("W", p.nu, p.t, exp(ds.sum_over(p.mu)(p.K[p.mu, p.nu] * p.f[p.mu, p.t])))
        index = p.m.index_symbols[used]
        return p.y[index] * W[index, p.t]

    K, y = ARRAYS["K"], ARRAYS["y"]
    derivative_of_definition(write, lambda f: SAME_TIME * np.einsum("n,nt,mn->mt", y, np.exp(K.T @ f), K))


def test_order_of_times_is_known_where_it_matters():
    t, s, u = d.t, d.s, d.u
    chain = (Before(s, t), Before(u, s, inclusive=True))
    assert strictly_before(s, t, chain) and strictly_before(u, t, chain) and strictly_before(t - 1, t, ())
    assert not_after(u, s, chain) and not_after(t, t, ()) and not_after(Integer(0), t, ())


@pytest.mark.parametrize("inclusive", list(product([False, True], repeat=2)))
def test_order_of_times_is_never_claimed_wrongly(inclusive):
    chain = (Before(d.s, d.t, inclusive[0]), Before(d.u, d.s - 1, inclusive[1]))
    times = [i + shift for i in (d.t, d.s, d.u) for shift in (-1, 0, 1)] + [Integer(0), Integer(1)]
    values = [dict(zip((d.t, d.s, d.u), v, strict=True)) for v in product(range(4), repeat=3)]
    allowed = [v for v in values if all(NUMBERS.holds(c, v) for c in chain)]
    for early, late in product(times, repeat=2):
        gaps = [NUMBERS.value(late, v) - NUMBERS.value(early, v) for v in allowed]
        assert not strictly_before(early, late, chain) or min(gaps) > 0, f"{early} < {late}"
        assert not not_after(early, late, chain) or min(gaps) >= 0 or early == 0, f"{early} <= {late}"
