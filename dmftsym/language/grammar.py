"""Expression strings from the command line, parsed by a whitelist grammar and never evaluated as Python.

    expression := expression (+|-|*|/|**) expression | -expression | name(expression, ...) | name | number

Decimal numbers become exact rationals; powers take small constant exponents, so that no string can exhaust memory.
"""

import ast
import math
from fractions import Fraction

import sympy
from sympy import Expr, Heaviside, Max, Min, Pow, Rational, Symbol
from sympy.core.function import Application

from dmftsym.errors import LanguageError
from dmftsym.language.functions import logistic, softplus

FUNCTIONS = {
    **{
        name: getattr(sympy, name)
        for name in ("exp log sqrt sin cos tan asin acos atan sinh cosh tanh asinh atanh erf erfc sign".split())
    },
    "abs": sympy.Abs,
    "Abs": sympy.Abs,
    "log1p": lambda x: sympy.log(1 + x),
    "logistic": logistic,
    "sigmoid": logistic,
    "softplus": softplus,
    "relu": lambda x: Max(x, 0),
    "max": Max,
    "Max": Max,
    "min": Min,
    "Min": Min,
    "heaviside": lambda x: Heaviside(x),
    "Heaviside": lambda x: Heaviside(x),
    "sinc": sympy.sinc,
    "floor": sympy.floor,
    "ceiling": sympy.ceiling,
}
CONSTANTS = {"pi": sympy.pi, "E": sympy.E}
MAX_NESTING, MAX_TERMS, MAX_NUMBER = 12, 10_000, 10**100
MAX_LENGTH, MAX_DEPTH, MAX_EXPONENT, MAX_DIGITS, MAX_BITS = 500, 40, 20, 30, 1000


def exact(value) -> Expr:
    """A SymPy expression in which decimal numbers are rationals: 0.5 is 1/2, so that nothing is rounded early."""
    if isinstance(value, str):
        raise LanguageError(f"'{value}' is text; parse_expression reads formulas in given variables")
    return sympy.sympify(value).replace(lambda e: e.is_Float, lambda e: Rational(repr(float(e))))


def parse_expression(text: str, variables: tuple[str, ...]) -> Expr:
    """Read a formula in the given variables, e.g. ``tanh(0.4*h)/0.4`` with ``variables=("h",)``.

    Raises `LanguageError` naming whatever is not in the grammar of this module.
    """
    if len(text) > MAX_LENGTH:
        raise LanguageError(f"expression is longer than {MAX_LENGTH} characters: {text[:40]}...")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise LanguageError(f"'{text}' is not a formula: {error}") from None
    reader = _Reader(text, {name: Symbol(name, real=True) for name in variables})
    try:
        expression = reader.read(tree.body, 0)
        reader.check_size(expression)
        parts = list(sympy.preorder_traversal(expression))
        real = not any(part.is_number and part.is_extended_real is False for part in parts)
    except (ValueError, TypeError, OverflowError, RecursionError, ArithmeticError) as error:
        raise LanguageError(f"'{text}' cannot be evaluated as a real formula: {error}") from None
    if not real or expression.has(sympy.nan, sympy.oo, -sympy.oo, sympy.zoo, sympy.I):
        raise LanguageError(f"'{text}' is not a finite real formula: it evaluates to {expression}")
    return expression


def names_in_formula(text: str) -> tuple[str, ...]:
    """The names that a formula uses as variables, in order; none if it is no formula."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return ()
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called]
    return tuple(dict.fromkeys(name for name in found if name not in CONSTANTS))


def _nesting(expression: Expr) -> int:
    """How deep functions stand inside each other."""
    inside = max(map(_nesting, expression.args), default=0)
    return inside + isinstance(expression, Application)


def _terms(expression: Expr) -> int:
    """How many terms an expression has at most if its powers and products are multiplied out, inside functions too."""
    inside = list(map(_terms, expression.args))
    if expression.is_Add:
        return sum(inside)
    if expression.is_Mul:
        return math.prod(inside)
    if expression.is_Pow and expression.exp.is_Integer:
        power = abs(int(expression.exp))
        return math.comb(inside[0] + power - 1, power)
    return max(inside, default=1)


class _Reader:
    def __init__(self, text: str, variables: dict[str, Symbol]):
        self.text, self.variables = text, variables

    def check_size(self, expression: Expr) -> None:
        """Refuse what would be too large multiplied out, or differentiated: products of all functions inside."""
        if _nesting(expression) > MAX_NESTING:
            raise LanguageError(f"'{self.text}' nests functions deeper than {MAX_NESTING} levels")
        if _terms(expression) > MAX_TERMS:
            raise LanguageError(f"'{self.text}' has more than {MAX_TERMS} terms multiplied out")

    def _reasonable(self, value: Expr) -> Expr:
        """The same, unless it is a number that is too large for any use, or for its digits to be computed."""
        if value.is_number and not value.is_Rational and not value.has(sympy.zoo, sympy.nan, sympy.oo):
            size = abs(sympy.N(value, 5))
            if size.is_comparable and size > MAX_NUMBER:
                raise self._refuse(str(value)[:MAX_DIGITS], "is not a reasonable number")
        return value

    def read(self, node: ast.AST, depth: int) -> Expr:
        if depth > MAX_DEPTH:
            raise LanguageError(f"'{self.text}' is nested deeper than {MAX_DEPTH} levels")
        match node:
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                return self._number(node)
            case ast.Name(id=name):
                return self._name(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.read(operand, depth + 1)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.read(operand, depth + 1)
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(op, self.read(left, depth + 1), self.read(right, depth + 1))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(name, [self.read(a, depth + 1) for a in args])
        source = ast.get_source_segment(self.text.strip(), node) or type(node).__name__
        raise self._refuse(source[:MAX_DIGITS], "is not allowed in a formula")

    def _number(self, node: ast.Constant) -> Expr:
        assert isinstance(node.value, int | float)
        literal = ast.get_source_segment(self.text.strip(), node) or repr(node.value)
        if len(literal) > MAX_DIGITS or abs(node.value) > 1e100 or 0 < abs(node.value) < 1e-100:
            raise self._refuse(literal[:MAX_DIGITS], "is not a reasonable number")
        try:
            return Rational(Fraction(literal.replace("_", "")))
        except ValueError:
            raise self._refuse(literal, "is not a decimal number") from None

    def _name(self, name: str) -> Expr:
        if name in self.variables:
            return self.variables[name]
        if name in CONSTANTS:
            return CONSTANTS[name]
        raise self._refuse(name, f"is unknown; variables are {', '.join(self.variables)}")

    def _binary(self, op: ast.operator, left: Expr, right: Expr) -> Expr:
        match op:
            case ast.Add():
                return left + right
            case ast.Sub():
                return left - right
            case ast.Mult():
                return left * right
            case ast.Div():
                if right.is_zero:
                    raise self._refuse(f"{left}/0", "divides by zero")
                return left / right
            case ast.Pow():
                if not right.is_Rational or abs(right) > MAX_EXPONENT:
                    raise self._refuse(f"**({right})", f"is not a constant power up to {MAX_EXPONENT}")
                bits = max((max(abs(n.p), n.q).bit_length() for n in left.atoms(Rational)), default=0)
                if bits > 1 and bits * abs(right) > MAX_BITS:
                    raise self._refuse(f"**({right})", "makes a number with too many digits")
                return self._reasonable(Pow(left, right))
        raise self._refuse(type(op).__name__, "is not an operation of this grammar (+ - * / **)")

    def _call(self, name: str, arguments: list[Expr]) -> Expr:
        if name not in FUNCTIONS:
            raise self._refuse(f"{name}(...)", f"is unknown; functions are {', '.join(sorted(FUNCTIONS))}")
        expected = 2 if name.lower() in ("max", "min") else 1
        if len(arguments) != expected:
            raise self._refuse(f"{name}(...)", f"takes {expected} argument{'s' * (expected > 1)}, got {len(arguments)}")
        return self._reasonable(FUNCTIONS[name](*arguments))

    def _refuse(self, part: str, why: str) -> LanguageError:
        return LanguageError(f"in '{self.text}': {part} {why}")
