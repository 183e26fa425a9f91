"""The symbolic Hessian in numbers: every term evaluated over sample paths, entry by entry, and −H^{-1} by inversion.

Slow and explicit. Site equations are integrated by recursion from the derived process; response fields are derivatives
with respect to added sources, taken with complex steps and central differences. Nothing of the lowering or of the
generated code is used.
"""

from itertools import product

import numpy as np
from sympy import KroneckerDelta

from dmftsym.derivation.hessian import primed
from dmftsym.language.activations import ActivationValue
from dmftsym.language.sums import IndexSum
from dmftsym.language.symbols import Entry, Index, Parameter, Size
from dmftsym.language.terms import Term, entries_of

STEP, BUMP = 1e-4, 1e-30


class Paths:
    """Sample paths of one site, with sources that can be bumped.

    `sizes`: lengths of axes by name; `numbers`: parameters, data and order parameters by name; `functions`: activations
    as tuples of derivatives; `sources`: values (…, paths) by name; `starts`: initial values by field; `weights`.
    """

    def __init__(self, derivation, sizes, numbers, functions, sources, starts, weights, dt=1.0):
        self.action, self.sizes, self.numbers, self.functions = derivation.action, sizes, numbers, functions
        self.process = derivation.process[0]
        self.sources, self.starts, self.weights, self.dt = sources, starts, weights, dt
        self.equations = {e.field.name: e for e in self.process.equations}
        self._cache = {}

    def field(self, name, where, bumps):
        """The values of a field over the paths, at the declared indices `where`, under bumps of its sources."""
        key = (name, where, tuple(b for b in bumps if b[1][-1] <= where[-1]))
        if key not in self._cache:
            self._cache[key] = self._field(name, where, bumps)
        return self._cache[key]

    def _field(self, name, where, bumps):
        equation = self.equations[name]
        if not equation.derivative:
            return self._right_side(equation, where, bumps)
        if where[-1] == 0:
            return self.starts[name][where[:-1]]
        before = (*where[:-1], where[-1] - 1)
        return self.field(name, before, bumps) + self.dt * self._right_side(equation, before, bumps)

    def _right_side(self, equation, where, bumps):
        at = dict(zip(equation.field.indices, where, strict=True))
        value = self.total(equation.terms, at, bumps)
        for source in equation.sources:
            place = tuple(at[i] for i in source.tensor.indices)
            value = value + self.value(source.amplitude, at, bumps) * self.sources[source.tensor.name][place]
        return value + sum(size for name, place, size in bumps if name == equation.field.name and place == where)

    def total(self, terms, at, bumps=()):
        """Σ terms with the free indices as in `at`."""
        result = 0.0
        for term in terms:
            for inner in self.ranges(term.bound, at):
                if all(_holds(c, inner) for c in term.constraints):
                    result = result + self.value(term.body, inner, bumps)
        return result

    def ranges(self, bound, at):
        """All values of bound indices."""
        for where in product(*[range(self.sizes[i.axis.name]) for i in bound]):
            yield {**at, **dict(zip(bound, where, strict=True))}

    def value(self, expr, at, bumps=()):
        """An expression over the paths."""
        if expr.is_Number:
            return float(expr)
        match expr:
            case Index():
                return at[expr]
            case Parameter() | Size():
                return self.numbers[expr.name]
            case Entry():
                return self._entry(expr, tuple(int(self.value(i, at)) for i in expr.indices), bumps)
            case ActivationValue():
                return self.functions[expr.activation.name][expr.order](self.value(expr.argument, at, bumps))
            case KroneckerDelta():
                return float(self.value(expr.args[0], at) == self.value(expr.args[1], at))
            case IndexSum():
                return sum(self.value(expr.body, inner, bumps) for inner in self.ranges(expr.bound, at))
        parts = [self.value(a, at, bumps) for a in expr.args]
        if expr.is_Add:
            return sum(parts)
        if expr.is_Mul:
            result = parts[0]
            for part in parts[1:]:
                result = result * part
            return result
        return parts[0] ** parts[1] if expr.is_Pow else getattr(np, expr.func.__name__)(*parts)

    def _entry(self, entry, where, bumps):
        tensor = entry.tensor
        if any(k < 0 for k in where):
            return 0.0
        if tensor.kind == "field":
            return self.field(tensor.name, where, bumps)
        if tensor.kind in ("definition", "observable"):
            definition = self.action.definition(tensor.name)
            return self.total(definition.terms, dict(zip(definition.tensor.indices, where, strict=True)), bumps)
        return self.numbers[tensor.name][where]

    def average(self, term: Term, at):
        """⟨term⟩ for given free indices, its response fields as derivatives."""
        result = 0.0
        for inner in self.ranges(term.bound, at):
            if not all(_holds(c, inner) for c in term.constraints):
                continue
            responses = [f for f in term.factors if isinstance(f, Entry) and f.tensor.kind == "response field"]
            body = term.body
            for response in responses:
                body = body / response
            places = [(r.tensor.name, tuple(int(self.value(i, inner)) for i in r.indices)) for r in responses]
            result += self._derivative(body, inner, places)
        return result

    def _derivative(self, body, at, places):
        """The average of a derivative with respect to the sources at some places: complex step, then differences."""
        if places and not any(e.tensor.site for e in entries_of(body)):
            return 0.0
        mean = lambda bumps: np.sum(self.weights * (self.value(body, at, bumps) + 0 * self.weights))
        if not places:
            return mean(()).real
        *others, last = places
        total = 0.0
        for signs in product((1, -1), repeat=len(others)):
            bumps = _merged([(*place, sign * STEP) for place, sign in zip(others, signs, strict=True)], last)
            total += np.prod(signs) * mean(bumps).imag / BUMP
        return total / (2 * STEP) ** len(others)


def _merged(real, imaginary):
    """Bumps by place, in a fixed order: several at one place add up."""
    found = {}
    for name, place, size in [*real, (*imaginary, 1j * BUMP)]:
        found[name, place] = found.get((name, place), 0) + size
    return tuple((*key, size) for key, size in sorted(found.items()))


def _holds(constraint, at):
    upper = constraint.upper
    value = at[upper] if isinstance(upper, Index) else int(upper.xreplace(at))
    gap = value - at[constraint.time]
    return gap > 0 or (gap == 0 and constraint.inclusive)


def entries(tensor, sizes):
    """All index values of a variable."""
    return list(np.ndindex(*[sizes[i.axis.name] for i in tensor.indices]))


def dense_hessian(derivation, paths):
    """H over (q̂, q): (matrix, offset of every variable by (kind, name))."""
    hessian, sizes = derivation.hessian, paths.sizes
    variables = [q.hat for q in derivation.action.order_parameters] + list(derivation.action.order_parameters)
    offsets, total = {}, 0
    for v in variables:
        offsets[v.kind, v.name] = total
        total += len(entries(v, sizes))
    matrix = np.zeros((total, total))
    for block in hessian.blocks:
        row, column = block.row.tensor, block.column.tensor
        first, second = offsets[row.kind, row.name], offsets[column.kind, column.name]
        values = dense_block(block, paths)
        matrix[first : first + values.shape[0], second : second + values.shape[1]] = values
        matrix[second : second + values.shape[1], first : first + values.shape[0]] = values.T
    return matrix, offsets


def dense_block(block, paths):
    """One block, all entries."""
    row, column = block.row.tensor, block.column.tensor
    ends = entries(row, paths.sizes), entries(column, paths.sizes)
    result = np.zeros((len(ends[0]), len(ends[1])))
    if block.vanishes:
        return result
    for (i, a), (j, b) in product(enumerate(ends[0]), enumerate(ends[1])):
        at = dict(zip(row.indices, a, strict=True)) | dict(zip(primed(column), b, strict=True))
        value = paths.value(block.own, at) + paths.total(block.explicit, at)
        for site in block.sites:
            weight = paths.value(site.weight, at)
            value += weight * sum(paths.average(t, at) for t in site.joint)
            value -= weight * sum(paths.average(x, at) * paths.average(y, at) for x, y in site.apart)
        result[i, j] = value
    return result


def order_parameters(derivation, paths):
    """⟨O⟩ for every order parameter at the values that the paths hold: the right-hand side of the saddle point."""
    result = {}
    for equation in derivation.saddle_point.equations:
        values = []
        for where in entries(equation.tensor, paths.sizes):
            at = dict(zip(equation.tensor.indices, where, strict=True))
            value = paths.total(equation.explicit, at)
            for a in equation.averages:
                value += paths.value(a.coefficient, at) * sum(paths.average(t, at) for t in a.terms)
            values.append(value)
        shape = [paths.sizes[i.axis.name] for i in equation.tensor.indices]
        result[equation.tensor.name] = np.real(np.array(values)).reshape(shape)
    return result
