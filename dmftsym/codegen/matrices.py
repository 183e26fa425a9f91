"""Random matrices as source code: what makes them before the first step, their products, and what they learn."""

from dataclasses import replace
from itertools import takewhile

from sympy import Expr

from dmftsym.codegen.array_printer import ArrayPrinter
from dmftsym.codegen.arrays import ArrayFormula
from dmftsym.codegen.kernels import wrapped
from dmftsym.codegen.pieces import Pieces
from dmftsym.codegen.tree import lined_up, path_index
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Term
from dmftsym.program.axes import COLUMNS, PARTS, length_of
from dmftsym.program.matrices import Directions, HeldMatrix, LearnedPart
from dmftsym.program.program import Program
from dmftsym.program.statements import Learning, LearningChange, MatrixChange, MatrixProduct


class MatrixWriter:
    """Writes what random matrices do at a step."""

    def __init__(self, formula: ArrayFormula, pieces: Pieces):
        self.formula, self.pieces, self.printer = formula, pieces, formula.printer

    def given(self, statement: MatrixProduct | MatrixChange, stored: bool) -> list[str]:
        """The line that gives the target of a product, or its change, its values; `stored`: in one of the state."""
        if isinstance(statement, MatrixChange):
            return self.change(statement, stored)
        return self.product(statement, stored)

    def learned(self, statement: Learning | LearningChange) -> list[str]:
        """The lines with which a matrix, or its change, decays and learns."""
        if isinstance(statement, LearningChange):
            return self.learning_change(statement)
        return self.learning(statement)

    def product(self, statement: MatrixProduct, stored: bool) -> list[str]:
        """The line that gives the target its values; `stored`: whether it is an array of the state."""
        values = self.rows(statement.query, statement.places)
        act = "backward" if statement.transposed else "forward"
        code = f"{one_of(statement.matrix, statement.member)}.{act}({values})"
        return self._answer(statement, code, statement.places, stored)

    def _answer(
        self, statement: MatrixProduct | MatrixChange, code: str, axes: tuple[Index, ...], stored: bool
    ) -> list[str]:
        """The line that gives a target what a call returns with the given axes, and the paths."""
        target = statement.target
        own = tuple(i for i in target.indices if isinstance(i, Index) and not i.is_time)
        if own != axes:
            code += f".transpose({', '.join(map(str, [*map(axes.index, own), len(own)]))})"
        return [f"{target.tensor.name}{'[...]' if stored else ''} = {code}  # {statement.equation}"]

    def learning(self, statement: Learning) -> list[str]:
        """The lines with which a matrix decays and learns."""
        matrix, decay = statement.matrix, statement.matrix.decay
        lines = [f"# {statement.equation}"] * bool(statement.learned)
        if decay != 1:
            lines.append(f"{matrix.name}.decay({self.formula.expression(decay, ())})")
        return lines + [line for part in statement.learned for line in self._learn(matrix, part)]

    def _learn(self, matrix: HeldMatrix, part: LearnedPart) -> list[str]:
        lead, rows = part.members, part.rows(part.left)
        left = self.rows(part.left, (*lead, *rows))
        right = self.rows(part.right, (*lead, *(rows if part.paired else part.rows(part.right))))
        rate = _summed(part.rate * part.deltas, (*self.pieces.parts, *part.axes), self.formula.now)
        code = self.formula.sum_of_terms((rate,), (*self.pieces.parts, *part.axes))
        items = (code, left, f"{right}{'' if part.paired else ', outer=True'}")
        return wrapped(f"{one_of(matrix, part.member)}.learn(", items, ")")

    def change(self, statement: MatrixChange, stored: bool) -> list[str]:
        """The line that gives the change of a product its values, in a sweep with the changes of recorded matrices."""
        product, target = statement.product, statement.target
        column = next(i for i in target.indices if isinstance(i, Index) and i.axis == COLUMNS)
        axes = (*product.places, column)
        if statement.query is None:
            lengths = ", ".join([*(length_of(i.axis) for i in axes), f"len(weight_{product.query.tensor.site})"])
            values = f"{self.printer.xp}.zeros(({lengths}))"
        else:
            values = self.rows(statement.query, axes)
        code = f"change_{one_of(product.matrix, product.member)}.push({values})"
        return self._answer(statement, code, axes, stored)

    def learning_change(self, statement: LearningChange) -> list[str]:
        """The lines with which the change of a matrix decays and learns."""
        matrix, decay = statement.matrix, statement.matrix.decay
        lines = [f"# {statement.equation}"] * bool(statement.changes)
        if decay != 1:
            lines.append(f"change_{matrix.name}.push_decay({self.formula.expression(decay, ())})")
        for each in statement.changes:
            part, rows = each.part, each.part.rows(each.part.left)
            bodies = [*(t.body for t in each.rates), *(e for e in (each.left, each.right) if e is not None)]
            columns = [i for body in bodies for i in body.atoms(Index) if i.axis == COLUMNS][:1]
            axes = (*part.axes, *columns)
            rates = tuple(
                replace(t, bound=(*t.bound, *(i for i in _summed(t.body, axes, self.formula.now).bound)))
                for t in each.rates
            )
            items = [self.formula.sum_of_terms(rates, axes) if rates else "None"]
            for entry, own in ((each.left, rows), (each.right, rows if part.paired else part.rows(part.right))):
                items.append("None" if entry is None else self.rows(entry, (*part.members, *own, *columns)))
            lines += wrapped(f"change_{one_of(matrix, part.member)}.push_learn(", tuple(items), ")")
        return lines

    def rows(self, entry: Entry, axes: tuple[Index, ...]) -> str:
        """Source of a site array with the given axes before that of the paths, those in front too that it lacks."""
        operand = self.pieces.operand(entry)
        code = self.printer.text(lined_up(operand, (*axes, path_index(entry.tensor.site))))
        lacking = list(takewhile(lambda i: i not in operand.indices, axes))
        return f"{code}[{', '.join('None' for _ in lacking)}]" if lacking else code


def _summed(rate: Expr, axes: tuple[Index, ...], now: Index) -> Term:
    """A rate with the given axes, summed over its other indices."""
    bound = tuple(sorted(rate.atoms(Index) - {now, *axes}, key=lambda i: i.name))
    return Term(rate, bound)


def one_of(matrix: HeldMatrix, member: tuple[Expr, ...]) -> str:
    """A matrix, or one of a family that is named by numbers; a family acts on the leading axes of its values."""
    numbers = [str(i) for i in member if not isinstance(i, Index)]
    return f"{matrix.name}[{', '.join(numbers)}]" if numbers else matrix.name


def change_lines(program: Program) -> list[str]:
    """The lines that make the changes of the matrices of a recorded sweep."""
    lines = []
    for matrix in dict.fromkeys(d.matrix for d in program.sampling.directions):
        kind = "FamilyTangent" if matrix.family else "MatrixTangent"
        lines.append(f'change_{matrix.name} = {kind}(recorded["{matrix.name}"], columns)')
    return lines


def matrix_lines(matrix: HeldMatrix, program: Program, formula: ArrayFormula, recording: bool) -> list[str]:
    """The lines that make a matrix before the first step."""
    sizes = dict(program.sampling.weights)
    drawn = {d.transposed: d for d in program.sampling.directions if d.matrix == matrix}
    learning = [s for s in program.sweep.epilogue if isinstance(s, Learning) and s.matrix == matrix]
    queries = sum(isinstance(s, MatrixProduct) and s.matrix == matrix for s in program.sweep.step)
    normals = {t: _normals(drawn.get(t), matrix.side(not t), formula.printer) for t in (False, True)}
    one = lambda site, t: f"({formula.expression(sizes[site], ())}, weight_{site}, {normals[t]})"
    numbers = [formula.expression(e, ()) for e in (matrix.mean, matrix.variance, matrix.symmetry)]
    arguments = [one(matrix.rows, False), one(matrix.columns, True), *numbers, 'values.get("(tolerance)")']
    if any(s.learned for s in learning):
        arguments.append(str(queries))
    if recording:
        arguments.append("recording=True")
    if program.sampling.parts is not None:
        arguments.append(f"{PARTS.size}={PARTS.size}")
    if matrix.family:
        lengths = ", ".join(length_of(i.axis) for i in matrix.family)
        arguments.append(f"family=({lengths},)")
    kind = "MatrixFamily" if matrix.family else "RandomMatrix"
    return wrapped(f"{matrix.name} = {kind}(", tuple(arguments), ")")


def _normals(directions: Directions | None, site: str, printer: ArrayPrinter) -> str:
    if directions is None:
        return f"{printer.xp}.zeros((0, paths_{site}))"
    return f'normals["{directions.name}"]'


def count_of(directions: Directions, program: Program) -> str:
    """Source of how many directions have normals that are drawn before a sweep; later ones are drawn when they open.

    On a site that is closed exactly, where every normal is a path, none can be drawn later.
    """
    closed = not dict(program.sampling.closure)[directions.site]
    lengths = [length_of(i.axis) for i in directions.matrix.family]
    return "*".join([*lengths, "EXACT_DIRECTIONS" if closed else "DIRECTIONS"])


def drawn_directions(program: Program, site: str) -> tuple[list[str], list[str]]:
    """Lines that hand the normals of a site out to the images of matrices there, and lines with their signs."""
    handed, signs = [], []
    for directions in (d for d in program.sampling.directions if d.site == site):
        count, sign = count_of(directions, program), -1.0 if directions.antithetic else 1.0
        cut = f"moving[path_later : path_later + {count}]"
        handed.append(f'normals["{directions.name}"], path_later = {cut}, path_later + {count}')
        signs += [f'if site == "{site}":', f"    signs.append(np.full({count}, {sign}))"]
    return handed, signs
