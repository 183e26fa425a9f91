"""Groups of jointly Gaussian sources, and which static ones are worth drawing in pairs of opposite sign."""

from collections.abc import Iterable
from dataclasses import replace

from sympy import Expr

from dmftsym.derivation.process import Covariance, EffectiveProcess, Source, SourceKind
from dmftsym.derivation.saddle_point import SaddlePoint
from dmftsym.language.action import Action
from dmftsym.language.symbols import Entry, Kind
from dmftsym.language.terms import Term, entries_of
from dmftsym.lowering.held import Held
from dmftsym.lowering.memory import Recall
from dmftsym.program.matrices import Directions
from dmftsym.program.sources import SourceGroup


def group_sources(
    action: Action,
    process: EffectiveProcess,
    saddle: SaddlePoint,
    live: tuple[str, ...],
    recalls: tuple[Recall, ...] = (),
) -> tuple[SourceGroup, ...]:
    """Connected components of the live sources of a site under their covariances; kinds never mix."""
    sources = [s for e in process.equations if e.field.name in live for s in e.sources]
    names = {s.tensor.name for s in sources}
    blocks = [c for c in process.covariances if {c.left.tensor.name, c.right.tensor.name} <= names]
    groups: list[list[Source]] = []
    for source in sources:
        linked = [g for g in groups if any(_joined(source, member, blocks) for member in g)]
        merged = [m for g in linked for m in g] + [source]
        groups = [g for g in groups if g not in linked] + [merged]
    result = []
    for members in groups:
        members = sorted(members, key=sources.index)
        own = tuple(b for b in blocks if b.left.tensor.name in {m.tensor.name for m in members})
        kind = members[0].kind
        antithetic = kind is SourceKind.STATIC and _flips_an_observable(action, process, saddle, members)
        name = "_".join(m.tensor.name for m in members)
        wanted = [r.tensor.site for r in recalls if kind is SourceKind.EVOLVING and _draws(r, process.site, members)]
        basis = wanted[0] if wanted else ""
        result.append(
            SourceGroup(
                name=name,
                site=process.site,
                kind=kind,
                members=tuple(members),
                blocks=own,
                antithetic=antithetic,
                basis=basis,
            )
        )
    return _with_odd_memories(tuple(result), action, process, saddle, recalls)


def _with_odd_memories(groups, action: Action, process: EffectiveProcess, saddle: SaddlePoint, recalls):
    """Evolving groups drawn in pairs of opposite sign where that cancels the sampling error of a recalled memory.

    Its average <O n> is odd in the normals n unless O is odd in the fields that are flipped already; what was odd
    before has to stay odd.
    """
    result = list(groups)
    for k, group in enumerate(result):
        for recall in (r for r in recalls if group.evolving and _draws(r, process.site, group.members)):
            flipped = {m.field.name for g in result if g.antithetic for m in g.members}
            both = flipped | {m.field.name for m in group.members}
            parities = [_parity(t.body, both, action) for t in recall.response.terms]
            already = {_parity(t.body, flipped, action) for t in recall.response.terms} == {-1}
            kept = [b for b in _bodies(process, saddle) if _parity(b, flipped, action) == -1]
            if not already and set(parities) == {1} and all(_parity(b, both, action) == -1 for b in kept):
                result[k] = replace(group, antithetic=True)
    return tuple(result)


def directions_of(action: Action, held: Held, groups: Iterable[SourceGroup], live) -> tuple[Directions, ...]:
    """What the images of the matrices are drawn from, in pairs of opposite sign where recalled memories would be."""
    found: list[Directions] = []
    for process in held.processes:
        flipped = {m.field.name for g in groups if g.site == process.site and g.antithetic for m in g.members}
        asked = [p for p in held.products if p.tensor.name in live]
        here = [p for p in asked if p.tensor.site == process.site]
        for matrix, transposed in dict.fromkeys((p.matrix, p.transposed) for p in here):
            mine = {p.tensor.name for p in here if (p.matrix, p.transposed) == (matrix, transposed)}
            driven = {e.field.name for e in process.equations if mine & {x.tensor.name for x in _terms(e.terms)}}
            both = flipped | driven
            queries = [p.query for p in asked if p.matrix == matrix and p.transposed != transposed]
            already = {_parity(q, flipped, action) for q in queries} == {-1}
            even = {_parity(q, both, action) for q in queries} == {1}
            paired = even and not already
            flipped = both if paired else flipped
            name = f"{matrix.name}{'_back' if transposed else ''}"
            found.append(Directions(name=name, matrix=matrix, transposed=transposed, antithetic=paired))
    return tuple(found)


def _terms(terms: tuple[Term, ...]) -> list[Entry]:
    return [e for t in terms for e in entries_of(t.body)]


def _bodies(process: EffectiveProcess, saddle: SaddlePoint) -> list[Expr]:
    """The observables of a site."""
    return [t.body for e in saddle.equations for a in e.averages if a.site == process.site for t in a.terms]


def _draws(recall: Recall, site: str, members) -> bool:
    return recall.response.site == site and recall.source in {m.field.name for m in members}


def _joined(one: Source, other: Source, blocks: list[Covariance]) -> bool:
    return any({b.left.tensor.name, b.right.tensor.name} == {one.tensor.name, other.tensor.name} for b in blocks)


def _flips_an_observable(action: Action, process: EffectiveProcess, saddle: SaddlePoint, members) -> bool:
    """Whether some order parameter's observable is odd in the fields that these sources start.

    Then pairs of opposite sources cancel its sampling error at the start, where the fields equal their sources.
    """
    odd = {m.field.name for m in members if m.amplitude == 1}
    drawn_otherwise = {s.field.name for e in process.equations for s in e.sources if s not in members}
    if not odd or odd & drawn_otherwise:
        return False
    for equation in saddle.equations:
        terms = [t.body for a in equation.averages if a.site == process.site for t in a.terms]
        if terms and all(_parity(body, odd, action) == -1 for body in terms):
            return True
    return False


def _parity(body: Expr, odd: set[str], action: Action) -> int | None:
    """+1 or -1 if the expression is even or odd when the named fields change sign, else None."""
    flipped = {}
    for entry in entries_of(body):
        name = entry.tensor.name
        if name in odd:
            flipped[entry] = -entry
        elif entry.tensor.site and entry.tensor.kind == Kind.DEFINITION:
            parities = {_parity(t.body, odd, action) for t in action.definition(name).terms}
            if len(parities) != 1 or None in parities:
                return None
            flipped[entry] = parities.pop() * entry
    image = body.xreplace(flipped)
    return 1 if image == body else -1 if image == -body else None
