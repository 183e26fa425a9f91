"""The intermediate representation as text: arrays, sources and statements in order, in the user's symbols."""

from sympy import Mul

from dmftsym.language.terms import as_expression
from dmftsym.lowering.ir import (
    AdjointBasis,
    AdjointDraw,
    AdjointRecall,
    Assign,
    Contract,
    Draw,
    DrawVariation,
    Evaluate,
    ExtendBasis,
    Fluctuations,
    Influence,
    Influences,
    Kernel,
    Piece,
    Program,
    RecallMemory,
    Sketch,
    SourceGroup,
    Statement,
    TangentKernel,
)


def program_text(program: Program) -> str:
    """A program, one statement a line, grouped by when it runs."""
    lines = [f"program {program.name}: {program.scheme}, results {', '.join(t.name for t in program.outputs)}"]
    lines.append("arrays")
    for array in program.arrays:
        shape = ", ".join(str(i) for i in array.tensor.indices)
        kept = ", all times kept" if array.history else ""
        paths = f", per sample path of {array.site}" if array.site else ""
        lines.append(f"  {array.tensor.name}[{shape}]: {array.role}{paths}{kept}")
    lines.append("sources")
    lines += [f"  {line}" for group in program.groups for line in _group_lines(group)]
    lines += [f"  {s.field}(0) ~ Normal(mean {s.mean}, variance {s.variance})" for s in program.starts]
    sections = (("before the first step", program.constants), ("step", program.step), ("end of step", program.epilogue))
    for title, statements in sections:
        if statements:
            lines.append(title)
            lines += [f"  {line}" for s in statements for line in statement_lines(s)]
    return "\n".join(lines)


def fluctuation_text(fluctuations: Fluctuations | Influences) -> str:
    """The programs that give the covariances: what is sketched and the first-order changes, or the sweep backward."""
    if isinstance(fluctuations, Influences):
        lines = [f"covariances of {', '.join(q.name for q in fluctuations.covariances)}, by a sweep backward in time"]
        for a, b in fluctuations.duals:
            square = f"{a.name} stands for one square random matrix, J_ij and J_ji correlated"
            lines.append(square if a == b else f"{a.name} and {b.name} stand for one random matrix")
        lines += [f"what jumps, which the sweep does not see: {', '.join(fluctuations.jumps)}"] * bool(
            fluctuations.jumps
        )
        return "\n".join([*lines, "backward " + program_text(fluctuations.adjoint)])
    parts = {"sketch": fluctuations.sketch, "tangent": fluctuations.tangent, "direct": fluctuations.direct}
    lines = [f"covariances of {', '.join(q.name for q, _ in fluctuations.covariances)}"]
    if fluctuations.jumps:
        lines.append(
            f"updates that jump, differences of whole sweeps instead of tangents: {'; '.join(fluctuations.jumps)}"
        )
    lines += [f"{name} {program_text(program)}" for name, program in parts.items() if program]
    return "\n\n".join(lines)


def statement_lines(statement: Statement) -> list[str]:
    """One statement as lines of text."""
    match statement:
        case Kernel():
            updates = [
                f"  {a.target} = {a.expression}{' (after its start)' if a.starts else ''}"
                for a in statement.assignments
            ]
            return [f"for every path of {statement.site} ({statement.name}):", *updates]
        case Contract():
            sign = "+=" if statement.accumulate else "="
            parts = [_piece_text(p, statement.averaged) for p in statement.pieces]
            parts += [str(as_expression(statement.explicit))] if statement.explicit else []
            mirrored = "  (and its mirror image)" if statement.mirror else ""
            return [f"{statement.target} {sign} {' + '.join(parts) or '0'}{mirrored}"]
        case Evaluate():
            after = " (after its start)" if statement.starts else ""
            sign = "+=" if statement.accumulate else "="
            return [f"{statement.target} {sign} {as_expression(statement.terms)}{after}"]
        case ExtendBasis():
            values = ", ".join(map(str, statement.values))
            return [f"basis of {statement.group.name} on the paths of {statement.site}: {values} = L e"]
        case RecallMemory():
            reach = "up to now" if statement.instant else "before"
            front = "" if statement.coefficient == 1 else f"{statement.coefficient} * "
            normals = f"normals of {statement.group.name} {reach}"
            return [f"{statement.target} = {front}sum <{statement.observable} n> e over the {normals}"]
        case Draw():
            return [f"draw {', '.join(str(m.tensor[m.tensor.indices]) for m in statement.group.members)}"]
        case DrawVariation():
            return [f"change of the draw: {statement.equation}"]
        case TangentKernel():
            updates = [f"  {line}" for u in statement.updates for line in statement_lines(u)]
            return [f"for every column and path of {statement.site} ({statement.name}):", *updates]
        case Assign():
            return [f"{statement.target} = {statement.expression}"]
        case Sketch():
            return [f"{statement.target} += {statement.equation}"]
        case Influence():
            return [f"{statement.target} += {_piece_text(statement.piece, False)}  ({statement.equation})"]
        case AdjointRecall() | AdjointBasis() | AdjointDraw():
            return [statement.equation]
    raise TypeError(f"unknown statement {statement!r}")


def _piece_text(piece: Piece, averaged: bool) -> str:
    inside = " ".join(str(o) for o in piece.operands)
    front = piece.scalar * piece.coefficient
    front_text = "" if front == 1 else f"{front} * "
    limits = "".join(f" [{c}]" for c in piece.constraints)
    return f"{front_text}{f'<{inside}>' if averaged else f'sum {inside}'}{limits}"


def _group_lines(group: SourceGroup) -> list[str]:
    names = ", ".join(m.tensor.name for m in group.members)
    pairs = ", in pairs of opposite sign" if group.antithetic else ""
    lines = [f"{names}: {group.kind}{pairs}"]
    lines += [f"  <{b.left} {b.right}> = {as_expression(b.terms)}" for b in group.blocks]
    amplitudes = [f"  {m.tensor.name} times {m.amplitude}" for m in group.members if m.amplitude != Mul()]
    return lines + amplitudes
