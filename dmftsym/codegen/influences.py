"""What the template of the influence functions needs to know of a model: names, sizes, memory."""

from dmftsym.codegen.arrays import ArrayFormula, size_code
from dmftsym.codegen.sources import group_size
from dmftsym.codegen.sweeps import unpack, values_of
from dmftsym.lowering.ir import COLUMNS, Influences


def influence_tables(influences: Influences) -> dict:
    """The keys of the template: tables by quantity, site and kick, and estimates of memory."""
    program = influences.adjoint
    formula = ArrayFormula(program.now)
    sizes = ", ".join(f'"{site}": {formula.expression(nu, ())}' for site, nu in influences.weights)
    rows = [{"name": q.name, "axes": repr(tuple(i.axis.name for i in q.indices))} for q in influences.covariances]
    per_column: list[str] = []
    per_column_and_path: list[str] = []
    for array in program.arrays:
        axes = [i.axis for i in array.tensor.indices]
        if COLUMNS in axes:
            spatial = [size_code(a) for a in axes if a != COLUMNS and not (array.site and a.is_time)]
            kept = ["steps"] if array.site and array.history else []
            (per_column_and_path if array.site else per_column).append("*".join([*kept, *spatial]) or "1")
    for group in (g for g in program.groups if g.kind == "evolving"):
        per_column.append(f"(steps*({group_size(group)}))**2")
        if group.basis:
            per_column_and_path.append(f"steps*({group_size(group)})")
    return {
        "covariances": rows,
        "places": {q.name: _place(q) for q in influences.covariances},
        "jumps": repr(influences.jumps),
        "symmetric": repr(
            tuple(q.name for q in influences.covariances if q.name in influences.symmetric and len(q.time_slots) == 2)
        ),
        "kicks": _kicks(program.groups),
        "site_weights": f"{{{sizes}}}",
        "unpack_kicks": unpack(values_of(program), [[_kicks(program.groups)]]),
        "unpack_weights": unpack(values_of(program), [[sizes]]),
        "per_column": " + ".join(per_column) or "0",
        "per_column_and_path": " + ".join(per_column_and_path) or "0",
        "unpack_memory": unpack(values_of(program), [per_column, per_column_and_path]),
    }


def _kicks(groups) -> str:
    """Source of the sizes of the groups of kicks, by site."""
    kicked = [g for g in groups if g.kind == "kick"]
    tables = []
    for site in dict.fromkeys(g.site for g in kicked):
        sizes = ", ".join(f'"{g.name}": {group_size(g)}' for g in kicked if g.site == site)
        tables.append(f'"{site}": {{{sizes}}}')
    return f"{{{', '.join(tables)}}}" if kicked else ""


def _place(tensor) -> int:
    """Where the column stands among the axes of an adjoint: before the first time."""
    return tensor.time_slots[0] if tensor.time_slots else len(tensor.indices)
