"""How symbols of a model answer to Python's numbers and to NumPy: arithmetic works, functions of numbers do not."""

from dmftsym.errors import LanguageError

_ARITHMETIC = (
    "add", "subtract", "multiply", "divide", "true_divide", "power", "negative", "positive", "equal", "not_equal",
)  # fmt: skip


class NumberError(LanguageError, TypeError):
    """A function of numbers was given a symbol; also a TypeError, as for any object that is no number."""


class Symbolic:
    """Mixed into the symbols of a model: NumPy's arithmetic with numbers is kept, its functions are refused by name."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if ufunc.__name__ not in _ARITHMETIC:
            name = ufunc.__name__.replace("arc", "a")
            raise NumberError(
                f"np.{ufunc.__name__} takes numbers, but {self} is a symbol: use {name} of SymPy, or an activation, "
                f'phi = m.activation("phi", "{name}")'
            )
        return getattr(ufunc, method)(*map(_as_objects, inputs), **options)

    def _refuse_number(self, *_):
        raise NumberError(
            f"{self} is a symbol, not a number: use functions of SymPy (not of math), or an activation of the model"
        )

    __float__ = __int__ = __complex__ = _refuse_number


def _as_objects(value):
    """Numbers and symbols as an array of Python objects, whose products are those of Python and SymPy."""
    import numpy as np

    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return value.astype(object)
    box = np.empty((), dtype=object)
    box[()] = value
    return box


def advice_on(error: Exception) -> str:
    """What to write instead, where code of a model file ran into an error of NumPy, SymPy or Python; else nothing."""
    try:
        text = str(error)
    except Exception:  # an exception of the user's own
        return ""
    if "loop of ufunc" in text:
        name = text.rpartition("callable ")[2].split()[0] if "callable " in text else "the function"
        return f"functions of NumPy take numbers, not formulas: use {name} of SymPy, or an activation of the model"
    if "FunctionClass" in text:
        return (
            "a function of SymPy, such as gamma or beta, stands where a number is expected: "
            "declare a parameter of that name, m.parameters(name)"
        )
    if "convert expression to float" in text or "truth value of Relational" in text:
        return "formulas are no numbers: use functions of SymPy (Max, Heaviside, Piecewise for cases)"
    return ""
