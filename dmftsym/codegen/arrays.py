"""Expressions without sample paths as array operations: slices for indices and times, sums over bound indices."""

from sympy import Dummy, Expr, KroneckerDelta, Mul

from dmftsym.codegen import tree
from dmftsym.codegen.array_printer import ArrayPrinter, place_text
from dmftsym.codegen.places import place_of
from dmftsym.codegen.places import size_code as size_code
from dmftsym.codegen.targets import HOST, Target
from dmftsym.codegen.tree import Array, Formula, MatrixFunction, before_start, lined_up
from dmftsym.language.matrices import LargestEigenvalue, LeadingProjector
from dmftsym.language.sums import Binding, IndexSum
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Before, Term, entries_of, flatten, outermost, substitute_activations

Indices = tuple[Index, ...]
Limits = tuple[Before, ...]


class Arrays:
    """Functions of order parameters, data and parameters as array operations."""

    def __init__(self, now: Index, lagged: bool = True):
        """`lagged`: formulas that read the previous time are evaluated at time 0 too, where it counts as zero."""
        self.now, self.lagged = now, lagged

    def formula(self, body: Expr, target: Indices, limits: Limits = ()) -> Formula:
        """The formula with the axes of `target`."""
        body = substitute_activations(body)
        leaves: dict[Expr, Array] = {}
        for node in outermost(body, IndexSum, LargestEigenvalue, LeadingProjector):
            leaves[node] = lined_up(self._nested(node, limits), target)
        outside = body.xreplace({node: Dummy() for node in leaves})
        for delta in sorted(outside.atoms(KroneckerDelta), key=str):
            leaves[delta] = lined_up(_identity(delta), target)
        for entry in entries_of(outside):
            leaves[entry] = lined_up(self.entry(entry, limits), target)
        return tree.Formula(target, body, tuple(leaves.items()))

    def total(self, terms: tuple[Term, ...], target: Indices, limits: Limits = ()) -> Array:
        """Σ terms with the axes of `target`; bound indices are summed over trailing axes."""
        return tree.Sum(target, tuple(self._term(term, target, (*limits, *term.constraints)) for term in terms))

    def entry(self, entry: Entry, limits: Limits = ()) -> Array:
        """An entry as a slice; of equal indices the diagonal."""
        where = str(entry)
        slots = zip(entry.tensor.indices, entry.indices, strict=True)
        places = tuple(place_of(slot, argument, self.now, limits, where) for slot, argument in slots)
        kept = tuple(i for i, place in zip(entry.indices, places, strict=True) if place.keeps)
        found: Array = tree.Cut(kept, tree.Named(entry.tensor.indices, entry.tensor.name), places)
        found = before_start(found, self.now) if self.lagged else found
        different = tuple(dict.fromkeys(kept))
        return found if different == kept else tree.Diagonal(different, found)

    def free(self, body: Expr, bound: Indices = ()) -> Indices:
        """The indices of an expression but the present time, that of the parts of the paths first, the times last."""
        found = body.atoms(Index) - {self.now, *bound}
        return tuple(sorted(found, key=lambda i: (not tree.is_part(i), i.is_time, i.name)))

    def _nested(self, node: Binding, limits: Limits) -> Array:
        """A sum or matrix function that stands inside a formula, for every value of its free indices."""
        others = self.free(node.body, tuple(node.bound))
        if isinstance(node, IndexSum):
            return self.total(flatten(node), others, limits)
        matrix = self.formula(node.body, (*others, *node.bound), limits)
        if isinstance(node, LeadingProjector):
            return tree.OfMatrix((*others, *node.place), matrix, MatrixFunction.LEADING_PROJECTOR)
        return tree.OfMatrix(others, matrix, MatrixFunction.LARGEST_EIGENVALUE)

    def _term(self, term: Term, target: Indices, limits: Limits) -> Array:
        if not term.bound:
            return self.formula(term.body, target, limits)
        found = self._einsum(term, target, limits)
        return found or tree.Totalled(target, self.formula(term.body, (*target, *term.bound), limits))

    def _einsum(self, term: Term, target: Indices, limits: Limits) -> Array | None:
        """The sum as one product if its factors with a bound index cover the target."""
        inner = [f for f in term.factors if any(f.has(i) for i in term.bound)]
        outer = Mul(*[f for f in term.factors if f not in inner])
        if any(f.has(Binding) for f in inner):
            return None
        parts = tuple(self._operand(f, limits) for f in inner)
        covered = {i for part in parts for i in part.indices}
        if not set(target) <= covered or not set(term.bound) <= covered:
            return None
        alike = all({*target, *part.indices} == {*target, *term.bound} for part in parts)
        if all(map(tree.is_part, target)) and alike:
            found: Array = tree.Totalled(target, self.formula(Mul(*inner), (*target, *term.bound), limits))
        else:
            found = tree.Einsum(target, parts)
        return found if outer == 1 else tree.Scaled(target, found, self.formula(outer, target, limits))

    def _operand(self, factor: Expr, limits: Limits) -> Array:
        if isinstance(factor, Entry):
            return self.entry(factor, limits)
        return self.formula(factor, self.free(factor), limits)


def _identity(delta: KroneckerDelta) -> Array:
    """One where two indices are equal, or where an index has the value that is given as a number."""
    indices = tuple(i for i in delta.args if isinstance(i, Index))
    value = next((int(i) for i in delta.args if i.is_Integer), None)
    return tree.Identity(indices, indices[0].axis, value)


def slot_code(slot: Index, argument: Expr, now: Index, limits: Limits, where: str) -> str:
    """What stands in one place of a subscript."""
    return place_text(place_of(slot, argument, now, limits, where))


class ArrayFormula:
    """Prints functions of order parameters, data and parameters as array expressions."""

    def __init__(self, now: Index, target: Target = HOST, lagged: bool = True):
        self.now, self.xp = now, target.xp
        self.arrays, self.printer = Arrays(now, lagged), ArrayPrinter(target)

    def expression(self, body: Expr, target: Indices, limits: Limits = ()) -> str:
        """The formula with the axes of `target`."""
        return self.printer.text(self.arrays.formula(body, target, limits))

    def sum_of_terms(self, terms: tuple[Term, ...], target: Indices, limits: Limits = ()) -> str:
        """Σ terms with the axes of `target`."""
        return self.printer.text(self.arrays.total(terms, target, limits))
