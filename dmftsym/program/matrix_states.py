"""Random matrices of the interpreter in plain NumPy: W = above^T core below, see `matrices`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from sympy import Expr

from dmftsym.language.symbols import Index
from dmftsym.program.matrices import Directions, HeldMatrix, LearnedPart
from dmftsym.program.program import Program
from dmftsym.program.statements.matrices import Learning, MatrixProduct
from dmftsym.program.values import Values


class Side:
    """One side of a matrix: its functions of the paths of a site, and the averages over them times the size."""

    def __init__(self, weights: np.ndarray, size: float, normals: np.ndarray):
        self.weights, self.size, self.normals = size * weights, size, normals
        self.functions = np.zeros((0, len(weights)))
        self.asked: list[int] = []  # the orthonormal ones that were asked on this side

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sums of values times all functions over the units, divided by N: (values, functions)."""
        return (values * self.weights) @ self.functions.T


@dataclass(frozen=True, eq=False)
class Query:
    """What a matrix was asked: values, their sums with all functions, what these gave the other side, the core then.

    `scale`: what was left of what was drawn; `opened`: how many functions were asked on this side.
    """

    transposed: bool
    values: np.ndarray
    sums: np.ndarray
    given: np.ndarray
    core: np.ndarray
    scale: float
    opened: int


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a matrix learned: a rate for every pair of rows, the queries of both sides, those that were made for it."""

    rates: np.ndarray
    left: Query
    right: Query
    asked: list[Query]


class NumpyMatrix:
    """One random matrix of the interpreter; `draw` gives the normals of the images of a new direction."""

    def __init__(self, rows: Side, columns: Side, moments: tuple[float, float, float], tolerance: float):
        self.rows, self.columns, self.tolerance = rows, columns, tolerance
        self.mean, self.variance, self.symmetry = moments
        self.core = np.zeros((0, 0))
        self.dropped, self.scale = 0.0, 1.0  # the second is what is left of what was drawn
        self.queries: list[Query] = []
        self.lessons: list[Lesson] = []
        if self.mean:
            self._pair(np.ones(len(rows.weights)), np.ones(len(columns.weights)), self.mean)

    def act(self, values: np.ndarray, transposed: bool) -> np.ndarray:
        """W values, or the transpose, for (rows, paths)."""
        query = self._asked(values, transposed)
        return query.given @ self.sides(transposed)[1].functions

    def learn(self, rates: np.ndarray, left: np.ndarray, right: np.ndarray, again: bool) -> None:
        """W += Σ rates[a, b] left_a right_bᵀ/N; `again`: both sides are asked, also if they were before."""
        before, ask = len(self.queries), self._asked if again else self._known
        one, other = ask(left, True), ask(right, False)
        b, c = (self.coefficients(query) for query in (one, other))
        self.lessons.append(Lesson(rates.copy(), one, other, self.queries[before:]))
        self.core[np.ix_(self.rows.asked[: b.shape[1]], self.columns.asked[: c.shape[1]])] += b.T @ rates @ c

    def coefficients(self, query: Query) -> np.ndarray:
        """Those of a query in the functions that were asked until then."""
        here, _ = self.sides(query.transposed)
        return query.sums[:, here.asked[: query.opened]] / here.size

    def _known(self, values: np.ndarray, transposed: bool) -> Query:
        """The query of these values, if no direction was opened since; asked now if there is none."""
        opened = len(self.sides(transposed)[0].asked)
        alike = (q for q in reversed(self.queries) if q.transposed == transposed and q.opened == opened)
        return next((q for q in alike if np.array_equal(q.values, values)), None) or self._asked(values, transposed)

    def _asked(self, values: np.ndarray, transposed: bool) -> Query:
        """A query; opens a direction where more than a tolerance is left of a value."""
        here, _ = self.sides(transposed)
        for value in values:
            whole = value**2 @ here.weights
            rest = value.copy()
            for _ in range(2):  # once loses orthogonality in a long run
                functions = here.functions[here.asked]
                rest -= (rest * here.weights) @ functions.T / here.size @ functions
            left = rest**2 @ here.weights
            if left > self.tolerance * whole:
                self._open(rest / np.sqrt(left / here.size), transposed)
            elif whole > 0:
                self.dropped = max(self.dropped, left / whole)
        sums, core = here.sums(values), self.core.copy()
        given = sums @ (core if transposed else core.T)
        query = Query(transposed, values.copy(), sums, given, core, self.scale, len(here.asked))
        self.queries.append(query)
        return query

    def sides(self, transposed: bool) -> tuple[Side, Side]:
        """The side of what is asked, and the other one."""
        return (self.rows, self.columns) if transposed else (self.columns, self.rows)

    def _open(self, function: np.ndarray, transposed: bool) -> None:
        here, there = self.sides(transposed)
        image = np.sqrt(self.variance * here.size) * there.normals[len(here.asked)]
        known = there.functions[there.asked]
        if self.symmetry:
            asked = here.functions[here.asked]
            for _ in range(2):
                along = np.vstack([asked, function])
                image = image - (image * here.weights) @ along.T / here.size @ along
            # the images of earlier functions along this one, which are those of this one along them
            image = image + self.symmetry * (self._images() * here.weights / here.size) @ function @ asked
        else:
            for _ in range(2):  # what the other side already says of it
                image = image - (image * there.weights) @ known.T / there.size @ known
        here.asked.append(len(self.core))
        above, below = (function, image) if transposed else (image, function)
        self._pair(above, below, self.scale / here.size)

    def _images(self) -> np.ndarray:
        return self.rows.functions[self.columns.asked]

    def _pair(self, above: np.ndarray, below: np.ndarray, core: float) -> None:
        for side, function in ((self.rows, above), (self.columns, below)):
            side.functions = np.vstack([side.functions, function])
        grown = np.zeros((len(self.core) + 1,) * 2)
        grown[:-1, :-1], grown[-1, -1] = self.core, core
        self.core = grown


class Matrices:
    """The random matrices of a sweep, each member of a family by itself."""

    def __init__(self, state: Values, program: Program, normals: Mapping[str, np.ndarray]):
        self.state, self.normals = state, normals
        self.sizes = dict(program.sampling.weights)
        self.directions = {(d.matrix.name, d.transposed): d for d in program.sampling.directions}
        self.known: dict[tuple, NumpyMatrix] = {}

    def act(self, product: MatrixProduct) -> np.ndarray:
        """The values of the target of a product at this step."""
        state, places = self.state, product.places
        query, target = product.query.tensor.site, product.target
        values = state.value(product.query, places, (), query)
        result = np.zeros((*values.shape[:-1], len(state.weights[target.tensor.site])))
        lead = len([i for i in product.member if isinstance(i, Index)])
        for member, place in self.members(product.member, values.shape[:lead]):
            rows = values[place].reshape(-1, values.shape[-1])
            found = self.matrix(product.matrix, member).act(rows, product.transposed)
            result[place] = found.reshape(*values[place].shape[:-1], -1)
        axes = [*places, None]
        order = [axes.index(i) for i in (*(j for j in state.free(target)), None)]
        return result.transpose(order)

    def learn(self, learning: Learning) -> None:
        """The changes of a matrix at the end of a step."""
        matrix = learning.matrix
        decay = float(self.state.value(matrix.decay, ()))
        for known in (m for key, m in self.known.items() if key[0] == matrix.name):
            known.core *= decay
            known.scale *= decay
        for part in learning.learned:
            self._learn(matrix, part)

    def _learn(self, matrix: HeldMatrix, part: LearnedPart) -> None:
        state, lead = self.state, part.members
        rows, columns = part.rows(part.left), part.rows(part.right)
        alone = tuple(i for i in columns if i not in rows)
        rates = state.summed(part.rate, (*lead, *rows, *alone), (), "")
        for index in (i for i in columns if i in rows):  # the same value on both sides
            rates = np.expand_dims(rates, -1) * np.eye(state.length(index)).reshape(
                [state.length(index) if i == index else 1 for i in (*lead, *rows)] + [1] * len(alone) + [-1]
            )
            alone = (*alone, index)
        rates = np.moveaxis(rates, [len(lead) + len(rows) + alone.index(i) for i in columns], range(-len(columns), 0))
        left = state.value(part.left, (*lead, *rows), (), matrix.rows)
        right = state.value(part.right, (*lead, *columns), (), matrix.columns)
        for member, place in self.members(part.member, rates.shape[: len(lead)]):
            one, other = (side[place].reshape(-1, side.shape[-1]) for side in (left, right))
            again = bool(matrix.family)  # as in generated code, where members of a family do not know their values
            self.matrix(matrix, member).learn(rates[place].reshape(len(one), len(other)), one, other, again)

    def members(self, member: tuple[Expr, ...], lengths: tuple[int, ...]) -> Iterator[tuple[tuple, tuple]]:
        """The numbers of each member, and the place of its values."""
        for place in np.ndindex(*lengths):
            numbers = iter(place)
            yield tuple(next(numbers) if isinstance(i, Index) else int(i) for i in member), place

    def matrix(self, matrix: HeldMatrix, member: tuple[int, ...]) -> NumpyMatrix:
        """A matrix, or one of a family."""
        key = (matrix.name, *member)
        if key not in self.known:
            number = lambda e: float(self.state.value(e, ()))
            rows, columns = (
                Side(self.state.weights[site], number(self.sizes[site]), self._normals(matrix, transposed, member))
                for site, transposed in ((matrix.rows, False), (matrix.columns, True))
            )
            moments = (number(matrix.mean), number(matrix.variance), number(matrix.symmetry))
            tolerance = self.state.values.get("(tolerance)", 1.0 / max(len(rows.weights), len(columns.weights)))
            self.known[key] = NumpyMatrix(rows, columns, moments, tolerance)
        return self.known[key]

    def _normals(self, matrix: HeldMatrix, transposed: bool, member: tuple[int, ...]) -> np.ndarray:
        """The normals of the images of one member; none where it never acts that way."""
        directions: Directions | None = self.directions.get((matrix.name, transposed))
        if directions is None:
            return np.zeros((0, len(self.state.weights[matrix.side(not transposed)])))
        lengths = tuple(self.state.length(i) for i in matrix.family)
        normals = self.normals[directions.name]
        number = int(np.ravel_multi_index(member, lengths)) if lengths else 0
        return normals.reshape(int(np.prod(lengths, dtype=int)), -1, normals.shape[-1])[number]
