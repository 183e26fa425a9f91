"""Pairs of response functions: conjugates, causal range, tangents and Hessian; multipliers and their constraint."""

import numpy as np
import pytest
import sympy
from sympy import KroneckerDelta

import dmftsym as ds
from dmftsym.derivation.document import document
from dmftsym.derivation.responses import felt_by, find_responses
from dmftsym.language.reading import read_action
from dmftsym.language.terms import as_expression, entries_of


def two_sites(explicit, hold=("A", "B"), hat=False):
    """Sites with fields x and y, memory kernels A of x and B of y; `explicit` gives the terms that hold both."""
    m = ds.Model("pair")
    t, s = m.times("t s")
    c = m.parameters("c")
    A, B = m.order_parameter("A", t, s), m.order_parameter("B", t, s)
    one, two = m.site("one"), m.site("two")
    x, y = one.field("x", t), two.field("y", t)
    one.action(-x.tilde[t] * x[t] + x.tilde[t] * x.tilde[s] / 2)
    two.action(-y.tilde[t] * y[t] + y.tilde[t] * y.tilde[s] / 2)
    if "A" in hold:
        one.action(c * x.tilde[t] * A[t, s] * x[s])
    if "B" in hold:
        two.action(y.tilde[t] * B[t, s] * y[s])
    if hat:
        one.action(A.hat[t, s] * x[t] * x[s])
    m.action = explicit(A, B, t, s, c) + ds.log_Z(one) + ds.log_Z(two)
    return m


PAIR = lambda A, B, t, s, c: -A[t, s] * B[s, t]

# --- which variable is conjugate ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("explicit", "conjugates", "equations"),
    [
        (PAIR, "B[s, t] A[s, t]", ("<d(y[t])/(du_y[s])>_two", "c*<d(x[t])/(du_x[s])>_one")),
        (
            lambda A, B, t, s, c: -2 * c * A[t, s] * B[s, t],
            "B[s, t] A[s, t]",
            ("<d(y[t])/(du_y[s])>_two/(2*c)", "<d(x[t])/(du_x[s])>_one/2"),
        ),
        (
            lambda A, B, t, s, c: -A[t, s] * A[s, t] / 2 - B[t, s] * B[s, t] / 2,
            "A[s, t] B[s, t]",
            ("c*<d(x[t])/(du_x[s])>_one", "<d(y[t])/(du_y[s])>_two"),
        ),
        (
            lambda A, B, t, s, c: -A[t, s] * B[s, t] - c * A[t, s] * A[s, t] / 2,
            "B[s, t] A[s, t]",
            ("<d(y[t])/(du_y[s])>_two", "c*<d(x[t])/(du_x[s])>_one + -c*A[t, s]"),
        ),
    ],
    ids=["pair", "coefficient", "each its own", "a square beside it"],
)
def test_the_other_factor_of_an_explicit_term_is_the_conjugate(explicit, conjugates, equations):
    """Derivatives by hand: of -k A B by B gives A = <what B multiplies>/k, at exchanged times."""
    derivation = ds.derive(two_sites(explicit))
    action, saddle = derivation.action, derivation.saddle_point
    assert " ".join(str(action.conjugate(q)) for q in action.order_parameters) == conjugates
    for q, expected in zip("AB", equations, strict=True):
        found = {str(a) for a in sympy.Add.make_args(saddle.equation(q).right_side())}
        assert found == set(expected.split(" + "))
    assert not saddle.conjugates and not saddle.constraints, "no conjugate variable is left over"
    text = saddle.text()
    for q, conjugate in zip("AB", conjugates.split(" ", 2)[::2], strict=False):
        assert f"{q}[t, s] has the conjugate {conjugate[0]}[" in text


@pytest.mark.parametrize(
    "explicit",
    [
        lambda A, B, t, s, c: 0,
        lambda A, B, t, s, c: -A[t, 0] * B[0, t],
        lambda A, B, t, s, c: -A[t, t] * B[s, s],
        lambda A, B, t, s, c: -A[t, s] * B[s, t] * A[t, s],
        lambda A, B, t, s, c: -A[t, s] * B[s - 1, t],
    ],
    ids=["nothing", "a fixed time", "not all times", "three factors", "a lag"],
)
def test_other_terms_make_no_pair(explicit):
    with pytest.raises(ds.LanguageError, match=r"order parameter A: its conjugate is missing.* -A\.hat\[t, s\]\*A"):
        read_action(two_sites(explicit))


def test_a_pair_summed_over_the_past_only_is_refused():
    with pytest.raises(ds.DmftsymError):
        ds.derive(two_sites(lambda A, B, t, s, c: -ds.past(s, before=t)(A[t, s] * B[s, t])))


def test_errors_of_pairs_name_both_variables():
    with pytest.raises(ds.LanguageError, match=r"A: its conjugate is B, by the term that holds both, so A\.hat cannot"):
        read_action(two_sites(PAIR, hat=True))
    with pytest.raises(ds.LanguageError, match=r"A is determined by .* conjugate B, but no site action holds B"):
        read_action(two_sites(PAIR, hold=("A",)))
    with pytest.raises(ds.LanguageError, match=r"B is determined by .* conjugate A, but no site action holds A"):
        read_action(two_sites(PAIR, hold=("B",)))
    with pytest.raises(ds.LanguageError, match=r"A has no observable: add A\.hat\[t, s\]\*O"):
        read_action(two_sites(lambda A, B, t, s, c: -A[t, s] * B[s, t] - A.hat[t, s] * A[t, s]))


def test_a_memory_that_answers_itself_at_once_is_a_loop():
    """x reads A(t, t) x(t), and A, B respond at once: no order within a step; a kernel of the wrong time is acausal."""
    with pytest.raises(ds.LoweringError, match=r"instantaneous loop: .*x\[t\]"):
        ds.compile_model(two_sites(PAIR))
    with pytest.raises(ds.LoweringError, match=r"acausal: x at time t needs every time s, later ones too"):
        ds.compile_model(two_sites(lambda A, B, t, s, c: -A[t, s] * B[t, s]))


# --- causal range ---------------------------------------------------------------------------------


def chain(at_once):
    """Three sites: B2 = <O z3> responds at once or not; z2 reads B2 and is the observable of B1, which z1 reads."""
    m = ds.Model("chain")
    t, s = m.times("t s")
    phi = m.activation("phi", "tanh")
    A1, B1, A2, B2 = (m.order_parameter(name, t, s) for name in ("A1", "B1", "A2", "B2"))
    slope = m.order_parameter("slope", t)
    sites = [m.site(f"layer{k}") for k in (1, 2, 3)]
    h, z = zip(*[(q.field(f"h{k}", t), q.field(f"z{k}", t)) for k, q in enumerate(sites, 1)], strict=True)
    for site, x, back in zip(sites, h, z, strict=True):
        site.action(-x.tilde[t] * x[t] + x.tilde[t] * x.tilde[s] / 2)
        site.action(-back.tilde[t] * back[t] + back.tilde[t] * back.tilde[s] / 2)
    sites[0].action(h[0].tilde[t] * ds.past(s)(z[0][s]) / 5)
    sites[2].action(z[2].tilde[t] * ds.past(s)(phi(h[2][s])) / 5)
    last = sites[2].define("last", t, phi.d(1)(h[2][t]) * z[2][t] if at_once else z[2][t])
    sites[0].action(z[0].tilde[t] * B1[t, s] * phi(h[0][s]))
    sites[1].action(h[1].tilde[t] * A1[t, s] * z[1][s] + z[1].tilde[t] * B2[t, s] * phi(h[1][s]))
    sites[1].action(slope.hat[t] * phi.d(1)(h[1][t]))
    sites[2].action(h[2].tilde[t] * A2[t, s] * last[s])
    explicit = -A1[t, s] * B1[s, t] - A2[t, s] * B2[s, t] - slope.hat[t] * slope[t]
    m.action = explicit + sum(ds.log_Z(site) for site in sites)
    return m


@pytest.mark.parametrize("at_once", [True, False])
def test_an_instant_response_passes_through_another_memory_kernel(at_once):
    """z2(t) feels u_h2(t) only through B2(t, t): dz2(t)/du_h2(t) = B2(t, t) phi'(h2(t)), so B1 is instant if B2 is."""
    derivation = ds.derive(chain(at_once))
    instant = {r.tensor.name: r.instant for r in derivation.responses}
    assert instant == {"A1": False, "A2": False, "B1": at_once, "B2": at_once}
    limit = "s<=t" if at_once else "s<t"
    text = derivation.process.text()
    assert f"sum_{{{limit}}}(phi(h1[s])*B1[t, s])" in text and f"sum_{{{limit}}}(phi(h2[s])*B2[t, s])" in text
    assert "sum_{s<t}(z2[s]*A1[t, s])" in text, "A1 would meet B1 in a loop if it were instant"


@pytest.mark.slow  # 5 s: eight tangents, four of them with memory
def test_the_equal_time_part_that_passed_through_is_a_product():
    """Averages over the same Gauss-Hermite points: B1(t, t) = B2(t, t) <phi'(h2(t))> to rounding."""
    result = ds.compile_model(chain(True)).solve(steps=4, measure="hermite", points=12)
    B1, B2, slope = np.diag(result.B1), np.diag(result.B2), result.slope.values
    assert np.abs(B1 - B2 * slope).max() < 1e-14 and np.abs(B2).max() > 0.01
    assert np.abs(B1 - B2).max() > 1e-3, "without phi' it would not hold"


def test_a_response_of_what_never_feels_its_source_is_zero():
    m = ds.Model("deaf")
    t, s = m.times("t s")
    R = m.order_parameter("R", t, s)
    site = m.site("unit")
    for field in (x := site.field("x", t), y := site.field("y", t)):
        site.noise(field[t], field[s], 1)
    site.equation(x[t], 0)
    site.equation(y[t], ds.past(s)(x[s]))
    site.observe(R[t, s], x[t] * y.tilde[s])
    result = ds.compile_model(m).solve(steps=3)
    assert (result.R.values == 0).all()


def test_what_moves_with_a_time_derivative_does_not_respond_at_once():
    for name, structure in (("p_spin", {}), ("recurrent", {}), ("recurrent", {"symmetric": True})):
        derivation = ds.derive(ds.build_model(name, **structure))
        assert [(r.tensor.name, r.instant) for r in derivation.responses] == [("R", False)]
        assert find_responses(derivation.saddle_point.equations, derivation.process) == derivation.responses
    deep = ds.derive(ds.build_model("mlp", depth=3))
    assert {r.tensor.name: r.instant for r in deep.responses} == {"A1": False, "A2": False, "B1": True, "B2": True}
    assert "int_{s<t}(phi(x[s])*R[t, s])" in derivation.process.text()


# --- what changes by an impulse -------------------------------------------------------------------


def test_what_an_impulse_changes_and_what_that_reads():
    """dx/dt = -x - q(t), dy/dt = -y + p(t) tanh(x), z = x y: of the response of y to the source of x, z is no part."""
    m = ds.Model("small")
    t, s = m.times("t s", continuous=True, dt=0.1)
    p, q, R, S = (m.order_parameter(n, *ends) for n, ends in (("p", (t,)), ("q", (t,)), ("R", (t, s)), ("S", (t, s))))
    site = m.site("unit")
    x, y, z = (site.field(name, t) for name in "xyz")
    site.equation(x.dot[t], -x[t] - q[t])
    site.equation(y.dot[t], -y[t] + p[t] * sympy.tanh(x[t]))
    site.equation(z[t], x[t] * y[t])
    site.observe(p[t], z[t] ** 2)
    site.observe(q[t], x[t] ** 2)
    site.observe(R[t, s], y[t] * x.tilde[s])
    site.observe(S[t, s], x[t] * y.tilde[s])
    derivation = ds.derive(m)
    found = {r.tensor.name: felt_by(r, derivation.process) for r in derivation.responses}
    reads = {x.name: {str(e) for t in terms for e in entries_of(t.body)} for x, terms in found["R"].items()}
    assert reads == {"x": set(), "y": {"p[t]", "x[t]"}} and found["S"] == {}


# --- Hessian, propagator, constraint --------------------------------------------------------------


@pytest.fixture(scope="module")
def deep():
    return ds.derive(ds.build_model("mlp", depth=2))


def test_hessian_of_a_pair(deep):
    """theory.md §3: H_AB = -1 at exchanged ends, H_AA = Cov(g x~, g x~) of the layer above, H_BB of the one below."""
    q = {tensor.name: tensor for tensor in deep.action.order_parameters}
    block = deep.hessian.block
    cross = block(q["A1"], q["B1"])
    (mu, t, nu, s), (mu2, t2, nu2, s2) = cross.row.indices, cross.column.indices
    exchanged = [KroneckerDelta(*pair) for pair in ((mu, nu2), (mu2, nu), (s, t2), (s2, t))]
    assert (cross.expression + sympy.prod(exchanged)).expand() == 0
    above, below = (str(block(q[n], q[n]).expression) for n in ("A1", "B1"))
    assert "<d2(g2[nu, s]*g2[nu', s'])/(du_h2[mu, t]*du_h2[mu', t'])>_layer2" in above
    assert " - <d(g2[nu, s])/(du_h2[mu, t])>_layer2*<d(g2[nu', s'])/(du_h2[mu', t'])>_layer2" in above
    assert "<d2(phi(h1[nu, s])*phi(h1[nu', s']))/(du_z1[mu, t]*du_z1[mu', t'])>_layer1" in below
    assert block(q["f"], q["f"]).vanishes and not block(q["f"], q["A1"]).vanishes
    names = {variable.tensor.name for b in deep.hessian.blocks for variable in (b.row, b.column)}
    assert {"A1", "B1"} <= names and not {"A1_hat", "B1_hat", "A1.hat", "B1.hat"} & names


@pytest.mark.parametrize("form", ["text", "latex", "html"])
def test_pairs_and_constraints_print_in_every_format(deep, form):
    for record in (deep.saddle_point, deep.hessian, deep.propagator):
        page = document("mlp", (record,), form)
        assert page == document("mlp", (record,), form)
        assert all({"text": f"{q}1", "latex": f"{q}^{{1}}", "html": f"<mi>{q}</mi>"}[form] in page for q in "AB")
    if form == "text":
        assert "-H^-1 over all order parameters and conjugates" in page and "because H[" in page
        assert "H[A1[mu, t, nu, s]; B1[mu', t', nu', s']] = -KroneckerDelta" in page
    spin = document("p_spin", (ds.derive(ds.build_model("p_spin")).saddle_point,), form)
    if form == "text":
        assert "0 = C[t, t] - 1, which determines mu[t]" in spin and "mu.hat[t] = 0" in spin


def test_multipliers_are_told_from_observed_order_parameters():
    spin = read_action(ds.build_model("p_spin"))
    assert [q.name for q in spin.order_parameters if spin.is_multiplier(q)] == ["mu"]
    for name, structure in (("mlp", {"depth": 2}), ("recurrent", {"symmetric": True})):
        action = ds.derive(ds.build_model(name, **structure)).action
        assert not any(action.is_multiplier(q) for q in action.order_parameters)
    saddle = ds.derive(ds.build_model("p_spin")).saddle_point
    (constraint,) = saddle.constraints
    assert constraint.multiplier.name == "mu" and str(as_expression(constraint.terms)) == "C[t, t] - 1"
    assert [e.tensor.name for e in saddle.equations] == ["C", "R"], "the multiplier is no average"


def test_response_functions_are_driven_by_what_their_layer_reads():
    """Three layers: B1 is a response of layer 2, which reads Phi1 and A1; A1 one of layer 1, which reads G2 and B1."""
    propagator = ds.derive(ds.build_model("mlp", depth=2)).propagator
    drivers = {name: set() for name in ("A1", "B1", "G1")}
    for drive in propagator.drives:
        drivers.setdefault(drive.target.tensor.name, set()).add(drive.source.tensor.name)
    assert drivers["B1"] == {"f", "Phi1", "A1"} and drivers["A1"] == {"f", "G2", "B1"}
    assert {q.name for q in propagator.closed} == {"f", "Phi1", "G2", "A1", "B1"}
