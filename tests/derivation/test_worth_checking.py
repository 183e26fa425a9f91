"""What a slip often looks like is told, in the user's symbols; right models are told nothing."""

import re
from pathlib import Path

import pytest
from slips import finished, layered, network
from sympy import Rational, tanh

import dmftsym as ds
from dmftsym.models.loading import find_model, library

ROOT = Path(__file__).parents[2]


def notes(model):
    return list(ds.derive(model).worth_checking)


def one_note(model, *parts):
    """There is one note, and it says all of these."""
    found = notes(model)
    assert len(found) == 1, found
    for part in parts:
        assert part in found[0], found


# --- right models ---------------------------------------------------------------------------------------------------

STRUCTURES = {
    "mlp": ({}, {"depth": 2, "centered": True}, {"activation": "relu"},
            {"depth": 2, "test": True, "activation": "erf"}, {"test_labels": True, "loss": "logistic"}),
    "recurrent": ({"symmetric": False}, {"symmetric": True, "activation": "erf"}),
    "p_spin": ({},),
}  # fmt: skip


@pytest.mark.parametrize("name", library())
def test_models_of_the_library_are_told_nothing(name):
    for structure in STRUCTURES[name]:
        assert notes(ds.build_model(name, **structure)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_examples_are_told_nothing(path):
    try:
        source = find_model(str(path))
    except ds.LanguageError as error:
        assert "defines neither" in str(error)  # a script that uses models of the library
    else:
        assert notes(source.build({})) == []


def test_models_of_the_readme_are_told_nothing():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    found = 0
    for block in (b for b in blocks if "ds.Model(" in b):
        space: dict = {}
        exec(block, space)
        models = [value for value in space.values() if isinstance(value, ds.Model)]
        found += len(models)
        assert all(notes(model) == [] for model in models)
    assert found


def test_right_models_in_pieces_are_told_nothing():
    assert notes(finished(layered())) == notes(finished(network())) == []


def test_a_pair_and_its_observable_may_both_be_halved():
    b = network()
    t, s = b.t, b.s
    pairs = b.pairs | {"D": b.pairs["D"] / 2}
    assert notes(finished(b, pair=sum(pairs.values()), D=b.p["D"] / 2)) == []
    b = network()
    pairs = b.pairs | {"D": b.pairs["D"] / 2}
    half = Rational(1, 3) * b.D.hat[t, s] * b.psi(b.v[t]) * b.psi(b.v[s])
    one_note(finished(b, pair=sum(pairs.values()), D=half), "D[t, s] = 2*<", "/3")


# --- factors of pairs and weights -----------------------------------------------------------------------------------

FACTORS = {
    "sign": (layered, lambda b: -b.pair, "q.hat[i, t]*q[i, t]", "the factor 1, not -1", "q[i, t] = -<"),
    "three": (layered, lambda b: 3 * b.pair, "the factor -3", "q[i, t] = <psi(k[i, t])*w[t]>_unit/(3*a)"),
    "parameter": (layered, lambda b: b.b * b.pair, "the factor -b", "q[i, t] = <psi(k[i, t])*w[t]>_unit/(a*b)"),
    "half": (network, lambda b: sum(b.pairs.values()) - b.pairs["D"] / 2, "the factor -1/2", "D[t, s] = 2*<"),
    "sign, two times": (network, lambda b: sum(b.pairs.values()) - 2 * b.pairs["Q"], "the factor 1", "Q[t, s] = -"),
    "weight": (layered, lambda b: b.pair + 2 * ds.log_Z(b.site), "the weight 3 of site unit does not cancel in q"),
    "both": (layered, lambda b: 5 * b.pair + ds.log_Z(b.site), "the weight 2 of site unit and the factor -5", "2*<"),
}  # fmt: skip


@pytest.mark.parametrize("case", FACTORS)
def test_factors_that_do_not_cancel(case):
    start, pair, *parts = FACTORS[case]
    b = start()
    one_note(finished(b, pair=pair(b)), *parts)


@pytest.mark.parametrize("weighted", [True, False])
def test_weights_of_populations(weighted):
    """Weights cancel on pairs that carry them, or add up to one in an average over both populations."""
    m = ds.Model("populations")
    t, s = m.times("t s", continuous=True, dt=0.1)
    c = m.parameters("c", positive=True)
    A, B, M = m.order_parameter("A", t, s), m.order_parameter("B", t, s), m.order_parameter("M", t)
    one, two = m.site("one"), m.site("two")
    for site, name, C in ((one, "x", A), (two, "v", B)):
        x = site.field(name, t, variance=1)
        site.action(
            -x.tilde[t] * (x.dot[t] + x[t] - M[t]) + x.tilde[t] * (A[t, s] + B[t, s]) * x.tilde[s] / 2
            + C.hat[t, s] * tanh(x[t]) * tanh(x[s]) + M.hat[t] * tanh(x[t])
        )  # fmt: skip
    shares = (c, 1 - c) if weighted else (1, 1)
    m.action = (
        -shares[0] * A.hat[t, s] * A[t, s] - shares[1] * B.hat[t, s] * B[t, s] - M.hat[t] * M[t]
        + c * ds.log_Z(one) + (1 - c) * ds.log_Z(two)
    )  # fmt: skip
    found = notes(m)
    if weighted:
        assert found == []
    else:
        assert len(found) == 2
        assert "the weight c of site one does not cancel in A: A[t, s] = c*<" in found[0]
        assert "the weight 1 - c of site two does not cancel in B" in found[1]


def test_a_response_function_that_is_its_own_conjugate():
    def model(share):
        b = network()
        t, s = b.t, b.s
        kernel = b.rho * b.g**2
        pairs = b.pairs["D"] + b.pairs["m1"] - share * kernel * b.Q[t, s] * b.Q[s, t]
        return finished(b, pair=pairs, memory=kernel * b.v.tilde[t] * b.Q[t, s] * b.psi(b.v[s]), Q=None)

    assert notes(model(Rational(1, 2))) == []
    one_note(model(1), "Q[t, s] and Q[s, t]", "_cell/2")
    one_note(model(Rational(1, 4)), "Q[t, s] = 2*<")


# --- causality ------------------------------------------------------------------------------------------------------


def test_memory_that_vanishes_by_causality():
    b = network()
    t, s = b.t, b.s
    turned = b.g * b.v.tilde[t] * ds.past(s)(b.Q[s, t] * b.psi(b.v[s]))
    one_note(finished(b, memory=turned), "Q[s, t] is 0 for s < t", "the equation of v vanishes", "g*psi(v[s])*Q[s, t]")
    b = network()
    observed = b.Q.hat[t, s] * b.psi(b.v[s]) * b.v.tilde[t]
    one_note(finished(b, Q=observed), "Q[t, s] is 0 for s < t", "the equation of v vanishes")


def test_a_response_at_equal_times_vanishes_for_an_equation_of_motion():
    b = network()
    one_note(finished(b, v=b.p["v"] + b.v.tilde[b.t] * b.Q[b.t, b.t]), "Q[t, t] is 0", "the equation of v")


# --- indices, noise, initial values, repetitions --------------------------------------------------------------------


def test_an_index_more_than_twice():
    b = layered()
    i, j, t, s = b.i, b.j, b.t, b.s
    noise = b.k.tilde[i, t] * b.G[i, i] * b.k.tilde[i, s] / 2
    one_note(finished(b, noise_k=noise), "the index i stands 4 times", "G[i, i]", "site unit")
    b = layered()
    i, j, t, s = b.i, b.j, b.t, b.s
    drift = ds.past(s, j)(b.E[i, s] * b.G[i, j] * b.psi.d(1)(b.k[j, s]) * b.w[s])
    one_note(finished(b, k=-b.k.tilde[i, t] * (b.k[i, t] - b.a * drift)), "the index i stands 3 times", "E[i, s]")


def test_functions_of_a_unit_may_hold_its_index_as_often_as_they_like():
    b = layered()
    i, t = b.i, b.t
    right = b.q.hat[i, t] * b.psi(b.k[i, t]) * b.psi.d(1)(b.k[i, t]) * b.k[i, t]
    assert notes(finished(b, q=right)) == []


@pytest.mark.parametrize("said", [False, True])
def test_no_initial_value(said):
    m = ds.Model("cold")
    t, s = m.times("t s", continuous=True, dt=0.1)
    C = m.order_parameter("C", t, s)
    site = m.site("spin")
    x = site.field("x", t, **({"variance": 0} if said else {}))
    site.equation(x.dot[t], -x[t])
    site.noise(x[t], x[s], C[t, s] + 1)
    site.observe(C[t, s], tanh(x[t]) * tanh(x[s]))
    derivation = ds.derive(m)
    if said:
        assert list(derivation.worth_checking) == []
        assert "x(0) ~ Normal(mean 0, variance 0)" in derivation.process.text()
    else:
        one_note(m, "x(0) = 0")
        assert "x(0) = 0, no initial value is declared" in derivation.process.text()


def test_terms_added_twice():
    b = layered()
    b.site.action(b.p["noise k"])
    one_note(finished(b), "G[i, j]*k.tilde[i, t]*k.tilde[j, s]/2", "counts twice")
    b = layered()
    b.site.action(b.p["q"] + b.p["noise w"])
    found = notes(finished(b))
    assert len(found) == 2 and any("w.tilde[s]*w.tilde[t]/2" in n for n in found)
    b = network()
    b.site.noise(b.v[b.t], b.v[b.s], b.g**2 * b.D[b.t, b.s])
    one_note(finished(b), "D[t, s]", "counts twice")


@pytest.mark.parametrize("start", [layered, network])
def test_a_cell_that_ran_twice_is_no_second_equation(start):
    b = start()
    b.site.action(sum(b.p.values()))
    with pytest.raises(ds.LanguageError, match=r"site.action was called twice with the same terms, such as -\w.tilde"):
        ds.derive(finished(b))


def test_what_kind_each_noise_is_in_words():
    text = ds.derive(finished(layered())).process.text()
    assert "u_k: static noise, one draw for all times" in text and "u_w: static noise" in text
    b = layered()
    text = ds.derive(finished(b, noise_w=b.w.tilde[b.t] ** 2 / 2)).process.text()
    assert "u_w: white noise, independent at every time" in text and "u_k: static noise" in text
    text = ds.derive(finished(network())).process.text()
    assert "u_v: white noise, independent at every time" in text
    assert "u2_v: evolving noise, correlated between times" in text


# --- how it is shown ------------------------------------------------------------------------------------------------


def test_how_it_is_shown():
    b = layered()
    derivation = ds.derive(finished(b, pair=-2 * b.q.hat[b.i, b.t] * b.q[b.i, b.t]))
    assert derivation.text().endswith(derivation.worth_checking.text())
    assert derivation.worth_checking.text().splitlines()[0] == "Worth checking:"
    assert r"\text{Worth checking:}" in derivation.latex_lines()
    assert "Worth checking" not in ds.derive(finished(layered())).text()
    assert len(ds.derive(finished(layered())).worth_checking) == 0
