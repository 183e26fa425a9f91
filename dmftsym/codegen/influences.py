"""What the template of the influence functions needs to know of a model: names, sizes, memory."""

from dmftsym.codegen.arrays import ArrayFormula
from dmftsym.codegen.sweeps import unpack, values_of
from dmftsym.linearise.records import Influences


def influence_tables(influences: Influences) -> dict:
    """The keys of the template: tables by quantity, site and kick, and estimates of memory."""
    program = influences.adjoint
    formula = ArrayFormula(program.grid.now)
    sizes = ", ".join(f'"{site}": {formula.expression(nu, ())}' for site, nu in program.sampling.weights)
    rows = [{"name": q.name, "axes": repr(tuple(i.axis.name for i in q.indices))} for q in influences.covariances]
    return {
        "covariances": rows,
        "places": {q.name: place_of_column(q) for q in influences.covariances},
        "jumps": repr(influences.jumps),
        "symmetric": repr(
            tuple(q.name for q in influences.covariances if q.name in influences.symmetric and len(q.time_slots) == 2)
        ),
        "exchangeable": repr({name: at for name, *at in influences.exchangeable}),
        "kicks": _kicks(program.sampling.groups),
        "site_weights": f"{{{sizes}}}",
        "unpack_kicks": unpack(values_of(program), [[_kicks(program.sampling.groups)]]),
        "unpack_weights": unpack(values_of(program), [[sizes]]),
    }


def _kicks(groups) -> str:
    """Source of the sizes of the groups of kicks, by site."""
    kicked = [g for g in groups if g.kicks]
    tables = []
    for site in dict.fromkeys(g.site for g in kicked):
        sizes = ", ".join(f'"{g.name}": {g.size}' for g in kicked if g.site == site)
        tables.append(f'"{site}": {{{sizes}}}')
    return f"{{{', '.join(tables)}}}" if kicked else ""


def place_of_column(tensor) -> int:
    """Where the column stands among the axes of an adjoint: before the first time."""
    return tensor.time_slots[0] if tensor.time_slots else len(tensor.indices)
