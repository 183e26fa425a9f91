"""Formulas as source code: one rule a function, for numbers inside kernels and for whole arrays."""

from sympy import Expr, Function, I, Piecewise, Pow, Symbol
from sympy.printing.precedence import precedence
from sympy.printing.pycode import PythonCodePrinter

from dmftsym.errors import CodegenError
from dmftsym.language.symbols import Parameter, Size

# name of the SymPy class -> (rule for one number, rule for an array); {0}, {1}, ... are the printed arguments
RULES = {
    "exp": ("math.exp({0})", "{xp}.exp({0})"),
    "log": ("math.log({0})", "{xp}.log({0})"),
    "sin": ("math.sin({0})", "{xp}.sin({0})"),
    "cos": ("math.cos({0})", "{xp}.cos({0})"),
    "tan": ("math.tan({0})", "{xp}.tan({0})"),
    "asin": ("math.asin({0})", "{xp}.arcsin({0})"),
    "acos": ("math.acos({0})", "{xp}.arccos({0})"),
    "atan": ("math.atan({0})", "{xp}.arctan({0})"),
    "sinh": ("math.sinh({0})", "{xp}.sinh({0})"),
    "cosh": ("math.cosh({0})", "{xp}.cosh({0})"),
    "tanh": ("math.tanh({0})", "{xp}.tanh({0})"),
    "asinh": ("math.asinh({0})", "{xp}.arcsinh({0})"),
    "acosh": ("math.acosh({0})", "{xp}.arccosh({0})"),
    "atanh": ("math.atanh({0})", "{xp}.arctanh({0})"),
    "erf": ("math.erf({0})", "_erf({0})"),
    "erfc": ("math.erfc({0})", "_erfc({0})"),
    "Abs": ("abs({0})", "{xp}.abs({0})"),
    "sign": ("(1.0 if {0} > 0.0 else -1.0 if {0} < 0.0 else 0.0)", "{xp}.sign({0})"),
    "Heaviside": ("(1.0 if {0} > 0.0 else {1} if {0} == 0.0 else 0.0)", "{xp}.heaviside({0}, {1})"),
    "floor": ("math.floor({0})*1.0", "{xp}.floor({0})"),
    "ceiling": ("math.ceil({0})*1.0", "{xp}.ceil({0})"),
    "sinc": ("(math.sin({0})/({0}) if {0} != 0.0 else 1.0)", "{xp}.sinc(({0})/math.pi)"),
    "logistic": ("(1.0/(1.0 + math.exp(-({0}))))", "{xp}.exp(-{xp}.logaddexp(0.0, -({0})))"),
    "softplus": ("(max({0}, 0.0) + math.log1p(math.exp(-abs({0}))))", "{xp}.logaddexp(0.0, {0})"),
}


def number_symbol(number: Parameter | Size) -> Symbol:
    """A plain symbol for a number given at run time, with what is known of its sign: Abs(b) of any b stays."""
    return Symbol(number.name, real=True, positive=True if number.is_positive else None)


class FormulaPrinter(PythonCodePrinter):
    """Prints a SymPy formula whose symbols already carry source code as names.

    `array` chooses the rules for whole arrays (namespace `xp`) instead of numbers. Rationals are printed as the
    shortest literal that is the same float64. Raises `CodegenError` for a function without a rule.
    """

    def __init__(self, array: bool, xp: str = "np"):
        super().__init__({"fully_qualified_modules": True, "strict": True})
        self.array, self.xp = array, xp

    def formula(self, expr: Expr) -> str:
        """The formula as source code."""
        for function in sorted(expr.atoms(Function), key=str):
            if type(function).__name__ not in RULES and not isinstance(function, Piecewise):
                known = ", ".join(sorted(RULES))
                raise CodegenError(f"no rule prints the function {type(function).__name__} in {expr}; known: {known}")
        if expr.has(I):
            raise CodegenError(f"{expr} holds the imaginary unit I")
        return self.doprint(expr)

    def factor(self, expr: Expr) -> str:
        """The formula as the first factor of a product."""
        return f"({self.formula(expr)})" if expr.is_Add else self.formula(expr)

    def parenthesize(self, item, level, strict=False):
        """Positive rationals are literals: they need no parentheses."""
        if item.is_Rational and item > 0:
            return self._print(item)
        return super().parenthesize(item, level, strict)

    def _as_ordered_terms(self, expr, order=None):
        """A term without a sign comes first."""
        terms = super()._as_ordered_terms(expr, order)
        first = next((k for k, term in enumerate(terms) if not term.could_extract_minus_sign()), 0)
        return [terms[first], *terms[:first], *terms[first + 1 :]]

    def _print_Symbol(self, expr):
        return expr.name

    def _print_Integer(self, expr):
        return str(expr.p) if abs(expr.p) < 2**53 else repr(float(expr.p))

    def _print_Rational(self, expr):
        return repr(expr.p / expr.q)

    def _print_Half(self, expr):
        return "0.5"

    def _print_Float(self, expr):
        return repr(float(expr))

    def _print_Pi(self, expr):
        return "math.pi"

    def _print_Exp1(self, expr):
        return "math.e"

    def _print_NumberSymbol(self, expr):
        return repr(float(expr.evalf(20)))

    def _print_Pow(self, expr, rational=False):
        sqrt = f"{self.xp}.sqrt" if self.array else "math.sqrt"
        if expr.exp.is_Rational and expr.exp.q == 2 and abs(expr.exp.p) == 1:
            root = f"{sqrt}({self._print(expr.base)})"
            return root if expr.exp.p == 1 else f"1.0/{root}"
        base = self.parenthesize(expr.base, precedence(expr))
        if expr.exp == -1:
            return f"1.0/{base}"
        if expr.exp.is_Rational and expr.exp < 0:
            # Numba raises for 0.0**-2, while 1.0/0.0 is infinite like everywhere else
            return f"1.0/{self._print(Pow(expr.base, -expr.exp, evaluate=False))}"
        return f"{base}**{self.parenthesize(expr.exp, precedence(expr))}"

    def _print_Function(self, expr):
        name = type(expr).__name__
        arguments = [self._print(a) for a in expr.args]
        return RULES[name][1 if self.array else 0].format(*arguments, xp=self.xp)

    def _print_Max(self, expr):
        return self._extremum("maximum", "max", expr)

    def _print_Min(self, expr):
        return self._extremum("minimum", "min", expr)

    def _extremum(self, array_name: str, number_name: str, expr) -> str:
        function = f"{self.xp}.{array_name}" if self.array else number_name
        *rest, result = [self._float_literal(a) for a in expr.args]
        for argument in reversed(rest):
            result = f"{function}({argument}, {result})"
        return result

    def _float_literal(self, expr) -> str:
        """Numbers as floats: max(0, x) of an integer and a float is one type in no compiler."""
        return repr(float(expr)) if expr.is_Number else self._print(expr)

    def _print_Piecewise(self, expr):
        *cases, (last, condition) = expr.args
        if condition != True:  # noqa: E712  a SymPy condition
            raise CodegenError(f"{expr} leaves cases open; end it with (value, True)")
        result = self._float_literal(last)
        for value, condition in reversed(cases):
            test, chosen = self._print(condition), self._float_literal(value)
            if self.array:
                result = f"{self.xp}.where({test}, {chosen}, {result})"
            else:
                result = f"({chosen} if {test} else {result})"
        return result

    def _print_And(self, expr):
        return self._logical(" & " if self.array else " and ", expr)

    def _print_Or(self, expr):
        return self._logical(" | " if self.array else " or ", expr)

    def _logical(self, operator: str, expr) -> str:
        return "(" + operator.join(f"({self._print(a)})" for a in sorted(expr.args, key=str)) + ")"

    def _print_not_supported(self, expr):
        raise CodegenError(f"no rule prints {type(expr).__name__} in {expr}")

    emptyPrinter = _print_not_supported
    _print_Derivative = _print_Integral = _print_DiracDelta = _print_Sum = _print_not_supported

    for _name in RULES:
        locals()[f"_print_{_name}"] = _print_Function
