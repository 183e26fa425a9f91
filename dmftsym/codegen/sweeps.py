"""A program as one function of the generated module: a causal pass over time."""

import re

from dmftsym.codegen.arrays import size_code
from dmftsym.codegen.kernels import wrapped
from dmftsym.codegen.sources import group_size, times_size
from dmftsym.codegen.statements import StatementWriter
from dmftsym.codegen.targets import Target
from dmftsym.language.symbols import Tensor
from dmftsym.language.terms import as_expression
from dmftsym.lowering.ir import DrawVariation, Evaluate, Program, SourceGroup, is_variation

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
    step = [writer.lines(s) for s in program.step]
    epilogue = [writer.lines(s) for s in program.epilogue]
    allocate, views = _allocations(program, writer.target)
    before = [line for c in program.constants for line in constant_lines(c, writer)]
    before += _initial_values(program, writer)
    checked = ("order parameter", "function")
    timed = [a for a in program.arrays if a.role in checked and not a.site and a.tensor.time_slots]
    finite = [f'("{a.tensor.name}", {_at_now(a.tensor, program)})' for a in timed]
    results = results or {t.name: t.name if t.indices else f"{writer.xp}.array({t.name})" for t in program.outputs}
    evolving = [g for g in program.groups if g.kind == "evolving"]
    return {
        "name": name,
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
        "results": "{" + ", ".join(f'"{key}": {code}' for key, code in results.items()) + "}",
    }


def _allocations(program: Program, target: Target) -> tuple[list[str], list[str]]:
    """Lines that allocate all arrays, and lines that take this step's slice of those that keep all times."""
    allocate, views = [], []
    xp, on_device = target.xp, target.on_device
    for site in program.sites:
        allocate.append(f'weight_{site} = weights["{site}"]')
        allocate.append(f"paths_{site} = len(weight_{site})")
    if not on_device and any(is_variation(a.tensor) for a in program.arrays):
        allocate += [f"blocks_{site} = (paths_{site} + BLOCK - 1)//BLOCK" for site in program.sites]
    for array in (a for a in program.arrays if not a.site and a.tensor.time_slots):
        if array.role == "shift":
            allocate.append(f'{array.tensor.name} = modes["{array.tensor.name}"]')
            continue
        if array.given:
            varied = is_variation(array.tensor)
            name = array.tensor.name.removeprefix("d_").removesuffix("_change") if varied else array.tensor.name
            allocate.append(f'{array.tensor.name} = {"changes" if varied else "averages"}["{name}"]')
            continue
        shape = tuple_code([size_code(i.axis) for i in array.tensor.indices])
        if array.role == "impulse":
            allocate.append(f"{array.tensor.name} = {xp}.eye(steps){'/dt' if program.continuous else ''}")
            continue
        if array.role == "clock":
            step = "dt*" if program.continuous else ""
            allocate.append(f"{array.tensor.name} = {step}{xp}.arange(steps, dtype=float)")
            continue
        allocate.append(f"{array.tensor.name} = {xp}.full({shape}, {xp}.nan)")
    for array in (a for a in program.arrays if a.site):
        name = array.tensor.name
        sizes = [size_code(i.axis) for i in array.tensor.indices if not i.is_time] + [f"paths_{array.site}"]
        if array.given:
            allocate.append(f'{name} = modes["{array.site}"]')
        elif array.history:
            allocate.append(f"{name}_history = {_zeros(tuple_code(['steps', *sizes]), array.site, target, True)}")
            now = program.now.name
            views.append(f"{name} = " + (f"_row({name}_history, {now})" if on_device else f"{name}_history[{now}]"))
        else:
            allocate.append(f"{name} = {_zeros(tuple_code(sizes), array.site, target)}")
    return allocate, views


def _zeros(shape: str, site: str, target: Target, kept: bool = False) -> str:
    """Source that allocates an array over the sample paths of a site; `kept`: for all times."""
    if not target.on_device:
        return f"{target.xp}.zeros({shape})"
    like = f"{shape}, weight_{site}.dtype"
    return f"_kept({like}, at_once)" if kept else f"{target.xp}.zeros({like})"


def _initial_values(program: Program, writer: StatementWriter) -> list[str]:
    lines = []
    xp = writer.xp
    varied = {s.group.name for s in program.step if isinstance(s, DrawVariation)}
    lines += [f'constant_{site} = normals["constant_{site}"]' for site in program.affine]
    for group in program.groups:
        if group.kind == "static":
            drawn = writer.target.product(f'factors["{group.name}"]', f'normals["{group.name}"]')
            lines += [f"# {covariance_text(group)}", f"drawn = {drawn}"]
            lines += writer.sources.members(group)
            continue
        lines.append(f'normals_{group.name} = normals["{group.name}"]')
        if group.kind == "evolving":
            size = times_size("steps", f"size_{group.name}")
            lines.append(f"size_{group.name} = {group_size(group)}")
            lines.append(f"factor_{group.name} = {xp}.zeros(({size}, {size}))")
            if group.name in varied:
                lines.append(f"d_factor_{group.name} = {xp}.zeros((columns, {size}, {size}))")
            if writer.target.on_device:
                lines.append(f"active_{group.name} = {xp}.zeros({size}, dtype=int)")
                lines.append(f"opened_{group.name} = {xp}.zeros(steps + 1, dtype=int)")
                lines.append(f"ranks_{group.name} = range(0, {size} + 1, size_{group.name})  # bounds")
            else:
                lines.append(f"active_{group.name}, rank_{group.name} = {xp}.zeros({size}, dtype=int), 0")
                lines.append(f"ranks_{group.name} = {xp}.zeros(steps + 1, dtype=int)")
            if group.basis:
                shape = f"({size}, paths_{group.basis})"
                lines.append(f"basis_{group.name} = {_zeros(shape, group.basis, writer.target, True)}")
    for start in program.starts:
        name = start.field.name
        target = tuple(i for i in start.field.indices if not i.is_time)
        mean, variance = (writer.formula.expression(m, target) for m in (start.mean, start.variance))
        shape = ", ".join([*(size_code(i.axis) for i in target), "-1"])
        column = "[..., None]" if target else ""
        spread = f'{xp}.sqrt({xp}.asarray({variance}))[..., None]*normals["{name}_start"].reshape({shape})'
        scale = f"*constant_{start.field.site}" if start.field.site in program.affine and start.mean != 0 else ""
        column = "[..., None]" if target or scale else ""
        lines += [
            f"# {name}(0) ~ Normal(mean {start.mean}, variance {start.variance})",
            f"{name}_start = {xp}.asarray({mean}, dtype=float){column}{scale} + {spread}",
        ]
    return lines


def _at_now(tensor: Tensor, program: Program) -> str:
    now = program.now.name
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


def tuple_code(items: list[str]) -> str:
    """A tuple of the given source texts."""
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def sizes_of(program: Program) -> list[str]:
    """The names of the axis lengths that are not fixed numbers."""
    return [a.size for a in program.axes if not a.is_time and not a.size.isdigit()]


def values_of(program: Program) -> list[str]:
    """The names that a sweep finds in `values`."""
    return [p.name for p in program.parameters] + [d.tensor.name for d in program.data] + sizes_of(program)


def unpack(names: list[str], blocks: list[list[str]]) -> list[str]:
    """Assignments from `values` for the names that stand in the given lines of code."""
    code = " ".join(line for block in blocks for line in block if not line.lstrip().startswith("#"))
    return [f'{name} = values["{name}"]' for name in names if re.search(rf"\b{name}\b", code)]
