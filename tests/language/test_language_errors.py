"""Every mistake in a model is refused with a message that names the user's symbols (design.md, section 6)."""

import builtins
from types import SimpleNamespace

import numpy as np
import pytest
from sympy import Integer, Rational, Symbol, exp

import dmftsym as ds


def toy(leave_out=(), continuous=False):
    """A small correct model with two sites; `leave_out` drops equations or the observable by name."""
    m = ds.Model("toy")
    t, s = m.times("t s", continuous=continuous)
    mu, nu = m.indices("mu nu", size="P")
    eta = m.parameters("eta")
    K, y = m.data("K", mu, nu), m.data("y", mu)
    phi = m.activation("phi", "tanh")
    f = m.order_parameter("f", mu, t)
    hidden, other = m.site("hidden"), m.site("other")
    h, z, v = hidden.field("h", mu, t), hidden.field("z", t), other.field("v", t)
    for site, left in ((hidden, h[mu, t]), (hidden, z[t]), (other, v[t])):
        if left.tensor.name not in leave_out:
            site.equation(left, 0)
    if "f" not in leave_out:
        hidden.observe(f[mu, t], z[t] * phi(h[mu, t]))
    return SimpleNamespace(**locals())


def refused(change, *symbols, error=ds.LanguageError, **options):
    """Make a mistake in the toy model; the error must be of the right class and show all `symbols`."""
    p = toy(**options)
    with pytest.raises(error) as info:
        change(p)
        ds.derive(p.m)
    for symbol in symbols:
        assert symbol in str(info.value)


def set_action(*extra):
    """An action of the toy model with some of its pieces: "f" is the conjugate term."""

    def change(p):
        pieces = {"f": -p.f.hat[p.mu, p.t] * p.f[p.mu, p.t], "hidden": ds.log_Z(p.hidden), "other": ds.log_Z(p.other)}
        p.m.action = sum(pieces.get(e, e) if isinstance(e, str) else e(p) for e in extra)

    return change


@pytest.mark.parametrize("continuous", [False, True])
def test_the_toy_model_itself_is_accepted(continuous):
    p = toy(continuous=continuous)
    set_action("f", "hidden", "other")(p)
    assert [e.site for e in ds.derive(p.m).process] == ["hidden", "other"]


INDICES = {
    "once": (lambda p: p.hidden.action(p.z.tilde[p.t] * p.y[p.mu]), "index mu ", "y[mu]", "z.tilde[t]"),
    "once in a sum": (lambda p: p.hidden.equation(p.z[p.t], ds.past(p.s)(p.h[p.nu, p.s])), "index nu ", "h[nu, s]"),
    "once in a definition": (lambda p: p.m.define("D", p.mu, p.t, p.y[p.nu]), "D", "index nu ", "y[nu]"),
    "once in data": (lambda p: p.m.otherwise(p.y[p.mu], p.K[p.mu, p.nu]), "data y", "index nu ", "K[mu, nu]"),
    "in past and outside": (
        lambda p: p.hidden.action(p.h.tilde[p.mu, p.t] * p.y[p.nu] * ds.past(p.s, p.nu)(p.K[p.mu, p.nu] * p.z[p.s])),
        "index nu is summed",
        "y[nu]",
        "past(s, nu)",
    ),
    "time in past and outside": (
        lambda p: p.hidden.action(p.z.tilde[p.t] * p.z[p.s] * ds.past(p.s)(p.h[p.mu, p.s] * p.y[p.mu])),
        "index s is summed",
        "z[s]",
    ),
    "sum before its own time": (lambda p: p.hidden.equation(p.z[p.t], ds.past(p.t)(p.z[p.t])), "index t is summed"),
    "past of itself": (
        lambda p: p.hidden.action(p.z.tilde[p.t] * ds.past(p.s)(p.z[p.s] * ds.past(p.s)(p.z[p.s]))),
        "index s is summed",
        "past(s)(z[s])",
    ),
    "too few": (lambda p: p.h[p.t], "h[t]", "[mu, t]", "1 given"),
    "too many": (lambda p: p.y[p.mu, p.nu], "y[mu, nu]", "[mu]", "2 given"),
    "time for a sample": (lambda p: p.y[p.t], "y", "index t ", "'time'", "'P'"),
    "sample for a time": (lambda p: p.h[p.mu, p.nu], "h", "index nu ", "'P'", "'time'"),
    "other axis": (lambda p: p.y[p.m.indices("a", size="Q")], "index a ", "'Q'", "'P'"),
    "name in quotes": (lambda p: p.y["mu"], "'mu'", "y"),
    "fraction": (lambda p: p.y[1.5], "1.5", "y"),
    "symbol": (lambda p: p.y[Symbol("k")], "k cannot be an index"),
    "multiple of a time": (lambda p: p.z[2 * p.t], "2*t"),
    "half step": (lambda p: p.z[p.t + Rational(1, 2)], "t + 1/2"),
    "negative": (lambda p: p.y[-1], "y[-1]"),
    "shifted sample": (lambda p: p.y[p.mu + 1], "y[mu + 1]", "only times"),
    "twice in a declaration": (lambda p: p.m.order_parameter("F", p.mu, p.mu), "F", "[mu, mu]"),
    "twice in past": (lambda p: ds.past(p.s, p.s), "past(s, s)"),
    "twice in sum_over": (lambda p: ds.sum_over(p.mu, p.mu), "sum_over(mu, mu)"),
    "no index in a declaration": (lambda p: p.m.data("F", "mu"), "data F", "mu is not an index"),
    "no index in sum_over": (lambda p: ds.sum_over(p.eta), "sum_over", "eta"),
    "past over samples": (lambda p: ds.past(p.mu)(p.y[p.mu]), "past(mu)", "must be a time"),
    "past over nothing": (lambda p: ds.past()(p.eta), "past()", "must be a time"),
    "past before itself": (lambda p: ds.past(p.s, before=p.s), "before=s"),
    "past before a number": (lambda p: ds.past(p.s, before=p.mu), "before=mu"),
    "past before nothing": (lambda p: p.m.define("D", ds.past(p.s)(p.f[p.mu, p.s])), "past(s)(f[mu, s])", "before"),
    "past in a function": (
        lambda p: p.hidden.action(p.z.tilde[p.t] * p.phi(ds.past(p.s)(p.z[p.s]))),
        "past(s)(z[s])",
        "phi(",
    ),
    "field with two times": (lambda p: p.hidden.field("w", p.t, p.s), "field w", "[t, s]"),
    "field without time": (lambda p: p.hidden.field("w", p.mu), "field w", "[mu]"),
    "size unknown": (lambda p: p.m.indices("a", size="Q"), "axis 'Q'", "size Q is unknown"),
    "two sizes": (lambda p: (p.m.indices("a", size=2, axis="A"), p.m.indices("b", size=3, axis="A")), "'A'", "2", "3"),
    "response at a fixed time": (
        lambda p: p.hidden.action(p.z.tilde[0] * p.z[p.t]),
        "z.tilde[0]",
    ),
}


@pytest.mark.parametrize("case", INDICES)
def test_wrong_indices(case):
    change, *symbols = INDICES[case]
    error = ds.DerivationError if case == "response at a fixed time" else ds.LanguageError
    refused(change, *symbols, error=error)


def foreign():
    """Symbols of another model."""
    m = ds.Model("elsewhere")
    (t,), mu = m.times("t"), m.indices("mu", size="P")
    return SimpleNamespace(beta=m.parameters("beta"), w=m.data("w", mu), g=m.order_parameter("g", t), y=m.data("y"))


SYMBOLS = {
    "symbol": (lambda p: p.hidden.equation(p.z[p.t], Symbol("beta")), "unknown symbol beta", "site hidden"),
    "symbol in a definition": (lambda p: p.m.define("D", p.mu, Symbol("beta") * p.y[p.mu]), "unknown symbol beta", "D"),
    "symbol in the action": (set_action("f", "hidden", "other", lambda p: Symbol("beta")), "unknown symbol beta"),
    "parameter": (lambda p: p.hidden.equation(p.z[p.t], foreign().beta), "beta is not declared", "toy"),
    "data": (lambda p: p.hidden.equation(p.h[p.mu, p.t], foreign().w[p.mu]), "w is not declared", "toy"),
    "order parameter": (lambda p: p.hidden.equation(p.z[p.t], foreign().g[p.t]), "g is not declared", "toy"),
    "size": (lambda p: p.hidden.equation(p.z[p.t], ds.Model("b").indices("a", size="Q").size), "Q is not the size"),
    "site": (set_action("f", "hidden", "other", lambda p: ds.log_Z(ds.Model("b").site("third"))), "log_Z(third)"),
    "field in another site": (lambda p: p.other.equation(p.v[p.t], p.z[p.t]), "site other", "z[t]", "site hidden"),
    "field in the action": (set_action("f", "hidden", "other", lambda p: p.z[p.t]), "action", "z[t]", "site hidden"),
    "field in a definition": (lambda p: p.m.define("D", p.t, p.z[p.t]), "definition D", "z[t]", "site hidden"),
    "response in a definition": (
        lambda p: p.hidden.define("g", p.t, p.z.tilde[p.t]),
        "definition g",
        "response field z.tilde[t]",
    ),
    "conjugate in a definition": (
        lambda p: p.m.define("D", p.mu, p.t, p.f.hat[p.mu, p.t]),
        "definition D",
        "conjugate f.hat[mu, t]",
    ),
    "observable in the action": (
        lambda p: p.hidden.equation(p.h[p.mu, p.t], p.m.observable("L", p.mu, p.t, p.f[p.mu, p.t])[p.mu, p.t]),
        "observable L[mu, t]",
    ),
    "order parameter in data": (lambda p: p.m.otherwise(p.y[p.mu], p.f[p.mu, 0]), "data y", "order parameter f[mu, 0]"),
    "field of another site in a definition": (
        lambda p: p.other.define("g", p.t, p.z[p.t]),
        "definition g",
        "z[t]",
        "site hidden",
    ),
    "derivative in a definition": (lambda p: p.m.define("D", p.t, p.z.dot[p.t]), "definition D", "z[t]"),
    "conjugate of data": (lambda p: p.y.hat, "y.hat", "a data"),
    "conjugate of a field": (lambda p: p.h.hat, "h.hat", "a field"),
    "response field of data": (lambda p: p.y.tilde, "y.tilde", "a data"),
    "response field of an order parameter": (lambda p: p.f.tilde, "f.tilde", "a order parameter"),
    "derivative of an order parameter": (lambda p: p.f.dot, "f.dot", "a order parameter"),
}


@pytest.mark.parametrize("case", SYMBOLS)
def test_symbols_that_do_not_belong(case):
    change, *symbols = SYMBOLS[case]
    refused(change, *symbols, continuous=case == "derivative in a definition")


def test_time_derivative_needs_continuous_time():
    refused(lambda p: p.z.dot[p.t], "z.dot", "continuous=True")


ACTIONS = {
    "missing conjugate": (set_action("hidden", "other"), "order parameter f", "-f.hat[mu, t]*f[mu, t]"),
    "wrong conjugate": (
        set_action("hidden", "other", lambda p: -p.f.hat[p.mu, p.t] * p.y[p.mu]),
        "f",
        "-f.hat[mu, t]*f[mu, t]",
    ),
    "site left out": (set_action("f", "hidden"), "leaves out site other", "log_Z(other)"),
    "site twice": (set_action("f", "hidden", "other", lambda p: p.eta * ds.log_Z(p.other)), "log_Z(other) twice"),
    "square of log_Z": (set_action("f", "hidden", lambda p: ds.log_Z(p.other) ** 2), "log_Z(other)"),
    "log_Z times an order parameter": (
        set_action("f", "hidden", lambda p: p.f[p.mu, p.t] * ds.log_Z(p.other)),
        "f[mu, t]",
    ),
    "neither response nor conjugate": (lambda p: p.hidden.action(p.z[p.t] ** 2), "site hidden", "z[t]**2"),
    "two derivatives": (
        lambda p: p.hidden.action(p.z.tilde[p.t] * (p.h.dot[p.mu, p.t] * p.y[p.mu] - p.z.dot[p.t])),
        "z.dot[t]",
        "of z",
    ),
    "left side not a field": (lambda p: p.hidden.equation(p.f[p.mu, p.t], 0), "site hidden", "f[mu, t]"),
    "noise on data": (lambda p: p.hidden.noise(p.y[p.mu], p.z[p.t], 1), "site hidden", "y[mu]"),
    "observing a field": (lambda p: p.hidden.observe(p.z[p.t], p.z[p.t]), "site hidden", "z[t]"),
    "data from an order parameter's entry": (lambda p: p.m.otherwise(p.f[p.mu, p.t], p.y[p.mu]), "f[mu, t]"),
    "definition without formula": (lambda p: p.m.define("D", p.mu, p.t), "definition D", "formula"),
    "site definition without indices": (lambda p: p.hidden.define("g", Integer(1)), "definition g", "site hidden"),
}


@pytest.mark.parametrize("case", ACTIONS)
def test_incomplete_or_wrong_actions(case):
    change, *symbols = ACTIONS[case]
    refused(change, *symbols, continuous=case == "two derivatives")


def test_missing_and_double_pieces():
    refused(lambda p: None, "order parameter f", "f.hat[mu, t]*O", leave_out=("f",))
    refused(lambda p: None, "site hidden", "-z.tilde[t]*z[t]", "no equation", leave_out=("z",))
    refused(lambda p: None, "site other has no action", leave_out=("v",))
    refused(lambda p: p.hidden.equation(p.z[p.t], p.eta), "site hidden", "-z.tilde[t]*z[t]", "two equations")


def test_empty_models():
    m = ds.Model("toy")
    with pytest.raises(ds.LanguageError, match="toy: declare the time indices first"):
        ds.derive(m)
    m.times("t s")
    with pytest.raises(ds.LanguageError, match="model toy has no site"):
        ds.derive(m)


TOO_HIGH = {
    "third order": (lambda p: p.z.tilde[p.t] ** 3 * p.eta, "z.tilde[t]**3"),
    "mixed third order": (
        lambda p: p.z.tilde[p.t] * p.h.tilde[p.mu, p.t] * p.h.tilde[p.mu, p.s],
        "h.tilde[mu, s]",
        "z.tilde[t]",
    ),
    "inside a function": (lambda p: exp(p.z.tilde[p.t]), "exp(z.tilde[t])"),
    "lagged": (lambda p: p.z.tilde[p.t - 1] * p.z[p.t], "z.tilde[t - 1]"),
    "white noise with an amplitude": (lambda p: p.z.tilde[p.t] ** 2 * p.h[p.mu, p.t] ** 2, "amplitude", "h[mu, t]"),
    "amplitude at a third time": (
        lambda p: p.z.tilde[p.t] * p.z[p.t - 1] * p.z.tilde[p.s],
        "z[t - 1]",
    ),
    "noise under a sum over the past": (
        lambda p: p.z.tilde[p.t] * ds.past(p.s, before=p.t)(p.z.tilde[p.s]),
        "z.tilde[t]",
        "past",
    ),
}


@pytest.mark.parametrize("case", TOO_HIGH)
def test_response_fields_beyond_gaussian_noise(case):
    term, *symbols = TOO_HIGH[case]
    refused(lambda p: p.hidden.action(term(p)), *symbols, error=ds.DerivationError)


def test_order_parameter_must_be_linear_in_its_own_equation():
    square = lambda p: -p.f.hat[p.mu, p.t] * p.f[p.mu, p.t] ** 2
    refused(set_action("hidden", "other", square), "order parameter f", "f[mu, t]**2", error=ds.DerivationError)


DECLARE = {
    "times": lambda m, name: m.times(name),
    "index": lambda m, name: m.indices(name, size=7),
    "size": lambda m, name: m.indices("k", size=name, axis="A"),
    "parameter": lambda m, name: m.parameters(name),
    "activation": lambda m, name: m.activation(name, "tanh"),
    "data": lambda m, name: m.data(name),
    "order parameter": lambda m, name: m.order_parameter(name),
    "definition": lambda m, name: m.define(name, m.index_symbols["mu"], m.tensors["y"][m.index_symbols["mu"]]),
    "site": lambda m, name: m.site(name),
    "field": lambda m, name: m.sites["hidden"].field(name, m.index_symbols["t"]),
    "site definition": lambda m, name: m.sites["hidden"].define(name, m.index_symbols["t"], 1),
}


@pytest.mark.parametrize("kind", DECLARE)
def test_names_are_declared_once(kind):
    for name in ("mu", "eta", "K", "f", "phi", "hidden", "h", "P"):
        with pytest.raises(ds.LanguageError, match=f"'{name}' is declared twice"):
            DECLARE[kind](toy().m, name)


@pytest.mark.parametrize("kind", DECLARE)
def test_names_of_code_are_names_like_others(kind):
    """Whether they clash with names in generated code is not the user's business: see test_code_names."""
    names = "lambda class seed np dt u_h x_history _x é λ Σ2 steps se_g t9 columns int double"
    for name in names.split():
        DECLARE[kind](toy().m, name)


UNUSABLE = ["", "1x", "x-y", "x.y", "x[0]", "x;import os", "x\n", "K^x", "x'", "a b", "x" * 61, 3, None]


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_names(name):
    for declare in (toy().m.data, lambda n: toy().hidden.field(n, toy().t)):
        with pytest.raises(ds.LanguageError, match=r"not a usable name|at most 60|text is expected"):
            declare(name)


@pytest.mark.parametrize("name", ["", " x", "x ", "x/y", "x\ny", 'x"', "x'", "x\\", "{x}", "x" * 61, None, 3])
def test_unusable_names_of_sites_axes_and_models(name):
    for declare in (toy().m.site, lambda n: toy().m.indices("k", size=3, axis=n or "/"), ds.Model):
        with pytest.raises(ds.LanguageError, match=r"not a usable name|at most 60|text is expected"):
            declare(name)
    for fine in ("my site", "hidden-1", "2", "layer 1.5", "Schicht für Übergänge"):
        toy().m.site(fine), toy().m.indices("k", size=3, axis=fine), ds.Model(fine)


RESULTS = {
    "time": (lambda p: p.m.define("time", p.y[p.mu]), "'time'", "results report something else"),
    "status": (lambda p: p.m.observable("status", p.y[p.mu]), "'status'", "results report something else"),
    "axis": (lambda p: p.m.define("P", p.mu, p.y[p.mu]), "'P'", "declared twice"),
    "axis with a name": (
        lambda p: (p.m.indices("k", size=2, axis="class"), p.m.define("class", p.y[p.mu])), "'class'", "an axis"),
    "error": (lambda p: p.m.define("se_f", p.y[p.mu]), "'se_f'", "sampling error of f"),
    "covariance": (lambda p: p.m.define("cov_f_f", p.y[p.mu]), "'cov_f_f'", "covariance of f and f"),
    "excess": (lambda p: p.m.define("excess_f", p.y[p.mu]), "'excess_f'", "of f"),
    "second time": (lambda p: p.m.indices("k", size=2, axis="time2"), "'time2'", "further index of the axis 'time'"),
    "second sample": (lambda p: p.m.indices("k", size=2, axis="P3"), "'P3'", "further index of the axis 'P'"),
}  # fmt: skip


@pytest.mark.parametrize("case", RESULTS)
def test_names_that_results_keep_for_themselves(case):
    change, *symbols = RESULTS[case]

    def with_definition(p):
        change(p)
        set_action("f", "hidden", "other")(p)

    refused(with_definition, *symbols)


@pytest.mark.parametrize("order", [-1, 1.5])
def test_order_of_a_derivative(order):
    with pytest.raises(ds.LanguageError, match=r"phi\.d\(" + str(order)):
        toy().phi.d(order)


@pytest.mark.parametrize(
    ("function", "symbol"),
    [("tahn", "tahn"), ("tanh(g)", "g is unknown"), (lambda h: h * Symbol("g"), "unknown symbol g"), (3, "not 3")],
)
def test_unknown_activations(function, symbol):
    with pytest.raises(ds.LanguageError, match=symbol):
        toy().m.activation("psi", function)


# --- mistakes that once passed ---------------------------------------------------------------------------------------


def field_from(p, **start):
    """A field with an initial value and an equation."""
    w = p.hidden.field("w", p.t, **start)
    p.hidden.equation(w[p.t], w[p.t - 1])


OVERLOOKED = {
    # Regression: a tensor without its indices passes the checks and ends in an AttributeError of the code generator.
    "field without indices": (lambda p: p.other.action(p.v.tilde[p.t] * p.phi(p.v)), "v", "[t]"),
    "data without indices": (lambda p: p.other.action(p.v.tilde[p.t] * p.y), "y", "[mu]"),
    "order parameter without indices": (lambda p: p.other.action(p.v.tilde[p.t] * p.f), "f", "[mu, t]"),
    "activation without argument": (lambda p: p.other.action(p.v.tilde[p.t] * p.phi), "phi"),
    # Regression: the weight of a site is not checked for symbols.
    "symbol as a weight": (set_action("f", "hidden", lambda p: Symbol("w") * ds.log_Z(p.other)), "unknown symbol w"),
    "foreign weight": (set_action("f", "hidden", lambda p: foreign().beta * ds.log_Z(p.other)), "beta"),
    # Regression: log_Z inside a function is silently dropped.
    "function of log_Z": (set_action("f", "hidden", "other", lambda p: exp(ds.log_Z(p.other))), "exp(log_Z(other))"),
    # Regression: initial values are not checked.
    "symbol in an initial value": (lambda p: field_from(p, variance=Symbol("q")), "w", "unknown symbol q"),
    "foreign initial value": (lambda p: field_from(p, mean=foreign().beta), "w", "beta"),
    # Regression: an index of an initial value that its field does not have is neither refused nor summed.
    "loose index in an initial value": (lambda p: field_from(p, variance=p.y[p.mu]), "initial value of w", "index mu "),
    # Regression: a tensor of another model is taken for the one of the same name in this model.
    "foreign data of a known name": (lambda p: p.other.equation(p.v[p.t], ds.Model("b").data("f")[()]), "f"),
    # Regression: an index that the definition declares is also summed in it.
    "declared index is summed": (
        lambda p: p.m.define("W", p.t, p.s, ds.past(p.s, before=p.t)(p.f[0, p.s])),
        "W",
        "index s ",
    ),
    # Regression: IndexError instead of a message.
    "no index name": (lambda p: p.m.indices("", size="Q"), "Q"),
    "no parameter name": (lambda p: p.m.parameters(" "), "name"),
    # Regression: TypeError of NumPy instead of a message.
    "NumPy function": (lambda p: p.m.activation("psi", np.tanh), "psi"),
}


@pytest.mark.parametrize("case", OVERLOOKED)
def test_overlooked_mistakes(case):
    change, *symbols = OVERLOOKED[case]
    leave_out = ("v",) if "foreign data" in case else ()
    refused(change, *symbols, leave_out=leave_out)


def test_initial_values_may_differ_between_components():
    p = toy()
    w = p.hidden.field("w", p.mu, p.t, mean=p.eta, variance=p.K[p.mu, p.mu])
    p.hidden.equation(w[p.mu, p.t], w[p.mu, p.t - 1])
    (start,) = ds.derive(p.m).process[0].starts
    assert (start.field, start.mean, start.variance) == (w, p.eta, p.K[p.mu, p.mu])


@pytest.mark.parametrize("other", ["lag", "start"])
def test_noise_correlated_at_a_lag_is_not_static(other):
    # Regression: taken for a static source of the same variance at all pairs of times.
    time = lambda p: p.t - 1 if other == "lag" else 0
    refused(lambda p: p.hidden.action(p.z.tilde[p.t] * p.z.tilde[time(p)]), "z.tilde", error=ds.DerivationError)


@pytest.mark.parametrize("take", [lambda p, text: p.m.define("D", p.t, text), lambda p, text: p.other.action(text)])
def test_strings_are_not_evaluated(take, monkeypatch):
    # Regression: strings reach sympify, which evaluates them as Python.
    calls = []
    monkeypatch.setattr(builtins, "spy", calls.append, raising=False)
    with pytest.raises(ds.LanguageError, match="spy"):
        take(toy(), "spy(1)")
    assert not calls


def test_more_time_indices_keep_the_time_step():
    # Regression: the second declaration resets dt.
    m = ds.Model("toy")
    m.times("t s", continuous=True, dt=0.1)
    m.times("u", continuous=True)
    assert m.time_step == 0.1


def test_a_parameter_may_be_called_T_before_and_after_the_times():
    # Regression: the size symbol of the time axis clashes with it, but only if the parameter is declared first.
    m = ds.Model("toy")
    T = m.parameters("T")
    m.times("t s")
    assert T.name == "T"
