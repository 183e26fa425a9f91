"""`parse_expression` reads formulas by a whitelist grammar: exact numbers, never Python, one kind of error."""

import builtins
import math
import time
from fractions import Fraction

import mpmath
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy import Expr, Rational, Symbol, cos, exp, log, pi, tanh

import dmftsym as ds
from dmftsym.language.activations import make_activation
from dmftsym.language.functions import logistic, softplus
from dmftsym.language.grammar import MAX_DEPTH, MAX_LENGTH
from dmftsym.models.loading import build_model

h = Symbol("h", real=True)
SETTINGS = settings(derandomize=True, deadline=None, max_examples=150)


def parse(text):
    return ds.parse_expression(text, ("h",))


FORMULAS = {
    " 2*h + 1 ": 2 * h + 1,
    "-h**2": -(h**2),
    "2 - 3 - 4": Rational(-5),
    "8/4/2": Rational(1),
    "2**-1": Rational(1, 2),
    "tanh(0.4*h)/0.4": tanh(2 * h / 5) * Rational(5, 2),
    "+h*(1 - h)": h * (1 - h),
    "cos(pi*h) + E": cos(pi * h) + exp(1),
    "log1p(exp(h))": log(1 + exp(h)),
    "logistic(2*h) + sigmoid(2*h)": 2 * logistic(2 * h),
    "softplus(h)": softplus(h),
    "relu(h) - max(h, 0)": Rational(0),
    "min(h, 1) + heaviside(h - 1)*(h - 1)": h,
    "abs(h) - sign(h)*h": Rational(0),
}


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas(text):
    difference = parse(text) - FORMULAS[text]
    assert difference == 0 or all(difference.subs(h, x) == 0 for x in (-2, 0, 3))


@pytest.mark.parametrize("text", ["0.1", "0.30", "1e-3", "2.5E2", "1_000", ".5", "3.", "12345678901234567890.25"])
def test_decimal_numbers_are_exact(text):
    assert parse(text) == Rational(Fraction(text.replace("_", "")))
    assert parse(f"{text}*h") == Rational(Fraction(text.replace("_", ""))) * h


PYTHON = [
    "__import__('os')",
    "__import__('os').system('true')",
    "spy(1)",
    "spy",
    "h.real",
    "h.__class__",
    "(1).__class__",
    "h[0]",
    "lambda: h",
    "(lambda x: x)(h)",
    "[h for h in (1,)]",
    "{h: 1}",
    "{h}",
    "(h, 1)",
    "'h'",
    "f'{h}'",
    "b'h'",
    "h if h else 1",
    "h < 1",
    "h == 1",
    "not h",
    "h and 1",
    "~h",
    "h // 2",
    "h % 2",
    "h @ h",
    "h << 2",
    "h | 1",
    "(h := 1)",
    "*h",
    "exp(*h)",
    "exp(x=h)",
    "exp(**h)",
    "exp()",
    "exp(h, h)",
    "max(h)",
    "min(h, 1, 2)",
    "exp",
    "True",
    "None",
    "...",
    "1j",
    "await h",
    "yield h",
    "h; h",
    "h = 1",
    "import os",
    "h\nh",
    "",
    " ",
    "(",
    "h)",
    "2h",
]


@pytest.mark.parametrize("text", PYTHON)
def test_nothing_but_formulas(text, monkeypatch):
    calls = []
    monkeypatch.setattr(builtins, "spy", calls.append, raising=False)
    with pytest.raises(ds.LanguageError, match=r"formula|unknown|argument|operation"):
        parse(text)
    assert not calls


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("h + g", "g is unknown; variables are h"),
        ("foo(h)", r"foo\(...\) is unknown"),
        ("h/0", "h/0 divides by zero"),
        ("1/(h - h)", "1/0 divides by zero"),
        ("0**-1", "not a finite real formula"),
        ("log(0)", "not a finite real formula"),
        ("sqrt(-2)*h", "not a finite real formula"),
        ("tan(pi/2)", "not a finite real formula"),
        ("9**9**9", r"\*\*\(387420489\)"),
        ("h**21", r"\*\*\(21\)"),
        ("h**-21", r"\*\*\(-21\)"),
        ("h**h", r"\*\*\(h\)"),
        ("2**pi", r"\*\*\(pi\)"),
        ("1e400", "1e400"),
        ("1e101", "1e101"),
        ("1e-101", "1e-101"),
        ("9" * 31, "9" * 30),
        ("h" + " + h" * MAX_LENGTH, f"longer than {MAX_LENGTH}"),
        ("-" * (MAX_DEPTH + 2) + "h", f"deeper than {MAX_DEPTH}"),
        ("exp(" * (MAX_DEPTH + 2) + "h" + ")" * (MAX_DEPTH + 2), f"deeper than {MAX_DEPTH}"),
        ("(" * 240 + "h" + ")" * 240, "formula"),
    ],
)
def test_refusals_say_what_is_wrong(text, named):
    with pytest.raises(ds.LanguageError, match=named):
        parse(text)


# --- random formulas against an evaluation in 60-digit arithmetic ----------------------------------------------------

POINT = Fraction(7, 10) + Fraction(1, 97)


def real(function, allowed=lambda x: True):
    def guarded(x, *rest):
        if not allowed(x):
            raise ValueError
        return function(x, *rest)

    return guarded


REFERENCE = {
    **{n: getattr(mpmath, n) for n in ("exp", "sin", "cos", "atan", "sinh", "cosh", "tanh", "asinh", "erf", "erfc")},
    "sqrt": real(mpmath.sqrt, lambda x: x >= 0),
    "log": real(mpmath.log, lambda x: x > 0),
    "log1p": real(mpmath.log1p, lambda x: x > -1),
    "abs": abs,
    "relu": lambda x: max(x, 0),
    "max": max,
    "min": min,
    "logistic": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
}
ONE_ARGUMENT = sorted(set(REFERENCE) - {"max", "min"})


def _binary(parts):
    (one, left), operation, (other, right) = parts
    return f"{one} {operation} {other}", f"{left} {operation} {right}"


NUMBERS = st.sampled_from(["1", "2", "0.4", "1.5", "3", "0.25", "1e-1"]).map(lambda n: (n, f"number('{n}')"))
LEAVES = NUMBERS | st.just(("h", "h")) | st.just(("pi", "pi"))
FORMULA = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(_binary),
        inner.map(lambda p: (f"({p[0]})", f"({p[1]})")),
        inner.map(lambda p: (f"-{p[0]}", f"-{p[1]}")),
        st.tuples(st.sampled_from(ONE_ARGUMENT), inner).map(lambda p: (f"{p[0]}({p[1][0]})", f"{p[0]}({p[1][1]})")),
        st.tuples(st.sampled_from(["max", "min"]), inner, inner).map(
            lambda p: (f"{p[0]}({p[1][0]}, {p[2][0]})", f"{p[0]}({p[1][1]}, {p[2][1]})")
        ),
        st.tuples(inner, st.sampled_from(["2", "3", "-1", "-2"])).map(
            lambda p: (f"({p[0][0]})**{p[1]}", f"({p[0][1]})**{p[1]}")
        ),
    ),
    max_leaves=8,
)


def evaluate(reference):
    """The value of a generated formula by Python's own precedence rules, or None outside its real domain."""
    number = lambda text: mpmath.mpf(Fraction(text).numerator) / Fraction(text).denominator
    names = {**REFERENCE, "number": number, "pi": +mpmath.pi, "h": mpmath.mpf(POINT.numerator) / POINT.denominator}
    try:
        value = eval(reference, {"__builtins__": {}}, names)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if mpmath.isfinite(value) and abs(value) < 1e30 else None


@SETTINGS
@given(FORMULA)
def test_random_formulas_have_their_value(pair):
    text, reference = pair
    with mpmath.workdps(60):
        expected = evaluate(reference)
        assume(expected is not None and len(text) <= MAX_LENGTH)
        numeric = {logistic: lambda x: 1 / (1 + exp(-x)), softplus: lambda x: log(1 + exp(x))}
        expression = parse(text)
        for function, formula in numeric.items():
            expression = expression.replace(function, formula)
        value = expression.subs(h, Rational(POINT)).evalf(40)
        assert abs(mpmath.mpf(str(value)) - expected) <= mpmath.mpf("1e-25") * (1 + abs(expected))


TOKENS = "h g ( ) + - * / ** , . 1 0 2.5 9 1e5 exp sqrt log max relu heaviside tan pi ~ lambda [ ] ' : = if not".split()
SOUP = st.builds(str.join, st.sampled_from(["", " "]), st.lists(st.sampled_from(TOKENS), max_size=10))


@SETTINGS
@given(st.text(max_size=30) | SOUP)
def test_any_text_parses_or_is_refused(text):
    try:
        assert isinstance(parse(text), Expr)
    except ds.LanguageError as error:
        assert str(error)


# --- once not refused properly ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0x10", "0b1", "0o7", "0x_f*h"])
def test_other_number_systems(text):
    # Regression: ValueError of Fraction; the grammar has decimal numbers only.
    with pytest.raises(ds.LanguageError, match="0"):
        parse(text)


@pytest.mark.parametrize("text", ["max(sqrt(-1), h)", "heaviside(sqrt(-1))", "relu(log(0))", "max(tan(pi/2), 1)"])
def test_not_real_inside_a_comparison(text):
    # Regression: ValueError of SymPy.
    with pytest.raises(ds.LanguageError):
        parse(text)


@pytest.mark.parametrize("text", ["(-8)**(1/3)", "asin(2)", "h + acos(3)", "(0 - 1)**0.3*h"])
def test_complex_numbers_without_the_imaginary_unit(text):
    # Regression: these are complex, but hold no I, and pass the check.
    with pytest.raises(ds.LanguageError, match="real"):
        parse(text)


@pytest.mark.parametrize("text", ["(((9**20)**20)**20)**20", "(((0.1**20)**20)**20)**20"])
def test_powers_of_powers(text):
    # Regression: each level multiplies the number of digits by 20, two more levels exhaust the memory.
    with pytest.raises(ds.LanguageError):
        parse(text)


@pytest.mark.parametrize("base", ["2*h", "h/3", "2*pi"])
def test_powers_of_powers_of_products(base):
    # Regression: SymPy takes the number out of the product, (2*h)**20 = 1048576*h**20, and its digits grow as above.
    with pytest.raises(ds.LanguageError):
        parse(f"(((({base})**20)**20)**20)**20")


def test_deep_formula_below_a_forbidden_operation():
    # Regression: RecursionError, the message prints the whole tree.
    with pytest.raises(ds.LanguageError, match="~"):
        parse("~" + "-" * 400 + "h")


@pytest.mark.parametrize("text", ["max(exp(exp(exp(exp(9)))), 1)", "abs(exp(exp(exp(9))) - exp(exp(exp(exp(8)))))"])
def test_numbers_too_large_to_compare(text):
    # Regression: OverflowError of SymPy.
    try:
        assert isinstance(parse(text), Expr)
    except ds.LanguageError as error:
        assert "exp" in str(error)


@pytest.mark.parametrize(
    "text", ["relu(logistic(pi))", "max(softplus(2) - 3, 0)", "abs(logistic(100) - softplus(-100))"]
)
def test_numbers_from_functions_of_our_own_are_compared(text):
    # Regression: SymPy compares numbers by their value, which these functions did not tell.
    assert parse(text).is_number and float(parse(text)) >= 0


def test_values_of_functions_of_our_own():
    assert abs(float(parse("logistic(2)")) - 1 / (1 + math.exp(-2))) < 1e-15
    assert abs(float(parse("softplus(2)")) - math.log(1 + math.exp(2))) < 1e-15


def nested(name, depth):
    return f"{name}(" * depth + "h" + ")" * depth


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (nested("tanh", 13), "nests functions deeper than 12"),
        (nested("tanh", 39), "nests functions deeper than 12"),
        (nested("sin", 20) + "*" + nested("exp", 2), "nests functions deeper"),
        ("((((h+1)**20+1)**20+1)**20+1)**20", "more than 10000 terms multiplied out"),
        ("tanh(((h+1)**20+1)**20)", "more than 10000 terms"),
        ("(h+1)**20*(h+2)**20*(h+3)**20*(h+4)**20", "more than 10000 terms"),
        ("exp(exp(exp(exp(9))))", "reasonable number"),
        ("h + exp(exp(7))", "reasonable number"),
        ("(exp(9)**20)**20*h", "reasonable number"),
        ("sinh(cosh(99))", "reasonable number"),
    ],
)
def test_what_would_be_too_large_is_refused_at_once(text, words):
    begin = time.perf_counter()
    with pytest.raises(ds.LanguageError, match=words):
        parse(text)
    assert time.perf_counter() - begin < 2


@pytest.mark.parametrize("text", (nested("tanh", 12), "(h+1)**20", "exp(exp(2))*h", "((h+1)**4+1)**4", "sin(1e30*h)"))
def test_what_is_just_small_enough_is_read(text):
    assert parse(text).has(h)


@pytest.mark.parametrize("text", (nested("tanh", 12), "(h+1)**20", "((h+1)**4+1)**4"))
def test_large_formulas_compile_soon(text):
    begin = time.perf_counter()
    ds.compile_model(build_model("mlp", activation=text))
    assert time.perf_counter() - begin < 20


def test_the_degree_of_a_formula_is_read_off_its_form():
    degree = lambda text, order=0: make_activation("phi", text).degree(order)
    assert [degree(t) for t in ("2*h - h/3", "3", "h*(h+1)**3", "((h+1)**4+1)**4")] == [1, 0, 4, 16]
    assert degree("tanh(h)") == degree("1/h") == degree("h + exp(h)") == degree("relu(h)") == math.inf
    assert (degree("h**3/3", 1), degree("h**2", 2)) == (2, 0)
