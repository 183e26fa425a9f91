"""`Action`: what a user has written, immutable and checked, the record that the derivation starts from."""

import hashlib
from dataclasses import dataclass

from sympy import Expr, latex

from dmftsym.language.activations import Activation
from dmftsym.language.conjugates import conjugate_entry, is_multiplier
from dmftsym.language.display import Displayed
from dmftsym.language.symbols import Axis, Entry, Index, Parameter, Tensor
from dmftsym.language.terms import Term, as_expression


@dataclass(frozen=True)
class Data:
    """An array that the user gives; `otherwise` computes it from other data, block by block, when it is missing."""

    tensor: Tensor
    otherwise: tuple[tuple[Entry, tuple[Term, ...]], ...] = ()


@dataclass(frozen=True)
class Definition:
    """A named function of other quantities: tensor[indices] = Σ terms."""

    tensor: Tensor
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Start:
    """The Gaussian initial value of a field."""

    field: Tensor
    mean: Expr
    variance: Expr


@dataclass(frozen=True, kw_only=True)
class SiteAction:
    """A site as written: fields, local definitions, initial values, the contracted terms of its action, weight ν.

    `expression` is the action as the user wrote it, repeated indices contracted silently; `repeated` are the terms that
    several calls of `site.action` (or `noise`, `observe`) added.
    """

    name: str
    weight: Expr
    fields: tuple[Tensor, ...]
    definitions: tuple[Definition, ...]
    starts: tuple[Start, ...]
    terms: tuple[Term, ...]
    expression: Expr
    repeated: tuple[Term, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Declarations(Displayed):
    """What a user declares beside quantities: the name, axes and their indices, parameters, data, activations."""

    title = "Declarations"

    name: str
    description: str
    axes: tuple[Axis, ...]
    indices: tuple[Index, ...]
    parameters: tuple[Parameter, ...]
    activations: tuple[Activation, ...]
    data: tuple[Data, ...]
    time_step: float | None

    @property
    def time(self) -> Index:
        """The first declared time index: the time at which a step of the sweep stands."""
        return next(i for i in self.indices if i.is_time)

    @property
    def names(self) -> frozenset[str]:
        """The names of indices, parameters and data, and the sizes of axes."""
        named = [*self.indices, *self.parameters, *(d.tensor for d in self.data)]
        return frozenset([*(n.name for n in named), *(a.size for a in self.axes)])

    def text(self) -> str:
        """The name, then one line a kind."""
        return "\n".join([self.name, *(f"{kind}: {', '.join(map(str, each))}" for kind, each in self._kinds())])

    def latex_lines(self) -> list[str]:
        """The same in LaTeX, without the name."""
        return [rf"\text{{{kind}: }} {', '.join(latex(each) for each in those)}" for kind, those in self._kinds()]

    def _kinds(self) -> list[tuple[str, tuple]]:
        data = tuple(d.tensor[d.tensor.indices] for d in self.data)
        kinds = [("indices", self.indices), ("parameters", self.parameters), ("data", data)]
        return [(kind, each) for kind, each in kinds if each]


@dataclass(frozen=True, kw_only=True)
class Action(Displayed):
    """A checked DMFT action S = pair_terms + Σ ν ln Z_site, every index contracted, every sum explicit.

    `expression` is the action as the user wrote it.
    """

    title = "Action"

    declared: Declarations
    order_parameters: tuple[Tensor, ...]
    definitions: tuple[Definition, ...]
    sites: tuple[SiteAction, ...]
    pair_terms: tuple[Term, ...]
    outputs: tuple[str, ...]
    expression: Expr

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.declared.name

    @property
    def time(self) -> Index:
        """The time at which a step of the sweep stands."""
        return self.declared.time

    @property
    def is_continuous(self) -> bool:
        """Whether time derivatives (rather than steps) live on the time axis."""
        return self.time.axis.continuous

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that is declared with indices: data, order parameters, definitions, then those of sites."""
        shared = [
            *(d.tensor for d in self.declared.data),
            *self.order_parameters,
            *(d.tensor for d in self.definitions),
        ]
        own = [t for site in self.sites for t in (*site.fields, *(d.tensor for d in site.definitions))]
        return (*shared, *own)

    def conjugate(self, q: Tensor) -> Entry:
        """The variable whose equation determines q: q.hat, or for a pair of response functions the other one."""
        found = conjugate_entry(self.pair_terms, q)
        assert found is not None, f"{q} has no conjugate"  # read_action checked it
        return found

    def is_multiplier(self, q: Tensor) -> bool:
        """Whether q is determined by a constraint on other order parameters: its conjugate multiplies one."""
        return is_multiplier(self.pair_terms, q)

    def definition(self, name: str) -> Definition:
        """The definition of that name, of the model or of a site."""
        local = [d for site in self.sites for d in site.definitions]
        return next(d for d in (*self.definitions, *local) if d.tensor.name == name)

    def text(self) -> str:
        """The action in plain text: S, then the action of every site."""
        lines = [f"S = {self.expression}"]
        lines += [f"{d.tensor[d.tensor.indices]} = {as_expression(d.terms)}" for d in self.definitions]
        for site in self.sites:
            lines.append(f"S_{site.name} = {site.expression}")
            lines += [f"  {d.tensor[d.tensor.indices]} = {as_expression(d.terms)}" for d in site.definitions]
            lines += [f"  {s.field}(0) ~ Normal(mean {s.mean}, variance {s.variance})" for s in site.starts]
        return "\n".join(lines)

    def latex_lines(self) -> list[str]:
        """The action as LaTeX, one line an equation."""
        lines = [f"S = {latex(self.expression)}"]
        lines += [f"{latex(d.tensor[d.tensor.indices])} = {latex(as_expression(d.terms))}" for d in self.definitions]
        for site in self.sites:
            lines.append(rf"S_{{\mathrm{{{site.name}}}}} = {latex(site.expression)}")
            lines += [
                f"{latex(d.tensor[d.tensor.indices])} = {latex(as_expression(d.terms))}" for d in site.definitions
            ]
            lines += [
                rf"{latex(s.field)}(0) \sim \mathcal{{N}}\left({latex(s.mean)}, {latex(s.variance)}\right)"
                for s in site.starts
            ]
        return lines


def hash_of(action: Action) -> str:
    """A hash of the mathematical content of a model: its action, declarations and formulas."""
    declared = action.declared
    parts = [
        action.name,
        action.text(),
        *[f"{a.name}={a.formula}" for a in declared.activations],
        *[f"{p.name}:{p.default}:{p.lower}:{p.strict}:{p.upper}:{p.only}" for p in declared.parameters],
        *[f"{d.tensor[d.tensor.indices]}:{d.otherwise}" for d in declared.data],
        *[a.key() for a in declared.axes],
        *[f"{i.name}:{i.axis.name}" for i in declared.indices],
        *action.outputs,
        str(declared.time_step),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
