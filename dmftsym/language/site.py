"""`Site`: the fields of a population and their action, or, as a convenience, their equations and noise."""

from __future__ import annotations

import sympy
from sympy import Add, Expr, Integer, S

from dmftsym.errors import LanguageError
from dmftsym.language.display import latex_block, latex_text
from dmftsym.language.free_indices import indices_of_formula
from dmftsym.language.grammar import exact
from dmftsym.language.sums import sum_over
from dmftsym.language.symbols import Entry, Index, Kind, Tensor, TimeDerivative
from dmftsym.language.terms import count_indices


class Site:
    """A population of equal units: fields, local definitions and the site action S_ℓ[x, x̃; q, q̂].

    `action(...)` takes the action as in a paper; `equation`, `noise` and `observe` add the same terms one by one.
    """

    def __init__(self, name: str, model, size: Expr = S.One):
        self.name, self.model, self.size = name, model, size
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
        self.tensors[name] = self._tensor(name, Kind.FIELD, indices, latex)
        if variance is not None and exact(variance, f"field {name}").is_negative:
            raise LanguageError(f"field {name}: the variance of its initial value is negative, {variance}")
        if variance is not None or mean != 0:
            self.starts[name] = (
                exact(mean, f"field {name}"),
                exact(variance if variance is not None else 0, f"field {name}"),
            )
        return self.tensors[name]

    def define(self, name: str, *indices_and_formula, latex: str = "") -> Tensor:
        """Name a function of this site's fields: ``g = site.define("g", mu, t, phi.d(1)(h[mu, t])*z[t])``.

        Without indices, those that stand once in some term of the formula are its indices, and its time.
        """
        self.model._check_name(name)
        *indices, formula = indices_and_formula or (None,)
        if isinstance(formula, Index):
            raise LanguageError(f"definition {name} of site {self.name}: the formula is missing after its indices")
        where = f"definition {name} of site {self.name}"
        indices = indices or indices_of_formula(exact(formula, where), self.model.index_symbols.values(), strict=where)
        if not indices:
            raise LanguageError(f"definition {name} of site {self.name}: give its indices, then the formula")
        self.tensors[name] = self._tensor(name, Kind.DEFINITION, indices, latex)
        self.definitions[name] = exact(formula, f"definition {name}")
        return self.tensors[name]

    def action(self, expr: Expr) -> None:
        """Add to the site action: terms linear and quadratic in response fields, and q̂·O(x)."""
        self.terms.append(exact(expr, f"the action of site {self.name}"))

    def equation(self, left: Entry | TimeDerivative, right: Expr) -> None:
        """Add the equation left = right (x[t] = ... or x.dot[t] = ...) to the action, without its noise."""
        entry = left.entry if isinstance(left, TimeDerivative) else left
        if not isinstance(entry, Entry) or entry.tensor.kind != Kind.FIELD:
            raise LanguageError(f"site {self.name}: the left side of an equation is a field, not {left}")
        self._add(-entry.tensor.tilde[entry.indices], left - exact(right, f"the equation of {entry}"), entry)

    def noise(self, one: Entry, other: Entry, covariance: Expr) -> None:
        """Add Gaussian noise with ⟨u_one u_other⟩ = covariance to the right-hand sides of two fields (or of one)."""
        for entry in (one, other):
            if not isinstance(entry, Entry) or entry.tensor.kind != Kind.FIELD:
                raise LanguageError(f"site {self.name}: noise acts on fields, not on {entry}")
        factor = sympy.Rational(1, 2) if one.tensor == other.tensor else Integer(1)
        ends = one.tensor.tilde[one.indices] * other.tensor.tilde[other.indices]
        self._add(factor * ends, exact(covariance, f"the noise of {one}"), one, other)

    def observe(self, order_parameter: Entry, observable: Expr) -> None:
        """Add q̂·O: the order parameter is the site average of the observable."""
        if not isinstance(order_parameter, Entry) or order_parameter.tensor.kind != Kind.ORDER_PARAMETER:
            raise LanguageError(f"site {self.name}: {order_parameter} is not an order parameter")
        self._add(
            order_parameter.tensor.hat[order_parameter.indices],
            exact(observable, f"the observable of {order_parameter}"),
            order_parameter,
        )

    def _add(self, factor: Expr, rest: Expr, *ends: Entry) -> None:
        """Add factor·rest, term by term, with sums over indices of `ends` that stand nowhere else in a term.

        An equation x[mu, t] = v[t] holds for every mu, so in the action mu is summed although v has none.
        """
        own = [i for e in ends for i in e.indices if isinstance(i, Index) and not i.is_time]
        parts: dict[tuple[Index, ...], Expr] = {}
        for part in Add.make_args(rest):
            counts = count_indices(factor * part)
            alone = tuple(dict.fromkeys(i for i in own if counts[i] == 1))
            parts[alone] = parts.get(alone, Integer(0)) + part
        for alone, part in parts.items():
            self.terms.append(sum_over(*alone)(factor * part) if alone else factor * part)

    def __repr__(self) -> str:
        fields = [str(t[t.indices]) for t in self.tensors.values() if t.kind == Kind.FIELD]
        given = "" if self.terms else "; no action yet"
        return f"Site({self.name!r}): fields {', '.join(fields) or 'none'}{given}"

    def latex_lines(self) -> list[str]:
        """The site action as LaTeX."""
        action = sympy.latex(sum(self.terms, Integer(0)))
        return [rf"S_{{\mathrm{{{latex_text(self.name)}}}}} = {action}"]

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {latex_block(self.latex_lines())}$"

    def _tensor(self, name: str, kind: Kind, indices, latex: str) -> Tensor:
        for index in indices:
            if not isinstance(index, Index):
                raise LanguageError(f"{kind} {name}: {index} is not an index of this model")
        if len(set(indices)) != len(indices):
            raise LanguageError(f"{kind} {name}: an index is named twice in [{', '.join(i.name for i in indices)}]")
        return Tensor(name, kind, tuple(indices), self.name, latex)
