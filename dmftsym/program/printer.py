"""A program as text: arrays, sources and statements in order, in the user's symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sympy import Mul

from dmftsym.language.terms import as_expression
from dmftsym.program.sources import SourceGroup

if TYPE_CHECKING:
    from dmftsym.program.program import Program
    from dmftsym.program.statements import Statement


def program_text(program: Program) -> str:
    """A program, one statement a line, grouped by when it runs."""
    facts, sweep = program.facts, program.sweep
    lines = [f"program {facts.name}: {program.grid.scheme}, results {', '.join(t.name for t in facts.outputs)}"]
    lines.append("arrays")
    for buffer in sweep.buffers:
        shape = ", ".join(str(i) for i in buffer.tensor.indices)
        kept = ", all times kept" if buffer.history else ""
        paths = f", per sample path of {buffer.site}" if buffer.site else ""
        lines.append(f"  {buffer.tensor.name}[{shape}]: {buffer.role}{paths}{kept}")
    lines.append("sources")
    lines += [f"  {line}" for group in program.sampling.groups for line in _group_lines(group)]
    lines += [f"  {s.field}(0) ~ Normal(mean {s.mean}, variance {s.variance})" for s in program.sampling.starts]
    sections: tuple[tuple[str, tuple[Statement, ...]], ...] = (
        ("before the first step", sweep.constants),
        ("step", sweep.step),
        ("end of step", sweep.epilogue),
        ("after the last step", sweep.closing),
    )
    for title, statements in sections:
        if statements:
            lines.append(title)
            lines += [f"  {line}" for s in statements for line in s.text()]
    return "\n".join(lines)


def _group_lines(group: SourceGroup) -> list[str]:
    names = ", ".join(m.tensor.name for m in group.members)
    pairs = ", in pairs of opposite sign" if group.antithetic else ""
    lines = [f"{names}: {group.kind}{pairs}"]
    lines += [f"  <{b.left} {b.right}> = {as_expression(b.terms)}" for b in group.blocks]
    amplitudes = [f"  {m.tensor.name} times {m.amplitude}" for m in group.members if m.amplitude != Mul()]
    return lines + amplitudes
