"""Which first-order changes run in one loop over sample paths, and in which order the loops follow each other."""

from dataclasses import replace

from sympy import KroneckerDelta, Mul

from dmftsym.language.sums import IndexSum
from dmftsym.language.symbols import Index
from dmftsym.language.terms import entries_of
from dmftsym.lowering.ir import Assign, Contract, Statement, TangentKernel
from dmftsym.lowering.quantities import Node
from dmftsym.lowering.times import When


def tangent_kernels_of(nodes: list[Node], in_place: set[str], counts: dict[str, int]) -> tuple[Statement, ...]:
    """The statements of some nodes, those of one site that can run in one loop together.

    Site updates are taken as soon as what they read is there, so that few loops are needed; `counts` numbers them.
    `in_place` names the site arrays that hold one time only: their old value is lost when they are updated.
    """
    pending = list(nodes)
    result: list[Statement] = []
    while pending:
        ready = [n for n in pending if not _waits(n, pending, in_place)]
        group = _largest_loop(ready, pending, in_place)
        if group:
            result.append(_kernel(group, counts))
        else:
            group = [next(n for n in ready if not _fits(n))]
            result += group[0].statements
        pending = [n for n in pending if n not in group]
    return tuple(result)


def fuse(statements: tuple[Statement, ...], stem: str) -> tuple[Statement, ...]:
    """The statements in their order, neighbours of one site that can run in one loop over its paths together."""
    result: list[Statement] = []
    counts: dict[str, int] = {}
    for statement in statements:
        site = _site(statement) if isinstance(statement, Contract) else None
        last = result[-1] if result else None
        if not isinstance(statement, Contract) or site is None:
            result.append(statement)
        elif isinstance(last, TangentKernel) and last.site == site and not _sums_read(last, statement):
            result[-1] = replace(last, updates=(*last.updates, statement))
        else:
            name = f"{stem}_{site}"
            counts[name] = counts.get(name, 0) + 1
            numbered = name if counts[name] == 1 else f"{name}_{counts[name]}"
            result.append(TangentKernel(numbered, site, (statement,)))
    return tuple(result)


def _sums_read(kernel: TangentKernel, statement: Contract) -> bool:
    """Whether a statement reads or continues an average that the kernel is still adding up."""
    sums = {u.target.tensor for u in kernel.updates if isinstance(u, Contract) and u.averaged}
    bodies = [p.scalar * p.coefficient for p in statement.pieces]
    return statement.target.tensor in sums or any(e.tensor in sums for b in bodies for e in entries_of(b))


def _largest_loop(ready: list[Node], pending: list[Node], in_place: set[str]) -> list[Node]:
    """Nodes of one site that can share a loop, starting from the first ready one."""
    first = next((n for n in ready if _fits(n)), None)
    group: list[Node] = []
    while first is not None:
        group.append(first)
        left = [n for n in pending if n not in group]
        # an average is there only after the loop that adds it up
        sums = {name for n in group if _is_average(n) for name in _targets(n)}
        together = [n for n in left if _fits(n) and _kind(n) == _kind(group[0]) and not sums & _read_now(n)]
        first = next((n for n in together if not _waits(n, left, in_place)), None)
    return group


def _waits(node: Node, pending: list[Node], in_place: set[str]) -> bool:
    """Whether a pending node must come first: one that this one reads at this step, or one that reads its old value."""
    needed = _read_now(node)
    for other in pending:
        if other is node:
            continue
        mine = _targets(other)
        if needed & mine:
            return True
        old = {name for name, moment in other.reads if moment is When.LAG and name in in_place}
        if old & _targets(node):
            return True
    return False


def _read_now(node: Node) -> set[str]:
    return {name for name, moment in node.reads if moment is not None and moment.same_step}


def _is_average(node: Node) -> bool:
    return any(isinstance(s, Contract) and s.averaged for s in node.statements)


def _targets(node: Node) -> set[str]:
    found = {node.name}
    for statement in node.statements:
        if hasattr(statement, "target"):
            found.add(statement.target.tensor.name)
        elif hasattr(statement, "group"):
            found |= {f"d_{m.tensor.name}" for m in statement.group.members}
    return found


def _kind(node: Node) -> tuple[str, bool]:
    statement = node.statements[0]
    site = _site(statement) if isinstance(statement, Assign | Contract) else ""
    return site or "", getattr(statement, "starts", False)


def _fits(node: Node) -> bool:
    """Whether all statements of a node can stand in a loop over the paths of one site."""
    return all(isinstance(s, Assign | Contract) and _site(s) is not None for s in node.statements)


def _site(statement: Assign | Contract) -> str | None:
    """The one site of a statement whose ends all stand at the current step, else None."""
    if isinstance(statement, Assign):
        return statement.target.tensor.site
    if any(t.is_Add for t in statement.target.times):
        return None  # written to the time before
    sites = {o.tensor.site for p in statement.pieces for o in p.operands} or {statement.target.tensor.site}
    spatial = [i for i in statement.target.indices if not i.is_time]
    if len(sites) != 1 or statement.mirror or (statement.averaged and len(spatial) > 2):
        return None  # a matrix of averages is a matrix product
    for piece in statement.pieces:
        body = piece.scalar * piece.coefficient * Mul(*piece.operands)
        if body.has(KroneckerDelta, IndexSum):
            return None
        times = {t for e in entries_of(body) for t in e.times}
        if len(times) > 1 or any(not isinstance(t, Index) for t in times):
            return None
    times = {t for t in statement.target.times}
    return sites.pop() if len(times) <= 1 else None


def _kernel(group: list[Node], counts: dict[str, int]) -> TangentKernel:
    site, starts = _kind(group[0])
    stem = f"tangent_{'advance_' if starts else ''}{site}"
    counts[stem] = counts.get(stem, 0) + 1
    name = stem if counts[stem] == 1 else f"{stem}_{counts[stem]}"
    updates = tuple(s for n in group for s in n.statements if isinstance(s, Assign | Contract))
    return TangentKernel(name, site, updates, starts)
