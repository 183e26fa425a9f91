"""A program as functions of the generated module: what allocates the state, one time step, and the loop over time."""

import textwrap

from dmftsym.codegen.code_lines import assigned_in, names_in, of_state
from dmftsym.codegen.grid import grid_lines
from dmftsym.codegen.kernels import wrapped
from dmftsym.codegen.matrices import matrix_lines
from dmftsym.codegen.sources import normals_of
from dmftsym.codegen.statements import StatementWriter
from dmftsym.codegen.storage import amounts_of, made, tuple_code
from dmftsym.codegen.tree import history_of
from dmftsym.language.action import Start
from dmftsym.language.symbols import Entry, Tensor
from dmftsym.language.terms import as_expression
from dmftsym.program.axes import COLUMNS, PARTS, has_columns, length_of
from dmftsym.program.buffers import Role
from dmftsym.program.program import Program
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements import Evaluate
from dmftsym.program.storage import Stored, storage_of, storage_of_noise

MEAN_NOTES = (
    "One causal pass over time: every equation once a step, in causal order.",
    "",
    "values: parameters, data and sizes by name; factors: factors of the static covariances; normals: standard",
    "normals, (dimensions, paths) for static sources and starts, (steps, dimensions, paths) for white and",
    "(steps*dimensions, paths) for evolving sources; weights: quadrature weight of every path, by site.",
    "Returns the arrays of all order parameters and functions, and how the sweep ended. The paths may be those of",
    'values["(parts)"] independent parts, one after the other: the results then have an axis of parts first.',
)
ARRAYS = ("values", "factors", "normals", "weights", "modes", "averages", "changes")
DRAWN = "drawn"  # values of several sources, before they are handed out
ARGUMENTS = ("values", "factors", "normals", "weights", "steps", "dt", "progress")
# what the parts of a sweep are called, and what its steps are
SWEEP_NAMES = {
    "sweep": ("allocate", "step", ""),
    "sketch_sweep": ("allocate_sketch", "sketch_step", " of `sketch_sweep`"),
    "tangent_sweep": ("allocate_tangent", "tangent_step", " of `tangent_sweep`"),
    "direct_sweep": ("allocate_direct", "direct_step", " of `direct_sweep`"),
    "plain_sweep": ("allocate_plain", "plain_step", " of `plain_sweep`"),
    "chain_sweep": ("allocate_chain", "chain_step", " of `chain_sweep`"),
    "record_sweep": ("allocate_record", "record_step", " of `record_sweep`"),
    "adjoint_sweep": ("allocate_adjoint", "adjoint_step", " of `adjoint_sweep`"),
}


def sweep_code(
    program: Program,
    writer: StatementWriter,
    name: str = "sweep",
    arguments: tuple[str, ...] = ARGUMENTS,
    notes: tuple[str, ...] = MEAN_NOTES,
    results: dict[str, str] | None = None,
) -> dict:
    """What the template of a sweep needs to print one: every key is a block of source lines.

    `results` maps the names that the sweep returns to arrays; default: the outputs of the program.
    """
    evolving = [g.name for g in program.sampling.groups if g.evolving]
    checked = (Role.ORDER_PARAMETER, Role.FUNCTION)
    later = {s.target.tensor: s.pieces[0].operands for s in program.sweep.closing}
    timed = [a for a in program.sweep.buffers if a.role in checked and not a.site and a.tensor.time_slots]
    finite = [f'("{a.tensor.name}", state.{of})' for a in timed for of in _seen(a.tensor, later, program)]
    closing = [line for s in program.sweep.closing for line in writer.closing(s)]
    constants = [t.name for s in program.sweep.constants for t in s.writes]
    whole = lambda t: f"{writer.xp}.stack([{t.name}]*{PARTS.size})" if t.name in constants else t.name
    results = results or {t.name: whole(t) for t in program.facts.outputs}
    matrices = list(dict.fromkeys(d.matrix.name for d in program.sampling.directions))
    held = [*(a.tensor.name for a in timed), *(f"noise_{group}" for group in evolving), *matrices, *results.values()]
    state = state_code(program, writer, [*arguments], [*held, *closing])
    returned = {key: of_state(code, state["names"]) for key, code in results.items()}
    of_pass = ("back", "reach", "blend")
    return {
        **names_of_parts(name),
        **state,
        "name": name,
        "amounts": amounts_of(name, program),
        "passes": program.grid.passes,
        "of_pass": ", ".join(name if is_read(name, state["step"]) else f"_{name}" for name in of_pass),
        "arrays": [a for a in arguments if a in ARRAYS],
        "checked": finite,
        "evolving": evolving,
        "held": matrices,
        "parted": program.sampling.parts is not None,
        "counts": bool(evolving or matrices),
        "closing": of_state("\n".join(closing), state["names"]).split("\n") if closing else [],
        "arguments": ", ".join(arguments),
        "allocated_from": ", ".join(a for a in arguments if a != "progress"),
        "notes": notes,
        "progress": "progress" in arguments,
        "finite": wrapped("failed = _first_non_finite(", tuple(finite), ")"),
        "results": "{" + ", ".join(f'"{key}": {code}' for key, code in returned.items()) + "}",
        "parts_on_host": is_read("at_once", [state["allocate"]]),
    }


def names_of_parts(name: str) -> dict:
    """The names of the functions of a sweep, and what its steps are, for the template."""
    return dict(zip(("allocate_name", "step_name", "of_step"), SWEEP_NAMES[name], strict=True))


def state_code(program: Program, writer: StatementWriter, arguments: list[str], held: list[str]) -> dict:
    """The steps of a program, and the state that they share; `held`: source of what is read between the steps."""
    step, epilogue = writer.step(program.sweep.step), writer.step(program.sweep.epilogue)
    arrays = storage_of(program)
    rows = {a.at_step: writer.target.row(a.name, program.grid.now.name) for a in arrays if a.at_step}
    views = side_by_side({name: code for name, code in rows.items() if is_read(name, [*step, *epilogue])})
    body = [views, *step, *epilogue, ["dt"] * (program.grid.passes > 1 and bool(step))]
    blocks = [[f'{PARTS.size} = values.get("({PARTS.size})", 1)']] if program.sampling.parts is not None else []
    blocks += sizes_and_weights(program, writer)
    blocks += made_together([a for a in arrays if is_read(a.name, [*body, held])], program, writer)
    blocks += grid_lines(program, writer.xp, body) + [constant_lines(c, writer) for c in program.sweep.constants]
    blocks += _initial_values(program, writer)
    return {**held_code(program, blocks, body, arguments, held), "views": views, "step": step, "epilogue": epilogue}


def held_code(
    program: Program, blocks: list[list[str]], body: list[list[str]], arguments: list[str], held: list[str]
) -> dict:
    """The names of a state, and the lines that make it and that a step begins with.

    blocks: what makes arrays and numbers; body: the lines of a step; held: what is read between the steps.
    """
    known = [*values_of(program), *arguments, *(name for block in blocks for name in assigned_in(block))]
    known = [name for name in dict.fromkeys(known) if name not in (*ARRAYS, DRAWN)]
    taken = [name for name in known if is_read(name, body)]
    names = [*taken, *(name for name in known if name not in taken and is_read(name, [held]))]
    needed = [line for block in _live(blocks, names) for line in block]
    return {
        "names": names,
        "allocate": [*unpacked(values_of(program), [needed, names]), *needed],
        "unpack": _taken(taken, len(taken) < len(names)),
        "made": wrapped("return State(", tuple(f"{name}={name}" for name in names), ")"),
    }


def side_by_side(codes: dict[str, str], width: int = 108) -> list[str]:
    """Assignments, several on a line."""
    lines: list[str] = []
    for name, code in codes.items():
        left, right = lines[-1].split(" = ") if lines else ("", "")
        joined = f"{left}, {name} = {right}, {code}"
        if lines and len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(f"{name} = {code}")
    return lines


def taken_from(source: str, keys: dict[str, str], width: int = 50) -> list[str]:
    """Assignments of entries of a table to names, several on a line; `keys`: of the names."""
    rows: list[list[str]] = []
    for name in keys:
        if rows and len(", ".join([*rows[-1], name])) <= width:
            rows[-1].append(name)
        else:
            rows.append([name])
    quoted = lambda names: ", ".join(f'"{keys[name]}"' for name in names)
    some = lambda names: f"{', '.join(names)} = ({source}[name] for name in ({quoted(names)}))"
    return [some(names) if len(names) > 1 else f"{names[0]} = {source}[{quoted(names)}]" for names in rows]


def _taken(names: list[str], more: bool) -> list[str]:
    """The line with which a step takes its names from the state, or several lines."""
    targets = ", ".join([*names, *["*_"] * more])
    if len(targets) <= 108:
        return [f"{targets}{',' if len(names) == 1 and not more else ''} = state"] * bool(names)
    first, *rest, last = textwrap.wrap(targets, 106, break_long_words=False)
    return [f"({first}", *[f" {line}" for line in rest], f" {last}) = state"]


def sizes_and_weights(program: Program, writer: StatementWriter) -> list[list[str]]:
    """Blocks of lines with the weights of the sites, and how many paths they have."""
    columns = any(has_columns(a.tensor) for a in program.sweep.buffers)
    blocks: list[list[str]] = []
    for site in program.sampling.sites:
        blocks += [[f'weight_{site} = weights["{site}"]'], [f"paths_{site} = len(weight_{site})"]]
        blocks += [[line] for line in writer.target.blocks(site) if columns]
    return blocks + [[f'constant_{site} = normals["constant_{site}"]'] for site in program.sampling.affine]


def made_together(arrays: list[Stored], program: Program, writer: StatementWriter) -> list[list[str]]:
    """Lines that make the arrays, those of a kind together."""
    alike: dict[str, list[list[str]]] = {}
    for array in arrays:
        rows = alike.setdefault(made(array, writer.target, program.grid.continuous), [[]])
        if len(", ".join([*rows[-1], array.name])) > 60 and rows[-1]:
            rows.append([])
        rows[-1].append(array.name)
    several = lambda code, names: code if len(names) == 1 else f"({code} for _ in range({len(names)}))"
    return [[f"{', '.join(names)} = {several(code, names)}"] for code, rows in alike.items() for names in rows]


def _live(blocks: list[list[str]], names: list[str]) -> list[list[str]]:
    """The blocks of lines that make one of the names, or something that a later one needs."""
    kept: list[list[str]] = []
    for block in reversed(blocks):
        if any(name in names or is_read(name, kept) for name in assigned_in(block)):
            kept.append(block)
    return kept[::-1]


def _initial_values(program: Program, writer: StatementWriter) -> list[list[str]]:
    """Blocks of lines with what is drawn before the first step, and what draws at every step."""
    blocks: list[list[str]] = []
    for group in program.sampling.groups:
        if group.static:
            drawn = writer.target.product(f'factors["{group.name}"]', f'normals["{group.name}"]')
            first, *more = writer.sources.members(group, writer.target.grouped(drawn))
            blocks += [[f"# {covariance_text(group)}", first], *([line] for line in more)]
            continue
        normals = normals_of(group, program.sampling.groups)
        if group.evolving:
            blocks += [_noise(group, normals, program, writer)]
        else:
            blocks.append([f"normals_{group.name} = {normals}"])
    matrices = dict.fromkeys(d.matrix for d in program.sampling.directions)
    blocks += [matrix_lines(m, program, writer.formula, writer.variant == "record") for m in matrices]
    return blocks + [_start(start, program, writer) for start in program.sampling.starts]


def _noise(group: SourceGroup, normals: str, program: Program, writer: StatementWriter) -> list[str]:
    """What draws an evolving group of sources, with the arrays that it does not make itself."""
    stored = [a for a in storage_of_noise(program, group) if a.name != "factor"]
    given = [f"{a.name}={made(a, writer.target, program.grid.continuous)}" for a in stored]
    arguments = (f'"{group.name}"', normals, group.size, "steps", *given)
    if program.sampling.parts is None:
        return [f"noise_{group.name} = EvolvingNoise({', '.join(arguments)})"]
    return [f"noise_{group.name} = NoiseOfParts({PARTS.size}, {', '.join(arguments)})"]


def _start(start: Start, program: Program, writer: StatementWriter) -> list[str]:
    """The values of a field at the first step, with their distribution above."""
    name, xp = start.field.name, writer.xp
    target = tuple(i for i in start.field.indices if not i.is_time)
    mean, variance = (writer.formula.expression(m, target) for m in (start.mean, start.variance))
    shape = ", ".join([*(length_of(i.axis) for i in target), "-1"])
    spread = f'{xp}.sqrt({xp}.asarray({variance}))[..., None]*normals["{name}_start"].reshape({shape})'
    affine = start.field.site in program.sampling.affine
    scale = f"*constant_{start.field.site}" if affine and start.mean != 0 else ""
    column = "[..., None]" if target or scale else ""
    return [
        f"# {name}(0) ~ Normal(mean {start.mean}, variance {start.variance})",
        f"{name}_start = {xp}.asarray({mean}, dtype=float){column}{scale} + {spread}",
    ]


def _seen(tensor: Tensor, later: dict[Tensor, tuple[Entry, ...]], program: Program) -> list[str]:
    """What shows whether an array is finite at a step: its values, or those of which it will be made."""
    if tensor not in later:
        return [_at_now(tensor, program)]
    return [f"{history_of(t)}[{program.grid.now.name}]" for t in dict.fromkeys(e.tensor for e in later[tensor])]


def _at_now(tensor: Tensor, program: Program) -> str:
    now = program.grid.now.name
    first = tensor.time_slots[0]
    codes = [now if k == first else f":{now} + 1" if i.is_time else ":" for k, i in enumerate(tensor.indices)]
    return f"{tensor.name}[{', '.join(codes)}]"


def constant_lines(statement: Evaluate, writer: StatementWriter) -> list[str]:
    """A quantity without time, with its equation above."""
    tensor = statement.target.tensor
    free = tensor.indices
    value = writer.formula.sum_of_terms(statement.terms, free)
    shape = tuple_code([length_of(i.axis) for i in free])
    xp = writer.xp
    full = f"{xp}.broadcast_to({value}, {shape})" if free else f"float({value})"
    return [f"# {statement.equation}", f"{tensor.name} = {full}"]


def covariance_text(group: SourceGroup) -> str:
    """The covariances of a group of sources as equations."""
    return "; ".join(f"<{b.left} {b.right}> = {as_expression(b.terms)}" for b in group.blocks)


def sizes_of(program: Program) -> list[str]:
    """The names of the axis lengths that are not fixed numbers."""
    return [a.size for a in program.facts.axes if not a.is_time and not a.size.isdigit()]


def values_of(program: Program) -> list[str]:
    """The names that a sweep finds in `values`."""
    return [p.name for p in program.facts.parameters] + [d.tensor.name for d in program.facts.data] + sizes_of(program)


_KEYS = {COLUMNS.size: f"({COLUMNS.size})"}  # in `values`: which no user's name is


def is_read(name: str, blocks: list[list[str]]) -> bool:
    """Whether lines of code mention a name."""
    return name in names_in(blocks)


def unpack(names: list[str], blocks: list[list[str]]) -> list[str]:
    """Assignments from `values` for the names that stand in the given lines of code."""
    read = names_in(blocks)
    return [f'{name} = values["{_KEYS.get(name, name)}"]' for name in names if name in read]


def unpacked(names: list[str], blocks: list[list[str]]) -> list[str]:
    """The same with several names on a line."""
    found = [line.split(" = ")[0] for line in unpack(names, blocks)]
    return taken_from("values", {name: _KEYS.get(name, name) for name in found})
