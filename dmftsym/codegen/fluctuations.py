"""Fluctuations of a program as source code: the sketch and tangent sweeps, and the tables that `fluctuations` reads."""

from dmftsym.codegen.arrays import ArrayFormula, size_code
from dmftsym.codegen.statements import StatementWriter
from dmftsym.codegen.sweeps import ARGUMENTS, sweep_code, unpack, values_of
from dmftsym.language.symbols import Tensor
from dmftsym.linearise.records import Fluctuations
from dmftsym.program.buffers import Role
from dmftsym.program.program import Program
from dmftsym.program.statements import Sketch

SKETCH_NOTES = (
    "The sweep that finds out in which directions the observables of the fluctuating averages scatter.",
    "",
    "Arguments as for `sweep`; path_generator: draws the random combinations. Returns by site the sum over time of",
    "`columns` random combinations of its observables, (columns, paths), and how the sweep ended.",
)
TANGENT_NOTES = (
    "The sweep with the first-order change of every active quantity, one column a direction.",
    "",
    "Arguments as for `sweep`; modes: by site, relative changes psi of the path weights, (columns, paths), under which",
    "an average <O> changes by <psi O> + <change of O>. Returns the changes, and how the sweep ended.",
)


PLAIN_NOTES = ("The sweep that computes the fluctuating averages and what they need, nothing else.",)
CHAIN_NOTES = (
    "Functions of given averages, and their first-order changes (and second-order means) from those of these.",
)
DIRECT_NOTES = ("The part of `tangent_sweep` that remains for modes under which nothing changes that feeds back.",)


def fluctuation_code(fluctuations: Fluctuations | None, writer: StatementWriter, sweeps: list[dict]) -> dict:
    """Add the sweeps of the fluctuations to `sweeps`, their kernels to the writer; return the keys of the template."""
    if fluctuations is None:
        return {"fluctuating": None}
    common = tuple(a for a in ARGUMENTS if a != "progress")
    changes = {quantity.name: changed.name for quantity, changed in fluctuations.covariances}
    following = {name: changes[name] for name in fluctuations.following}
    averages = {quantity.name: quantity.name for quantity, _ in fluctuations.averages}
    known = averages | {name: name for n in fluctuations.noise for name in n.reads}
    programs = fluctuations.programs
    sketches = {b.tensor.name: b.tensor.name for b in programs.sketch.sweep.buffers if b.role is Role.SKETCH}

    def add(program: Program, variant: str, arguments: tuple[str, ...], notes: tuple[str, ...], results: dict) -> None:
        results = results | {a.tensor.name: a.tensor.name for a in program.sweep.buffers if a.role is Role.EXCESS}
        printer = StatementWriter(program, writer.kernels, variant, writer.target)
        sweeps.append(sweep_code(program, printer, f"{variant}_sweep", arguments, notes, results))

    add(programs.sketch, "sketch", (*common, "path_generator"), SKETCH_NOTES, sketches)
    add(programs.tangent, "tangent", (*common, "modes"), TANGENT_NOTES, changes)
    if programs.direct:
        add(programs.direct, "direct", (*common, "modes"), DIRECT_NOTES, following)
    add(programs.plain, "plain", common, PLAIN_NOTES, known)
    add(programs.chain, "chain", ("values", "averages", "changes", "steps", "dt"), CHAIN_NOTES, changes)
    return {"fluctuating": {**_tables(fluctuations), **_memory(fluctuations), **_site_weights(fluctuations)}}


def _tables(fluctuations: Fluctuations) -> dict:
    rows = []
    for quantity, changed in fluctuations.covariances:
        axes = tuple(i.axis.name for i in quantity.indices)
        rows.append({"name": quantity.name, "axes": repr(axes), "column": changed.indices.index(fluctuations.column)})
    places = {quantity.name: changed.indices.index(fluctuations.column) for quantity, changed in fluctuations.averages}
    return {
        "covariances": rows,
        "averages": repr(places),
        "jumps": repr(fluctuations.jumps),
        "following": repr(fluctuations.following),
        "evolving": any(g.evolving for g in fluctuations.programs.tangent.sampling.groups),
    }


def _site_weights(fluctuations: Fluctuations) -> dict:
    program = fluctuations.programs.tangent
    formula = ArrayFormula(program.grid.now)
    sizes = ", ".join(f'"{site}": {formula.expression(nu, ())}' for site, nu in program.sampling.weights)
    return {"site_weights": f"{{{sizes}}}", "unpack_weights": unpack(values_of(program), [[sizes]])}


def _memory(fluctuations: Fluctuations) -> dict:
    """The numbers of entries of the averages, and of those that feed back."""

    def product(tensor: Tensor) -> str:
        return "*".join(size_code(i.axis) for i in tensor.indices) or "1"

    program = fluctuations.programs.tangent
    entries = [product(q) for q, _ in fluctuations.averages]
    sketched = {s.omega.name for s in fluctuations.programs.sketch.sweep.step if isinstance(s, Sketch) and s.feeds_back}
    closed = [product(q) for q, _ in fluctuations.averages if f"omega_{q.name}" in sketched]
    return {
        "entries": " + ".join(entries),
        "unpack_entries": unpack(values_of(program), [entries, closed]),
        "closed_entries": " + ".join(closed) or "0",
    }
