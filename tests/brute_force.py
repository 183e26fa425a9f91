"""Evaluates terms and expressions of the language by plain loops over explicit index ranges, entry by entry.

Shares nothing with the derivation or the code generation: every sum is a Python loop, every index lives in the scope of
its own sum. An entry outside its array (a time before 0 or after the last one) is zero.
"""

import math
from itertools import product

import numpy as np
from sympy import Heaviside, KroneckerDelta

from dmftsym.language.activations import ActivationValue
from dmftsym.language.sums import FutureSum, IndexSum, PastSum
from dmftsym.language.symbols import Entry, Index, Parameter, Size


class BruteForce:
    """Numbers for the symbols of a model.

    `sizes` maps names of axes to lengths, `values` maps printed symbols ("eta", "f", "f.hat", "x.tilde") to numbers and
    arrays and names of activations to tuples of functions, one a derivative. `action` supplies definitions.
    """

    def __init__(self, sizes, values, action=None):
        self.sizes, self.values, self.action = sizes, values, action

    def total(self, terms, at=None):
        """The value of a sum of terms, with the free indices as in `at`."""
        result = 0.0
        for term in terms:
            for inner in self._ranges(term.bound, at or {}):
                if all(self.holds(c, inner) for c in term.constraints):
                    result += self.value(term.body, inner)
        return result

    def array(self, terms, indices):
        """The values of a sum of terms for all values of its free indices."""
        result = np.zeros([self.sizes[i.axis.name] for i in indices])
        for where in np.ndindex(*result.shape):
            result[where] = self.total(terms, dict(zip(indices, where, strict=True)))
        return result

    def value(self, expr, at=None):
        """The value of an expression, with the free indices as in `at`."""
        at = at or {}
        if expr.is_Number:
            return float(expr)
        match expr:
            case Index():
                return at[expr]
            case Parameter() | Size():
                return self.values[expr.name]
            case Entry():
                return self._entry(expr, at)
            case ActivationValue():
                return self.values[expr.activation.name][expr.order](self.value(expr.argument, at))
            case KroneckerDelta():
                return float(self.value(expr.args[0], at) == self.value(expr.args[1], at))
            case Heaviside():
                step = self.value(expr.args[0], at)
                return float(step > 0) if step else float(expr.args[1])
            case IndexSum():
                return sum(self.value(expr.body, inner) for inner in self._ranges(expr.bound, at))
            case PastSum() | FutureSum():
                return self._one_sided(expr, at)
        arguments = [self.value(a, at) for a in expr.args]
        if expr.is_Add:
            return sum(arguments)
        if expr.is_Mul:
            return math.prod(arguments)
        return arguments[0] ** arguments[1] if expr.is_Pow else getattr(math, expr.func.__name__)(*arguments)

    def _entry(self, entry, at):
        where = tuple(int(self.value(i, at)) for i in entry.indices)
        if entry.tensor.kind in ("definition", "observable"):
            definition = self.action.definition(entry.tensor.name)
            return self.total(definition.terms, dict(zip(entry.tensor.indices, where, strict=True)))
        array = np.asarray(self.values[str(entry.tensor)])
        inside = all(0 <= k < n for k, n in zip(where, array.shape, strict=True))
        return float(array[where]) if inside else 0.0

    def _one_sided(self, node, at):
        body, bound, limit, inclusive = node.args
        sign = 1 if isinstance(node, PastSum) else -1
        end = self.value(limit, at)
        gaps = ((sign * (end - inner[bound[0]]), inner) for inner in self._ranges(bound, at))
        return sum(self.value(body, inner) for gap, inner in gaps if gap > 0 or (gap == 0 and inclusive == 1))

    def holds(self, constraint, at):
        gap = self.value(constraint.upper, at) - self.value(constraint.time, at)
        return gap > 0 or (gap == 0 and constraint.inclusive)

    def _ranges(self, bound, at):
        for where in product(*[range(self.sizes[i.axis.name]) for i in bound]):
            yield {**at, **dict(zip(bound, where, strict=True))}
