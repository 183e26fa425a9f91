"""Sums over indices, sums over the past, and the logarithm of a single-site path integral."""

from collections.abc import Callable

from sympy import Expr, Integer, Symbol, Tuple
from sympy.core.expr import AtomicExpr

from dmftsym.errors import LanguageError
from dmftsym.language.arithmetic import Symbolic
from dmftsym.language.grammar import exact
from dmftsym.language.symbols import Index, split_index

UNRESOLVED = Symbol("unresolved_upper_time")
_PRECEDENCE = 55  # between products and powers: a power of a sum is bracketed


class Binding(Symbolic, Expr):
    """A node that binds indices of its body; arguments: body, bound indices, and what its kind adds."""

    precedence = _PRECEDENCE
    is_real = True
    is_commutative = True

    @property
    def body(self) -> Expr:
        """What the indices are bound in."""
        return self.args[0]

    @property
    def bound(self) -> tuple[Index, ...]:
        """The indices that are bound, a time first."""
        return tuple(self.args[1])

    def _eval_derivative(self, symbol):
        raise LanguageError("a sum cannot be differentiated as a whole: differentiate the formula inside it")


class PastSum(Binding):
    """Sum (in continuous time: integral) over a time s before another time, and over further indices.

    Arguments: body, bound indices (the time first), upper time, 1 if s may equal the upper time else 0.
    """

    @property
    def upper(self) -> Expr:
        """The time before which the sum runs."""
        return self.args[2]

    @property
    def inclusive(self) -> bool:
        """Whether the upper time itself is part of the sum."""
        return self.args[3] == 1

    def _sympystr(self, printer):
        if self.upper == UNRESOLVED:
            names = ", ".join(printer._print(i) for i in self.bound)
            return f"past({names}{', inclusive=True' if self.inclusive else ''})({printer._print(self.body)})"
        time, *rest = (printer._print(i) for i in self.bound)
        limit = f"{time}{'<=' if self.inclusive else '<'}{printer._print(self.upper)}"
        kind = "int" if self.bound[0].axis.continuous else "sum"
        return f"{kind}_{{{', '.join([limit, *rest])}}}({printer._print(self.body)})"

    def _latex(self, printer, exp=None):
        time, *rest = self.bound
        body = printer._print(self.body)
        if self.body.is_Add:
            body = rf"\left[{body}\right]"
        others = rf"\sum_{{{' '.join(printer._print(i) for i in rest)}}} " if rest else ""
        upper = "t" if self.upper == UNRESOLVED else printer._print(self.upper)
        if time.axis.continuous:
            text = rf"\int_0^{{{upper}}} d{printer._print(time)} {others}{body}"
        else:
            relation = r"\le" if self.inclusive else "<"
            text = rf"\sum_{{{printer._print(time)} {relation} {upper}}} {others}{body}"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


class FutureSum(Binding):
    """Sum over a time after another time: what a derivative of a sum over the past leaves.

    Arguments: body, bound indices (the time first), lower time, 1 if the bound time may equal the lower time else 0.
    """

    def _sympystr(self, printer):
        time, *rest = (printer._print(i) for i in self.args[1])
        limit = f"{time}{'>=' if self.args[3] == 1 else '>'}{printer._print(self.args[2])}"
        kind = "int" if self.args[1][0].axis.continuous else "sum"
        return f"{kind}_{{{', '.join([limit, *rest])}}}({printer._print(self.args[0])})"

    def _latex(self, printer, exp=None):
        time, *rest = self.args[1]
        others = rf"\sum_{{{' '.join(printer._print(i) for i in rest)}}} " if rest else ""
        body, lower = printer._print(self.args[0]), printer._print(self.args[2])
        if self.args[0].is_Add:
            body = rf"\left[{body}\right]"
        if time.axis.continuous:
            text = rf"\int_{{{lower}}}^{{\infty}} d{printer._print(time)} {others}{body}"
        else:
            relation = r"\ge" if self.args[3] == 1 else ">"
            text = rf"\sum_{{{printer._print(time)} {relation} {lower}}} {others}{body}"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


class IndexSum(Binding):
    """Sum over indices other than time, or over all times; arguments: body, bound indices."""

    def _sympystr(self, printer):
        return f"sum_{{{', '.join(printer._print(i) for i in self.bound)}}}({printer._print(self.body)})"

    def _latex(self, printer, exp=None):
        names = " ".join(printer._print(i) for i in self.bound)
        body = printer._print(self.body)
        if self.body.is_Add:
            body = rf"\left[{body}\right]"
        text = rf"\sum_{{{names}}} {body}"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


class SiteSymbol(AtomicExpr):
    """The name of a site inside an expression."""

    __slots__ = ("name",)

    def __new__(cls, name: str):
        obj = AtomicExpr.__new__(cls)
        obj.name = name
        return obj

    def __getnewargs__(self):
        return (self.name,)

    def _hashable_content(self):
        return ("SiteSymbol", self.name)

    def _sympystr(self, printer):
        return self.name

    def _latex(self, printer):
        return rf"\mathrm{{{self.name}}}"


class LogZ(Symbolic, Expr):
    """ln Z of a site; argument: the site."""

    is_real = True
    is_commutative = True

    @property
    def site(self) -> str:
        """The name of the site."""
        return self.args[0].name

    def _sympystr(self, printer):
        return f"log_Z({self.site})"

    def _latex(self, printer, exp=None):
        return rf"\ln Z_{{{printer._print(self.args[0])}}}"


def past(*indices: Index, before: Expr | None = None, inclusive: bool = False) -> Callable[[Expr], PastSum]:
    """Sum over the past: ``past(s, nu)(X[nu, s])`` is Σ_{s<t} Σ_ν X_ν(s), causal by construction.

    The first index is the time s, further indices are summed as well. The upper time t is the time of the response
    field (or conjugate) that multiplies the sum, or `before`; `inclusive` adds s = t. In continuous time the sum is
    the integral ∫_0^t ds. Raises `LanguageError` if the first index is not a time.
    """
    if not indices or not isinstance(indices[0], Index) or not indices[0].is_time:
        raise LanguageError(f"past({', '.join(map(str, indices))}): the first index must be a time")
    _check_plain("past", indices)
    if before is not None:
        index, _ = split_index(exact(before, "past(..., before=...)"))
        if index is None or not index.is_time or index == indices[0]:
            raise LanguageError(f"past(..., before={before}): the upper limit must be another time index")
    upper = UNRESOLVED if before is None else before
    where = f"past({', '.join(i.name for i in indices)})"
    return lambda body: PastSum(exact(body, where), Tuple(*indices), upper, Integer(1 if inclusive else 0))


def sum_over(*indices: Index) -> Callable[[Expr], IndexSum]:
    """Sum explicitly over indices that appear once, or inside a function: ``sum_over(a)(x[a, t])``."""
    _check_plain("sum_over", indices)
    where = f"sum_over({', '.join(i.name for i in indices)})"
    return lambda body: IndexSum(exact(body, where), Tuple(*indices))


def log_Z(site) -> LogZ:
    """The logarithm of the single-site path integral of `site`, to be used in the action of the model."""
    if not hasattr(site, "tensors") or not isinstance(getattr(site, "name", None), str):
        raise LanguageError(f"log_Z({site!r}): give a site, as m.site(name) returns it")
    return LogZ(SiteSymbol(site.name))


def _check_plain(name: str, indices) -> None:
    for index in indices:
        if not isinstance(index, Index):
            raise LanguageError(f"{name}: {index} is not an index symbol")
    if len(set(indices)) != len(indices):
        raise LanguageError(f"{name}({', '.join(map(str, indices))}): an index is named twice")
