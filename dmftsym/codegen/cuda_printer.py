"""Formulas for one number as CUDA C."""

from dmftsym.codegen.printers import FormulaPrinter
from dmftsym.errors import CodegenError

# name of the SymPy class -> rule; {0}, {1}, ... are the printed arguments
CUDA_RULES = {
    **{name: f"{name}({{0}})" for name in ("exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "erf", "erfc")},
    **{name: f"{name}({{0}})" for name in ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")},
    "Abs": "fabs({0})",
    "sign": "({0} > 0.0 ? 1.0 : {0} < 0.0 ? -1.0 : 0.0)",
    "Heaviside": "({0} > 0.0 ? 1.0 : {0} == 0.0 ? {1} : 0.0)",
    "floor": "floor({0})",
    "ceiling": "ceil({0})",
    "sinc": "({0} != 0.0 ? sin({0})/({0}) : 1.0)",
    "logistic": "(1.0/(1.0 + exp(-({0}))))",
    "softplus": "(fmax({0}, 0.0) + log1p(exp(-fabs({0}))))",
}


class CudaPrinter(FormulaPrinter):
    """Prints a formula as CUDA C in double precision: every number a double, powers as products, roots or pow."""

    def __init__(self):
        super().__init__(array=False)

    def _print_Integer(self, expr):
        return repr(float(expr))

    def _print_Pi(self, expr):
        return self._print_NumberSymbol(expr)

    _print_Exp1 = _print_Pi

    def _print_Pow(self, expr, rational=False):
        base, exponent = self._print(expr.base), expr.exp
        if exponent == -1:
            return f"1.0/({base})"
        if exponent.is_Rational and abs(exponent.p) == 1 and exponent.q == 2:
            root = f"sqrt({base})"
            return root if exponent.p == 1 else f"1.0/{root}"
        if exponent == 2 and expr.base.is_Symbol:
            return f"({base}*{base})"  # no multiplication binds as tightly as a power
        return f"pow({base}, {self._print(exponent)})"

    def _print_Function(self, expr):
        return CUDA_RULES[type(expr).__name__].format(*[self._print(a) for a in expr.args])

    def _extremum(self, array_name: str, number_name: str, expr) -> str:
        function = "fmax" if number_name == "max" else "fmin"
        *rest, result = [self._float_literal(a) for a in expr.args]
        for argument in reversed(rest):
            result = f"{function}({argument}, {result})"
        return result

    def _print_Piecewise(self, expr):
        *cases, (last, condition) = expr.args
        if condition != True:  # noqa: E712  a SymPy condition
            raise CodegenError(f"{expr} leaves cases open; end it with (value, True)")
        result = self._float_literal(last)
        for value, condition in reversed(cases):
            result = f"({self._print(condition)} ? {self._float_literal(value)} : {result})"
        return result

    def _print_And(self, expr):
        return self._logical(" && ", expr)

    def _print_Or(self, expr):
        return self._logical(" || ", expr)

    for _name in CUDA_RULES:
        locals()[f"_print_{_name}"] = _print_Function
