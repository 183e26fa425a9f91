"""Site averages as symbolic objects, and response fields as derivatives with respect to sources."""

import re

from sympy import Expr, Integer, Mul, Tuple

from dmftsym.language.sums import SiteSymbol
from dmftsym.language.symbols import Entry, Kind, Tensor
from dmftsym.language.terms import Term


def source_name(field: str, rank: int = 0) -> str:
    """The name of a source in the equation of a field: u_x, and u2_x, u3_x, ... of those that follow."""
    return f"u{rank + 1 if rank else ''}_{field}"


def is_source_name(name: str) -> bool:
    """Whether a name is like those of sources, which nothing else may have."""
    return re.match(r"u\d*_", name) is not None


def source_of(response: Entry) -> Entry:
    """The source u that enters the equation of a field beside its response field."""
    tensor, name = response.tensor, source_name(response.tensor.name)
    return Tensor(name, Kind.SOURCE, tensor.indices, tensor.site, f"u^{{{tensor.latex_name}}}")[response.indices]


class Average(Expr):
    """⟨observable⟩ over the effective process of a site; arguments: observable, site."""

    is_real = True
    is_commutative = True

    @property
    def observable(self) -> Expr:
        """What is averaged, or differentiated."""
        return self.args[0]

    @property
    def site(self) -> str:
        """The name of the site."""
        return self.args[1].name

    def _sympystr(self, printer):
        return f"<{printer._print(self.observable)}>_{self.site}"

    def _latex(self, printer, exp=None):
        text = rf"\left\langle {printer._print(self.observable)} \right\rangle_{{{printer._print(self.args[1])}}}"
        return text if exp is None else rf"{{{text}}}^{{{exp}}}"


class SourceDerivative(Expr):
    """δO/δu(s)...: what a product of response fields becomes inside an average; arguments: observable, sources."""

    is_real = True
    is_commutative = True

    @property
    def observable(self) -> Expr:
        """What is averaged, or differentiated."""
        return self.args[0]

    @property
    def sources(self) -> tuple[Entry, ...]:
        """The sources with respect to which it is differentiated."""
        return tuple(self.args[1])

    def _sympystr(self, printer):
        order = len(self.sources)
        sources = "*".join(f"d{printer._print(s)}" for s in self.sources)
        power = str(order) if order > 1 else ""
        return f"d{power}({printer._print(self.observable)})/({sources})"

    def _latex(self, printer, exp=None):
        order = len(self.sources)
        power = f"^{{{order}}}" if order > 1 else ""
        sources = r"\, ".join(rf"\delta {printer._print(s)}" for s in self.sources)
        text = rf"\frac{{\delta{power}}}{{{sources}}} \left[{printer._print(self.observable)}\right]"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


def average(body: Expr, site: str) -> Expr:
    """⟨body⟩_site: what does not depend on the site in front, response fields as source derivatives.

    ⟨Ψ x̃(s)⟩ = ⟨δΨ/δu(s)⟩ (theory.md §1): an average of response fields alone is zero.
    """
    outside, inside, responses = [], [], []
    for factor in Term(body).factors:
        entries = factor.atoms(Entry)
        if isinstance(factor, Entry) and factor.tensor.kind == Kind.RESPONSE_FIELD:
            responses.append(factor)
        elif any(e.tensor.site == site for e in entries):
            inside.append(factor)
        else:
            outside.append(factor)
    if responses and not inside:
        return Integer(0)
    observable = Mul(*inside)
    if responses:
        observable = SourceDerivative(observable, Tuple(*[source_of(r) for r in responses]))
    return Mul(*outside) * (Average(observable, SiteSymbol(site)) if inside else 1)
