"""The changes of random matrices of the interpreter in plain NumPy, beside a run that is over (theory 6.9)."""

import numpy as np

from dmftsym.language.symbols import Index
from dmftsym.program.axes import COLUMNS
from dmftsym.program.matrix_states import Matrices, NumpyMatrix, Query
from dmftsym.program.statements.matrices import ChangedPart, LearningChange, MatrixChange
from dmftsym.program.values import Values

RIDGE = 1e-3  # of the regression of memories on values that were asked before


class NumpyChange:
    """What changes of the values do to what one matrix gave, query by query; arrays are (rows, columns, paths)."""

    def __init__(self, matrix: NumpyMatrix, columns: int):
        self.matrix, self.columns = matrix, columns
        self.queries, self.lessons = iter(matrix.queries), iter(matrix.lessons)
        size = len(matrix.core)
        self.core = np.zeros((columns, size, size))  # the change of what was learned
        self.moved: dict[int, np.ndarray] = {}  # changes of coefficients, by query
        self.outside: list[tuple[Query, np.ndarray]] = []  # of earlier queries, the changes outside all known functions

    def push(self, change: np.ndarray) -> np.ndarray:
        """From the change of the values of the next query to that of the answer."""
        query, matrix = next(self.queries), self.matrix
        here, there = matrix.sides(query.transposed)
        asked = (change * here.weights) @ here.functions.T
        self.moved[id(query)] = asked[..., here.asked] / here.size
        rank, core = query.sums.shape[1], np.zeros(matrix.core.shape)
        core[:rank, :rank] = query.core
        for side in (matrix.rows, matrix.columns):
            for k in (k for k in side.asked if k >= rank):
                core[k, k] = query.scale / side.size
        turned = (lambda array: array) if query.transposed else (lambda array: array.swapaxes(-1, -2))
        given = asked @ turned(core)
        given[..., :rank] += np.einsum("mk,qkj->mqj", query.sums, turned(self.core[:, :rank, :rank]))
        answer = given @ there.functions
        memory = query.given[:, [k for k in there.asked if k < rank]]
        if matrix.symmetry:
            memory = self._correlated(query, change, answer)
        side = here if matrix.symmetry else there
        if matrix.symmetry or len({q.transposed for q in matrix.queries}) == 2:
            earlier = [(q, rest) for q, rest in self.outside if matrix.sides(q.transposed)[0] is side]
            answer += self._recalled(memory, earlier)
        functions = here.functions[here.asked]
        self.outside.append((query, change - asked[..., here.asked] @ functions / here.size))
        return answer

    def _recalled(self, memory: np.ndarray, earlier: list[tuple[Query, np.ndarray]]) -> np.ndarray | float:
        """A memory of known functions, taken as one of what was asked before: by ridge regression."""
        count, found = memory.shape[1], []
        for query, rest in earlier:
            c = self.matrix.coefficients(query) * self.matrix.sides(query.transposed)[0].size
            length = np.linalg.norm(c, axis=1, keepdims=True) + 1e-150
            padded = np.pad(c, ((0, 0), (0, count - c.shape[1])))
            found.append((padded / length, padded * (self.matrix.sides(query.transposed)[0].size / length**2), rest))
        if not found or not count:
            return 0.0
        units, scaled, rest = (np.concatenate([each[k] for each in found]) for k in range(3))
        shares = np.linalg.solve(units.T @ units + RIDGE * np.eye(count), memory.T)
        return np.einsum("pm,pqi->mqi", scaled @ shares, rest)

    def _correlated(self, query: Query, change: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """What correlated entries add: fresh parts of images meet what changes. Returns the memory."""
        matrix, side, rho = self.matrix, self.matrix.columns, self.matrix.symmetry
        e, weights = side.functions[side.asked], side.weights / side.size
        images = matrix.rows.functions[side.asked]
        overlaps = np.triu((images * weights) @ e.T, 1)
        noise = images - rho * overlaps.T @ e
        response = noise - (noise * weights) @ e.T @ e
        answer += query.scale * rho * (change * weights) @ response.T @ e
        known = query.opened
        return rho * query.scale * matrix.coefficients(query) @ overlaps[:known, :known].T

    def learn(self, rates: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
        """What changes of the rates (rows, rows, columns) and of the two sides do to what is learned."""
        lesson, matrix = next(self.lessons), self.matrix
        for query, change in ((lesson.left, left), (lesson.right, right)):
            if query in lesson.asked:
                self.push(change)
        b, c = matrix.coefficients(lesson.left), matrix.coefficients(lesson.right)
        db, dc = self.moved[id(lesson.left)], self.moved[id(lesson.right)]
        d, e = matrix.rows.asked, matrix.columns.asked
        add = lambda rows, columns, change: np.add.at(self.core, np.ix_(range(self.columns), rows, columns), change)
        add(d[: b.shape[1]], e, np.einsum("ab,aj,bqk->qjk", lesson.rates, b, dc))
        add(d, e[: c.shape[1]], np.einsum("ab,aqj,bk->qjk", lesson.rates, db, c))
        add(d[: b.shape[1]], e[: c.shape[1]], np.einsum("abq,aj,bk->qjk", rates, b, c))


class MatrixChanges:
    """The changes of the random matrices of a sweep that was run before; each member of a family by itself."""

    def __init__(self, state: Values, recorded: Matrices):
        self.state, self.recorded = state, recorded
        self.columns = state.length(Index("column", COLUMNS))
        self.known: dict[tuple, NumpyChange] = {}

    def change(self, statement: MatrixChange) -> np.ndarray:
        """The values of the target of a change at this step."""
        state, product, target = self.state, statement.product, statement.target
        axes = (*product.places, next(i for i in target.indices if isinstance(i, Index) and i.axis == COLUMNS))
        values = self._values(statement.query, axes, product.query.tensor.site)
        result = np.zeros((*values.shape[:-1], len(state.weights[target.tensor.site])))
        lead = len([i for i in product.member if isinstance(i, Index)])
        for member, place in self.recorded.members(product.member, values.shape[:lead]):
            rows = values[place].reshape(-1, *values.shape[-2:])
            result[place] = self._of(product.matrix, member).push(rows).reshape(*values[place].shape[:-1], -1)
        order = [(*axes, None).index(i) for i in (*state.free(target), None)]
        return result.transpose(order)

    def learn_change(self, statement: LearningChange) -> None:
        """The change of what a matrix learned at the end of a step."""
        decay = float(self.state.value(statement.matrix.decay, ()))
        for key, known in self.known.items():
            if key[0] == statement.matrix.name:
                known.core *= decay
        for change in statement.changes:
            self._learn(statement, change)

    def _learn(self, statement: LearningChange, change: ChangedPart) -> None:
        state, part, matrix = self.state, change.part, statement.matrix
        lead, rows, columns = part.members, part.rows(part.left), part.rows(part.right)
        column = Index("column", COLUMNS)
        for entry in (*(t.body for t in change.rates), change.left, change.right):
            found = [i for i in (entry.atoms(Index) if entry is not None else ()) if i.axis == COLUMNS]
            column = found[0] if found else column
        rates = np.zeros([*(state.length(i) for i in part.axes), self.columns])
        for term in change.rates:
            rates = rates + state.summed(term.body, (*part.axes, column), term.constraints, "")
        left = self._values(change.left, (*lead, *rows, column), matrix.rows)
        right = self._values(change.right, (*lead, *columns, column), matrix.columns)
        for member, place in self.recorded.members(part.member, rates.shape[: len(lead)]):
            one, other = (side[place].reshape(-1, *side.shape[-2:]) for side in (left, right))
            each = rates[place].reshape(-1, self.columns)
            if part.paired:
                each = each[:, None] * np.eye(len(each))[..., None]
            self._of(matrix, member).learn(each.reshape(len(one), len(other), -1), one, other)

    def _values(self, change, axes: tuple[Index, ...], site: str) -> np.ndarray:
        """A change with the given axes and the paths, zeros for none."""
        if change is not None:
            return self.state.value(change, axes, (), site)
        return np.zeros([*(self.state.length(i) for i in axes), len(self.state.weights[site])])

    def _of(self, matrix, member: tuple[int, ...]) -> NumpyChange:
        key = (matrix.name, *member)
        if key not in self.known:
            self.known[key] = NumpyChange(self.recorded.matrix(matrix, member), self.columns)
        return self.known[key]
