"""The largest eigenvalue: how it is written, printed, renamed and evaluated, and its derivative, the projector."""

import numpy as np
import pytest
from brute_force import BruteForce
from fluctuating_models import KX, Y, interpreted
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Integer, Tuple, latex, sqrt, tanh

import dmftsym as ds
from dmftsym.language.matrices import LargestEigenvalue, LeadingProjector
from dmftsym.language.terms import Term, avoid, count_indices, entries_of, flatten, indices_of, rename, substitute
from dmftsym.models.loading import build_model

m = ds.Model("matrices")
t, s = m.times("t s")
mu, nu, ka, la, xi = m.indices("mu nu ka la xi", size="P", axis="sample")
d = m.indices("d", size="D")
K, C, y = m.order_parameter("K", mu, nu, t), m.order_parameter("C", t, s), m.data("y", mu)
lead = ds.largest_eigenvalue(mu, nu)
value = lead(K[mu, nu, t])


@pytest.mark.parametrize(
    "indices", [(mu, mu), (mu, t), (mu, d), ("mu", "nu"), (mu, 0), (mu, t - 1), (K, nu), (None, None)], ids=str
)
def test_wrong_indices_are_refused(indices):
    with pytest.raises(ds.LanguageError, match=r"largest_eigenvalue.*two different indices of one axis"):
        ds.largest_eigenvalue(*indices)


def test_how_it_prints():
    assert str(value) == "largest_eigenvalue_{mu, nu}(K[mu, nu, t])"
    assert str(2 * value**2 - 1) == "2*largest_eigenvalue_{mu, nu}(K[mu, nu, t])**2 - 1"
    assert str(value.projector()) == "leading_projector_{mu, nu}(K[mu', nu', t])"
    assert latex(value) == r"\lambda_{\max}\left[K_{\mu \nu}(t)\right]"
    assert latex(value**2) == r"\lambda_{\max}\left[K_{\mu \nu}(t)\right]^{2}"
    assert r"K_{\mu' \nu'}(t)" in latex(value.projector()) and r"v_{\mu} v_{\nu}" in latex(value.projector())
    for text in (latex(value / 2), latex(tanh(value)), latex(value.projector() * K[mu, nu, t])):
        assert text.count(r"\left") == text.count(r"\right") and text.count("{") == text.count("}")


def test_it_is_a_real_number_of_sympy():
    assert value.is_real and value.is_commutative and sqrt(value**2).subs(value, 3) == 3
    assert value == ds.largest_eigenvalue(mu, nu)(K[mu, nu, t]) != ds.largest_eigenvalue(nu, mu)(K[mu, nu, t])
    assert value - value == 0 and value.projector() == value.projector()


def test_its_indices_do_not_count_as_free():
    assert dict(count_indices(value)) == {t: 1}
    assert dict(count_indices(y[mu] * value)) == {mu: 1, t: 1}
    assert dict(count_indices(lead(K[mu, nu, t] * y[ka]))) == {ka: 1, t: 1}


NUMBERS = {"y": np.array([0.7, -1.3, 0.4]), "K": np.random.default_rng(0).normal(size=(3, 3, 2))}
NUMBERS["K"] = NUMBERS["K"] + NUMBERS["K"].transpose(1, 0, 2)


class Evaluator(BruteForce):
    """Plain loops, with NumPy's eigenvalues."""

    def value(self, expr, at=None):
        if not isinstance(expr, LargestEigenvalue | LeadingProjector):
            return super().value(expr, at)
        row, column = expr.bound
        inside = lambda i, j: self.value(expr.body, {**(at or {}), row: i, column: j})
        values, vectors = np.linalg.eigh([[inside(i, j) for j in range(3)] for i in range(3)])
        if isinstance(expr, LargestEigenvalue):
            return values[-1]
        i, j = (at[k] for k in expr.place)
        return vectors[i, -1] * vectors[j, -1]


def evaluated(body, at, values=NUMBERS):
    return Evaluator({"sample": 3, "time": 2}, values).value(body, at)


BODY = y[ka] * lead(K[mu, nu, t] * y[ka] + y[mu] * y[nu])
PROJECTOR = y[ka] * LeadingProjector(K[mu, nu, t] * y[ka] + y[mu] * y[nu], Tuple(mu, nu), la, xi)
AT = {ka: 2, t: 1, la: 0, xi: 1}


@pytest.mark.parametrize("mapping", ({ka: mu}, {ka: nu, t: s}, {ka: mu, la: nu, xi: ka}, {xi: la, la: xi}, {}), ids=str)
@pytest.mark.parametrize("body", (BODY, PROJECTOR), ids=("eigenvalue", "projector"))
def test_renaming_free_indices_leaves_the_matrix_alone(body, mapping):
    """The row and the column may be called like an index that comes in from outside."""
    renamed = rename(Term(body), mapping).body
    there = {mapping.get(index, index): number for index, number in AT.items()}
    assert evaluated(renamed, there) == pytest.approx(evaluated(body, AT), rel=1e-12)
    wrong = {**there, mapping.get(ka, ka): 1}
    assert evaluated(renamed, wrong) != pytest.approx(evaluated(body, AT), rel=1e-3)  # negative control


def test_substituting_and_avoiding_indices():
    there = substitute(Term(BODY), ka, mu).body
    assert evaluated(there, {mu: 2, t: 1}) == pytest.approx(evaluated(BODY, {ka: 2, t: 1}))
    fixed = substitute(Term(BODY), ka, Integer(2)).body
    assert evaluated(fixed, {t: 1}) == pytest.approx(evaluated(BODY, {ka: 2, t: 1}))
    term = avoid(Term(BODY, (ka,)), (mu, nu, ka))
    assert not {mu, nu, ka} & set(term.bound)
    total = lambda term: Evaluator({"sample": 3, "time": 2}, NUMBERS).total((term,), {t: 1})
    assert total(term) == pytest.approx(total(Term(BODY, (ka,))))


def test_flatten_keeps_it_whole():
    (one, other) = flatten(value * (y[ka] + ds.sum_over(la)(y[la])) - value**2 * ds.sum_over(ka)(y[ka] ** 2))[:2]
    assert {e.tensor.name for t in (one, other) for e in entries_of(t.body)} == {"K", "y"}
    assert mu in indices_of(one.body)


# --- in a generated module ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    """The generated functions, from the module of a network whose sharpness has a covariance."""
    return interpreted(ds.compile_model(build_model("mlp"), ds.Options(covariance=("sharpness",))).source.text)


def random_symmetric(seed, shape, size):
    half = np.random.default_rng(seed).normal(size=(*shape, size, size))
    return half + np.swapaxes(half, -1, -2)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from([(), (3,), (2, 3)]), size=st.integers(1, 5))
def test_the_projector_is_the_derivative(network, seed, shape, size):
    """d lambda = sum_ij P_ij dM_ij; differences of fourth order, error 1e-12 over the gap to the fourth power."""
    matrix, change = random_symmetric(seed, shape, size), random_symmetric(seed + 1, shape, size)
    gaps = np.diff(np.linalg.eigvalsh(matrix))[..., -1:] if size > 1 else np.array([1.0])
    at = lambda k: network._largest_eigenvalue(matrix + 1e-3 * k * change)
    differences = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / 12e-3
    found = (network._leading_projector(matrix) * change).sum((-2, -1))
    tolerance = 1e-9 * max(1.0, np.abs(change).max() ** 5 / min(1.0, gaps.min()) ** 4)
    assert np.abs(found - differences).max() < tolerance
    trace = np.trace(network._leading_projector(matrix), axis1=-2, axis2=-1)
    np.testing.assert_allclose(trace, 1.0, rtol=1e-12)


def test_the_projector_of_another_eigenvalue_is_no_derivative(network):
    matrix, change = random_symmetric(0, (), 3), random_symmetric(1, (), 3)
    differences = (network._largest_eigenvalue(matrix + 1e-5 * change) - network._largest_eigenvalue(matrix)) / 1e-5
    wrong = (network._leading_projector(-matrix) * change).sum()
    assert (
        abs(wrong - differences) > 0.1 > 1e-3 > abs((network._leading_projector(matrix) * change).sum() - differences)
    )


def test_a_degenerate_eigenvalue_has_no_projector(network):
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    with_values = lambda *values: turned @ np.diag(values) @ turned.T
    for degenerate in (with_values(1.0, 1.0, 0.2, 0.1), with_values(2.0, 2.0, 2.0, 2.0), np.zeros((4, 4))):
        degenerate = (degenerate + degenerate.T) / 2
        assert np.isnan(network._leading_projector(degenerate)).all()
    stack = np.stack([with_values(1.0, 1.0, 0.2, 0.1), with_values(1.0, 0.9, 0.2, 0.1)])
    assert np.isnan(network._leading_projector((stack + stack.swapaxes(1, 2)) / 2)).all((1, 2)).tolist() == [
        True,
        False,
    ]
    for simple in (with_values(1.0, 1.0 - 1e-9, 0.2, 0.1), with_values(1.0, 0.2, 0.2, 0.2), np.array([[0.0]])):
        assert np.isfinite(network._leading_projector(simple)).all()  # negative control


def test_a_run_with_a_degenerate_kernel_has_no_covariance_of_the_sharpness(network):
    """Two inputs in exchangeable roles: K = [[a, 0], [0, a]] at the beginning."""
    values = {"P": 2, "y": Y, "Kx": np.eye(2), "(columns)": 1}
    averages = {"f": np.zeros((2, 1)), "Phi1_equal": np.eye(2)[..., None], "G1_equal": np.eye(2)[..., None]}
    changes = {"f": np.ones((2, 1, 1)), "Phi1_equal": np.ones((2, 2, 1, 1)), "G1_equal": np.zeros((2, 2, 1, 1))}
    flat, status, _ = network.chain_sweep(values, averages, changes, 1, 1.0)
    assert status == "ok" and np.isnan(flat["sharpness"]).all()
    averages["Phi1_equal"] = KX[..., None]
    assert np.isfinite(network.chain_sweep(values, averages, changes, 1, 1.0)[0]["sharpness"]).all()


def test_a_run_that_diverges_is_told_apart(network):
    """Eigenvalues of matrices that are not finite do not end the run with an exception."""
    for eta in (50.0, 1e200):
        result = network.solve({"gamma": 1, "eta": eta}, {"Kx": KX, "y": Y}, steps=60, points=16, measure="sobol")
        assert "diverged" in str(result["status"])


def static_model(write):
    """Phi = <tanh(x) tanh(x)> of static sources, and what `write` makes of it."""
    model = ds.Model("static")
    t, s = model.times("t s")
    i, j = model.indices("i j", size="P", axis="sample")
    Kx, y = model.data("Kx", i, j), model.data("y", i)
    Phi = model.order_parameter("Phi", i, j, t)
    site = model.site("unit")
    x = site.field("x", i, t)
    site.equation(x[i, t], 0)
    site.noise(x[i, t], x[j, s], Kx[i, j])
    site.observe(Phi[i, j, t], tanh(x[i, t]) * tanh(x[j, t]))
    write(model, i, j, t, Phi, Kx, y)
    return model


top = lambda matrix: np.linalg.eigvalsh(matrix)[..., -1]
k = lambda m: m.index_symbols.get("k") or m.indices("k", size="P", axis="sample")
FORMS = {
    "observable": (
        lambda m, i, j, t, Phi, Kx, y: m.observable("L", t, ds.largest_eigenvalue(i, j)(Phi[i, j, t])),
        lambda Phi: top(Phi),
    ),
    "definition whose indices are found": (
        lambda m, i, j, t, Phi, Kx, y: m.define("L", ds.largest_eigenvalue(i, j)(Phi[i, j, t] + Kx[i, j])),
        lambda Phi: top(Phi + KX),
    ),
    "one value a sample": (
        lambda m, i, j, t, Phi, Kx, y: m.define("L", i, t, y[i] * ds.largest_eigenvalue(i, j)(Phi[i, j, t])),
        lambda Phi: Y * top(Phi),
    ),
    "beside a contraction of its own indices": (
        lambda m, i, j, t, Phi, Kx, y: m.define("L", t, y[i] * y[i] * ds.largest_eigenvalue(i, j)(Phi[i, j, t])),
        lambda Phi: Y @ Y * top(Phi),
    ),
    "function of it": (
        lambda m, i, j, t, Phi, Kx, y: m.define("L", t, tanh(1 / ds.largest_eigenvalue(i, j)(Phi[i, j, t]))),
        lambda Phi: np.tanh(1 / top(Phi)),
    ),
    "of a product": (
        lambda m, i, j, t, Phi, Kx, y: m.define("L", t, ds.largest_eigenvalue(j, i)(y[i] * Phi[i, j, t] * y[j])),
        lambda Phi: top(Y[:, None] * Phi * Y),
    ),
    "summed over something else": (
        lambda m, i, j, t, Phi, Kx, y: m.define(
            "L", t, ds.sum_over(k(m))(y[k(m)] ** 2 * ds.largest_eigenvalue(i, j)(Phi[i, j, t] * y[k(m)] ** 2))
        ),
        lambda Phi: (Y**4).sum() * top(Phi),
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_in_definitions_and_observables(form):
    write, expected = FORMS[form]
    module = interpreted(ds.compile_model(static_model(write), ds.Options(outputs=("L",))).source.text)
    data = {"Kx": KX, "y": Y}
    result = module.solve({}, data, steps=2, measure="hermite", points=8)
    for time in range(2):  # nothing moves
        np.testing.assert_allclose(result["L"][..., time], expected(result["Phi"][..., 0]), rtol=1e-12)


def test_over_times_it_is_acausal():
    def write(m, i, j, t, Phi, Kx, y):
        u, v = m.times("u v")
        m.define("L", u, ds.largest_eigenvalue(t, v)(Phi[0, 0, t] * Phi[0, 0, v]))

    with pytest.raises(ds.LoweringError, match="acausal"):
        ds.compile_model(static_model(write), ds.Options(outputs=("L",)))


def test_of_fields_of_a_site_it_is_refused():
    """One clear error: eigenvalues are taken of matrices of averages."""

    def write(m, i, j, t, Phi, Kx, y):
        site = m.sites["unit"]
        x = site.tensors["x"]
        q = m.order_parameter("q", t)
        site.observe(q[t], ds.largest_eigenvalue(i, j)(x[i, t] * x[j, t]))

    with pytest.raises(ds.DmftsymError, match=r"[Ll]argest_?[Ee]igenvalue"):
        ds.compile_model(static_model(write))
