"""The sweep backward in time through random matrices, as source code."""

from dmftsym.codegen.matrices import MatrixWriter, one_of
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import entries_of
from dmftsym.program.axes import COLUMNS
from dmftsym.program.program import Program
from dmftsym.program.statements import AdjointDecay, AdjointLearning, AdjointProduct


def adjoint_matrices(program: Program) -> list[str]:
    """The lines that make the adjoints of the matrices of a sweep."""
    lines = []
    for matrix in dict.fromkeys(d.matrix for d in program.sampling.directions):
        kind = "FamilyAdjoint" if matrix.family else "MatrixAdjoint"
        sides = f"influence_{matrix.rows}, influence_{matrix.columns}"
        lines.append(f'adjoint_{matrix.name} = {kind}(recorded["{matrix.name}"], columns, {sides}, last)')
    return lines


def adjoint_lines(
    statement: AdjointProduct | AdjointLearning | AdjointDecay, writer: MatrixWriter, program: Program
) -> list[str]:
    """The lines of one statement."""
    match statement:
        case AdjointProduct():
            return _product(statement, writer)
        case AdjointLearning():
            return _learning(statement, writer, program)
    decay = writer.formula.expression(statement.matrix.decay, ())
    return [f"adjoint_{statement.matrix.name}.pull_decay({decay})  # {statement.equation}"]


def _product(statement: AdjointProduct, writer: MatrixWriter) -> list[str]:
    """One pull: the axes of the query that the target has beside its own are summed over."""
    product = statement.product
    column = next(i for i in statement.target.indices if isinstance(i, Index) and i.axis == COLUMNS)
    adjoint = writer.rows(statement.target, (*product.places, column))
    code = f"adjoint_{one_of(product.matrix, product.member)}.pull({adjoint})"
    if statement.query is None:
        return [f"{code}  # {statement.equation}"]
    return [f"{_adding(statement.query, (*product.places, column), code, writer)}  # {statement.equation}"]


def _adding(target: Entry, axes: tuple[Index, ...], code: str, writer: MatrixWriter) -> str:
    """What adds an array with the given axes, and the paths last, to an adjoint: summed over those that it lacks."""
    own = [i for i in target.indices if isinstance(i, Index) and not i.is_time]
    lacking = tuple(k for k, i in enumerate(axes) if i not in own)
    if lacking:
        code += f".sum(axis={lacking[0] if len(lacking) == 1 else lacking})"
    kept = [i for i in axes if i in own]
    if kept != own:
        order = [kept.index(i) for i in own]
        code += f".transpose({', '.join(map(str, [*order, len(own)]))})"
    return f"{writer.printer.text(writer.pieces.operand(target))} += {code}"


def _learning(statement: AdjointLearning, writer: MatrixWriter, program: Program) -> list[str]:
    """The adjoint of the rates, and of sides that were no queries of the step: the others wait for these."""
    part, name = statement.part, f"adjoint_{one_of(statement.matrix, statement.part.member)}"
    products = [s.product for s in program.sweep.step if isinstance(s, AdjointProduct)]
    asked = [(p.transposed, writer.rows(p.query, p.places)) for p in products if p.matrix == statement.matrix]
    column, more, names = statement.target.indices[-1], [], []
    for entry, side, transposed in ((statement.left, part.left, True), (statement.right, part.right, False)):
        rows = part.rows(part.left) if part.paired else part.rows(side)
        if entry is None or (transposed, writer.rows(side, (*part.members, *rows))) in asked:
            names.append("_")
            continue
        names.append("of_left" if transposed else "of_right")
        more.append(_adding(entry, (*part.members, *rows, column), names[-1], writer))
    bodies = (body for s in program.sweep.step for body, _ in s.reads(program.grid.now))
    read = any(e.tensor == statement.target.tensor for body in bodies for e in entries_of(body))
    first = f"{statement.target.tensor.name if read else '_'}, {', '.join(names)} = {name}.pull_learn()"
    if names == ["_", "_"] and not read:
        first = f"{name}.pull_learn()"
    return [f"# {statement.equation}", first, *more]
