"""Memory terms that need no response function: Σ_s R(t,s) ψ(s) where R responds to a source with covariance <ψψ>.

The covariance has one Cholesky factor L, so that u = L n and ψ = L e: n are the standard normals of the source, and e
the whitened functions, which are orthonormal on the paths of the memory's site. Integration by parts over n (Stein)
gives R L = <O n>, hence

    Σ_s R(t,s) ψ(s) = Σ_j <O(t) n_j> e_j ,

without R and without the inverse of a covariance that is nearly singular. Random matrices that act forward and backward
(or whose entries J_ij and J_ji are correlated) give memory terms of this kind.
"""

from dataclasses import dataclass, replace

from sympy import Expr, KroneckerDelta, Mul

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.process import Covariance, EffectiveProcess, FieldEquation, Processes, SourceKind
from dmftsym.derivation.responses import ResponseFunction, tangents
from dmftsym.language.symbols import Entry, Index, Kind, Parameter, Tensor
from dmftsym.language.terms import Term, entries_of
from dmftsym.lowering.quantities import QuantityBuilder
from dmftsym.program.sources import SourceGroup


@dataclass(frozen=True)
class Recall:
    """tensor[free indices of O, t] = coefficient Σ_j <O n_j>_{response.site} e_j on the paths of `tensor.site`.

    `members` are the functions ψ, one for each source that is drawn together with the responding one; `instant`: the
    normals of the present step count; `correlation`: the memory relative to the noise where both drive one field, as
    for a square matrix with Corr(J_ij, J_ji) = correlation.
    """

    tensor: Tensor
    response: ResponseFunction
    source: str
    members: tuple[tuple[str, Entry | Expr], ...]
    instant: bool
    equation: str
    correlation: Expr | None


def find_recalls(equations: Derivation) -> tuple[Processes, tuple[Recall, ...]]:
    """The processes with their memory terms replaced by recalls where that is possible, and the recalls."""
    recalls: dict[Tensor, Recall] = {}
    processes = []
    for process in equations.process:
        rewritten = []
        for equation in process.equations:
            terms = tuple(_rewrite(t, equation, process, equations, recalls) for t in equation.terms)
            rewritten.append(replace(equation, terms=terms))
        processes.append(replace(process, equations=tuple(rewritten)))
    return Processes(processes), tuple(recalls.values())


def _rewrite(term: Term, equation: FieldEquation, process: EffectiveProcess, equations: Derivation, recalls) -> Term:
    """The term with R(t,s)·ψ(s) replaced by the recalled memory, or as it was."""
    now = equation.field.indices[equation.field.time_slots[0]]
    kernels = {r.tensor: r for r in equations.responses}
    entries = [f for f in term.factors if isinstance(f, Entry) and f.tensor in kernels]
    if len(entries) != 1:
        return term
    (entry,) = entries
    response = kernels[entry.tensor]
    ends = _ends(entry, response, term, now)
    if ends is None:
        return term
    outer, summed, limit = ends
    inside = Mul(*[f for f in term.factors if f != entry and any(f.has(i) for i in summed)])
    rest = term.body / (entry * inside)
    found = _members(response, equations)
    if found is None or any(rest.has(i) for i in summed) or (response.instant and not limit.inclusive):
        return term
    strength, members = found
    if not _stays_finite(rest * response.coefficient, strength):
        return term
    own = dict(members)[response.responder.tensor.name]
    here = dict(zip(_order(response), summed, strict=True))
    if (own.xreplace(here) - inside).expand() != 0 or {e.tensor.site for e in entries_of(own)} != {process.site}:
        return term
    tensor = _tensor(response, process.site)
    line = f"{tensor[tensor.indices]} = {Term(entry * inside, summed, (limit,))}"
    source = response.responder.tensor.name
    same_field = source == equation.field.name and (*outer, now) == _declared(source, process)
    correlation = rest * response.coefficient / strength if same_field and tensor not in recalls else None
    recalls[tensor] = Recall(tensor, response, source, members, response.instant, line, correlation)
    bound = tuple(i for i in term.bound if i not in summed)
    kept = tuple(c for c in term.constraints if c != limit)
    return Term(rest * tensor[(*outer, now)], bound, kept)


def _ends(entry: Entry, response: ResponseFunction, term: Term, now: Index):
    """The indices of the observable, those of the source (all summed, its time last) and the limit of the time."""
    later, earlier = (entry.indices[k] for k in response.time_slots)
    limits = [c for c in term.constraints if c.time == earlier]
    if later != now or len(limits) != 1 or limits[0].upper != now or earlier not in term.bound:
        return None
    place = {i: a for i, a in zip(entry.tensor.indices, entry.indices, strict=True)}
    source = [place[i] for i in response.responder.indices]
    outer = [a for i, a in place.items() if a not in source and a != now]
    if not all(isinstance(i, Index) and i in term.bound for i in source) or len(set(source)) < len(source):
        return None
    return outer, tuple(sorted(source, key=lambda i: i.is_time)), limits[0]


def _order(response: ResponseFunction) -> tuple[Index, ...]:
    """The declared indices of the source end of a response function, its time last."""
    return tuple(sorted(response.responder.indices, key=lambda i: i.is_time))


def _tensor(response: ResponseFunction, site: str) -> Tensor:
    later = response.tensor.indices[response.time_slots[0]]
    outer = [i for i in response.tensor.indices if i not in response.responder.indices and i != later]
    return Tensor(f"recalled_{response.tensor.name}", Kind.DEFINITION, (*outer, later), site)


def _stays_finite(coefficient: Expr, strength: Expr) -> bool:
    """Whether the memory vanishes with the strength k of the noise: e = ψ/√k and n say nothing without noise."""
    denominator = (coefficient / strength).as_numer_denom()[1]
    return not denominator.atoms(Parameter) & strength.atoms(Parameter)


def _members(response: ResponseFunction, equations: Derivation) -> tuple[Expr, tuple[tuple[str, Expr], ...]] | None:
    """The factor k and ψ for every source drawn together with the responding one, if their covariance is k·<ψψ>."""
    process = next(p for p in equations.process if p.site == response.site)
    field = response.responder.tensor.name
    linked = _linked(field, process)
    if not linked or not _feels_only(response, field, linked, process, equations):
        return None
    found: dict[str, tuple[Expr, Expr]] = {}
    order = _order(response)
    for name in linked:
        block = next((c for c in process.covariances if _fields(c, process) == (name, name)), None)
        read = block and _pair(block, equations)
        if not read or read[1] != read[2]:
            return None
        found[name] = (read[0], read[1])
    for block in process.covariances:
        left, right = _fields(block, process)
        if left in found and right in found and left != right:
            read = _pair(block, equations)
            if not read or read != (found[left][0], found[left][1], found[right][1]):
                return None
    if len({k for k, _ in found.values()}) > 1:
        return None
    declared = {name: _declared(name, process) for name in linked}
    own = dict(zip(declared[field], order, strict=True))
    strength = found[field][0]
    return strength, tuple((n, psi.xreplace(own if n == field else {})) for n, (_, psi) in found.items())


def _declared(name: str, process: EffectiveProcess) -> tuple[Index, ...]:
    indices = next(e.field for e in process.equations if e.field.name == name).indices
    return tuple(sorted(indices, key=lambda i: i.is_time))


def _fields(block: Covariance, process: EffectiveProcess) -> tuple[str, str]:
    sources = [s for e in process.equations for s in e.sources if s.kind is SourceKind.EVOLVING]
    fields = {s.tensor.name: s.field.name for s in sources}
    return fields.get(block.left.tensor.name, ""), fields.get(block.right.tensor.name, "")


def _linked(field: str, process: EffectiveProcess) -> list[str]:
    """The fields whose evolving sources are drawn together with that of a field, itself first."""
    sources = [s for e in process.equations for s in e.sources if s.kind is SourceKind.EVOLVING and s.amplitude == 1]
    if [s.field.name for s in sources].count(field) != 1:
        return []
    found, queue = [field], [field]
    while queue:
        name = queue.pop()
        for block in process.covariances:
            pair = _fields(block, process)
            other = pair[1] if pair[0] == name else pair[0] if pair[1] == name else ""
            if other and other not in found:
                found.append(other)
                queue.append(other)
    return found


def _feels_only(response, field: str, linked: list[str], process: EffectiveProcess, equations: Derivation) -> bool:
    """Whether the observable responds to none of the other sources of the group."""
    observed = {e.tensor for t in response.terms for e in entries_of(t.body) if e.tensor.site}
    for other in linked:
        tensor = next(e.field for e in process.equations if e.field.name == other)
        if other != field and observed & {t.of for t in tangents(process, tensor, equations.action)}:
            return False
    return True


def _pair(block: Covariance, equations: Derivation) -> tuple[Expr, Expr, Expr] | None:
    """The factor k and the functions ψ with covariance k·<ψ_left ψ_right>, at the declared indices of the fields."""
    if len(block.terms) != 1 or block.terms[0].bound or block.terms[0].constraints:
        return None
    entries = entries_of(block.terms[0].body)
    if len(entries) != 1 or entries[0].tensor.kind != Kind.ORDER_PARAMETER:
        return None
    (entry,) = entries
    equation = equations.saddle_point.equation(entry.tensor.name)
    if len(equation.averages) != 1 or equation.explicit or len(equation.averages[0].terms) != 1:
        return None
    (average,) = equation.averages
    (term,) = average.terms
    if term.bound or term.constraints or len({e.tensor.site for e in entries_of(term.body)}) != 1:
        return None
    body = term.body.xreplace(dict(zip(entry.tensor.indices, entry.indices, strict=True)))
    back = dict(zip(block.right.indices, block.right.tensor.indices, strict=True))
    sides = []
    for end in (block.left, block.right):
        factors = [f for f in Term(body).factors if any(f.has(t) for t in end.times)]
        sides.append(Mul(*factors))
    if (sides[0] * sides[1] - body).expand() != 0 or any(sides[0].has(t) for t in block.right.times):
        return None
    if any(sides[1].has(i) for i in block.left.indices):
        return None
    if block.terms[0].body.has(KroneckerDelta):
        return None  # independent copies, each with a memory of its own
    return block.terms[0].body / entry * average.coefficient, sides[0], sides[1].xreplace(back)


def reads_of_recalls(recalls: tuple[Recall, ...], processes: Processes) -> dict[str, list[Entry]]:
    """What every recall reads: its observable, the functions ψ, and the field whose source it knows."""
    fields = {e.field.name: e.field for p in processes for e in p.equations}
    result = {}
    for recall in recalls:
        bodies = [*(t.body for t in recall.response.terms), *(psi for _, psi in recall.members)]
        names = [recall.source, *(name for name, _ in recall.members)]
        entries = [e for body in bodies for e in entries_of(body) if e.tensor.kind in (Kind.FIELD, Kind.DEFINITION)]
        result[recall.tensor.name] = [*entries, *(fields[name][fields[name].indices] for name in names)]
    return result


def add_recalls(builder: QuantityBuilder, recalls: tuple[Recall, ...], groups: tuple[SourceGroup, ...]) -> None:
    """The bases and recalled memories of a model as quantities of its schedule."""
    done: set[str] = set()
    for recall in recalls:
        response, now = recall.response, builder.now
        group = next(
            g for g in groups if _draws(g, response.site) and recall.source in {m.field.name for m in g.members}
        )
        if group.name not in done:
            done.add(group.name)
            psi = dict(recall.members)
            values = (psi[m.field.name] for m in group.members)
            builder.add_basis(group, tuple(_array(builder, v, now, recall.tensor.site) for v in values))
        later = response.tensor.indices[response.time_slots[0]]
        observable = _array(builder, response.observable.xreplace({later: now}), now, response.site)
        head = recall.tensor.indices[:-1]
        target = Tensor(recall.tensor.name, Kind.DEFINITION, (*head, now), recall.tensor.site)
        builder.add_recall(target, observable, response.coefficient, group, recall)


def _draws(group: SourceGroup, site: str) -> bool:
    return group.site == site and group.evolving


def _array(builder: QuantityBuilder, value: Expr, now: Index, site: str) -> Entry:
    """The array that holds a function of site fields at one time."""
    (time,) = {t for e in entries_of(value) for t in e.times}
    return builder.path_array(value.xreplace({time: now}), now, site)
