"""The storage plan of a program as text: what makes each array, and how much memory all take."""

from collections.abc import Iterable
from dataclasses import dataclass

from dmftsym.codegen.matrices import count_of
from dmftsym.codegen.targets import Target
from dmftsym.program.axes import length_of
from dmftsym.program.buffers import Role
from dmftsym.program.program import Program
from dmftsym.program.sources import SourceGroup, times_size
from dmftsym.program.storage import (
    Stored,
    at_most,
    storage_of,
    storage_of_adjoint_noise,
    storage_of_draws,
    storage_of_fresh,
    storage_of_matrices,
    storage_of_noise,
)

# Arrays of the size of what a site has at one time, that a statement makes on its way to a result.
PASSING = 2


def made(array: Stored, target: Target, continuous: bool) -> str:
    """Source of what makes an array: zeros, NaN for quantities that wait for their step, or what the caller gives."""
    xp, shape = target.xp, tuple_code(array.shape)
    match array.role:
        case Role.MODE:
            return f'modes["{array.site}"]'
        case Role.SHIFT:
            return f'modes["{array.name}"]'
        case Role.GIVEN:
            return f'changes["{array.of}"]' if array.of else f'averages["{array.name}"]'
        case Role.CLOCK:
            return f"{'dt*' if continuous else ''}{xp}.arange(steps, dtype=float)"
        case Role.IMPULSE:
            return f"{xp}.eye(steps){'/dt' if continuous else ''}"
    if array.backward:
        return f"{xp}.zeros({shape})"
    if array.site:
        return target.zeros(shape, array.site, array.kept)
    return f"{xp}.zeros({shape})" if array.role is Role.NOISE else f"{xp}.full({shape}, {xp}.nan)"


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


def amounts_of(sweep: str, program: Program) -> Amounts:
    """What the sweep of a program holds beside its normals: arrays, draws, and what statements make on the way."""
    arrays = [a for a in storage_of(program) if a.role is not Role.GIVEN]
    arrays += [a for g in program.sampling.groups if g.evolving for a in storage_of_noise(program, g)]
    more = (*storage_of_draws(program), *storage_of_matrices(program))
    return _amounts(sweep, [*arrays, *more], program.sampling.sites)


def adjoint_amounts(sweep: str, program: Program, duals: Iterable[tuple[SourceGroup, SourceGroup]]) -> Amounts:
    """What a sweep backward in time holds beside what was recorded; pairs of paths of closed sites are not among it."""
    arrays = [a for a in storage_of(program) if a.role is not Role.GIVEN]
    arrays += [a for g in program.sampling.groups if g.evolving for a in storage_of_adjoint_noise(program, g)]
    arrays += [*(storage_of_fresh(*pair) for pair in duals), *storage_of_matrices(program, backward=True)]
    return _amounts(sweep, [at_most(a, program.sampling.groups) for a in arrays], program.sampling.sites)


def _amounts(sweep: str, arrays: list[Stored], sites: tuple[str, ...]) -> Amounts:
    """The numbers of the given arrays, and of what the statements of a step make on the way."""
    plain = {site: [a for a in arrays if a.site == site and not a.columns] for site in sites}
    varied = {site: [a for a in arrays if a.site == site and a.columns] for site in sites}
    return Amounts(
        sweep,
        _sum(a.numbers() for a in arrays if not a.site and not a.columns),
        {site: _sum([*(a.numbers() for a in each), *_passing(each)]) for site, each in plain.items()},
        _sum(a.numbers() for a in arrays if not a.site and a.columns),
        {site: _sum([*(a.numbers() for a in each), *_passing(each)]) for site, each in varied.items()},
        {site: _sum(a.numbers() for a in each if a.kept and a.role is not Role.MATRIX) for site, each in plain.items()},
    )


def normals_per_path(program: Program, site: str) -> list[tuple[str, bool]]:
    """The standard normals of a path of a site: numbers of each group, and whether they are for all times."""
    found = [(g.size, False) for g in program.sampling.groups if g.site == site and g.static]
    for start in (s for s in program.sampling.starts if s.field.site == site):
        found.append(("*".join(length_of(i.axis) for i in start.field.indices if not i.is_time) or "1", False))
    moving = [g for g in program.sampling.groups if g.site == site and not g.static]
    found += [(times_size("steps", g.size), True) for g in moving]
    return found + [(count_of(d, program), True) for d in program.sampling.directions if d.site == site]


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
