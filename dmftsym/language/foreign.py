"""What SymPy, NumPy and Python offer but an action does not know: each is refused with what to write instead."""

from collections.abc import Callable

import sympy
from sympy import Expr, Function, KroneckerDelta, Piecewise, preorder_traversal
from sympy.core.function import AppliedUndef, FunctionClass
from sympy.logic.boolalg import BooleanAtom, BooleanFunction
from sympy.matrices import MatrixBase
from sympy.tensor.array.ndim_array import NDimArray

from dmftsym.errors import LanguageError
from dmftsym.language.functions import KNOWN
from dmftsym.language.symbols import Entry, Index, Kind

_SHOWN = 100  # letters of a formula in a message

_ARRAYS = "arrays are declared, K = m.data('K', mu, nu), and enter formulas by their entries, K[mu, nu]"
_DELTA = "white noise is x.tilde[t]*x.tilde[t], without a delta function; elsewhere write one time in both places"
_ADVICE: tuple[tuple[tuple[type, ...], str], ...] = (
    (
        (sympy.Sum,),
        "sums are written ds.past(s)(...) over earlier times and ds.sum_over(mu)(...) over other indices; "
        "an index that stands twice is summed anyway",
    ),
    ((sympy.Product,), "a product over an index is exp(ds.sum_over(mu)(log(...)))"),
    ((sympy.Integral,), "an integral over earlier times is ds.past(s)(...), with times declared continuous=True"),
    (
        (sympy.Derivative,),
        "the time derivative of a field is x.dot[t], the derivative of an activation is phi.d(1)(x[t])",
    ),
    ((sympy.Limit, sympy.Order), "write its value"),
    ((sympy.Subs, sympy.Lambda), "write the formula with its arguments in place"),
    ((AppliedUndef,), "a function without a formula; declare it, phi = m.activation('phi', ...)"),
    ((sympy.DiracDelta,), _DELTA),
    ((MatrixBase, sympy.MatrixExpr, NDimArray, sympy.Indexed, sympy.IndexedBase), _ARRAYS),
)
# functions that are written in others
_RECIPROCAL: dict = {
    sympy.sech: lambda x: 1 / sympy.cosh(x),
    sympy.csch: lambda x: 1 / sympy.sinh(x),
    sympy.coth: lambda x: 1 / sympy.tanh(x),
    sympy.sec: lambda x: 1 / sympy.cos(x),
    sympy.csc: lambda x: 1 / sympy.sin(x),
    sympy.cot: lambda x: 1 / sympy.tan(x),
    sympy.frac: lambda x: x - sympy.floor(x),
}
_NOT_FINITE = (sympy.nan, sympy.oo, -sympy.oo, sympy.zoo)


def admit(value, where: str = "") -> Expr:
    """The value as a SymPy expression that holds only what a model knows.

    Raises `LanguageError`, with what to write instead, for text, None, arrays, functions without an argument, sums,
    integrals and derivatives of SymPy, delta functions of time, complex and infinite numbers.
    """
    label = f"{where}: " if where else ""
    reason = _not_a_formula(value)
    if reason:
        raise LanguageError(f"{label}{reason}")
    try:
        expr = sympy.sympify(value)
    except Exception:  # whatever SymPy makes of an object that it does not know
        raise LanguageError(f"{label}{_shown(repr(value))} is not a formula") from None
    if isinstance(expr, Expr):
        for function, written in _RECIPROCAL.items():
            expr = expr.replace(function, written)
    for node in preorder_traversal(expr):
        advice = _advice(node, expr)
        if advice:
            raise LanguageError(f"{label}{advice}" if node == sympy.I else f"{label}{_shown(str(node))}: {advice}")
    if isinstance(expr, BooleanFunction | BooleanAtom | sympy.core.relational.Relational):
        raise LanguageError(f"{label}{_shown(str(expr))} is a condition, not a formula; Heaviside(x) is 1 for x > 0")
    if not isinstance(expr, Expr):
        raise LanguageError(f"{label}{_shown(repr(value))} is not a formula")
    return expr


def _not_a_formula(value) -> str:
    """Why an object is none, for the kinds that SymPy would take for something else."""
    if isinstance(value, str):
        return f"'{_shown(value)}' is text; parse_expression reads formulas in given variables"
    if value is None:
        return "a formula is expected, given: None"
    if isinstance(value, bool | BooleanAtom) or getattr(getattr(value, "dtype", None), "kind", "") == "b":
        return f"a formula is expected, given: {value}"
    if isinstance(value, FunctionClass):
        return f"{value} stands without an argument; a parameter of that name is declared, m.parameters('{value}')"
    if getattr(value, "shape", ()) != ():
        return f"an array of shape {tuple(value.shape)} stands in a formula; {_ARRAYS}"
    if isinstance(value, list | tuple | dict | set | frozenset):
        return f"a formula is expected, given a {type(value).__name__}: {_shown(str(value))}"
    if callable(value) and not isinstance(value, Expr):
        return f"{_shown(repr(value))} is a function; name it, phi = m.activation('phi', ...), and write phi(x[t])"
    return ""


def _advice(node, whole: Expr) -> str:
    """What to write instead of a node; nothing for what a model knows."""
    for kinds, text in _ADVICE:
        if isinstance(node, kinds):
            return text
    if node == sympy.I:
        return _about_i(whole)
    if node in _NOT_FINITE:
        return f"a formula must be finite, but it stands in {_shown(str(whole))}"
    if isinstance(node, KroneckerDelta) and all(i.is_time for i in node.atoms(Index)) and node.atoms(Index):
        return _DELTA if len(node.atoms(Index)) > 1 else ""
    if isinstance(node, Function) and not isinstance(node, KroneckerDelta | Piecewise):
        if type(node).__name__ not in KNOWN:
            return f"there is no rule for the function {type(node).__name__}; known are {', '.join(KNOWN)}"
    if isinstance(node, Piecewise) and node.args[-1][1] != sympy.true:
        return "it leaves cases open; end it with (value, True)"
    return ""


def _about_i(whole: Expr) -> str:
    whole = next((a for a in sympy.Add.make_args(whole) if a.has(sympy.I)), whole)
    entries: Callable = lambda kind: sorted({e.tensor for e in whole.atoms(Entry) if e.tensor.kind == kind}, key=str)
    for field in entries(Kind.RESPONSE_FIELD):
        return (
            f"response fields absorb i: write {field} for i times the conjugate of {field.name}, "
            f"so that noise is + {field}*K*{field}/2"
        )
    for conjugate in entries(Kind.CONJUGATE):
        q = conjugate.name
        return f"conjugates absorb i: write {conjugate} for i times the conjugate of {q}, the pair is -{conjugate}*{q}"
    return f"an action is real, but the imaginary unit stands in {_shown(str(whole))}"


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
