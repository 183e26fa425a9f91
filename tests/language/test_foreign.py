"""What SymPy, NumPy and Python offer but a model does not know is answered with what to write instead."""

import math

import numpy as np
import pytest
import sympy as sp
from slips import finished, layered, network

import dmftsym as ds


def said(change, *parts, start=layered, error=ds.LanguageError):
    """The change is refused in one short line that says all of these."""
    b = start()
    with pytest.raises(error) as info:
        change(b)
        ds.compile_model(finished(b))
    message = str(info.value)
    assert "\n" not in message and len(message) < 400
    for part in parts:
        assert part in message, message


def act(formula):
    """Add a formula, times the response field of w, to the site action."""
    return lambda b: b.site.action(b.w.tilde[b.t] * formula(b))


P = sp.Symbol("P")
NODES = {
    "Sum": (act(lambda b: sp.Sum(b.E[b.j, b.s], (b.s, 0, b.t), (b.j, 1, P))), "ds.past(s)", "ds.sum_over(mu)"),
    "Sum to t - 1": (act(lambda b: sp.Sum(b.w[b.s], (b.s, 0, b.t - 1))), "ds.past(s)"),
    "Sum over samples": (lambda b: b.m.define("F", sp.Sum(b.y[b.i], (b.i, 1, 5))), "ds.sum_over", "definition F"),
    "Product": (act(lambda b: sp.Product(b.y[b.i], (b.i, 1, 3))), "Product", "exp(ds.sum_over"),
    "Integral": (act(lambda b: sp.Integral(b.w[b.s], (b.s, 0, b.t))), "Integral", "ds.past(s)", "continuous=True"),
    "Derivative": (act(lambda b: sp.Derivative(b.w[b.t], b.t)), "Derivative", "x.dot[t]", "phi.d(1)"),
    "Limit": (act(lambda b: sp.Limit(b.a, b.a, 0)), "Limit", "write its value"),
    "O": (act(lambda b: sp.O(b.a)), "O(1)", "write its value"),
    "Lambda": (lambda b: b.site.action(sp.Lambda(P, P)), "Lambda", "arguments in place"),
    "Function": (act(lambda b: sp.Function("chi")(b.w[b.t])), "chi(w[t])", "m.activation"),
    "Function in a definition": (lambda b: b.m.define("F", b.i, sp.Function("chi")(b.y[b.i])), "chi(y[i])"),
    "Function in a sum": (act(lambda b: ds.past(b.s)(sp.Function("chi")(b.w[b.s]))), "chi(w[s])", "past(s)"),
    "Function in an activation": (act(lambda b: b.psi(sp.Function("chi")(b.w[b.t]))), "chi(w[t])", "argument of psi"),
    "uncalled": (lambda b: b.site.action(sp.beta), "beta stands without an argument", "m.parameters('beta')"),
    "uncalled, in an activation": (act(lambda b: b.psi(sp.gamma)), "gamma", "m.parameters('gamma')"),
    "DiracDelta": (act(lambda b: sp.DiracDelta(b.t - b.s) * b.w.tilde[b.s]), "white noise is x.tilde[t]*x.tilde[t]"),
    "KroneckerDelta": (act(lambda b: sp.KroneckerDelta(b.t, b.s) * b.w.tilde[b.s]), "white noise is x.tilde[t]"),
    "Matrix": (lambda b: b.site.action(sp.Matrix([b.w.tilde[b.t], 1])), "m.data('K', mu, nu)"),
    "MatrixSymbol": (act(lambda b: sp.MatrixSymbol("A", 2, 2)[0, 1]), "m.data('K', mu, nu)"),
    "Indexed": (act(lambda b: sp.IndexedBase("A")[sp.Symbol("n")]), "m.data('K', mu, nu)"),
    "array": (lambda b: b.site.action(np.array([1.0, 2.0]) * b.w.tilde[b.t]), "shape (2,)", "m.data"),
    "open Piecewise": (act(lambda b: sp.Piecewise((b.w[b.t], b.w[b.t] > 1))), "leaves cases open", "(value, True)"),
    "condition": (lambda b: b.site.action(b.w[b.t] > 0), "is a condition"),
    "equation": (lambda b: b.site.action(sp.Eq(b.w[b.t], 2)), "is a condition"),
    "i": (act(lambda b: sp.I * b.w[b.t]), "response fields absorb i", "write w.tilde", "+ w.tilde*K*w.tilde/2"),
    "1j": (act(lambda b: 2j * b.w[b.t]), "response fields absorb i", "w.tilde"),
    "i on a pair": (lambda b: setattr(b.m, "action", sp.I * b.pair), "conjugates absorb i", "write q.hat", "-q.hat*q"),
    "i in a definition": (lambda b: b.m.define("F", sp.sqrt(-3)), "real", "imaginary unit"),
    "nan": (act(lambda b: float("nan")), "finite"),
    "infinite": (act(lambda b: np.inf * b.a), "finite"),
    "derivative of a sum": (act(lambda b: ds.past(b.s)(b.w[b.s]).diff(b.w[b.s])), "the formula inside it"),
    "derivative in time": (act(lambda b: b.w[b.t].diff(b.t)), "x.dot[t]"),
    "derivative of a function in time": (act(lambda b: (b.a * b.psi(b.w[b.t])).diff(b.t)), "x.dot[t]"),
    "log_Z of a name": (lambda b: ds.log_Z("unit"), "log_Z('unit')", "m.site"),
}  # fmt: skip


@pytest.mark.parametrize("case", NODES)
def test_nodes_that_a_model_does_not_know(case):
    change, *parts = NODES[case]
    said(change, *parts)


PLACES = {
    "action": lambda b, x: b.site.action(x),
    "equation": lambda b, x: b.site.equation(b.w[b.t], x),
    "noise": lambda b, x: b.site.noise(b.w[b.t], b.w[b.s], x),
    "observable": lambda b, x: b.site.observe(b.q[b.i, b.t], x),
    "site definition": lambda b, x: b.site.define("F", b.t, x),
    "definition": lambda b, x: b.m.define("F", x),
    "observable of the model": lambda b, x: b.m.observable("F", b.t, x),
    "data": lambda b, x: b.m.otherwise(b.y[b.i], x),
    "action of the model": lambda b, x: setattr(b.m, "action", x),
    "initial value": lambda b, x: b.site.field("x", b.t, variance=1, mean=x),
    "past": lambda b, x: ds.past(b.s)(x),
    "sum_over": lambda b, x: ds.sum_over(b.i)(x),
    "activation": lambda b, x: b.psi(x),
    "derivative of an activation": lambda b, x: b.psi.d(2)(x),
    "eigenvalue": lambda b, x: ds.largest_eigenvalue(b.i, b.j)(x),
}
OBJECTS = {
    "text": ("w", "is text"), "None": (None, "None"), "True": (True, "given: True"), "list": ([1], "a list"),
    "dictionary": ({1: 2}, "a dict"), "array": (np.ones(3), "shape (3,)"), "function": (len, "is a function"),
    "model": (ds.Model("other"), "is not a formula"), "NumPy's True": (np.bool_(True), "given: True"),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_objects_that_are_no_formulas(place):
    for value, part in OBJECTS.values():
        said(lambda b, value=value: PLACES[place](b, value), part)


def test_functions_of_numpy_and_math():
    said(act(lambda b: np.tanh(b.w[b.t])), "np.tanh", "w[t] is a symbol", "tanh of SymPy", 'activation("phi", "tanh")')
    said(act(lambda b: np.exp(b.a)), "np.exp", "a is a symbol")
    said(act(lambda b: np.arcsinh(ds.past(b.s)(b.w[b.s]))), "use asinh of SymPy")
    said(act(lambda b: math.tanh(b.w[b.t])), "w[t] is a symbol, not a number", "SymPy")
    said(act(lambda b: float(b.a)), "a is a symbol, not a number")
    said(lambda b: b.m.activation("chi", np.tanh), "activation chi", "tanh of SymPy")
    said(lambda b: b.m.activation("chi", math.tanh), "activation chi", "functions of SymPy")
    said(lambda b: b.m.activation("chi", lambda x: x if x > 0 else 0), "activation chi", "Heaviside")
    said(lambda b: b.m.activation("chi", lambda x: sp.I * x), "activation chi", "real")
    with pytest.raises(TypeError):  # as for any object that is no number
        float(layered().a)


def test_numbers_of_numpy_are_numbers():
    b = layered()
    for number in (np.float64(0.5), np.float32(0.5), np.int64(2)):
        for product in (number * b.w[b.t], b.w[b.t] * number):
            assert sp.simplify(product - number.item() * b.w[b.t]) == 0
    assert np.add(1, b.a) == 1 + b.a and np.negative(b.a) == -b.a
    assert not np.float64(0.5) == b.a and np.float64(0.5) != b.w[b.t]
    assert list(np.array([1, 3]) * b.a) == [b.a, 3 * b.a]


def test_derivatives_of_formulas():
    b = layered()
    w, a = b.w[b.t], b.a
    assert b.psi(3 * w).diff(w) == 3 * b.psi.d(1)(3 * w)
    assert b.psi.d(1)(w).diff(w) == b.psi.d(2)(w) and (a**3 * w).diff(a) == 3 * a**2 * w
    plain, built = finished(layered()), layered()
    i, j, t, s = built.i, built.j, built.t, built.s
    slope = built.psi(built.k[j, s]).diff(built.k[j, s])
    drift = ds.past(s, j)(built.E[j, s] * built.G[i, j] * slope * built.w[s])
    again = finished(built, k=-built.k.tilde[i, t] * (built.k[i, t] - built.a * built.b * drift))
    assert ds.derive(again).saddle_point == ds.derive(plain).saddle_point


def test_delta_functions_of_samples_are_known():
    b = layered()
    noise = b.k.tilde[b.i, b.t] * sp.KroneckerDelta(b.i, b.j) * b.k.tilde[b.j, b.s] / 2
    text = ds.derive(finished(b, noise_k=noise)).process.text()
    assert "<u_k[i] u_k[i']> = KroneckerDelta(i, i')" in text


def test_a_forgotten_response_field_is_said_before_its_sums_are_looked_at():
    def forgotten(b):
        bare = -(b.w[b.t] - ds.past(b.s, b.j)(b.E[b.j, b.s] * b.psi(b.k[b.j, b.s])))
        finished(b, w=bare)
        ds.derive(b.m)

    said(forgotten, "site unit: this term of a site action has no response field", "-w[t]")
    for extra in (lambda b: b.a, lambda b: -b.w[b.t] ** 4, lambda b: ds.past(b.s)(b.w[b.s])):
        said(lambda b, extra=extra: b.site.action(extra(b)), "has no response field")


def test_a_sum_over_all_times_is_said_before_the_conjugates_are_looked_at():
    def acausal(b):
        ds.compile_model(finished(b, w=-b.w.tilde[b.t] * (b.w[b.t] - b.E[b.j, b.s] * b.psi(b.k[b.j, b.s]))))

    said(acausal, "acausal", "w[t] needs every time s", "ds.past(s, j)", error=ds.LoweringError)


def test_pair_terms_with_their_indices_in_another_order():
    for name in ("D", "Q"):
        def turned(b, name=name):
            q = getattr(b, name)
            pairs = b.pairs | {name: -q.hat[b.s, b.t] * q[b.t, b.s]}
            ds.derive(finished(b, pair=sum(pairs.values())))

        said(turned, f"order parameter {name}", "the order of the indices differs", f"-{name}.hat[t, s]*{name}[t, s]",
             start=network, error=ds.DerivationError)  # fmt: skip


def test_weights_of_sites_are_positive():
    for weight in (-1, -2, sp.Rational(-1, 3), -layered().a):
        said(lambda b, weight=weight: finished(b, pair=b.pair + (weight - 1) * ds.log_Z(b.site)) and ds.derive(b.m),
             "the weight of a site is positive", "log_Z(unit)")  # fmt: skip


def test_noise_with_a_response_function_as_covariance():
    def response(b):
        ds.derive(finished(b, noise=b.g * b.v.tilde[b.t] * b.Q[b.t, b.s] * b.v.tilde[b.s] / 2))

    def wrong_observable(b):
        ds.derive(finished(b, D=b.D.hat[b.t, b.s] * b.psi(b.v[b.t]) * b.v.tilde[b.s]))

    parts = ("site cell: the covariance of the noise of v is not positive", "is a response function")
    said(response, *parts, "Q[t, t']", start=network, error=ds.DerivationError)
    said(wrong_observable, *parts, "D[t, t']", start=network, error=ds.DerivationError)
    b = network()  # what a response filters is a covariance
    b.site.noise(b.v[b.t], b.v[b.s], b.D[b.t, b.s] + b.g * b.Q[b.t, b.t] * b.Q[b.s, b.s])
    ds.derive(finished(b))


@pytest.mark.parametrize("model", ["mlp", None, 3, ds.Model])
def test_what_is_no_model(model):
    for function in (ds.derive, ds.compile_model):
        with pytest.raises(ds.LanguageError, match="a Model is expected"):
            function(model)
    with pytest.raises(ds.LanguageError, match=r"ds.build_model\('mlp'\)"):
        ds.compile_model("mlp")


DECLARATIONS = {
    "names": (lambda m: m.parameters(None), "names are text"), "list of names": (lambda m: m.times(["t", "s"]), "text"),
    "default": (lambda m: m.parameters("a", default="1"), "default is a number"),
    "complex default": (lambda m: m.parameters("a", default=1j), "default is a number"),
    "infinite default": (lambda m: m.parameters("a", default=float("nan")), "default is a number"),
    "bounds": (lambda m: m.parameters("a", within=3), "within is the least and the largest value"),
    "no size": (lambda m: m.indices("i", size=None), "size is"),
    "fraction": (lambda m: m.indices("i", size=2.5), "size is"),
    "joins": (lambda m: m.indices("i", size="A", joins=3), "joins lists indices"),
    "nothing defined": (lambda m: m.define("D"), "a formula is expected"),
    "site": (lambda m: m.site(None), "text is expected"), "model": (lambda m: ds.Model(3), "text is expected"),
    "options": (lambda m: ds.compile_model(m, "numba"), "compile_model takes Options"),
}  # fmt: skip


@pytest.mark.parametrize("case", DECLARATIONS)
def test_declarations_of_the_wrong_kind(case):
    change, words = DECLARATIONS[case]
    with pytest.raises(ds.DmftsymError, match=words):
        change(ds.Model("m"))
