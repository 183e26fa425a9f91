"""A program as one function of the generated module: a causal pass over time."""

import re

from dmftsym.codegen.arrays import size_code
from dmftsym.codegen.grid import grid_lines
from dmftsym.codegen.kernels import wrapped
from dmftsym.codegen.sources import group_size, normals_of, times_size
from dmftsym.codegen.statements import StatementWriter
from dmftsym.codegen.storage import amounts_of, stored_arrays, stored_sources, tuple_code
from dmftsym.codegen.targets import Target
from dmftsym.language.symbols import Tensor
from dmftsym.language.terms import as_expression
from dmftsym.program.axes import COLUMNS, has_columns
from dmftsym.program.buffers import Role
from dmftsym.program.program import Program
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements import Evaluate

MEAN_NOTES = (
    "One causal pass over time: every equation once a step, in causal order.",
    "",
    "values: parameters, data and sizes by name; factors: factors of the static covariances; normals: standard",
    "normals, (dimensions, paths) for static sources and starts, (steps, dimensions, paths) for white and",
    "(steps*dimensions, paths) for evolving sources; weights: quadrature weight of every path, by site.",
    "Returns the arrays of all order parameters and functions, and how the sweep ended.",
)
ARRAYS = ("values", "factors", "normals", "weights", "modes", "averages", "changes")
ARGUMENTS = ("values", "factors", "normals", "weights", "steps", "dt", "progress")


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
    step = [writer.lines(s) for s in program.sweep.step]
    epilogue = [writer.lines(s) for s in program.sweep.epilogue]
    allocate, views = _allocations(program, writer.target)
    allocate += grid_lines(program, writer.xp, [*step, *epilogue])
    before = [line for c in program.sweep.constants for line in constant_lines(c, writer)]
    before += _initial_values(program, writer)
    checked = (Role.ORDER_PARAMETER, Role.FUNCTION)
    timed = [a for a in program.sweep.buffers if a.role in checked and not a.site and a.tensor.time_slots]
    finite = [f'("{a.tensor.name}", {_at_now(a.tensor, program)})' for a in timed]
    views = without_unused(views, [*step, *epilogue])
    whole = lambda t: t.name if t.indices else f"{writer.xp}.array({t.name})"
    results = results or {t.name: whole(t) for t in program.facts.outputs}
    returned = "{" + ", ".join(f'"{key}": {code}' for key, code in results.items()) + "}"
    evolving = [g for g in program.sampling.groups if g.evolving]
    rest = [views, *step, *epilogue, finite, [returned]]
    before = without_unused(before, rest)
    allocate = without_unused(allocate, [before, *rest])
    of_pass = ("back", "reach", "blend")
    return {
        "name": name,
        "amounts": amounts_of(name, program, writer.target),
        "passes": program.grid.passes,
        "of_pass": ", ".join(name if is_read(name, step) else f"_{name}" for name in of_pass),
        "breaks": any(line.lstrip() == "break" for block in step for line in block),
        "arrays": [a for a in arguments if a in ARRAYS],
        "checked": finite,
        "evolving": [g.name for g in evolving],
        "arguments": ", ".join(arguments),
        "notes": notes,
        "progress": "progress" in arguments,
        "unpack": unpack(values_of(program), [allocate, before, *step, *epilogue]),
        "allocate": allocate,
        "before": before,
        "history_views": views,
        "step": step,
        "epilogue": epilogue,
        "finite": wrapped("failed = _first_non_finite(", tuple(finite), ")"),
        "results": returned,
        "parts_on_host": is_read("at_once", [allocate, before]),
    }


def _allocations(program: Program, target: Target) -> tuple[list[str], list[str]]:
    """Lines that allocate all arrays, and lines that take this step's slice of those that keep all times."""
    allocate, views = [], []
    for site in program.sampling.sites:
        allocate.append(f'weight_{site} = weights["{site}"]')
        allocate.append(f"paths_{site} = len(weight_{site})")
    if any(has_columns(a.tensor) for a in program.sweep.buffers):
        allocate += [line for site in program.sampling.sites for line in target.blocks(site)]
    now = program.grid.now.name
    for array in stored_arrays(program, target):
        allocate.append(array.line)
        if array.history_of:
            views.append(f"{array.history_of} = {target.row(array.name, now)}")
    return allocate, views


def _initial_values(program: Program, writer: StatementWriter) -> list[str]:
    lines = []
    xp = writer.xp
    lines += [f'constant_{site} = normals["constant_{site}"]' for site in program.sampling.affine]
    for group in program.sampling.groups:
        if group.static:
            drawn = writer.target.product(f'factors["{group.name}"]', f'normals["{group.name}"]')
            lines += [f"# {covariance_text(group)}", f"drawn = {drawn}"]
            lines += writer.sources.members(group)
            continue
        lines.append(f"normals_{group.name} = {normals_of(group, program.sampling.groups)}")
        if group.evolving:
            size = times_size("steps", f"size_{group.name}")
            lines.append(f"size_{group.name} = {group_size(group)}")
            stored = stored_sources(program, group, writer.target)
            lines += [array.line for array in stored if not array.site]
            lines += writer.target.start_factor(group.name, size)
            lines += [array.line for array in stored if array.site]
    for start in program.sampling.starts:
        name = start.field.name
        target = tuple(i for i in start.field.indices if not i.is_time)
        mean, variance = (writer.formula.expression(m, target) for m in (start.mean, start.variance))
        shape = ", ".join([*(size_code(i.axis) for i in target), "-1"])
        column = "[..., None]" if target else ""
        spread = f'{xp}.sqrt({xp}.asarray({variance}))[..., None]*normals["{name}_start"].reshape({shape})'
        affine = start.field.site in program.sampling.affine
        scale = f"*constant_{start.field.site}" if affine and start.mean != 0 else ""
        column = "[..., None]" if target or scale else ""
        lines += [
            f"# {name}(0) ~ Normal(mean {start.mean}, variance {start.variance})",
            f"{name}_start = {xp}.asarray({mean}, dtype=float){column}{scale} + {spread}",
        ]
    return lines


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
    shape = tuple_code([size_code(i.axis) for i in free])
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


def is_read(name: str, blocks: list[list[str]]) -> bool:
    """Whether lines of code mention a name, beside comments and strings."""
    lines = (line for block in blocks for line in block if not line.lstrip().startswith("#"))
    return any(name in line and re.search(rf"\b{name}\b", re.sub(r'"[^"]*"', "", line)) for line in lines)


def without_unused(lines: list[str], rest: list[list[str]]) -> list[str]:
    """Assignments without those to names that neither later ones nor the rest of the code read.

    What has an equation above it stays.
    """
    kept: list[str] = []
    for above, line in reversed(list(zip(["", *lines], lines, strict=False))):
        name = re.match(r"(\w+) = ", line)
        if name and not above.startswith("#") and not is_read(name[1], [kept, *rest]):
            continue
        kept.append(line)
    return kept[::-1]


def unpack(names: list[str], blocks: list[list[str]]) -> list[str]:
    """Assignments from `values` for the names that stand in the given lines of code."""
    code = " ".join(line for block in blocks for line in block if not line.lstrip().startswith("#"))
    key = {COLUMNS.size: f"({COLUMNS.size})"}  # which no user's name is
    return [f'{name} = values["{key.get(name, name)}"]' for name in names if re.search(rf"\b{name}\b", code)]
