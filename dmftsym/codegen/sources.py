"""Gaussian sources as source code: covariances, draws, and the first-order change of a draw."""

from dataclasses import replace

from dmftsym.codegen.arrays import ArrayFormula, size_code
from dmftsym.codegen.covariances import Covariances, length_of
from dmftsym.codegen.targets import Target
from dmftsym.derivation.process import Source
from dmftsym.language.symbols import Index
from dmftsym.lowering.schemes import BACK
from dmftsym.program.axes import COLUMNS
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements import Draw, DrawVariation


class SourceWriter:
    """Writes what draws the sources of a program at a step."""

    def __init__(self, now: Index, formula: ArrayFormula, target: Target, passes: int = 1):
        """With two `passes` a step a draw is repeated with the same normals; white noise is that of the step that the
        pass before began.
        """
        self.now, self.formula, self.target = now, formula, target
        self.covariances = Covariances(now, formula.arrays)
        self.twice, self.white_time = passes > 1, now.name if passes == 1 else BACK.name

    def covariance(self, group: SourceGroup, lead: tuple[Index, ...] = ()) -> str:
        """The covariance of a group at one time, or its rows against all times up to now, as one matrix.

        `lead` are indices in front: the columns, if the blocks hold first-order changes.
        """
        return self.formula.printer.text(self.covariances.matrix(group, lead))

    def draw(self, statement: Draw) -> list[str]:
        """The values of an evolving or white group of sources at this step."""
        group, now = statement.group, self.now.name
        if statement.part is not None:
            return self._draw_member(group, statement.part, statement.equation)
        name = group.name
        size = f"size_{name}"
        lines = [f"# {statement.equation}"]
        if group.evolving and self.twice:
            lines.append(f"factor_{name}[{now}*{size} :][:{size}] = 0.0")
        rows = f"factor_{name}[{now}*{size} :][:{size}, :rank_{name}]"
        drawn = f"drawn = {self.target.product(rows, f'normals_{name}[:rank_{name}]')}"
        if group.evolving:
            lines.append(f"row = {self.covariance(group)}")
            lines += self.target.extend_factor(name, now, self._rank_before(name, size), (name, "", True))
            rank = self.target.rank(name, now)
            lines += [] if rank == f"rank_{name}" else [f"rank_{name} = {rank}"]
            lines.append(drawn)
        else:
            lines += [
                f'factor_{name} = _square_root({self.covariance(group)}, "{statement.equation}")',
                f"drawn = {self.target.product(f'factor_{name}', f'normals_{name}[{self.white_time}]')}",
            ]
        return lines + self.members(group)

    def _rank_before(self, name: str, size: str, part: int = 0) -> tuple[str, str]:
        """The rank before a draw, which repeats that of the pass before, and how many directions it does not open."""
        if not self.twice:
            return f"rank_{name}", f"{size} - opened"
        before = f"rank_{name}" if part else f"ranks_{name}[{self.now.name}]"
        return before, f"({size} - opened)*({self.white_time} == {self.now.name})"

    def _draw_member(self, group: SourceGroup, part: int, equation: str) -> list[str]:
        """The values at this step of one source of an evolving group, given those drawn before it."""
        name, now, member = group.name, self.now.name, group.members[part]
        first = " + ".join(str(length_of(m)) for m in group.members[:part]) or "0"
        row = self.formula.printer.text(self.covariances.rows(group, member))
        last = part == len(group.members) - 1
        lines = [f"# {member.tensor[member.tensor.indices]}, one of several sources: {equation}", f"row = {row}"]
        begin = f"{now}*size_{name}" + (f" + {first}" if part else "")
        if self.twice:
            lines.append(f"factor_{name}[{begin} :][:{length_of(member)}] = 0.0")
        before = self._rank_before(name, str(length_of(member)), part)
        lines += self.target.extend_factor(name, now, before, (member.tensor.name, first, last))
        rank = self.target.rank(name, now)
        rows = f"factor_{name}[{begin} :][:{length_of(member)}, :{rank}]"
        lines.append(f"drawn = {self.target.product(rows, f'normals_{name}[:{rank}]')}")
        return lines + self.members(replace(group, members=(member,)))

    def draw_variation(self, statement: DrawVariation) -> list[str]:
        """The first-order change of a draw, in every column."""
        group, now = statement.group, self.now.name
        name = group.name
        terms = [t for b in statement.blocks for t in b.terms]
        column = next(i for t in terms for i in t.body.atoms(Index) if i.axis == COLUMNS)
        changed = self.covariance(replace(group, blocks=statement.blocks), (column,))
        lines = [f"# {statement.equation}", f"d_row = {changed}"]
        if group.evolving:
            columns = self.target.columns_of_factor(name)
            if self.twice:
                lines.append(f"d_factor_{name}[:, {now}*size_{name} :][:, :size_{name}] = 0.0")
            lines += [
                f"_vary_factor(factor_{name}, d_factor_{name}, {columns}, d_row, {now})",
                f"drawn = d_factor_{name}[:, {now}*size_{name} :][:, :size_{name}, :rank_{name}]"
                f" @ normals_{name}[:rank_{name}]",
            ]
        else:
            lines += [f"drawn = _varied_square_root(factor_{name}, d_row) @ normals_{name}[{self.white_time}]"]
        return lines + self.members(group, varied=True)

    def members(self, group: SourceGroup, varied: bool = False) -> list[str]:
        """Split the drawn values of a group (or, if `varied`, their changes) into its sources."""
        lines, start = [], ""
        for member in group.members:
            shape = ", ".join(size_code(i.axis) for i in member.tensor.indices if not i.is_time)
            stop = f"{start} + {length_of(member)}" if start else str(length_of(member))
            rows = f"{start}:{stop}"
            cut = "drawn" if len(group.members) == 1 else f"drawn[:, {rows}]" if varied else f"drawn[{rows}]"
            if varied:
                lines += self._varied_member(member, cut, shape)
            else:
                lines.append(f"{member.tensor.name} = {cut}.reshape({shape + ', ' if shape else ''}-1)")
            start = stop
        return lines

    def _varied_member(self, member: Source, cut: str, shape: str) -> list[str]:
        """The column axis moves behind the indices of the source."""
        spatial = shape.count(",") + 1 if shape else 0
        code = f"{cut}.reshape(columns, {shape + ', ' if shape else ''}-1)"
        return [
            f"d_{member.tensor.name}[...] = "
            + (f"{self.formula.xp}.moveaxis({code}, 0, {spatial})" if spatial else code)
        ]


def group_size(group: SourceGroup) -> str:
    """The number of jointly Gaussian values of a group at one time."""
    return str(length_of(*group.members))


def normals_of(group: SourceGroup, groups: tuple[SourceGroup, ...]) -> str:
    """Source of the standard normals of an evolving or white group: its own, or some of those of a larger one.

    Several of the `groups` of a program may take theirs from the same larger one: each takes others.
    """
    if not group.shares:
        return f'normals["{group.name}"]'
    before = [g for g in groups[: groups.index(group)] if g.shares == group.shares]
    first, size = " + ".join(map(group_size, before)), group_size(group)
    if group.white:
        return f'normals["{group.shares}"][:, {first + " :" if first else ":"}][:, : {size}]'
    return f'normals["{group.shares}"]' + (f"[{times_size('steps', first)} :]" if first else "")


def times_size(count: str, size: str) -> str:
    """Source of count times a size, without superfluous brackets."""
    if size == "1":
        return count
    return f"{count}*{size}" if size.isidentifier() else f"{count}*({size})"
