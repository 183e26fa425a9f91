"""Loops within a step that are none: quantities are taken apart where only a part of them is needed at once.

A two-time average C(t, s) = <a(t) b(s)> that drives b through the past needs b at earlier times only for C(t, s < t);
the rest of its row, C(t, t) and C(s, t), waits for b. Sources that are drawn together, u_a and u_b, can be drawn one
after the other, the second one given the first: a random matrix that is applied to its own result needs that.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, permutations, product

from dmftsym.language.symbols import Index
from dmftsym.language.terms import Before
from dmftsym.program.accesses import Access, accesses_of
from dmftsym.program.nodes import Node, rows_alone
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements import Contract, Draw
from dmftsym.program.times import When

ATTEMPTS = 24


def ways_apart(nodes: dict[str, Node], now: Index) -> Iterator[dict[str, Node]]:
    """The nodes with everything taken apart that can be, for every order in which sources may be drawn."""
    groups = [g for n in nodes.values() if (g := _joint(n)) is not None]
    orders = [list(permutations(g.members)) for g in groups]
    for chosen in islice(product(*orders), ATTEMPTS):
        apart = dict(nodes)
        for name, members in zip([g.name for g in groups], chosen, strict=True):
            apart = _draw_apart(apart, name, members, now)
        yield _rows_apart(apart, now)


def _joint(node: Node) -> SourceGroup | None:
    """The evolving group of several sources that a node draws together."""
    statement = node.statements[0]
    if not isinstance(statement, Draw) or not statement.group.evolving or statement.group.basis:
        return None
    return statement.group if 1 < len(statement.group.members) <= 4 else None


# --- sources one after the other ----------------------------------------------------------------------


def _draw_apart(nodes: dict[str, Node], name: str, members, now: Index) -> dict[str, Node]:
    """One node for every source of a group, in the given order."""
    node = nodes[name]
    statement = node.statements[0]
    assert isinstance(statement, Draw)
    group = replace(statement.group, members=tuple(members))
    part_of = {m.tensor.name: f"{name} ({m.field.name})" for m in members[:-1]} | {members[-1].tensor.name: name}
    result: dict[str, Node] = {}
    for other in nodes.values():
        if other.name != name:
            parts = [part_of[s] for s in other.sources if s in part_of]
            reads = [(r, m) for r, m in other.reads if r != name]
            moments = [m for r, m in other.reads if r == name]
            result[other.name] = replace(other, reads=(*reads, *[(p, moments[0]) for p in parts if moments]))
            continue
        known: list[str] = []
        for k, member in enumerate(members):
            reads, rows = _reads_of_row(group, member.tensor.name, known, now)
            reads = [*([(part_of[known[-1]], When.NOW)] if known else []), *reads]
            known.append(member.tensor.name)
            result[part_of[member.tensor.name]] = replace(
                node,
                name=part_of[member.tensor.name],
                label=str(member.tensor[member.tensor.indices]),
                statements=(replace(statement, group=group, part=k),),
                reads=tuple(dict.fromkeys(reads)),
                rows=tuple(dict.fromkeys(rows)),
            )
    return result


def _reads_of_row(group: SourceGroup, member: str, known: list[str], now: Index):
    """What the covariances of one source now need: with sources drawn before it up to now, with others before now."""
    found: list[Access] = []
    for block in group.blocks:
        ends = {block.left.tensor.name: (block.left, block.right), block.right.tensor.name: (block.right, block.left)}
        if member not in ends:
            continue
        own, other = ends[member]
        (at,), (earlier,) = own.times, other.times
        upto = other.tensor.name == member or other.tensor.name in known
        swap = {at: now, earlier: at} if at != now else {}
        limits = (Before(earlier.xreplace(swap), now, upto),)
        readings = [(t.body.xreplace(swap), (*limits, *t.constraints)) for t in block.terms]
        found += [a for a in accesses_of(readings, now, member) if a.entry.tensor.time_slots]
    rows = rows_alone((a.name, a) for a in found)
    return [(a.name, a.when) for a in found], [name for name, only in rows.items() if only]


# --- rows of two-time averages -------------------------------------------------------------------------


def _rows_apart(nodes: dict[str, Node], now: Index) -> dict[str, Node]:
    """Two-time averages of which a quantity reads the row before now alone, as that row and the rest."""
    wanted = {name for n in nodes.values() for name in n.rows}
    early = {name: f"{name} (s<t)" for name in wanted if name in nodes and _splits(nodes[name])}
    result: dict[str, Node] = {}
    for node in nodes.values():
        mine = [name for name in node.rows if name in early]
        node = replace(node, reads=tuple((early[r] if r in mine else r, m) for r, m in node.reads))
        if node.name not in early:
            result[node.name] = node
            continue
        row, column = node.statements
        assert isinstance(row, Contract) and isinstance(column, Contract)
        (limit,) = row.constraints
        before = _limited(row, (replace(limit, inclusive=False),))
        now_alone = _limited(_at(row, limit.time, now), ())
        result[early[node.name]] = _node(node, early[node.name], (before,), now)
        rest = _node(node, node.name, (now_alone, column), now)
        result[node.name] = replace(rest, reads=(*rest.reads, (early[node.name], When.NOW)))
    return result


def _splits(node: Node) -> bool:
    """Whether a node holds the row and the column of an average, separately."""
    return len(node.statements) == 2 and all(isinstance(s, Contract) and s.averaged for s in node.statements)


def _at(contract: Contract, time: Index, now: Index) -> Contract:
    same = {time: now}
    pieces = tuple(
        replace(
            p,
            scalar=p.scalar.xreplace(same),
            coefficient=p.coefficient.xreplace(same),
            operands=tuple(o.xreplace(same) for o in p.operands),
        )
        for p in contract.pieces
    )
    explicit = tuple(replace(t, body=t.body.xreplace(same)) for t in contract.explicit)
    return replace(contract, target=contract.target.xreplace(same), pieces=pieces, explicit=explicit)


def _limited(contract: Contract, constraints: tuple[Before, ...]) -> Contract:
    pieces = tuple(replace(p, constraints=constraints) for p in contract.pieces)
    return replace(contract, pieces=pieces, constraints=constraints)


def _node(node: Node, name: str, statements: tuple[Contract, ...], now: Index) -> Node:
    """A part of a node with what it reads."""
    found = [a for s in statements for a in s.accesses(now, node.label) if a.entry.tensor.time_slots]
    reads = tuple(dict.fromkeys((a.name, a.when) for a in found))
    return replace(node, name=name, statements=statements, reads=reads)
