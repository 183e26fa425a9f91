"""Gaussian sources as source code: covariances, draws, and the first-order change of a draw."""

from dataclasses import replace

from dmftsym.codegen.arrays import ArrayFormula
from dmftsym.codegen.covariances import Covariances
from dmftsym.codegen.targets import Target
from dmftsym.derivation.process import Source
from dmftsym.language.symbols import Index
from dmftsym.lowering.schemes import BACK
from dmftsym.program.axes import COLUMNS, PARTS, length_of
from dmftsym.program.sources import SourceGroup, size_of, times_size
from dmftsym.program.statements import Draw, DrawVariation


class SourceWriter:
    """Writes what draws the sources of a program at a step."""

    def __init__(
        self, now: Index, formula: ArrayFormula, target: Target, passes: int = 1, lead: tuple[Index, ...] = ()
    ):
        """With two `passes` a step, white noise is that of the step that the pass before began.

        `lead`: the index of the parts of the paths, if covariances differ between them.
        """
        self.lead = lead
        self.now, self.formula, self.target = now, formula, target
        self.covariances = Covariances(now, formula.arrays)
        self.white_time = now.name if passes == 1 else BACK.name

    def covariance(self, group: SourceGroup, lead: tuple[Index, ...] = (), flat: bool = True) -> str:
        """The covariance of a group at one time, or its rows against all times up to now, as one matrix if `flat`.

        `lead` are indices in front: the columns, if the blocks hold first-order changes.
        """
        return self.formula.printer.text(self.covariances.matrix(group, lead, flat))

    def draw(self, statement: Draw) -> list[str]:
        """The values of an evolving or white group of sources at this step."""
        group, now, name = statement.group, self.now.name, statement.group.name
        lines = [f"# {statement.equation}"]
        if statement.part is not None:
            return self._draw_member(group, statement.part, statement.equation)
        if group.evolving:
            return lines + self.members(group, f"noise_{name}.draw({self.covariance(group, self.lead, False)}, {now})")
        factor, normals = f"factor_{name}", f"normals_{name}[{self.white_time}]"
        lines.append(f'{factor} = _square_root({self.covariance(group, self.lead)}, "{statement.equation}")')
        if self.lead:
            return lines + self.members(group, f'_einsum_of_parts("aij,jp->ip", {PARTS.size}, {factor}, {normals})')
        return lines + self.members(group, self.target.grouped(self.target.product(factor, normals)))

    def _draw_member(self, group: SourceGroup, part: int, equation: str) -> list[str]:
        """The values at this step of one source of an evolving group, given those drawn before it."""
        member = group.members[part]
        first = " + ".join(size_of(m) for m in group.members[:part]) or "0"
        row = self.formula.printer.text(self.covariances.rows(group, member, self.lead))
        drawn = f'noise_{group.name}.draw({row}, {self.now.name}, {first}, "{member.tensor.name}")'
        head = f"# {member.tensor[member.tensor.indices]}, one of several sources: {equation}"
        return [head, *self.members(replace(group, members=(member,)), drawn)]

    def draw_variation(self, statement: DrawVariation) -> list[str]:
        """The first-order change of a draw, in every column."""
        group, now, name = statement.group, self.now.name, statement.group.name
        terms = [t for b in statement.blocks for t in b.terms]
        column = next(i for t in terms for i in t.body.atoms(Index) if i.axis == COLUMNS)
        changed = self.covariance(replace(group, blocks=statement.blocks), (column,), flat=not group.evolving)
        if group.evolving:
            drawn = f"noise_{name}.vary({changed}, {now})"
        else:
            drawn = f"(_varied_square_root(factor_{name}, {changed}) @ normals_{name}[{self.white_time}])"
        return [f"# {statement.equation}", *self.members(group, drawn, varied=True)]

    def members(self, group: SourceGroup, drawn: str, varied: bool = False) -> list[str]:
        """Split the drawn values of a group (or, if `varied`, their changes) into its sources."""
        lines, start = ([] if len(group.members) == 1 else [f"drawn = {drawn}"]), ""
        for member in group.members:
            shape = ", ".join(length_of(i.axis) for i in member.tensor.indices if not i.is_time)
            stop = f"{start} + {size_of(member)}" if start else size_of(member)
            rows = f"{start}:{stop}"
            cut = drawn if len(group.members) == 1 else f"drawn[:, {rows}]" if varied else f"drawn[{rows}]"
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


def normals_of(group: SourceGroup, groups: tuple[SourceGroup, ...]) -> str:
    """Source of the standard normals of an evolving or white group: its own, or some of those of a larger one.

    Several of the `groups` of a program may take theirs from the same larger one: each takes others.
    """
    if not group.shares:
        return f'normals["{group.name}"]'
    before = [g for g in groups[: groups.index(group)] if g.shares == group.shares]
    first, size = " + ".join(g.size for g in before), group.size
    if group.white:
        return f'normals["{group.shares}"][:, {first + " :" if first else ":"}][:, : {size}]'
    return f'normals["{group.shares}"]' + (f"[{times_size('steps', first)} :]" if first else "")
