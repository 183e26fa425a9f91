"""Functions of matrices of order parameters: the largest eigenvalue (of a tangent kernel: its sharpness)."""

from collections.abc import Callable

from sympy import Expr, Tuple

from dmftsym.errors import LanguageError
from dmftsym.language.grammar import exact
from dmftsym.language.sums import Binding
from dmftsym.language.symbols import Index

_PRECEDENCE = 70  # as a function: no brackets around it


class LargestEigenvalue(Binding):
    """The largest eigenvalue of a symmetric matrix; arguments: its entry, its two indices."""

    precedence = _PRECEDENCE

    def projector(self) -> "LeadingProjector":
        """v_i v_j of its eigenvector v, which is the derivative with respect to the entry i, j."""
        inner = {i: Index(f"{i.name}'", i.axis) for i in self.bound}
        return LeadingProjector(self.body.xreplace(inner), Tuple(*inner.values()), *self.bound)

    def _sympystr(self, printer):
        row, column = (printer._print(i) for i in self.bound)
        return f"largest_eigenvalue_{{{row}, {column}}}({printer._print(self.body)})"

    def _latex(self, printer, exp=None):
        text = rf"\lambda_{{\max}}\left[{printer._print(self.body)}\right]"
        return text if exp is None else f"{text}^{{{exp}}}"


class LeadingProjector(Binding):
    """v_i v_j for the eigenvector v of the largest eigenvalue; arguments: entry, its two indices, i, j."""

    precedence = _PRECEDENCE

    @property
    def place(self) -> tuple[Index, ...]:
        """The entry of the projector."""
        return tuple(self.args[2:])

    def _sympystr(self, printer):
        i, j = (printer._print(i) for i in self.place)
        return f"leading_projector_{{{i}, {j}}}({printer._print(self.body)})"

    def _latex(self, printer, exp=None):
        i, j = (printer._print(i) for i in self.place)
        text = rf"v_{{{i}}} v_{{{j}}}\left[{printer._print(self.body)}\right]"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


def largest_eigenvalue(row: Index, column: Index) -> Callable[[Expr], LargestEigenvalue]:
    """The largest eigenvalue of a symmetric matrix: ``largest_eigenvalue(mu, nu)(K[mu, nu, t])``.

    Where it is degenerate it has no derivative, and its covariance is NaN.
    """
    if not isinstance(row, Index) or not isinstance(column, Index) or row == column or row.axis != column.axis:
        raise LanguageError(f"largest_eigenvalue({row}, {column}): name two different indices of one axis")
    return lambda body: LargestEigenvalue(exact(body, "largest_eigenvalue"), Tuple(row, column))
