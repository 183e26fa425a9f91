"""What can change what in a system with random matrices; a response of what cannot be changed is zero.

Equations count, averages in them, and what matrices have learned. A test point, at which a network is only looked,
changes nothing of the network: of the two responses that its use of a matrix leaves, one is zero and is not opened.
"""

from sympy import Expr

from dmftsym.language.disorder import Applied
from dmftsym.language.model import Model
from dmftsym.language.symbols import Entry, Kind
from dmftsym.language.terms import Term, flatten

_COMPUTED = (Kind.FIELD, Kind.DEFINITION, Kind.ORDER_PARAMETER, Kind.CONJUGATE)


class Influence:
    """The fields, definitions and order parameters of a model, and what is computed from each."""

    def __init__(self, model: Model):
        self.model = model
        self.targets: dict[str, set[str]] = {}
        self._reached: dict[str, set[str]] = {}
        for definitions in (model.definitions, *(site.definitions for site in model.sites.values())):
            for name, formula in definitions.items():
                self._note({name}, _names(formula, *_COMPUTED))
        pairs = flatten(model.action)
        terms = [t for site in model.sites.values() for expression in site.terms for t in flatten(expression)]
        used = {n for t in (*pairs, *terms) for n in _names(t.body, Kind.ORDER_PARAMETER) - _averaged(t)}
        used |= {n for formula in model.definitions.values() for n in _names(formula, Kind.ORDER_PARAMETER)}
        for term in pairs:
            self._note(_names(term.body, *_COMPUTED), _names(term.body, *_COMPUTED))
        for term in terms:
            self._note_term(term, used)

    def reaches(self, driven: Expr, query: Expr) -> bool:
        """Whether a change of the field whose response field is `driven` can change a function of units."""
        return any(self._from(n) & _names(query, *_COMPUTED) for n in _names(driven, Kind.RESPONSE_FIELD))

    def _note_term(self, term: Term, used: set[str]) -> None:
        """A term of a site: it drives the fields of its response fields, and makes averages of what it holds."""
        averaged, driven = _averaged(term), _names(term.body, Kind.RESPONSE_FIELD)
        sources = _names(term.body, *_COMPUTED)
        for matrix in (self.model.matrices[a.matrix] for a in term.body.atoms(Applied)):
            for learned in matrix.learned:
                sources |= _names(learned.rate * learned.left * learned.right, *_COMPUTED)
        self._note(averaged, sources | driven)
        if averaged <= used:  # where a response function is only observed, its conjugate is zero
            self._note(driven, sources)

    def _note(self, targets: set[str], sources: set[str]) -> None:
        for name in sources:
            self.targets.setdefault(name, set()).update(targets)

    def _from(self, name: str) -> set[str]:
        """All that a quantity can change, itself included."""
        if name not in self._reached:
            found, left = {name}, [name]
            while left:
                new = self.targets.get(left.pop(), set()) - found
                found |= new
                left += new
            self._reached[name] = found
        return self._reached[name]


def _averaged(term: Term) -> set[str]:
    return _names(term.body, Kind.CONJUGATE)


def _names(expr: Expr, *kinds: Kind) -> set[str]:
    return {e.tensor.name for e in expr.atoms(Entry) if e.tensor.kind in kinds}
