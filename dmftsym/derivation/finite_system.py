"""The finite system that was said: equations in which the random matrices act, and the law of the matrices."""

from dataclasses import dataclass

from sympy import Expr, latex

from dmftsym.averaging.average import Averaged
from dmftsym.averaging.products import Product
from dmftsym.derivation.process import EffectiveProcess, derive_processes
from dmftsym.language.disorder import Learned, RandomMatrix
from dmftsym.language.display import Displayed, latex_text
from dmftsym.language.reading import read_action
from dmftsym.language.terms import as_expression


@dataclass(frozen=True, kw_only=True)
class FiniteSystem(Displayed):
    """Units of every site, the random matrices between them, and what is observed; N is the width.

    `processes` hold the equations of a unit with what the matrices give as a quantity of its own, one of `products`;
    `added` names the order parameters that the average needs and nobody observes.
    """

    processes: tuple[EffectiveProcess, ...]
    matrices: tuple[RandomMatrix, ...]
    products: tuple[Product, ...]
    sizes: tuple[tuple[str, Expr], ...]
    added: tuple[str, ...]

    def text(self) -> str:
        """The equations of a unit of every site, then the matrices."""
        lines: list[str] = []
        for process in self.processes:
            lines.append(f"{process.site}: {self._count(process.site)} units i, each with")
            lines += [f"  {left} = {right}" for left, right in self._lines(process, str)]
            lines += [f"  {s.field}(0) ~ Normal(mean {s.mean}, variance {s.variance})" for s in process.starts]
        for m in self.matrices:
            first, *changes = law_of(m)
            lines += [first, *(f"  {line}" for line in changes)]
        return "\n".join(lines)

    def latex_lines(self) -> list[str]:
        """The same as LaTeX, one equation an item."""
        lines: list[str] = []
        for process in self.processes:
            lines.append(rf"\text{{{latex_text(process.site)}: }} {self._count(process.site, latex)} \text{{ units}}")
            lines += [f"{left} = {right}" for left, right in self._lines(process, latex)]
        for m in self.matrices:
            entry = f"{m.symbol.latex_name}_{{ij}}"
            mean = rf"\frac{{{latex(m.mean)}}}{{N}}" if m.mean != 0 else "0"
            lines.append(rf"{entry} \sim \mathcal{{N}}\left({mean}, \frac{{{latex(m.variance)}}}{{N}}\right)")
            if m.symmetry != 0:
                lines.append(rf"\operatorname{{corr}}({entry}, {m.symbol.latex_name}_{{ji}}) = {latex(m.symmetry)}")
            lines += _changes(m, latex)
        return lines

    def _count(self, site: str, show=str) -> str:
        size = dict(self.sizes)[site]
        if size.is_Add:
            return rf"\left({show(size)}\right) N" if show is latex else f"({size})*N"
        return "N" if size == 1 else f"{show(size)} N" if show is latex else f"{size}*N"

    def _lines(self, process: EffectiveProcess, show) -> list[tuple[str, str]]:
        said = {p.tensor[p.tensor.indices]: p.applied for p in self.products}
        lines = [(show(e.left_side()), show(e.right_side().xreplace(said))) for e in process.equations]
        formulas = [(d.tensor, as_expression(d.terms).xreplace(said)) for d in process.definitions]
        lines += [(show(tensor[tensor.indices]), show(formula)) for tensor, formula in formulas]
        brackets = (r"\left\langle ", r" \right\rangle") if show is latex else ("<", ">")
        ends = lambda c: f"{show(c.left)} {show(c.right)}".join(brackets)
        return lines + [(ends(c), show(as_expression(c.terms))) for c in process.covariances]


def law_of(m: RandomMatrix) -> list[str]:
    """What a matrix is, and how it changes, one line each."""
    return [f"{m.name}: {m.rows.name} x {m.columns.name}, {', '.join(_law(m))}", *_changes(m, str)]


def _law(m: RandomMatrix) -> list[str]:
    """What the entries of a matrix are."""
    law = [
        f"entries of mean {_over_n(m.mean)}" if m.mean != 0 else "entries of mean 0",
        f"variance {_over_n(m.variance)}",
    ]
    law += [f"correlation {m.symmetry} of entries ij and ji"] if m.symmetry != 0 else []
    return law + ([f"one for every {', '.join(i.name for i in m.indices)}"] if m.indices else [])


def _over_n(value: Expr) -> str:
    return f"({value})/N" if value.is_Add else f"{value}/N"


def _changes(m: RandomMatrix, show) -> list[str]:
    """How a matrix changes."""
    return [_change(m, learned, show) for learned in m.learned] + (
        [f"decays at the rate {show(m.decay_rate)}"] if m.decay_rate != 0 else []
    )


def _change(m: RandomMatrix, learned: Learned, show) -> str:
    at = show(learned.time)
    if show is latex:
        name = m.symbol.latex_name
        change = rf"\frac{{1}}{{N}} {latex(learned.rate)} \, {latex(learned.left)} \, {latex(learned.right)}^{{\top}}"
        if learned.time.axis.continuous:
            return rf"\partial_{{{at}}} {name} = {change}"
        return rf"{name}({at} + 1) = {name}({at}) + {change}"
    left = f"d{m.name}/d{at}" if learned.time.axis.continuous else f"{m.name}({at} + 1) - {m.name}({at})"
    return f"{left} = {learned.rate} * ({learned.left}) ({learned.right})^T/N, repeated indices summed"


def finite_system(averaged: Averaged) -> FiniteSystem | None:
    """The record of the finite system of an averaged model; None if no matrix was said."""
    if averaged.finite is None:
        return None
    model = averaged.finite
    action = read_action(model)
    return FiniteSystem(
        processes=tuple(derive_processes(action)),
        matrices=averaged.matrices,
        products=averaged.products,
        sizes=tuple((s.name, s.weight) for s in action.sites),
        added=tuple(name for name in averaged.model.tensors if name not in model.tensors),
    )
