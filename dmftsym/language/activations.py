"""Activation functions: opaque names in the equations, any SymPy formula underneath."""

import math
from functools import lru_cache

import sympy
from sympy import (
    Add,
    Derivative,
    DiracDelta,
    Expr,
    Heaviside,
    Integer,
    Max,
    Mul,
    Subs,
    Symbol,
    ceiling,
    erf,
    floor,
    solve_linear,
    sqrt,
    tanh,
)
from sympy.core.expr import AtomicExpr

from dmftsym.errors import LanguageError
from dmftsym.language.functions import logistic, softplus
from dmftsym.language.grammar import exact, parse_expression

ARGUMENT = Symbol("h", real=True)

NAMED = {
    "linear": lambda h: h,
    "tanh": tanh,
    "relu": lambda h: Max(h, 0),
    "leaky_relu": lambda h: Max(h, 0) - Max(-h, 0) / 100,
    "hard_tanh": lambda h: Max(h + 1, 0) - Max(h - 1, 0) - 1,
    "erf": erf,
    "softplus": softplus,
    "logistic": logistic,
    "sigmoid": logistic,
    "silu": lambda h: h * logistic(h),
    "gelu": lambda h: h * (1 + erf(h / sqrt(2))) / 2,
    "sin": sympy.sin,
    "quadratic": lambda h: h**2,
    "cubic": lambda h: h**3,
}


class Activation(AtomicExpr):
    """A function of one variable with derivatives of every order: ``phi(h)``, ``phi.d(1)(h)``.

    Equations keep the name; `body(order)` is the formula in the variable `ARGUMENT`, exact.
    """

    __slots__ = ("formula", "latex_name", "name")

    def __new__(cls, name: str, formula: Expr):
        obj = AtomicExpr.__new__(cls)
        obj.name, obj.formula = name, formula
        obj.latex_name = sympy.latex(Symbol(name))
        return obj

    def _hashable_content(self):
        return ("Activation", self.name, sympy.srepr(self.formula))

    def _sympystr(self, printer):
        return self.name

    def __call__(self, argument) -> "ActivationValue":
        return ActivationValue(self, Integer(0), sympy.sympify(argument))

    def d(self, order: int):
        """The derivative of given order, as a callable."""
        if not isinstance(order, int) or order < 0:
            raise LanguageError(f"{self.name}.d({order}): the order of a derivative is a whole number from 0")
        return lambda argument: ActivationValue(self, Integer(order), sympy.sympify(argument))

    def body(self, order: int = 0) -> Expr:
        """The formula of a derivative in the variable `ARGUMENT`."""
        return _derivative(self.formula, order)

    def degree(self, order: int = 0) -> float:
        """The degree of that formula as a polynomial, as far as its form tells; infinite for other functions."""
        return _degree(self.body(order))

    @property
    def is_smooth(self) -> bool:
        """Whether the formula has no kink or jump, so that Gauss-Hermite rules converge fast."""
        kinked = (Max, sympy.Min, Heaviside, sympy.Piecewise, sympy.Abs, sympy.sign, floor, ceiling)
        return not self.formula.has(*kinked)


class ActivationValue(sympy.Expr):
    """An activation applied to an expression; arguments: activation, order of the derivative, argument."""

    is_real = True
    is_commutative = True

    @property
    def activation(self) -> Activation:
        """The activation that is applied."""
        return self.args[0]

    @property
    def order(self) -> int:
        """The order of its derivative."""
        return int(self.args[1])

    @property
    def argument(self) -> Expr:
        """What it is applied to."""
        return self.args[2]

    def expanded(self) -> Expr:
        """The formula with the argument in place."""
        return self.activation.body(self.order).subs(ARGUMENT, self.argument)

    def _eval_derivative(self, symbol):
        inner = self.argument.diff(symbol)
        return ActivationValue(self.activation, Integer(self.order + 1), self.argument) * inner

    def _sympystr(self, printer):
        return f"{self.activation.name}{chr(39) * self.order}({printer._print(self.argument)})"

    def _latex(self, printer, exp=None):
        prime = "'" * self.order if self.order < 4 else f"^{{({self.order})}}"
        head = f"{self.activation.latex_name}{prime}"
        if exp is not None:
            head = f"{{{head}}}^{{{exp}}}"
        return rf"{head}\left({printer._print(self.argument)}\right)"


@lru_cache(maxsize=256)
def _derivative(formula: Expr, order: int) -> Expr:
    for _ in range(order):
        formula = without_hidden_deltas(without_steps(formula.diff(ARGUMENT)))
    return formula


def without_steps(derivative: Expr) -> Expr:
    """A derivative away from jumps: that of a whole-number part is zero."""
    flat = lambda e: isinstance(e, Derivative | Subs) and e.has(floor, ceiling)
    return derivative.replace(flat, lambda e: Integer(0)) if derivative.has(floor, ceiling) else derivative


def without_hidden_deltas(derivative: Expr) -> Expr:
    """x·δ(x) is zero: delta functions dropped where what multiplies them vanishes."""
    if not derivative.has(DiracDelta):
        return derivative
    kept = []
    for term in Add.make_args(derivative.expand()):
        deltas = [f for f in Mul.make_args(term) if isinstance(f, DiracDelta) and len(f.args) == 1]
        roots = solve_linear(deltas[0].args[0], symbols=[ARGUMENT]) if len(deltas) == 1 else (Integer(0), Integer(0))
        at_root = (term / deltas[0]).subs(ARGUMENT, roots[1]) if roots[0] == ARGUMENT else term
        if at_root != 0:
            kept.append(term)
    return Add(*kept)


@lru_cache(maxsize=256)
def _degree(formula: Expr) -> float:
    if not formula.has(ARGUMENT):
        return 0
    if formula.is_Add:
        return max(map(_degree, formula.args))
    if formula.is_Mul:
        return sum(map(_degree, formula.args))
    if formula.is_Pow and formula.exp.is_Integer and formula.exp > 0:
        return int(formula.exp) * _degree(formula.base)
    return 1 if formula == ARGUMENT else math.inf


def make_activation(name: str, function) -> Activation:
    """Build an activation from a name in `NAMED`, a formula string in h, a SymPy function or a Python callable.

    Raises `LanguageError` if the formula holds anything but its one variable.
    """
    if isinstance(function, str):
        known = NAMED.get(function.strip())
        formula = known(ARGUMENT) if known else parse_expression(function, ("h",))
    elif callable(function):
        try:
            formula = exact(function(ARGUMENT))
        except (TypeError, AttributeError, sympy.SympifyError) as error:
            raise LanguageError(f"activation {name}: {function!r} is no function of SymPy symbols: {error}") from None
    else:
        raise LanguageError(f"activation {name}: give a name, a formula in h or a function, not {function!r}")
    unknown = sorted(str(s) for s in formula.free_symbols - {ARGUMENT})
    if unknown:
        raise LanguageError(f"activation {name}: unknown symbol {', '.join(unknown)} in {formula}")
    return Activation(name, formula)
