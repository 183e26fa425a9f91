"""Every printer rule, executed as a number in a kernel and as an array, against SymPy at 40 digits."""

import numpy as np
import pytest
import sympy
from cupy_stand_in import COMPILER, DeviceArray, RawKernel
from numba import njit
from sympy import (
    Abs,
    Derivative,
    E,
    Eq,
    Float,
    Function,
    GoldenRatio,
    Heaviside,
    I,
    Integer,
    Max,
    Min,
    Piecewise,
    Rational,
    exp,
    log,
    pi,
    sqrt,
    symbols,
)

from dmftsym.codegen.cuda_printer import CUDA_RULES, CudaPrinter
from dmftsym.codegen.printers import RULES, FormulaPrinter
from dmftsym.errors import CodegenError
from dmftsym.language.functions import KNOWN, logistic, softplus

x, y = symbols("x y", real=True)
TOLERANCE = 1e-14

ANYWHERE = (-2.7, -0.4, 0.0, 1e-9, 0.31, 1.0, 3.9)
POSITIVE = (1e-6, 0.3, 1.0, 2.5, 40.0)
RULE_CASES = {  # one entry for every rule of the printer: the function and where it is defined
    "exp": (sympy.exp, ANYWHERE),
    "log": (sympy.log, POSITIVE),
    "sin": (sympy.sin, ANYWHERE),
    "cos": (sympy.cos, ANYWHERE),
    "tan": (sympy.tan, ANYWHERE),
    "asin": (sympy.asin, (-1.0, -0.6, 0.0, 1e-9, 0.2, 0.99)),
    "acos": (sympy.acos, (-1.0, -0.6, 0.0, 1e-9, 0.2, 0.99)),
    "atan": (sympy.atan, ANYWHERE),
    "sinh": (sympy.sinh, ANYWHERE),
    "cosh": (sympy.cosh, ANYWHERE),
    "tanh": (sympy.tanh, ANYWHERE),
    "asinh": (sympy.asinh, ANYWHERE),
    "acosh": (sympy.acosh, (1.0, 1.2, 2.5, 40.0)),
    "atanh": (sympy.atanh, (-0.9, 0.0, 1e-9, 0.5)),
    "erf": (sympy.erf, ANYWHERE),
    "erfc": (sympy.erfc, ANYWHERE),
    "Abs": (Abs, ANYWHERE),
    "sign": (sympy.sign, ANYWHERE),
    "Heaviside": (Heaviside, ANYWHERE),
    "logistic": (logistic, (*ANYWHERE, -20.0, 30.0)),
    "softplus": (softplus, (*ANYWHERE, -20.0, 30.0)),
    "floor": (sympy.floor, (-1.5, -0.2, 0.7, 2.3)),
    "ceiling": (sympy.ceiling, (-1.5, -0.2, 0.7, 2.3)),
    "sinc": (sympy.sinc, (-2.0, 0.0, 1e-9, 0.8)),
}
FORMULAS = (  # in x, and in x and y, at positive points
    Max(0, x - 1),
    Max(x, 1, y),
    Min(x, 2),
    Min(1, x, y) - Max(x, y),
    Piecewise((x**2, x < 1), (sqrt(x), True)),
    Piecewise((0, x < 1), (1, Eq(x, 1)), (x - y, x < y), (7, True)),
    Piecewise((2 * x, (x > 1) & (x < 3)), (y, (y < 1) | (x < 1)), (0, True)),
    x**2,
    x / y**2,
    -(x**3),
    1 / x,
    x**-2,
    sqrt(x),
    1 / sqrt(x),
    x ** Rational(3, 2),
    x ** Rational(-5, 2),
    x ** Rational(1, 3),
    x ** Rational(-2, 3),
    2 / (3 * x * y**2),
    (x / y) ** Rational(1, 3),
    (x / y) ** Rational(-1, 2),
    (x**2 + 1) ** Rational(-1, 2),
    -1 / (x + y) ** 2,
    x**y,
    (x * y) ** (-y),
    2**x,
    Rational(1, 3) ** (x + y),
    (x - Rational(1, 3)) / 7,
    -Rational(7, 2) * x - Rational(10, 3),
    pi * x,
    E * x,
    E ** (-(x**2) / 2) / sqrt(2 * pi),
    sqrt(Rational(2, 3)) * x,
    GoldenRatio * x,
    Float("0.1", 30) * x,
    Integer(10) ** 12 * x,
    Integer(10) ** 30 * x,
    x / Integer(10) ** 30,
    log(1 + exp(x)) * Abs(x - y) / Heaviside(x),
)
PAIRS = ((0.3, 0.8), (1.0, 1.0), (2.5, 0.7), (1.7, 4.0))


def exact(expr, point) -> float:
    """The value at the exact value of the binary numbers, in 40 digits, rounded to a float."""
    expr = expr.replace(logistic, lambda a: 1 / (1 + exp(-a))).replace(softplus, lambda a: log(1 + exp(a)))
    values = {s: Float(v, 40) for s, v in zip((x, y), point, strict=True)}
    return float(expr.xreplace(values).evalf(40))


def agree(found, expected, tolerance=TOLERANCE) -> bool:
    return np.allclose(found, expected, rtol=tolerance, atol=0)


@pytest.fixture
def as_number(recurrent):
    """Compile a formula as a function of numbers, with the names that a generated module knows."""

    def run(expr, points):
        scope = dict(vars(recurrent))
        exec(f"def formula(x, y):\n    return {FormulaPrinter(array=False).formula(expr)}", scope)
        kernel = njit(scope["formula"])
        return np.array([kernel(*p) for p in points])

    return run


@pytest.fixture
def as_array(recurrent):
    """Evaluate a formula on whole arrays, with the names that a generated module knows."""

    def run(expr, points):
        first, second = np.array(points).T
        code = FormulaPrinter(array=True).formula(expr)
        return np.broadcast_to(eval(code, dict(vars(recurrent)), {"x": first, "y": second}), len(points))

    return run


@pytest.fixture
def as_cuda():
    """Compile a formula as CUDA C, behind the definitions of the stand-in."""
    if COMPILER is None:
        pytest.skip("no C++ compiler")

    def run(expr, points):
        value = CudaPrinter().formula(expr)
        code = f'extern "C" __global__ void formula(double* result, double x, double y) {{ result[0] = {value}; }}'
        kernel, found = RawKernel(code, "formula"), []
        for point in points:
            result = np.full(1, np.nan)
            kernel((1,), (1,), (DeviceArray(result), *map(float, point)))
            found.append(result[0])
        return np.array(found)

    return run


@pytest.fixture(params=("number", "array", "cuda"))
def run(request):
    """Either way to execute a formula."""
    return request.getfixturevalue(f"as_{request.param}")


@pytest.mark.parametrize("name", RULE_CASES)
def test_rule(name, run):
    function, where = RULE_CASES[name]
    points = [(v, 0.0) for v in where]
    assert agree(run(function(x), points), [exact(function(x), p) for p in points])


def test_every_rule_has_a_case_here():
    assert set(RULE_CASES) == set(RULES) == set(CUDA_RULES) == set(KNOWN)


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_formula(formula, run):
    assert agree(run(formula, PAIRS), [exact(formula, p) for p in PAIRS])


def test_rules_inside_one_another(run):
    formula = softplus(-logistic(Abs(x - y)) * sympy.sign(x - 2)) ** 2 - sympy.erfc(-Max(x, y)) / 3
    assert agree(run(formula, PAIRS), [exact(formula, p) for p in PAIRS])


def test_the_tolerance_catches_a_wrong_last_digit(run, monkeypatch):
    """Negative control: a constant rounded to 14 digits, a factor off by 3e-14, a wrong rule."""
    expected = [exact(pi * x, p) for p in PAIRS]
    assert agree(run(pi * x, PAIRS), expected)
    assert not agree(run(Float("3.1415926535897", 30) * x, PAIRS), expected)
    expected = [exact(sympy.tanh(x), p) for p in PAIRS]
    assert not agree(run(sympy.tanh(x) * (1 + Rational(3, 10**14)), PAIRS), expected)
    monkeypatch.setitem(RULES, "tanh", ("math.atan({0})", "{xp}.arctan({0})"))
    monkeypatch.setitem(CUDA_RULES, "tanh", "atan({0})")
    assert not agree(run(sympy.tanh(x), PAIRS), expected)


@pytest.mark.parametrize(
    ("function", "expected"),
    [(logistic, (0.0, 1.0)), (softplus, (0.0, 800.0)), (sympy.tanh, (-1.0, 1.0)), (sympy.erf, (-1.0, 1.0))],
)
def test_extreme_arguments_do_not_overflow(function, expected, run):
    found = run(function(x), [(-800.0, 0.0), (800.0, 0.0)])  # an overflow would warn, and warnings are errors here
    assert tuple(found) == expected


def test_step_with_another_value_at_the_jump(run):
    """Heaviside(x, 1) is 1 at 0; silently printing 1/2 would be wrong."""
    try:
        found = run(Heaviside(x, 1), [(-1.0, 0.0), (0.0, 0.0), (1.0, 0.0)])
    except CodegenError:
        return
    assert list(found) == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("array", (False, True), ids=("number", "array"))
@pytest.mark.parametrize(
    "function",
    [Function("kappa"), sympy.LambertW, sympy.erfinv, sympy.coth, sympy.gamma, sympy.loggamma, sympy.frac],
    ids=str,
)
def test_function_without_a_rule_is_named(function, array):
    with pytest.raises(CodegenError, match=type(function(x)).__name__):
        FormulaPrinter(array).formula(1 + 2 * function(x))


@pytest.mark.parametrize("array", (False, True), ids=("number", "array"))
@pytest.mark.parametrize(
    ("formula", "word"),
    [
        (Derivative(Function("kappa")(x), x), "Derivative"),
        (sympy.Integral(exp(x * y), (y, 0, 1)), "Integral"),
        (sympy.DiracDelta(x), "DiracDelta"),
        (Piecewise((x, x > 0)), "cases"),
        (I * x, "I|[Ii]maginary"),
        (sympy.atan2(x, y), "atan2"),
    ],
)
def test_formula_that_cannot_be_printed(formula, word, array):
    with pytest.raises(CodegenError, match=word):
        FormulaPrinter(array).formula(formula)
