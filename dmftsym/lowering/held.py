"""Random matrices that the sweep holds: one product with a matrix in place of its noise, memory and drift (theory 6.8).

The equations of the finite system hold what the matrices give as quantities of the sites. A sweep computes these from
what each matrix was asked before, so that no past is kept. Where response functions are wanted, or a site is closed
exactly, the averaged equations are solved instead.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sympy import Expr, Integer, exp

from dmftsym.averaging.products import Product
from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.finite_system import FiniteSystem, law_of
from dmftsym.derivation.jumps import has_jump
from dmftsym.derivation.process import EffectiveProcess, Processes, SourceKind
from dmftsym.language.disorder import Applied, RandomMatrix
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Term, entries_of
from dmftsym.lowering.clock import on_clock
from dmftsym.lowering.gaussian import SAMPLED, Closure, as_closed, close_linear_sites, linear_form
from dmftsym.lowering.liveness import find_live
from dmftsym.lowering.quantities import QuantityBuilder
from dmftsym.lowering.recognise import recognise
from dmftsym.lowering.schemes import Scheme
from dmftsym.program.axes import TIME_STEP
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.matrices import HeldMatrix, LearnedPart
from dmftsym.program.nodes import node_of
from dmftsym.program.statements import Learning, MatrixProduct
from dmftsym.program.times import When


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of a lowering: the quantities, and how.

    `fluctuating`: their covariances are asked for; `kicked` adds impulses to the sources of sites that are closed
    exactly, for these; `matrices`: random matrices are held where they can be; `explicit`: integrals up to now take
    their upper end from the pass before.
    """

    wanted: tuple[str, ...]
    fluctuating: bool = False
    kicked: bool = False
    matrices: bool = True
    explicit: bool = False


@dataclass(frozen=True, kw_only=True)
class HeldProduct:
    """tensor[indices] = W query, a quantity of the paths of a site; `said` is how it was written."""

    tensor: Tensor
    said: Applied
    query: Expr
    matrix: HeldMatrix
    transposed: bool
    member: tuple[Expr, ...]

    @property
    def side(self) -> str:
        """The site of the query."""
        return self.matrix.side(self.transposed)


@dataclass(frozen=True, kw_only=True)
class Held:
    """The matrices of a model as a sweep holds them, and the equations in which their products stand.

    `direct` are the fields that equal a product.
    """

    processes: Processes
    products: tuple[HeldProduct, ...]
    said: tuple[tuple[HeldMatrix, RandomMatrix], ...]
    direct: tuple[tuple[str, HeldProduct], ...]

    def remembers(self, matrix: HeldMatrix) -> bool:
        """Whether a path feels through a matrix what the matrix was asked there."""
        ways = {p.transposed for p in self.products if p.matrix == matrix}
        return len(ways) > 1 or matrix.symmetry != 0 or any(said.learned for m, said in self.said if m == matrix)

    @property
    def remember(self) -> bool:
        """Whether one of the matrices has a memory."""
        return any(self.remembers(matrix) for matrix, _ in self.said)

    def lines(self) -> tuple[tuple[Tensor, str], ...]:
        """The equations with the products as they were written, and the law of the matrices."""
        said = {p.tensor[p.tensor.indices]: p.said for p in self.products}
        shown = [_with(p, lambda body: body.xreplace(said)) for p in self.processes]
        lines = [line for process in shown for line in process.equation_lines()]
        fields = self.fields()
        for matrix, said_matrix in self.said:
            asked = next(fields.get(p.tensor, p.tensor) for p in self.products if p.matrix == matrix)
            lines += [(asked, line) for line in law_of(said_matrix)]
        return tuple(lines)

    def fields(self) -> dict[Tensor, Tensor]:
        """The fields that equal a product, by the product."""
        driven = {e.field.name: e.field for p in self.processes for e in p.equations}
        return {product.tensor: driven[name] for name, product in self.direct}

    def reads(self) -> dict[str, list[Entry]]:
        """What every product reads: its query, and what the matrix has learned from."""
        result = {}
        for product in self.products:
            learned = next(m.learned for held, m in self.said if held == product.matrix)
            bodies = [product.query, *(e for part in learned for e in (part.rate, part.left, part.right))]
            result[product.tensor.name] = [e for body in bodies for e in entries_of(body) if e.tensor.kind != Kind.DATA]
        return result


def closed_or_held(equations: Derivation, scheme: Scheme, asked: Asked) -> tuple[Derivation, Closure, Held | None]:
    """The equations with linear sites closed and random matrices held, where that can be."""
    averaged, exact = close_linear_sites(equations)
    if not asked.matrices or (asked.fluctuating and scheme.passes > 1):
        return averaged, exact, None
    system = equations.disorder
    if system is None:  # averaged by hand
        system = recognise(equations, exact.sites, learning=scheme.passes == 1)
    found, held = with_matrices(replace(averaged, disorder=system), exact, scheme, asked.wanted)
    if held is None or not asked.fluctuating:
        return found, exact, held
    if not held.remember and _misses(equations, held, asked.wanted):
        return averaged, exact, None
    # influence functions on the one side of a matrix are those of paths, and so they are on the other one
    closure = exact
    while more := [s for m, _ in held.said for s in (m.rows, m.columns) if s in closure.sites]:
        sampled = tuple(dict.fromkeys([*(s for s, reason in closure.reasons if reason == SAMPLED), *more]))
        closed, closure = close_linear_sites(equations, sampled)
        found, held = with_matrices(replace(closed, disorder=system), closure, scheme, asked.wanted)
        if held is None:
            return averaged, exact, None
    return found, closure, held


def _misses(equations: Derivation, held: Held, wanted: tuple[str, ...]) -> bool:
    """Whether a sweep backward in time, which matrices need, misses a part of what one forward in time computes.

    Jumps, and white noise whose covariance fluctuates.
    """
    live = find_live(equations.action, held.processes, equations.saddle_point, wanted, held.reads()).live
    averages = [(e.tensor, t) for e in equations.saddle_point.equations for a in e.averages for t in a.terms]
    fields = [(e.field, t) for p in held.processes for e in p.equations for t in e.terms]
    defined = [(d.tensor, t) for p in held.processes for d in p.definitions for t in d.terms]
    bodies = [t.body for tensor, t in (*averages, *fields, *defined) if tensor.name in live]
    if any(map(has_jump, (*bodies, *(p.query for p in held.products if p.tensor.name in live)))):
        return True
    white = {s.tensor for p in held.processes for e in p.equations for s in e.sources if s.kind is SourceKind.WHITE}
    strengths = [t.body for p in held.processes for c in p.covariances if c.left.tensor in white for t in c.terms]
    return any(e.tensor.kind != Kind.DATA for body in strengths for e in entries_of(body))


def with_matrices(
    equations: Derivation, closure: Closure, scheme: Scheme, wanted: tuple[str, ...]
) -> tuple[Derivation, Held | None]:
    """The equations with the products of the matrices, if a sweep can hold them.

    Response functions are those of single paths, on which a matrix that acts one way only is noise like any other; with
    the memory of one that acts both ways they follow from the averaged equations alone.
    """
    held = _hold(equations, closure, scheme)
    if held is None:
        return equations, None
    live = find_live(equations.action, held.processes, equations.saddle_point, wanted, held.reads()).live
    if not {r.tensor.name for r in equations.responses} & set(live):
        return replace(equations, process=held.processes, responses=()), held
    if held.remember:
        return equations, None
    return replace(equations, process=held.processes), replace(held, direct=())


def _hold(equations: Derivation, closure: Closure, scheme: Scheme) -> Held | None:
    """The said matrices as a sweep can hold them; None where the averaged equations are to be solved."""
    system = equations.disorder
    if system is None or not all(_can_hold(m, system, closure, scheme) for m in system.matrices):
        return None
    time, taken = equations.action.time, [t.name for t in equations.action.tensors]
    matrices = {m.name: _held(m, time.axis.continuous) for m in system.matrices}
    named_products = (_product(p, matrices[p.matrix.name], taken, time) for p in system.products)
    products = tuple(replace(p, query=_function(p.query, p.side, closure.sites)) for p in named_products)
    named = {old.tensor: new.tensor for old, new in zip(system.products, products, strict=True)}
    ends = {site for m in matrices.values() for site in (m.rows, m.columns)}
    renamed = (_with(p, lambda body: on_clock(body.xreplace(named), time)) for p in system.processes)
    own = {p.site: as_closed(p, closure) for p in renamed}
    processes = Processes(own[p.site] if p.site in ends else p for p in equations.process)
    tensors = {p.tensor: p for p in products}
    direct = [(e.field.name, tensors[t]) for p in processes for e in p.equations if (t := _equal(e, tensors))]
    return Held(
        processes=processes,
        products=products,
        said=tuple((matrices[m.name], m) for m in system.matrices),
        direct=tuple(direct),
    )


def _can_hold(matrix: RandomMatrix, system: FiniteSystem, closure: Closure, scheme: Scheme) -> bool:
    """Whether a sweep can hold a matrix.

    Not between two sites that are closed exactly, whose averaged equations are exact too; and with correlated entries
    only if it is asked forward alone.
    """
    ends = {matrix.rows.name, matrix.columns.name}
    if not (matrix.name.isidentifier() and matrix.name.isascii()) or not ends <= {p.site for p in system.processes}:
        return False  # it, or a site of it, has another name in code
    closed = ends & set(closure.sites)
    if len(closed) == len({matrix.rows.name, matrix.columns.name}) or (closed and matrix.mean != 0):
        return False
    if scheme.passes > 1 and (matrix.learned or matrix.decay_rate != 0):
        return False
    uses = [p.applied for p in system.products if p.matrix.name == matrix.name]
    asked = [(u.body, matrix.rows if u.transposed else matrix.columns) for u in uses]
    asked += [pair for part in matrix.learned for pair in ((part.left, matrix.rows), (part.right, matrix.columns))]
    if any(_function(body, site.name, closure.sites) is None for body, site in asked):
        return False
    if matrix.symmetry != 0 and (matrix.learned or any(u.transposed for u in uses)):
        return False
    members = [u.member for u in uses] + [part.member for part in matrix.learned]
    return all(_is_plain(m, matrix.indices) for m in members)


def _function(body: Expr, site: str, closed: tuple[str, ...]) -> Expr | None:
    """A function of the units of a site; where that is closed exactly a linear one, or None."""
    return linear_form(body) if site in closed else body


def _is_plain(member: tuple[Expr, ...], family: tuple[Index, ...]) -> bool:
    """Whether a member of a family is named by numbers, or by indices that run over all of it."""
    if all(i.is_Integer for i in member):
        return True
    runs = all(isinstance(i, Index) and i.axis == own.axis for i, own in zip(member, family, strict=True))
    return runs and len(set(member)) == len(member)


def _held(matrix: RandomMatrix, continuous: bool) -> HeldMatrix:
    rate = matrix.decay_rate
    decay = Integer(1) if rate == 0 else exp(-rate * TIME_STEP) if continuous else 1 - rate
    return HeldMatrix(
        name=matrix.name,
        rows=matrix.rows.name,
        columns=matrix.columns.name,
        mean=matrix.mean,
        variance=matrix.variance,
        symmetry=matrix.symmetry,
        family=matrix.indices,
        decay=decay,
    )


def _product(product: Product, matrix: HeldMatrix, taken: list[str], time: Index) -> HeldProduct:
    stem = f"{matrix.name}_{'back' if product.applied.transposed else 'out'}"
    name, count = stem, 2
    while name in taken:
        name, count = f"{stem}{count}", count + 1
    taken.append(name)
    return HeldProduct(
        tensor=Tensor(name, Kind.DEFINITION, product.tensor.indices, product.tensor.site),
        said=product.applied,
        query=on_clock(product.query, time),
        matrix=matrix,
        transposed=product.applied.transposed,
        member=product.applied.member,
    )


def _with(process: EffectiveProcess, change: Callable[[Expr], Expr]) -> EffectiveProcess:
    """A process with the bodies of all its terms changed."""
    each = lambda terms: tuple(replace(t, body=change(t.body)) for t in terms)
    return replace(
        process,
        equations=tuple(replace(e, terms=each(e.terms)) for e in process.equations),
        definitions=tuple(replace(d, terms=each(d.terms)) for d in process.definitions),
    )


def _equal(equation, tensors: dict[Tensor, HeldProduct]) -> Tensor | None:
    """The product that a field equals, if it does."""
    if equation.derivative or equation.sources or len(equation.terms) != 1:
        return None
    (term,) = equation.terms
    entry = term.body
    alone = term == Term(entry) and isinstance(entry, Entry) and entry.tensor in tensors
    return entry.tensor if alone and entry.indices == equation.field.indices == entry.tensor.indices else None


def add_products(builder: QuantityBuilder, held: Held, live: tuple[str, ...], scheme: Scheme) -> None:
    """The products as quantities of the schedule, and what the matrices learn at the end of a step."""
    fields = held.fields()
    asked = [p for p in held.products if p.tensor.name in live]
    for product in asked:
        _add_product(builder, fields.get(product.tensor, product.tensor), product)
    for matrix, said in held.said:
        if (said.learned or matrix.decay != 1) and any(p.matrix == matrix for p in asked):
            learning = _add_learning(builder, matrix, said, scheme)
            for product in (p for p in asked if p.matrix == matrix):
                name = fields.get(product.tensor, product.tensor).name
                node = builder.nodes[name]
                builder.nodes[name] = replace(node, reads=(*node.reads, (learning, When.PAST)))


def without_direct(processes: Iterable[EffectiveProcess], held: Held) -> list[EffectiveProcess]:
    """The processes without the equations of fields that equal a product."""
    direct = dict(held.direct)
    others = lambda p: tuple(e for e in p.equations if e.field.name not in direct)
    return [replace(p, equations=others(p)) for p in processes]


def _add_product(builder: QuantityBuilder, tensor: Tensor, product: HeldProduct) -> None:
    """A product as the array `tensor`: that of a field which equals it, or one of its own."""
    target, role = tensor[tensor.indices], Role.FIELD if tensor.kind == Kind.FIELD else Role.MEMORY
    statement = MatrixProduct(
        target=target,
        query=builder.path_array(product.query, builder.now, product.side),
        matrix=product.matrix,
        transposed=product.transposed,
        member=product.member,
        equation=f"{target} = {product.said}",
    )
    builder.buffers[tensor.name] = Buffer(tensor, role)
    node = node_of(tensor.name, f"{target}", (statement,), builder.now, builder.drawn, site=tensor.site)
    builder.nodes[tensor.name] = replace(node, auxiliary=role is Role.MEMORY)


def _add_learning(builder: QuantityBuilder, matrix: HeldMatrix, said: RandomMatrix, scheme: Scheme) -> str:
    parts = []
    for learned in said.learned:
        now = {learned.time: builder.now}
        told = (on_clock(e, learned.time).xreplace(now) for e in (learned.rate, learned.left, learned.right))
        rate, left, right = told
        if learned.time.axis.continuous:
            rate *= scheme.integral_weight
        sides = ((left, matrix.rows), (right, matrix.columns))
        left, right = (builder.path_array(_function(e, s, builder.linear), builder.now, s) for e, s in sides)
        parts.append(LearnedPart(rate=rate, left=left, right=right, member=learned.member))
    line = "; ".join(f"{matrix.name} += {p.rate} * {p.left} {p.right}^T/N" for p in parts)
    statement = Learning(matrix=matrix, learned=tuple(parts), equation=line)
    name, label = f"learning_{matrix.name}", f"learning of {matrix.name}"
    node = node_of(name, label, (statement,), builder.now, builder.drawn)
    builder.nodes[name] = replace(node, epilogue=True, auxiliary=True)
    return name
