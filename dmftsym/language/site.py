"""`Site`: the fields of a population and their action, or, as a convenience, their equations and noise."""

from __future__ import annotations

import sympy
from sympy import Expr, Integer

from dmftsym.errors import LanguageError
from dmftsym.language.display import latex_block, latex_text
from dmftsym.language.grammar import exact
from dmftsym.language.symbols import Entry, Index, Tensor, TimeDerivative


class Site:
    """A population of equal units: fields, local definitions and the site action S_ℓ[x, x̃; q, q̂].

    `action(...)` takes the action as in a paper; `equation`, `noise` and `observe` add the same terms one by one.
    """

    def __init__(self, name: str, model):
        self.name, self.model = name, model
        self.tensors: dict[str, Tensor] = {}
        self.definitions: dict[str, Expr] = {}
        self.starts: dict[str, tuple[Expr, Expr]] = {}
        self.terms: list[Expr] = []

    def field(
        self, name: str, *indices: Index, latex: str = "", mean: Expr = 0, variance: Expr | None = None
    ) -> Tensor:
        """Declare a field x with response field ``x.tilde``; it has exactly one time index.

        `variance` (and `mean`) give the Gaussian initial value x(0) of a field with an equation of motion or a lag.
        """
        self.model._check_name(name)
        times = [i for i in indices if isinstance(i, Index) and i.is_time]
        if len(times) != 1:
            raise LanguageError(f"field {name}: a field has one time index, given: [{', '.join(map(str, indices))}]")
        self.tensors[name] = self._tensor(name, "field", indices, latex)
        if variance is not None and exact(variance, f"field {name}").is_negative:
            raise LanguageError(f"field {name}: the variance of its initial value is negative, {variance}")
        if variance is not None or mean != 0:
            self.starts[name] = (
                exact(mean, f"field {name}"),
                exact(variance if variance is not None else 0, f"field {name}"),
            )
        return self.tensors[name]

    def define(self, name: str, *indices_and_formula, latex: str = "") -> Tensor:
        """Name a function of this site's fields: ``g = site.define("g", mu, t, phi.d(1)(h[mu, t])*z[t])``."""
        self.model._check_name(name)
        *indices, formula = indices_and_formula or (None,)
        if not indices or isinstance(formula, Index):
            raise LanguageError(f"definition {name} of site {self.name}: give its indices, then the formula")
        self.tensors[name] = self._tensor(name, "definition", indices, latex)
        self.definitions[name] = exact(formula, f"definition {name}")
        return self.tensors[name]

    def action(self, expr: Expr) -> None:
        """Add to the site action: terms linear and quadratic in response fields, and q̂·O(x)."""
        self.terms.append(exact(expr, f"the action of site {self.name}"))

    def equation(self, left: Entry | TimeDerivative, right: Expr) -> None:
        """Add the equation left = right (x[t] = ... or x.dot[t] = ...) to the action, without its noise."""
        entry = left.entry if isinstance(left, TimeDerivative) else left
        if not isinstance(entry, Entry) or entry.tensor.kind != "field":
            raise LanguageError(f"site {self.name}: the left side of an equation is a field, not {left}")
        self.terms.append(-entry.tensor.tilde[entry.indices] * (left - exact(right, f"the equation of {entry}")))

    def noise(self, one: Entry, other: Entry, covariance: Expr) -> None:
        """Add Gaussian noise with ⟨u_one u_other⟩ = covariance to the right-hand sides of two fields (or of one)."""
        for entry in (one, other):
            if not isinstance(entry, Entry) or entry.tensor.kind != "field":
                raise LanguageError(f"site {self.name}: noise acts on fields, not on {entry}")
        factor = sympy.Rational(1, 2) if one.tensor == other.tensor else Integer(1)
        responses = one.tensor.tilde[one.indices] * other.tensor.tilde[other.indices]
        self.terms.append(factor * responses * exact(covariance, f"the noise of {one}"))

    def observe(self, order_parameter: Entry, observable: Expr) -> None:
        """Add q̂·O: the order parameter is the site average of the observable."""
        if not isinstance(order_parameter, Entry) or order_parameter.tensor.kind != "order parameter":
            raise LanguageError(f"site {self.name}: {order_parameter} is not an order parameter")
        conjugate = order_parameter.tensor.hat[order_parameter.indices]
        self.terms.append(conjugate * exact(observable, f"the observable of {order_parameter}"))

    def __repr__(self) -> str:
        fields = [str(t[t.indices]) for t in self.tensors.values() if t.kind == "field"]
        given = "" if self.terms else "; no action yet"
        return f"Site({self.name!r}): fields {', '.join(fields) or 'none'}{given}"

    def latex_lines(self) -> list[str]:
        """The site action as LaTeX."""
        action = sympy.latex(sum(self.terms, Integer(0)))
        return [rf"S_{{\mathrm{{{latex_text(self.name)}}}}} = {action}"]

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {latex_block(self.latex_lines())}$"

    def _tensor(self, name: str, kind: str, indices, latex: str) -> Tensor:
        for index in indices:
            if not isinstance(index, Index):
                raise LanguageError(f"{kind} {name}: {index} is not an index of this model")
        if len(set(indices)) != len(indices):
            raise LanguageError(f"{kind} {name}: an index is named twice in [{', '.join(i.name for i in indices)}]")
        return Tensor(name, kind, tuple(indices), self.name, latex)
