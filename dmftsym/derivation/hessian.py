"""The Hessian of the action over all order parameters and conjugates, as averages of vertices (theory: Hessian).

    H_ij = explicit + Σ ν [ <V_i V_j> − <V_i><V_j> + <∂²S_site/∂Q_i ∂Q_j> ],    V_i = ∂S_site/∂Q_i.

Which blocks vanish is found term by term, by causality and normalisation, and said.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement, product

from sympy import Add, Eq, Expr, Function, Integer, KroneckerDelta, Mul, Symbol, Tuple, latex

from dmftsym.derivation.averages import Average, SourceDerivative, source_of
from dmftsym.derivation.functional import functional_derivative
from dmftsym.derivation.saddle_point import (
    CausalTerm,
    Reach,
    SaddlePoint,
    expanded,
    is_before,
    pair_fate,
    site_fate,
    split_own_term,
)
from dmftsym.language.action import Action, SiteAction
from dmftsym.language.display import Displayed
from dmftsym.language.sums import SiteSymbol
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Term, as_expression, entries_of, multiply

Terms = tuple[Term, ...]


@dataclass(frozen=True)
class SiteBlock:
    """What one site adds: weight·(Σ <joint> − Σ <first><second>), the terms with response fields as they stand."""

    site: str
    weight: Expr
    joint: Terms
    apart: tuple[tuple[Term, Term], ...]
    expression: Expr


@dataclass(frozen=True)
class HessianBlock:
    """∂²S/∂row ∂column: the own pair term `own`, other explicit terms, sites, and what vanishes, with reasons."""

    row: Entry
    column: Entry
    own: Expr
    explicit: Terms
    sites: tuple[SiteBlock, ...]
    vanishing: tuple[CausalTerm, ...]

    @property
    def expression(self) -> Expr:
        """The whole block."""
        return self.own + as_expression(self.explicit) + self.from_sites

    @property
    def from_sites(self) -> Expr:
        """The averages over the sites."""
        return Add(*[s.expression for s in self.sites])

    @property
    def vanishes(self) -> bool:
        """Whether nothing is left of the block."""
        return self.expression == 0

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the vanishing terms vanish, without repetition."""
        found = tuple(dict.fromkeys(t.reason for t in self.vanishing))
        return found or (("no term of the action holds both",) if self.vanishes else ())


@dataclass(frozen=True)
class Hessian(Displayed):
    """All blocks of the Hessian on and above the diagonal, conjugates first."""

    title = "Hessian"

    order_parameters: tuple[Tensor, ...]
    blocks: tuple[HessianBlock, ...]

    def block(self, row: Tensor, column: Tensor) -> HessianBlock:
        """The block of two variables (order parameters q or conjugates q.hat), in the order in which it is stored."""
        for block in self.blocks:
            if (block.row.tensor, block.column.tensor) == (row, column):
                return block
        raise KeyError(
            f"{row}, {column}: stored are {[(str(b.row.tensor), str(b.column.tensor)) for b in self.blocks]}"
        )

    @property
    def sympy(self) -> tuple[Eq, ...]:
        """Every block as an equality H(row, column) = ..."""
        head = Function("H")
        pairs = ((head(Symbol(str(b.row)), Symbol(str(b.column))), b.expression) for b in self.blocks)
        return tuple(Eq(left, right, evaluate=False) for left, right in pairs)

    def text(self) -> str:
        """One block a line; for those that vanish the reason."""
        lines = []
        for b in self.blocks:
            head = f"H[{b.row}; {b.column}]"
            lines.append(f"{head} = {b.expression}" + (f"    ({'; '.join(b.reasons)})" if b.vanishes else ""))
        return "\n".join(lines)

    def latex_lines(self) -> list[str]:
        """One block a line; for those that vanish the reason."""
        lines = []
        for b in self.blocks:
            head = rf"H\left[{latex(b.row)};\, {latex(b.column)}\right]"
            why = rf" \quad \text{{({'; '.join(b.reasons)})}}" if b.vanishes else ""
            lines.append(f"{head} = {latex(b.expression)}{why}")
        return lines


def derive_hessian(action: Action, saddle: SaddlePoint, causal: tuple[Reach, ...] = ()) -> Hessian:
    """The Hessian at the saddle point, conjugates that vanish there set to zero; `causal` as for the saddle point.

    Exact at N → ∞ up to the order kept (fluctuations of relative size 1/√N). Raises `DerivationError` as the saddle
    point does. Cost: quadratic in the number of order parameters. Source: Helias & Dahmen, arXiv:1901.10416.
    """
    gone = {c.conjugate.tensor for c in saddle.conjugates if c.vanishes}
    own = [q.hat for q in action.order_parameters if action.conjugate(q).tensor == q.hat]
    variables = (*own, *action.order_parameters)
    pairs = combinations_with_replacement(variables, 2)
    return Hessian(action.order_parameters, tuple(_block(action, gone, causal, *pair) for pair in pairs))


@dataclass(frozen=True)
class ExplicitNoise:
    """What explicit terms add to the block κ(first, second) of two order parameters: Σ terms."""

    first: Entry
    second: Entry
    terms: Terms

    @property
    def reads(self) -> tuple[str, ...]:
        """The quantities at the saddle point that it depends on."""
        kinds = (Kind.ORDER_PARAMETER, Kind.DEFINITION, Kind.OBSERVABLE)
        return tuple(dict.fromkeys(e.tensor.name for t in self.terms for e in entries_of(t.body, *kinds)))


def explicit_noise(action: Action, saddle: SaddlePoint) -> tuple[ExplicitNoise, ...]:
    """The parts of κ that explicit terms of second order in conjugates give: ½ q̂ M q̂ is noise of covariance M on q.

    Both orders of two different order parameters are listed. Cost: negligible unless the action has such terms.
    """
    if not any(len(_conjugate_factors(t)) > 1 for t in action.pair_terms):
        return ()
    gone = {c.conjugate.tensor for c in saddle.conjugates if c.vanishes}
    found = []
    own = [q for q in action.order_parameters if action.conjugate(q).tensor == q.hat and not action.is_multiplier(q)]
    for first, second in product(own, own):
        row, column = first.hat[first.indices], second.hat[primed(second)]
        terms = _second_derivative(action.pair_terms, row, column, action)
        scale = split_own_term(action, first)[0] * split_own_term(action, second)[0]
        kept = tuple(t.times(1 / scale) for t in terms if not _conjugates(t) & gone)
        if kept:
            found.append(ExplicitNoise(first[first.indices], second[primed(second)], kept))
    return tuple(found)


def _conjugate_factors(term: Term) -> list[Expr]:
    return [f for f in term.factors if entries_of(f, Kind.CONJUGATE)]


def primed(tensor: Tensor) -> tuple[Index, ...]:
    """The indices of a second copy of a variable."""
    return tuple(i.primed for i in tensor.indices)


def _block(action: Action, gone: set[Tensor], causal: tuple[Reach, ...], first: Tensor, second: Tensor) -> HessianBlock:
    row, column = first[first.indices], second[primed(second)]
    explicit, vanishing = [], []
    for term in _second_derivative(action.pair_terms, row, column, action):
        fate = pair_fate(term) if _conjugates(term) & gone else None
        if fate:
            vanishing.append(fate)
        else:
            explicit.append(term)
    own, others = _take_own(action, row, column, explicit)
    sites = []
    for site in action.sites:
        found, dropped = _site_block(action, site, gone, causal, (row, column))
        vanishing += dropped
        if found.expression != 0:
            sites.append(found)
    return HessianBlock(
        row=row, column=column, own=own, explicit=others, sites=tuple(sites), vanishing=tuple(vanishing)
    )


def _second_derivative(terms: Terms, row: Entry, column: Entry, action: Action) -> Terms:
    once = functional_derivative(terms, row.tensor, row.indices, action)
    return functional_derivative(once, column.tensor, column.indices, action)


def _take_own(action: Action, row: Entry, column: Entry, explicit: list[Term]) -> tuple[Expr, Terms]:
    """Separate what the pair term q̂ q contributes: its coefficient times Kronecker deltas."""
    q = column.tensor
    if (
        row.tensor.kind != Kind.CONJUGATE
        or q.kind != Kind.ORDER_PARAMETER
        or row.tensor != q.hat
        or action.is_multiplier(q)
    ):
        return Integer(0), tuple(explicit)
    coefficient, _ = split_own_term(action, q)
    own = coefficient * Mul(*[KroneckerDelta(*pair) for pair in zip(row.indices, column.indices, strict=True)])
    mine = [t for t in explicit if not t.bound and (t.body - own).expand() == 0]
    return own, tuple(t for t in explicit if t not in mine)


def _site_block(
    action: Action, site: SiteAction, gone: set[Tensor], causal: tuple[Reach, ...], ends: tuple[Entry, Entry]
):
    """The connected vertex average of one site; terms that vanish are returned with their reasons."""
    first, second = (_vertex(action, site, gone, e) for e in ends)
    joint, apart, dropped = [], [], []
    together = [multiply((a, b)) for a in first for b in second]
    curvature = _second_derivative(site.terms, *ends, action)
    together += [t for t in curvature if not _conjugates(t) & gone]
    for term in expanded(tuple(together)):
        fate = site_fate(term, site, action, causal)
        if fate.vanishes:
            dropped.append(fate)
        else:
            joint.append(term)
    for a in first:
        for b in second:
            if not any(site_fate(t, site, action, causal).vanishes for t in (a, b)):
                apart.append((a, b))
    total = as_expression(tuple(_averaged(t, site.name, action) for t in joint))
    for a, b in apart:
        total -= Mul(*[as_expression((_averaged(t, site.name, action),)) for t in (a, b)])
    return SiteBlock(
        site=site.name, weight=site.weight, joint=tuple(joint), apart=tuple(apart), expression=site.weight * total
    ), dropped


def _vertex(action: Action, site: SiteAction, gone: set[Tensor], variable: Entry) -> Terms:
    """∂S_site/∂Q at the saddle point."""
    terms = functional_derivative(site.terms, variable.tensor, variable.indices, action)
    return tuple(t for t in terms if not _conjugates(t) & gone)


def _conjugates(term: Term) -> set[Tensor]:
    return {e.tensor for e in entries_of(term.body, Kind.CONJUGATE)}


def _averaged(term: Term, site: str, action: Action) -> Term:
    """⟨term⟩ with response fields as source derivatives, which do not act on what is earlier than all of them."""
    outside, early, late, responses = [], [], [], []
    for factor in term.factors:
        local = [e for e in entries_of(factor) if e.tensor.site == site]
        if isinstance(factor, Entry) and factor.tensor.kind == Kind.RESPONSE_FIELD:
            responses.append(factor)
        elif not local:
            outside.append(factor)
        else:
            late.append(factor)
    for factor in [f for f in late if responses]:
        local = [e for e in entries_of(factor) if e.tensor.site == site]
        if all(is_before(e, [r], term.constraints, action) for e in local for r in responses):
            late.remove(factor)
            early.append(factor)
    inside = Mul(*late)
    if responses:
        inside = SourceDerivative(inside, Tuple(*[source_of(r) for r in responses]))
    averaged = Average(Mul(*early) * inside, SiteSymbol(site)) if late or early else Integer(1)
    return Term(Mul(*outside) * averaged, term.bound, term.constraints)
