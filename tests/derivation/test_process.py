"""Effective processes: the published equations, and noise covariances as the second derivative of the action."""

from itertools import combinations_with_replacement, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from brute_force import BruteForce
from sympy import KroneckerDelta

import dmftsym as ds
from dmftsym.language.symbols import Index
from dmftsym.language.terms import as_expression
from dmftsym.models.loading import build_model, find_model

EXAMPLES = Path(__file__).parents[2] / "examples"
T, P = 3, 2


def symbols(action):
    """All names of an action, sites included."""
    declared = action.declared
    named = [*declared.indices, *declared.parameters, *declared.activations, *action.tensors]
    return SimpleNamespace(**{n.name: n for n in named})


def source(process, name):
    return next(s for e in process.equations for s in e.sources if s.tensor.name == name)


def covariance(process, left, right):
    (found,) = [c for c in process.covariances if (c.left.tensor.name, c.right.tensor.name) == (left, right)]
    return as_expression(found.terms)


def primed(*indices):
    return tuple(Index(f"{i.name}'", i.axis) for i in indices)


# --- published equations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_two_layer_network(activation):
    """arXiv:2304.03408: h = u + eta gamma sum Delta K g, z = r + eta gamma sum Delta phi, u ~ N(0, K), r ~ N(0, 1)."""
    derivation = ds.derive(build_model("mlp", activation=activation))
    p = symbols(derivation.action)
    (process,) = derivation.process
    h, z = process.equations
    mu, nu, t, s = p.mu, p.nu, p.t, p.s
    memory = ds.past(s, nu, before=t)
    u, r = source(process, "u_h"), source(process, "u_z")
    assert (u.kind, r.kind) == ("static", "static")
    assert (h.left_side(), z.left_side()) == (p.h[mu, t], p.z[t])
    assert h.right_side() == u.tensor[mu] + p.eta * p.gamma * memory(p.Delta[nu, s] * p.Kx[mu, nu] * p.g[nu, s])
    assert z.right_side() == r.tensor[()] + p.eta * p.gamma * memory(p.Delta[nu, s] * p.phi(p.h[nu, s]))
    (g,) = process.definitions
    assert as_expression(g.terms) == p.phi.d(1)(p.h[mu, t]) * p.z[t]
    assert [covariance(process, n, n) for n in ("u_h", "u_z")] == [p.Kx[mu, *primed(mu)], 1]
    assert len(process.covariances) == 2


def test_centred_network_subtracts_the_initial_output():
    action = ds.derive(build_model("mlp", centered=True)).action
    p = symbols(action)
    assert as_expression(action.definition("Delta").terms) == p.y[p.mu] - p.f[p.mu, p.t] + p.f[p.mu, 0]


def test_test_points_share_the_noise_of_the_training_points():
    (process,) = ds.derive(build_model("mlp", test=True)).process
    p = symbols(ds.derive(build_model("mlp", test=True)).action)
    (other,) = primed(p.a)
    assert covariance(process, "u_h", "u_h_test") in (p.Kx[p.mu, other], p.Kx[other, p.mu])
    assert covariance(process, "u_h_test", "u_h_test") == p.Kx[p.a, other]


def test_random_recurrent_network():
    """Phys. Rev. Lett. 61, 259: dx/dt = -x + eta(t), <eta(t) eta(t')> = g^2 C(t, t')."""
    derivation = ds.derive(build_model("recurrent"))
    p, (process,) = symbols(derivation.action), derivation.process
    (x,) = process.equations
    noise = source(process, "u_x")
    assert x.derivative and x.left_side() == p.x.dot[p.t]
    assert x.right_side() == -p.x[p.t] + noise.tensor[p.t]
    assert noise.kind == "evolving" and noise.amplitude == 1
    assert covariance(process, "u_x", "u_x") == p.g**2 * p.C[p.t, *primed(p.t)]
    (start,) = process.starts
    assert (start.field, start.mean, start.variance) == (p.x, 0, p.x0_variance)


def test_lotka_volterra():
    """J. Phys. A 52, 484001: dN/dt = N (1 - N - mu M + sigma xi) + lambda, <xi xi> = C."""
    derivation = ds.derive(find_model(str(EXAMPLES / "lotka_volterra.py")).build({}))
    p, (process,) = symbols(derivation.action), derivation.process
    n, growth = process.equations
    assert n.left_side() == p.n.dot[p.t] and n.right_side() == p.n[p.t] * p.growth[p.t] + p.immigration
    assert growth.right_side() == 1 - p.n[p.t] - p.mu * p.M[p.t] + source(process, "u_growth").tensor[p.t]
    assert covariance(process, "u_growth", "u_growth") == p.sigma**2 * p.C[p.t, *primed(p.t)]


def test_two_populations_have_separate_noise():
    derivation = ds.derive(find_model(str(EXAMPLES / "two_populations.py")).build({}))
    p = symbols(derivation.action)
    (later,) = primed(p.t)
    symmetric = {p.S[later, p.t]: p.S[p.t, later]}  # S is a sum of two symmetric kernels
    for process, name, scale in zip(derivation.process, ("x", "v"), (p.g_E, p.g_I / p.tau_I), strict=True):
        assert len(process.covariances) == 1
        assert covariance(process, f"u_{name}", f"u_{name}").xreplace(symmetric) == scale**2 * p.S[p.t, later]


def test_response_fields_may_carry_any_index_names():
    """The equation of W[mu, nu, t] written for W[nu, mu, s]: indices of the field in swapped places."""
    m = ds.Model("swapped")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P")
    K = m.data("K", mu, nu)
    site = m.site("A")
    W = site.field("W", mu, nu, t)
    site.action(-W.tilde[nu, mu, s] * (W[nu, mu, s] - ds.past(t, before=s)(K[nu, mu] * W[mu, nu, t])))
    (equation,) = ds.derive(m).process[0].equations
    random = np.random.default_rng(3)
    K, W = random.normal(size=(P, P)), random.normal(size=(P, P, T))
    result = BruteForce({"time": T, "P": P}, {"K": K, "W": W}).array(equation.terms, (mu, nu, t))
    np.testing.assert_allclose(result, K[..., None] * (np.cumsum(W, axis=-1) - W).transpose(1, 0, 2), atol=1e-12)


# --- noise ------------------------------------------------------------------------------------------------------------


def noisy(write):
    """The action and the process of a site with fields x[t], v[t], h[mu, t] and the noise that `write` gives."""
    m = ds.Model("noisy")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P")
    a, b = m.parameters("a b")
    K, J, y = m.data("K", mu, nu), m.data("J", mu, nu), m.data("y", mu)
    C, D = m.order_parameter("C", t, s), m.order_parameter("D", t, s)
    E = m.order_parameter("E", mu, t, s)
    A = m.site("A")
    x, v, h = A.field("x", t), A.field("v", t), A.field("h", mu, t)
    for field in (x, v, h):
        A.equation(field[field.indices], 0)
    A.observe(C[t, s], x[t] * x[s])
    A.observe(D[t, s], x[t] * v[s])
    A.observe(E[mu, t, s], h[mu, t] * h[mu, s])
    p = SimpleNamespace(**locals())
    A.action(write(p))
    derivation = ds.derive(m)
    return derivation.action, derivation.process[0]


def numbers_for(action):
    """Random numbers for everything; C and K are symmetric as the model says, D, E and J are not."""
    random = np.random.default_rng(2)
    tensors = (*action.order_parameters, *action.sites[0].fields, *(d.tensor for d in action.declared.data))
    sizes = {"time": T, "P": P}
    values = {t.name: random.normal(size=[sizes[i.axis.name] for i in t.indices]) for t in tensors}
    values |= {"a": 0.7, "b": -1.3, "C": values["C"] + values["C"].T, "K": values["K"] + values["K"].T}
    return BruteForce(sizes, values, action)


def components(action):
    """Every component of every field at every time, as (field, values of its indices)."""
    sizes = {"time": T, "P": P}
    return [(f, at) for f in action.sites[0].fields for at in np.ndindex(*[sizes[i.axis.name] for i in f.indices])]


def second_derivative(action, numbers):
    """The matrix of second derivatives of the part of the action that is quadratic in the response fields."""
    fields, everything = action.sites[0].fields, components(action)
    quadratic = [t for t in action.sites[0].terms if sum(f.has(*[x.tilde for x in fields]) for f in t.factors) == 2]

    def form(*ones):
        for field in fields:
            numbers.values[str(field.tilde)] = np.zeros_like(numbers.values[field.name])
        for field, at in ones:
            numbers.values[str(field.tilde)][at] += 1
        return numbers.total(quadratic)

    single = [form(i) for i in everything]
    result = np.zeros([len(everything)] * 2)
    for i, j in combinations_with_replacement(range(len(everything)), 2):
        result[i, j] = result[j, i] = form(everything[i], everything[j]) - single[i] - single[j]
    return result


def noise_matrix(action, process, numbers):
    """The covariance of the noise of all fields at all times, from the sources of the process and their amplitudes."""
    everything = components(action)
    sources = {s.tensor: s for e in process.equations for s in e.sources}
    stated = {}
    for c in process.covariances:
        left, right = sources[c.left.tensor], sources[c.right.tensor]
        block = np.zeros([len(everything)] * 2)
        for (i, (f, at)), (j, (g, to)) in product(enumerate(everything), repeat=2):
            if (f, g) != (left.field, right.field) or (left.kind == "white" and at[-1] != to[-1]):
                continue
            here, there = dict(zip(f.indices, at, strict=True)), dict(zip(g.indices, to, strict=True))
            both = here | {Index(f"{k.name}'", k.axis): n for k, n in there.items()}
            amplitudes = numbers.value(left.amplitude, here) * numbers.value(right.amplitude, there)
            block[i, j] = numbers.total(c.terms, both) * amplitudes
        stated[left.tensor, right.tensor] = block
    for (one, other), block in list(stated.items()):
        np.testing.assert_allclose(stated.setdefault((other, one), block.T), block.T)
    return sum(stated.values())


NOISE = {
    "static": lambda p: p.a * p.x.tilde[p.t] * p.x.tilde[p.s],
    "static, samples": lambda p: p.h.tilde[p.mu, p.t] * p.K[p.mu, p.nu] * p.h.tilde[p.nu, p.s] / 2,
    "evolving": lambda p: p.a**2 * p.x.tilde[p.t] * p.C[p.t, p.s] * p.x.tilde[p.s] / 2,
    "function of a kernel": lambda p: p.x.tilde[p.t] * (1 + p.C[p.t, p.s] ** 2) * p.x.tilde[p.s],
    "not symmetric": lambda p: p.x.tilde[p.t] * p.D[p.t, p.s] * p.x.tilde[p.s],
    "not symmetric, transposed": lambda p: p.x.tilde[p.t] * p.D[p.s, p.t] * p.x.tilde[p.s],
    "white": lambda p: p.a * p.x.tilde[p.t] ** 2,
    "white in time": lambda p: p.C[p.t, p.t] * p.x.tilde[p.t] ** 2,
    "white, samples": lambda p: p.a * p.h.tilde[p.mu, p.t] ** 2,
    "white, correlated samples": lambda p: p.h.tilde[p.mu, p.t] * p.K[p.mu, p.nu] * p.h.tilde[p.nu, p.t],
    "white, two fields": lambda p: p.a * p.x.tilde[p.t] * p.v.tilde[p.t],
    "own kernel for each sample": lambda p: p.h.tilde[p.mu, p.t] * p.E[p.mu, p.t, p.s] * p.h.tilde[p.mu, p.s] / 2,
    "one kernel for all samples": lambda p: p.h.tilde[p.mu, p.t] * p.C[p.t, p.s] * p.h.tilde[p.mu, p.s],
    "product of kernels": lambda p: p.h.tilde[p.mu, p.t] * p.K[p.mu, p.nu] * p.C[p.t, p.s] * p.h.tilde[p.nu, p.s],
    "white and static": lambda p: p.b * p.x.tilde[p.t] ** 2 + p.a * p.x.tilde[p.t] * p.x.tilde[p.s],
    "two terms": lambda p: p.x.tilde[p.t] * p.x.tilde[p.s] * (p.C[p.t, p.s] + p.D[p.t, p.s] + p.a),
    "two fields": lambda p: p.x.tilde[p.t] * p.D[p.t, p.s] * p.v.tilde[p.s],
    "two fields, reversed": lambda p: p.v.tilde[p.t] * p.D[p.t, p.s] * p.x.tilde[p.s],
    "two fields, both ways": lambda p: p.x.tilde[p.t] * p.v.tilde[p.s] * (p.D[p.t, p.s] + p.a * p.D[p.s, p.t]),
    "fields of different size": lambda p: p.x.tilde[p.t] * p.y[p.mu] * p.C[p.t, p.s] * p.h.tilde[p.mu, p.s],
    "amplitude": lambda p: p.x.tilde[p.t] * p.v[p.t] * p.C[p.t, p.s] * p.v[p.s] * p.x.tilde[p.s] / 2,
    "amplitude, samples": lambda p: (
        p.h.tilde[p.mu, p.t] * p.h[p.mu, p.t] ** 2 * p.K[p.mu, p.nu] * p.h[p.nu, p.s] ** 2 * p.h.tilde[p.nu, p.s]
    ),
    "amplitude of one of two fields": lambda p: p.x.tilde[p.t] * p.v[p.t] * p.D[p.t, p.s] * p.v.tilde[p.s],
    "amplitude plus a number": lambda p: (
        p.x.tilde[p.t] * (p.v[p.t] + 2) * p.C[p.t, p.s] * (p.v[p.s] + 2) * p.x.tilde[p.s] / 2
    ),
    # Regression: the symmetric cross term was counted twice; an amplitude at one end does not double the covariance.
    "amplitude at one end": lambda p: p.x.tilde[p.t] * p.v[p.t] * p.C[p.t, p.s] * p.x.tilde[p.s],
    # Regression: data are taken to be symmetric even where they correlate two different fields.
    "data of two fields": lambda p: p.x.tilde[p.t] * p.J[p.mu, 1] * p.h.tilde[p.mu, p.s],
    "data of two fields, reversed": lambda p: p.v.tilde[p.t] * p.J[1, 0] * p.x.tilde[p.s],
}


@pytest.mark.parametrize("case", NOISE)
def test_covariance_is_the_second_derivative_of_the_action(case):
    action, process = noisy(NOISE[case])
    numbers = numbers_for(action)
    expected = second_derivative(action, numbers)
    result = noise_matrix(action, process, numbers)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(result, expected, atol=1e-10)
    assert np.abs(2 * result - expected).max() > 0.01  # a factor of two would be seen


@pytest.mark.parametrize(
    ("term", "kinds"),
    [
        ("static", {"u_x": "static"}),
        ("evolving", {"u_x": "evolving"}),
        ("white in time", {"u_x": "white"}),
        ("white and static", {"u_x": "white", "u2_x": "static"}),
        ("product of kernels", {"u_h": "evolving"}),
        ("static, samples", {"u_h": "static"}),
    ],
)
def test_kinds_of_noise(term, kinds):
    _, process = noisy(NOISE[term])
    found = {s.tensor.name: s.kind for e in process.equations for s in e.sources}
    assert sorted(found.values()) == sorted(kinds.values()) and set(found) == set(kinds)
    for e in process.equations:
        for s in e.sources:
            assert any(i.is_time for i in s.tensor.indices) is (s.kind != "static")


def test_independent_noise_has_a_kronecker_delta():
    action, process = noisy(NOISE["white, samples"])
    p = symbols(action)
    assert covariance(process, "u_h", "u_h") == 2 * p.a * KroneckerDelta(p.mu, *primed(p.mu))


def test_temperature():
    """Langevin noise: T x.tilde(t)^2 in the action is white noise of variance 2 T."""
    action, process = noisy(NOISE["white"])
    assert covariance(process, "u_x", "u_x") == 2 * symbols(action).a


def test_amplitudes_stand_beside_their_source():
    _, process = noisy(NOISE["amplitude"])
    x, *_ = process.equations
    (noise,) = x.sources
    assert str(x.right_side()) == "u_x[t]*v[t]" and noise.amplitude == process.equations[1].left_side()


def test_amplitudes_that_are_summed_are_refused():
    # Regression: x = sum over mu of h[mu] u[mu] is read as h[mu, t]*u_x[t] with a loose index mu.
    with pytest.raises(ds.DerivationError, match="mu"):
        noisy(lambda p: p.x.tilde[p.t] * p.h[p.mu, p.t] * p.C[p.t, p.s] * p.h[p.mu, p.s] * p.x.tilde[p.s])


def test_sources_have_names_of_their_own():
    # Regression: the second source of x and the source of x2 are both called u_x2.
    m = ds.Model("names")
    t, s = m.times("t s")
    site = m.site("A")
    for x in (site.field("x", t), site.field("x2", t)):
        site.equation(x[t], 0)
        site.action(x.tilde[t] ** 2 + x.tilde[t] * x.tilde[s])
    (process,) = ds.derive(m).process
    names = [s.tensor.name for e in process.equations for s in e.sources]
    assert len(set(names)) == len(names) == 4
