"""`generate_source`: a `Program` as the text of a standalone module."""

from dataclasses import dataclass

from sympy import Expr, Symbol

from dmftsym.codegen.adjoint import influence_code
from dmftsym.codegen.arrays import ArrayFormula, size_code, slot_code
from dmftsym.codegen.code_lines import names_in
from dmftsym.codegen.explicit import explicit_tables
from dmftsym.codegen.fluctuations import fluctuation_code
from dmftsym.codegen.layout import laid_out
from dmftsym.codegen.matrices import count_of, drawn_directions
from dmftsym.codegen.printers import FormulaPrinter
from dmftsym.codegen.sobol import sobol_table
from dmftsym.codegen.statements import StatementWriter
from dmftsym.codegen.storage import Amounts, amounts_of, by_site, normals_per_path, tuple_code
from dmftsym.codegen.sweeps import constant_lines, covariance_text, sizes_of, sweep_code, unpack, values_of
from dmftsym.codegen.targets import TARGETS
from dmftsym.codegen.templates import render
from dmftsym.language.action import Data
from dmftsym.language.symbols import Entry, Parameter, Tensor
from dmftsym.language.terms import entries_of
from dmftsym.linearise.records import Fluctuations, Influences
from dmftsym.program.batching import parted_program
from dmftsym.program.deferral import deferred
from dmftsym.program.program import Program
from dmftsym.program.sources import times_size
from dmftsym.version import __version__


@dataclass(frozen=True, repr=False)
class Source:
    """Generated code: file name stem, text, target and the hash of the model that it solves."""

    name: str
    text: str
    target: str
    model_hash: str

    def __repr__(self) -> str:
        return f"<Source {self.name}.py for {self.target}: {self.text.count(chr(10))} lines, model {self.model_hash}>"

    def __str__(self) -> str:
        return self.text


def generate_source(
    program: Program, target: str, model_hash: str, options: dict, fluctuations: Fluctuations | Influences | None = None
) -> Source:
    """Print a program, and its fluctuations if there are any, for a target ("numba" or "cupy").

    Raises `CodegenError` for a formula without a printer rule.
    """
    parted = parted_program(deferred(program) if TARGETS[target].defers else program)
    writer, host = StatementWriter(parted, target=TARGETS[target]), StatementWriter(program)
    sweeps = [{**sweep_code(parted, writer), "amounts": amounts_of("sweep", program)}]
    own = len(writer.kernels)
    fluctuating = _fluctuations(fluctuations, writer, sweeps)
    adjoint = [fluctuating["adjoint"]] if fluctuating["adjoint"] else []
    context = {
        **_header(program, model_hash, options),
        **_tables(program),
        **_data(program, host.formula),
        **_sampling(program, host),
        **fluctuating,
        "memory": _memory(program, sweeps, [each["amounts"] for each in adjoint]),
        "sweeps": sweeps,
        "xp": writer.xp,
        "matrices": _calls(sweeps, "_eigenvalue(", "_projector("),
        "drawing": any(sweep["evolving"] for sweep in sweeps),
        "lagged": _calls([*sweeps, *adjoint], "_before("),
        "kernels": list(writer.kernels.values())[:own],
        "other_kernels": list(writer.kernels.values())[own:],
    }
    return Source(program.facts.name, laid_out(render(target, "module.py.jinja", context)), target, model_hash)


def _fluctuations(fluctuations: Fluctuations | Influences | None, writer: StatementWriter, sweeps: list[dict]) -> dict:
    """The keys of the templates that compute covariances, forward or backward in time."""
    nothing: dict = {"fluctuating": None, "influencing": None, "adjoint": None, "explicit": None}
    if fluctuations is not None and fluctuations.noise:
        program = fluctuations.adjoint if isinstance(fluctuations, Influences) else fluctuations.programs.tangent
        nothing["explicit"] = explicit_tables(fluctuations, program, writer.target)
    if isinstance(fluctuations, Influences):
        return nothing | influence_code(fluctuations, writer, sweeps)
    return nothing | fluctuation_code(fluctuations, writer, sweeps)


def _calls(sweeps: list[dict], *functions: str) -> bool:
    """Whether a line of a sweep calls one of some functions of the module."""
    lines = [line for s in sweeps for part in ("step", "epilogue") for block in s.get(part, ()) for line in block]
    return any(f in line for line in lines for f in functions)


def _header(program: Program, model_hash: str, options: dict) -> dict:
    facts = program.facts
    lines, shape = sobol_table()
    return {
        "name": program.facts.name,
        "version": __version__,
        "description": _docstring_safe(facts.description.strip()) or f"Mean-field theory of {facts.name}.",
        "equations": [_docstring_safe(e) for e in program.facts.equations],
        "scheme": program.grid.scheme,
        "model_hash": model_hash,
        "options": ", ".join(f"{k}={v}" for k, v in options.items()),
        "options_literal": repr(options),
        "time_step": "None" if program.grid.time_step is None else repr(float(program.grid.time_step)),
        "continuous": program.grid.continuous,
        "order": program.grid.order,
        "now": program.grid.now.name,
        "sobol": lines,
        "sobol_shape": shape,
    }


def _tables(program: Program) -> dict:
    sampling = program.sampling
    drawn = {g.site for g in sampling.groups if not g.static} | {d.site for d in sampling.directions}
    number = lambda value: "None" if value is None else repr(float(value))
    parameters = [
        {
            "name": p.name,
            "default": None if p.default is None else repr(float(p.default)),
            "lower": number(p.lower),
            "strict": p.strict,
            "upper": number(p.upper),
            "only": number(p.only),
            "reason": repr(p.reason),
        }
        for p in program.facts.parameters
    ]
    return {
        "parameters": parameters,
        "axes": [
            {"name": a.name, "size": a.size, "parts": repr(tuple(p.name for p in a.parts) or None)}
            for a in program.facts.axes
            if not a.is_time
        ],
        "outputs": [{"name": t.name, "axes": repr(_axes_of(t))} for t in program.facts.outputs],
        "sites": repr(program.sampling.sites),
        "weights": [_weight(site, weight) for site, weight in program.sampling.weights if not weight.is_positive],
        "smooth": program.sampling.smooth,
        "evolving": tuple(s for s in sampling.sites if s in drawn),
        "gaussian": tuple(site for site, reason in program.sampling.closure if not reason),
        "not_gaussian": {site: reason for site, reason in program.sampling.closure if reason},
        "affine": program.sampling.affine,
        "white": tuple(g.name for g in program.sampling.groups if g.white),
        "moving": tuple(g.name for g in program.sampling.groups if not g.static),
        "recalling": any(g.basis for g in program.sampling.groups),
        "holding": bool(sampling.directions),
        "families": any(d.matrix.family for d in sampling.directions),
    }


def _weight(site: str, weight: Expr) -> dict:
    """A weight that numbers decide: positive for the parameters of a run, or refused."""
    numbers = {p: Symbol(f'checked["{p.name}"]') for p in weight.atoms(Parameter)}
    return {"site": site, "text": str(weight), "code": FormulaPrinter(array=False).formula(weight.xreplace(numbers))}


def _axes_of(tensor: Tensor) -> tuple[str, ...]:
    return tuple(i.axis.name for i in tensor.indices)


def _data(program: Program, formula: ArrayFormula) -> dict:
    derived = []
    for data in (d for d in program.facts.data if d.otherwise):
        needs = sorted({e.tensor.name for _, terms in data.otherwise for t in terms for e in entries_of(t.body)})
        lines = [f'{name} = arrays["{name}"]' for name in needs]
        lines += _otherwise(data, formula)
        derived.append({"name": data.tensor.name, "needs": tuple(needs), "lines": lines})
    read = names_in(d["lines"] for d in derived)
    return {
        "data": [
            {
                "name": d.tensor.name,
                "axes": repr(_axes_of(d.tensor)),
                "symmetric": d.tensor.name in program.facts.symmetric_data,
            }
            for d in program.facts.data
        ],
        "derived_data": derived,
        "required_data": [d.tensor.name for d in program.facts.data if not d.otherwise and _is_read(d, program)],
        "sizes_unpack": [f'{s} = sizes.get("{s}")' for s in sizes_of(program) if s in read],
    }


def _is_read(data: Data, program: Program) -> bool:
    """Whether anything but the formulas of other data needs an array."""
    formulas = [t for d in program.facts.data for _, terms in d.otherwise for t in terms]
    return not any(data.tensor in {e.tensor for e in entries_of(t.body)} for t in formulas)


def _otherwise(data: Data, formula: ArrayFormula) -> list[str]:
    tensor = data.tensor
    lines = [f"{tensor.name} = np.empty({tuple_code([size_code(i.axis) for i in tensor.indices])})"]
    for entry, terms in data.otherwise:
        target = tuple(i for i in entry.indices if not i.is_Integer)
        lines.append(f"{tensor.name}[{_subscript(entry, formula)}] = {formula.sum_of_terms(terms, target)}")
    return [*lines, f'arrays["{tensor.name}"] = {tensor.name}']


def _subscript(entry: Entry, formula: ArrayFormula) -> str:
    slots = zip(entry.tensor.indices, entry.indices, strict=True)
    return ", ".join(slot_code(s, a, formula.now, (), str(entry)) for s, a in slots)


def _sampling(program: Program, writer: StatementWriter) -> dict:
    factors, signs, split = [], [], []
    moving_signs: list[str] = []
    for group in program.sampling.groups:
        if group.static:
            factors += [f"# {covariance_text(group)}"]
            factors += [
                f'factors["{group.name}"] = _factor({writer.sources.covariance(group)}, "{covariance_text(group)}")'
            ]
    constants = [line for c in program.sweep.constants for line in constant_lines(c, writer)]
    for site in program.sampling.sites:
        inside: list[str] = []
        for group in (g for g in program.sampling.groups if g.site == site and g.static):
            columns = f'factors["{group.name}"].shape[1]'
            sign = -1.0 if group.antithetic else 1.0
            signs += [f'if site == "{site}":', f"    signs.append(np.full({columns}, {sign}))"]
            cut = f"static[path_first : path_first + {columns}]"
            inside.append(f'normals["{group.name}"], path_first = {cut}, path_first + {columns}')
        for start in (s for s in program.sampling.starts if s.field.site == site):
            size = _field_size(start.field)
            signs += [f'if site == "{site}":', f"    signs.append(np.ones({size}))"]
            cut = f"static[path_first : path_first + {size}]"
            inside.append(f'normals["{start.field}_start"], path_first = {cut}, path_first + {size}')
        for group in (g for g in program.sampling.groups if g.site == site and not g.static):
            size = group.size
            count = times_size("steps", size)
            cut = f"moving[path_later : path_later + {count}]"
            shaped = cut if group.evolving else f"{cut}.reshape(steps, {size}, -1)"
            inside.append(f'normals["{group.name}"], path_later = {shaped}, path_later + {count}')
            sign = -1.0 if group.antithetic else 1.0
            moving_signs += [f'if site == "{site}":', f"    signs.append(np.full({count}, {sign}))"]
        handed, of_directions = drawn_directions(program, site)
        inside += handed
        moving_signs += of_directions
        if site in program.sampling.affine:
            inside.append(f'normals["constant_{site}"] = {writer.xp}.ones(static.shape[1])')
        split += [f'if site == "{site}":', *[f"    {line}" for line in inside]] if inside else []
    if any("steps" in line for line in split):
        split[:0] = [
            "none, one = (_moving_dimensions(site, values, count) for count in (0, 1))",
            "steps = (len(moving) - none) // max(1, one - none) if moving is not None else 0",
        ]
    totals = {s: _moving_count(program, s) for s in program.sampling.sites}
    read = names_in([factors])
    needed = constants if any(c.target.tensor.name in read for c in program.sweep.constants) else []
    return {
        "static_factors": [*needed, *factors],
        "signs": signs,
        "moving_signs": moving_signs,
        "unpack_moving_signs": unpack(values_of(program), [moving_signs]),
        "split_normals": split,
        "split_places": [f"path_{p}" for p in ("first", "later") if any(f"path_{p}" in line for line in split)],
        "moving_dimensions": "{" + ", ".join(f'"{s}": {t}' for s, t in totals.items()) + "}[site]",
        "unpack_factors": unpack(values_of(program), [needed, factors]),
        "unpack_signs": unpack(values_of(program), [signs]),
        "unpack_split": unpack(values_of(program), [split]),
        "unpack_moving": unpack(values_of(program), [list(totals.values())]),
    }


def _moving_count(program: Program, site: str) -> str:
    """Source of how many normals for all times a path of a site has."""
    sampling = program.sampling
    counts = [times_size("steps", g.size) for g in sampling.groups if g.site == site and not g.static]
    return " + ".join([*counts, *(count_of(d, program) for d in sampling.directions if d.site == site)]) or "0"


def _field_size(tensor: Tensor) -> str:
    return "*".join(size_code(i.axis) for i in tensor.indices if not i.is_time) or "1"


def _memory(program: Program, sweeps: list[dict], more: list[Amounts]) -> dict:
    """How many numbers every sweep holds, the normals of a path, and the results."""

    def product(tensor: Tensor) -> str:
        return "*".join(size_code(i.axis) for i in tensor.indices) or "1"

    amounts = [sweep["amounts"] for sweep in sweeps] + more
    drawn = {site: normals_per_path(program, site) for site in program.sampling.sites}
    join = lambda terms: " + ".join(terms) or "0"
    normals = {site: join(number for number, _ in each) for site, each in drawn.items()}
    # what a path keeps for all times: the normals of all paths and of their parts, and histories
    moving = {site: [times_size("2", number) for number, late in each if late] for site, each in drawn.items()}
    kept = {site: join([*moving[site], amounts[0].kept[site]]) for site in program.sampling.sites}
    results = ", ".join(product(t) for t in program.facts.outputs)
    texts = [text for each in amounts for text in each.texts()]
    return {
        "amounts": [each.code() for each in amounts],
        "normals": by_site(normals),
        "kept": by_site(kept),
        "results": results,
        "unpack_amounts": unpack(values_of(program), [texts]),
        "unpack_normals": unpack(values_of(program), [list(normals.values())]),
        "unpack_kept": unpack(values_of(program), [list(kept.values())]),
        "unpack_results": unpack(values_of(program), [[results]]),
    }


def _docstring_safe(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', "'''")
