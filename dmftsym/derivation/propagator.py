"""The propagator: the inverse of the Hessian, block by block, and which order parameter drives which.

Σ = −H^{-1};  with conjugates that decouple  Σ_qq = (I − D)^{-1} κ (I − D)^{-T},  Σ_qq̂ = (I − D)^{-1},  Σ_q̂q̂ = 0.
"""

from dataclasses import dataclass

from sympy import Eq, Expr, Function, Symbol, latex

from dmftsym.derivation.hessian import Hessian, HessianBlock, primed
from dmftsym.derivation.picture import draw_columns
from dmftsym.derivation.saddle_point import SaddlePoint, split_own_term
from dmftsym.language.action import Action
from dmftsym.language.display import Displayed
from dmftsym.language.symbols import Entry, Kind, Tensor
from dmftsym.language.terms import as_expression, entries_of

DECOUPLED = "N Cov(q, q) = Σ_qq = (I - D)^-1 κ (I - D)^-T,  Σ_qq̂ = (I - D)^-1,  Σ_q̂q̂ = 0"
COUPLED = "N Cov(Q, Q) = Σ = -H^-1 over all order parameters and conjugates"


@dataclass(frozen=True)
class Drive:
    """The block D(target, source) = ∂⟨O_target⟩/∂source + explicit terms."""

    target: Entry
    source: Entry
    expression: Expr


@dataclass(frozen=True)
class Noise:
    """The block κ(first, second) = Cov(O_first, O_second), weighted with the sizes of the sites."""

    first: Entry
    second: Entry
    expression: Expr


@dataclass(frozen=True)
class Follower:
    """A function of order parameters, whose fluctuations follow by the chain rule."""

    name: Entry
    reads: tuple[Tensor, ...]


@dataclass(frozen=True)
class Propagator(Displayed):
    """Blocks D and κ that do not vanish, the functions that follow, and whether the conjugates decouple.

    `coupled` lists the blocks of the Hessian that prevent the decoupling, if there are any.
    """

    title = "Propagator"

    order_parameters: tuple[Tensor, ...]
    drives: tuple[Drive, ...]
    noise: tuple[Noise, ...]
    followers: tuple[Follower, ...]
    coupled: tuple[HessianBlock, ...]

    @property
    def decoupled(self) -> bool:
        """Whether H vanishes between order parameters, so that Σ_qq needs D and κ only."""
        return not self.coupled

    @property
    def closed(self) -> tuple[Tensor, ...]:
        """The order parameters that drive themselves, directly or through others."""
        after = {q: {d.target.tensor for d in self.drives if d.source.tensor == q} for q in self.order_parameters}

        def reached(q: Tensor) -> set[Tensor]:
            found: set[Tensor] = set()
            queue = [q]
            while queue:
                new = after[queue.pop()] - found
                found |= new
                queue += sorted(new, key=str)
            return found

        return tuple(q for q in self.order_parameters if q in reached(q))

    @property
    def sympy(self) -> tuple[Eq, ...]:
        """Every block of D and κ as an equality."""
        rows = [("D", d.target, d.source, d.expression) for d in self.drives]
        rows += [("kappa", n.first, n.second, n.expression) for n in self.noise]
        return tuple(Eq(Function(f)(Symbol(str(a)), Symbol(str(b))), e, evaluate=False) for f, a, b, e in rows)

    def text(self) -> str:
        """The form of Σ, the blocks, and who drives whom."""
        lines = [DECOUPLED if self.decoupled else COUPLED]
        lines += [f"because H[{b.row}; {b.column}] = {b.expression}" for b in self.coupled]
        lines += [f"D[{d.target}; {d.source}] = {d.expression}" for d in self.drives]
        lines += [f"κ[{n.first}; {n.second}] = {n.expression}" for n in self.noise]
        lines += [f"{q} drives {', '.join(targets)}" for q, targets in self._targets().items()]
        lines += [f"{q} drives nothing: its fluctuations are observed only" for q in self._observed()]
        lines += [f"{f.name} follows {', '.join(map(str, f.reads))} by the chain rule" for f in self.followers]
        return "\n".join(lines)

    def latex_lines(self) -> list[str]:
        """The form of Σ and the blocks."""
        form = r"N\,\mathrm{Cov}(q, q) = \Sigma_{qq} = (I - D)^{-1} \kappa\, (I - D)^{-T}"
        lines = [form if self.decoupled else r"N\,\mathrm{Cov}(Q, Q) = \Sigma = -H^{-1}"]
        pair = lambda a, b: rf"\left[{latex(a)};\, {latex(b)}\right]"
        lines += [f"H{pair(b.row, b.column)} = {latex(b.expression)}" for b in self.coupled]
        lines += [f"D{pair(d.target, d.source)} = {latex(d.expression)}" for d in self.drives]
        lines += [rf"\kappa{pair(n.first, n.second)} = {latex(n.expression)}" for n in self.noise]
        return lines

    def figure(self):
        """Who drives whom, as a Matplotlib figure: solid arrows are blocks D, dashed ones the chain rule.

        Order parameters that feed back stand on the left, then those that follow, then functions of them.
        """
        closed = self.closed
        columns = [list(closed), [q for q in self.order_parameters if q not in closed], *self._layers()]
        solid = [(d.source.tensor, d.target.tensor) for d in self.drives]
        dashed = [(source, f.name.tensor) for f in self.followers for source in f.reads]
        return draw_columns(columns, solid, dashed, closed)

    def _layers(self) -> list[list[Tensor]]:
        """Functions of order parameters, those that read other functions in a later layer."""
        functions = {f.name.tensor: f for f in self.followers}

        def depth(tensor: Tensor) -> int:
            return 1 + max((depth(r) for r in functions[tensor].reads if r in functions), default=-1)

        layers: list[list[Tensor]] = [[] for _ in range(1 + max(map(depth, functions), default=-1))]
        for tensor in functions:
            layers[depth(tensor)].append(tensor)
        return layers

    def _targets(self) -> dict[Tensor, list[str]]:
        result: dict[Tensor, list[str]] = {}
        for drive in self.drives:
            result.setdefault(drive.source.tensor, []).append(str(drive.target.tensor))
        return result

    def _observed(self) -> list[Tensor]:
        return [q for q in self.order_parameters if q not in self._targets()]


def derive_propagator(action: Action, saddle: SaddlePoint, hessian: Hessian) -> Propagator:
    """Read D, κ and the block structure of Σ off the Hessian.

    D is dimensionless, Σ of order one: covariances of order parameters at width N are Σ/N. Cost: negligible.
    Source: Bordelon & Pehlevan, arXiv:2304.03408, equation 9, for general actions.
    """
    drives, noise = [], []
    multipliers = {q for q in action.order_parameters if action.is_multiplier(q)}
    coefficients = {q: split_own_term(action, q)[0] for q in action.order_parameters if q not in multipliers}
    for block in hessian.blocks:
        first, second = block.row.tensor, block.column.tensor
        if first.kind != Kind.CONJUGATE:
            continue
        q = next(q for q in action.order_parameters if q.hat == first)
        if q in multipliers or any(second == m.hat for m in multipliers):
            continue
        target = q[block.row.indices]
        if second.kind == Kind.ORDER_PARAMETER:
            expression = -(as_expression(block.explicit) + block.from_sites) / coefficients[q]
            if expression != 0:
                drives.append(Drive(target, block.column, expression.expand()))
        elif block.expression != 0:
            other = next(q for q in action.order_parameters if q.hat == second)
            scale = coefficients[q] * coefficients[other]
            noise.append(Noise(target, other[primed(other)], block.expression / scale))
    drives += _drives_of_pairs(action, hessian, coefficients)
    kinds = (Kind.ORDER_PARAMETER, Kind.DEFINITION, Kind.OBSERVABLE)
    followers = tuple(
        Follower(d.tensor[d.tensor.indices], tuple(dict.fromkeys(e.tensor for e in _reads(d, kinds))))
        for d in action.definitions
    )
    both = [b for b in hessian.blocks if b.row.tensor.kind == Kind.ORDER_PARAMETER and not b.vanishes]
    both += [b for b in hessian.blocks if _between_conjugates_of_pairs(b, saddle)]
    both += [
        b for b in hessian.blocks if not b.vanishes and {b.row.tensor, b.column.tensor} & {m.hat for m in multipliers}
    ]
    return Propagator(
        order_parameters=action.order_parameters,
        drives=tuple(drives),
        noise=tuple(noise),
        followers=tuple(f for f in followers if f.reads),
        coupled=tuple(both),
    )


def _drives_of_pairs(action: Action, hessian: Hessian, coefficients: dict[Tensor, Expr]) -> list[Drive]:
    """What drives response functions whose conjugate is another order parameter: the rows of that one."""
    result = []
    for q, coefficient in coefficients.items():
        conjugate = action.conjugate(q)
        for block in hessian.blocks if conjugate.tensor != q.hat else ():
            for row, column in ((block.row, block.column), (block.column, block.row)):
                if row.tensor != conjugate.tensor or column.tensor.kind != Kind.ORDER_PARAMETER or not block.from_sites:
                    continue
                target = q[q.indices].xreplace(dict(zip(conjugate.indices, row.indices, strict=True)))
                result.append(Drive(target, column, (-block.from_sites / coefficient).expand()))
                break
    return result


def _reads(definition, kinds) -> list[Entry]:
    return [e for t in definition.terms for e in entries_of(t.body, *kinds)]


def _between_conjugates_of_pairs(block: HessianBlock, saddle: SaddlePoint) -> bool:
    """Explicit terms that couple two conjugates (a pair of response functions): κ is then not a covariance."""
    return block.row.tensor.kind == block.column.tensor.kind == Kind.CONJUGATE and bool(block.explicit)
