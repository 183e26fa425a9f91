"""The arrays of a sweep as one plan: the lines that allocate them and the estimates of memory are printed from it."""

from collections.abc import Iterable
from dataclasses import dataclass

from dmftsym.codegen.arrays import size_code
from dmftsym.codegen.grid import is_of_grid
from dmftsym.codegen.sources import group_size, times_size
from dmftsym.codegen.targets import Target
from dmftsym.program.axes import COLUMNS
from dmftsym.program.buffers import Role
from dmftsym.program.program import Program
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements import DrawVariation

# Arrays of the size of what a site has at one time, that a statement makes on its way to a result.
PASSING = 2


@dataclass(frozen=True)
class Stored:
    """An array that a sweep allocates: the lengths of its axes and what makes it, as source.

    `site`: whose sample paths are its last axis; `kept`: it has all times of a path, `history_of` the array at a step;
    `read`: somebody else made it; `cut`: of the directions of a tangent sweep, for it alone.
    """

    name: str
    shape: tuple[str, ...]
    made: str
    site: str = ""
    kept: bool = False
    read: bool = False
    cut: bool = False
    history_of: str = ""

    @property
    def line(self) -> str:
        """The assignment that allocates it."""
        return f"{self.name} = {self.made}"

    def numbers(self) -> str:
        """How many numbers it holds, for each sample path and for each column."""
        sizes = [s for s in self.shape if s not in (f"paths_{self.site}", COLUMNS.size)]
        return "*".join(f"({s})" if " + " in s and len(sizes) > 1 else s for s in sizes) or "1"

    @property
    def columns(self) -> bool:
        """Whether it has one entry for each column."""
        return COLUMNS.size in self.shape


def stored_arrays(program: Program, target: Target) -> tuple[Stored, ...]:
    """The arrays of a program in the order in which its sweep allocates them."""
    xp, arrays = target.xp, []
    for array in (a for a in program.sweep.buffers if not a.site and a.tensor.time_slots and not is_of_grid(a.role)):
        shape = tuple(size_code(i.axis) for i in array.tensor.indices)
        name = array.tensor.name
        made = f"{xp}.full({tuple_code(shape)}, {xp}.nan)"
        if array.role is Role.SHIFT:
            made = f'modes["{name}"]'
        elif array.given:
            made = f'averages["{name}"]' if array.of is None else f'changes["{array.of.name}"]'
        elif array.role is Role.CLOCK:
            made = f"{'dt*' if program.grid.continuous else ''}{xp}.arange(steps, dtype=float)"
        elif array.role is Role.IMPULSE:
            made = f"{xp}.eye(steps){'/dt' if program.grid.continuous else ''}"
        arrays.append(Stored(name, shape, made, read=array.given, cut=array.role is Role.SHIFT))
    for array in (a for a in program.sweep.buffers if a.site):
        name, paths = array.tensor.name, f"paths_{array.site}"
        shape = (*(size_code(i.axis) for i in array.tensor.indices if not i.is_time), paths)
        if array.given:
            arrays.append(Stored(name, shape, f'modes["{array.site}"]', array.site, read=True, cut=True))
        elif array.history:
            shape = ("steps", *shape)
            kept = target.zeros(tuple_code(shape), array.site, True)
            arrays.append(Stored(f"{name}_history", shape, kept, array.site, True, history_of=name))
        else:
            arrays.append(Stored(name, shape, target.zeros(tuple_code(shape), array.site), array.site))
    return tuple(arrays)


def stored_sources(program: Program, group: SourceGroup, target: Target) -> tuple[Stored, ...]:
    """The arrays with which a sweep draws an evolving group of sources."""
    if not group.evolving:
        return ()
    size = times_size("steps", f"size_{group.name}")
    arrays = [Stored(f"factor_{group.name}", (size, size), f"{target.xp}.zeros(({size}, {size}))")]
    if any(isinstance(s, DrawVariation) and s.group.name == group.name for s in program.sweep.step):
        columns = (COLUMNS.size, size, size)
        arrays.append(Stored(f"d_factor_{group.name}", columns, f"{target.xp}.zeros({tuple_code(columns)})"))
    if group.basis:
        shape = (size, f"paths_{group.basis}")
        made = target.zeros(tuple_code(shape), group.basis, True)
        arrays.append(Stored(f"basis_{group.name}", shape, made, group.basis, True))
    return tuple(arrays)


def tuple_code(items: Iterable[str]) -> str:
    """A tuple of the given source texts."""
    items = list(items)
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


# --- how much that is ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Amounts:
    """How many numbers a sweep holds, as source: sums of products of sizes.

    shared: whatever the paths and columns; per_path, per_column_and_path: by site; kept: what `per_path` has for all
    times.
    """

    sweep: str
    shared: str
    per_path: dict[str, str]
    per_column: str
    per_column_and_path: dict[str, str]
    kept: dict[str, str]

    def texts(self) -> list[str]:
        """All sources, to see which names they need."""
        return [self.shared, *self.per_path.values(), self.per_column, *self.per_column_and_path.values()]

    def code(self) -> str:
        """Source of a table entry: name of the sweep, and the four amounts."""
        parts = (self.shared, by_site(self.per_path), self.per_column, by_site(self.per_column_and_path))
        return f'"{self.sweep}": ({", ".join(parts)}),'


def amounts_of(sweep: str, program: Program, target: Target) -> Amounts:
    """What the sweep of a program holds beside its normals: arrays, draws, and what statements make on the way."""
    arrays = [a for a in stored_arrays(program, target) if not a.read or a.cut]
    for group in program.sampling.groups:
        size = group_size(group)
        sources = [replace_sizes(a, f"size_{group.name}", size) for a in stored_sources(program, group, target)]
        arrays += [*sources, Stored("drawn", (size, f"paths_{group.site}"), "", group.site)]
    for start in program.sampling.starts:
        shape = [size_code(i.axis) for i in start.field.indices if not i.is_time]
        arrays.append(Stored(f"{start.field}_start", (*shape, f"paths_{start.field.site}"), "", start.field.site))
    return amounts_of_arrays(sweep, arrays, program.sampling.sites)


def amounts_of_arrays(sweep: str, arrays: list[Stored], sites: tuple[str, ...]) -> Amounts:
    """The numbers of the given arrays, and of what the statements of a step make on the way."""
    plain = {site: [a for a in arrays if a.site == site and not a.columns] for site in sites}
    varied = {site: [a for a in arrays if a.site == site and a.columns] for site in sites}
    return Amounts(
        sweep,
        _sum(a.numbers() for a in arrays if not a.site and not a.columns),
        {site: _sum([*(a.numbers() for a in each), *_passing(each)]) for site, each in plain.items()},
        _sum(a.numbers() for a in arrays if not a.site and a.columns),
        {site: _sum([*(a.numbers() for a in each), *_passing(each)]) for site, each in varied.items()},
        {site: _sum(a.numbers() for a in each if a.kept) for site, each in plain.items()},
    )


def replace_sizes(array: Stored, name: str, size: str) -> Stored:
    """The same array with the size of its group written out."""
    exact = tuple(times_size("steps", size) if name in s else s for s in array.shape)
    return Stored(array.name, exact, array.made, array.site, array.kept, array.read)


def normals_per_path(program: Program, site: str) -> list[tuple[str, bool]]:
    """The standard normals of a path of a site: numbers of each group, and whether they are for all times."""
    found = [(group_size(g), False) for g in program.sampling.groups if g.site == site and g.static]
    for start in (s for s in program.sampling.starts if s.field.site == site):
        found.append(("*".join(size_code(i.axis) for i in start.field.indices if not i.is_time) or "1", False))
    moving = [g for g in program.sampling.groups if g.site == site and not g.static]
    return found + [(times_size("steps", group_size(g)), True) for g in moving]


def _passing(arrays: list[Stored]) -> list[str]:
    """What the statements of a step make on their way, a multiple of the largest array of one time."""
    sizes = list(dict.fromkeys(a.numbers() for a in arrays if not a.kept))
    if not sizes:
        return []
    return [f"{PASSING}*{sizes[0] if len(sizes) == 1 else 'max(' + ', '.join(sizes) + ')'}"]


def _sum(terms: Iterable[str]) -> str:
    """A sum with equal terms counted."""
    terms = list(terms)
    counted = {term: terms.count(term) for term in terms}
    times = lambda term, count: str(count) if term == "1" else term if count == 1 else times_size(str(count), term)
    return " + ".join(times(term, count) for term, count in counted.items()) or "0"


def by_site(texts: dict[str, str]) -> str:
    """Source of a table by site."""
    return "{" + ", ".join(f'"{site}": {text}' for site, text in texts.items()) + "}"
