"""What a model asks of its random matrices: every term that holds ``J @ v`` as a response field times a function.

A use is c·x̃(i)·Σ_j J_ij v(j): the function v of the units that the matrix acts on, and the response field x̃ of the
field that it drives. What is not of this form first gets a field of its own.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count

from sympy import Expr, Integer, Mul

from dmftsym.averaging.matching import declared_order, matched
from dmftsym.errors import LanguageError
from dmftsym.language.disorder import Applied, RandomMatrix
from dmftsym.language.model import Model
from dmftsym.language.site import Site
from dmftsym.language.sums import Binding
from dmftsym.language.symbols import Entry, Index, Kind, split_index
from dmftsym.language.terms import (
    Before,
    Term,
    contract,
    count_indices,
    entries_of,
    flatten,
    fresh_indices,
    indices_of,
)


@dataclass(frozen=True, kw_only=True)
class Use:
    """Σ over `bound` indices of outer · driven(i) Σ_j J_ij query(j), or with the transpose of the matrix.

    `driven` is the response field, `outer` a number, parameters, data and order parameters.
    """

    matrix: RandomMatrix
    member: tuple[Expr, ...]
    transposed: bool
    outer: Expr
    driven: Expr
    query: Expr
    bound: tuple[Index, ...]
    constraints: tuple[Before, ...]

    @property
    def time(self) -> Index:
        """The time at which the matrix acts."""
        return next(i for e in entries_of(self.driven, Kind.RESPONSE_FIELD) for t in e.times for i in indices_of(t))

    def renamed(self, taken, declared) -> "Use":
        """The same use with bound indices that none of `taken` is, those of `declared` first."""
        used = indices_of(self.driven * self.query * self.outer)
        return self.where(fresh_indices([i for i in self.bound if i in taken], (*taken, *used, *self.bound), declared))

    def where(self, given: Mapping[Index, Expr]) -> "Use":
        """The same use with other indices, or at fixed ones, over which it does not sum."""
        sub = lambda e: e.xreplace(given)
        limits = tuple(Before(sub(c.time), sub(c.upper), c.inclusive) for c in self.constraints)
        return replace(
            self,
            member=tuple(map(sub, self.member)),
            outer=sub(self.outer),
            driven=sub(self.driven),
            query=sub(self.query),
            bound=tuple(i for i in map(sub, self.bound) if isinstance(i, Index)),
            constraints=limits,
        )


def check_matrices(model: Model) -> None:
    """Refuse matrices of other models, and matrices where no unit is: in definitions and the action of the model."""
    for site in model.sites.values():
        for formula in (*site.terms, *site.definitions.values()):
            for applied in sorted(formula.atoms(Applied), key=str):
                if applied.matrix not in model.matrices:
                    raise LanguageError(f"site {site.name}: {applied} holds a matrix of another model")
    formulas = {f"the definition of {name}": formula for name, formula in model.definitions.items()}
    for where, formula in (formulas | {"the action": model.action}).items():
        for applied in sorted(formula.atoms(Applied), key=str):
            raise LanguageError(f"{where} holds {applied}, a quantity of single units, which only a site can hold")


def give_fields(model: Model) -> None:
    """Give a field of its own to every ``J @ v`` that stands in a function, a definition, an observable or another one.

    After this every site action is linear in what the matrices give, each time with one response field of its time,
    and products that are equal up to the names of their indices stand in one equation.
    """
    fields = _Fields(model)
    for site in model.sites.values():
        for name in list(site.definitions):
            while found := _innermost(site.definitions[name]):
                site.definitions[name] = site.definitions[name].xreplace({found: fields.equal_to(found)})
        for number in range(len(site.terms)):
            while found := _unlike(site.terms[number]):
                site.terms[number] = site.terms[number].xreplace({found: fields.equal_to(found)})
    for applied in fields.repeated():
        entry = fields.equal_to(applied)
        for site in model.sites.values():
            own = [k for k, t in enumerate(site.terms) if t.has(applied) and t.has(entry.tensor.tilde)][:1]
            site.terms = [t if k in own else t.xreplace({applied: entry}) for k, t in enumerate(site.terms)]
    for matrix in model.matrices.values():
        for k, learned in enumerate(matrix.learned):
            for side in ("left", "right"):
                while found := _innermost(getattr(learned, side)):
                    value = getattr(learned, side).xreplace({found: fields.equal_to(found)})
                    learned = matrix.learned[k] = replace(learned, **{side: value})


class _Fields:
    """The fields that are given to what matrices give, each product one, whatever its indices are called."""

    def __init__(self, model: Model):
        self.model, self.rank = model, declared_order(model)
        self.known: list[tuple[Applied, Entry]] = []

    def equal_to(self, applied: Applied) -> Entry:
        """The entry of a field, of the site that the matrix acts into, that is equal to what the matrix gives.

        What acts on earlier values, ``J @ x[t - 1]``, is the earlier value of that field.
        """
        times = {t for e in entries_of(applied.body) for t in e.times}
        lagged = min(times, key=str)
        time, shift = split_index(lagged)
        if len(times) != 1:
            shift = 0
        if shift:
            self._check_constant(applied, time)
            applied = applied.xreplace({lagged: time})
        entry = self._found(applied) or self._new(applied)
        return entry.tensor[tuple(i + shift if i == time else i for i in entry.indices)]

    def _check_constant(self, applied: Applied, time: Index | None) -> None:
        matrix = self.model.matrices[applied.matrix]
        if matrix.learned or matrix.decay_rate != 0:
            raise LanguageError(
                f"{applied}: matrix {matrix.name} changes with time, and acts on what has its own time; give what it "
                f"acts on a field, x[{time}] = {applied.body}, and write {matrix.name} @ x[{time}]"
            )

    def repeated(self) -> list[Applied]:
        """The products that stand in several places of the site actions, equal ones and those equal up to indices."""
        terms = [t for site in self.model.sites.values() for term in site.terms for t in flatten(term)]
        number = Counter(a for t in terms for a in t.body.atoms(Applied))
        found = sorted(number, key=str)
        alike = lambda a: (b for b in found if b.matrix == a.matrix and self._matched(b, a) is not None)
        return [a for a in found if sum(number[b] for b in alike(a)) > 1]

    def _matched(self, pattern: Applied, applied: Applied) -> dict[Index, Index] | None:
        return matched(pattern, applied, sorted(indices_of(pattern), key=self.rank), self.rank)

    def _found(self, applied: Applied) -> Entry | None:
        for known, entry in self.known:
            if (mapping := self._matched(known, applied)) is not None:
                return entry.xreplace(mapping)
        return None

    def _new(self, applied: Applied) -> Entry:
        model, matrix = self.model, self.model.matrices[applied.matrix]
        site = model.sites[(matrix.columns if applied.transposed else matrix.rows).name]
        own = tuple(sorted(count_indices(applied), key=self.rank))
        names = {*model.tensors, *(n for s in model.sites.values() for n in s.tensors)}
        stem = f"{matrix.name}_{'back' if applied.transposed else 'out'}"
        numbered = (stem if k == 1 else f"{stem}{k}" for k in count(1))
        field = site.field(next(n for n in numbered if n not in names), *own)
        site.equation(field[own], applied)
        self.known.append((applied, field[own]))
        return field[own]


def _innermost(expr: Expr) -> Applied | None:
    """A matrix in an expression that acts on something without one, the first of them."""
    found = [a for a in expr.atoms(Applied) if not a.body.has(Applied)]
    return min(found, key=str) if found else None


def _unlike(expr: Expr) -> Applied | None:
    """A matrix in a site action that does not stand as a factor beside one response field of its time, if any."""
    for term in flatten(expr):
        held = sorted(term.body.atoms(Applied), key=str)
        if held and not (len(held) == 1 and _is_use(term, held[0])):
            return _innermost(term.body)
    return None


def _is_use(term: Term, applied: Applied) -> bool:
    if applied.body.has(Applied) or term.factors.count(applied) != 1 or (term.body / applied).has(Applied):
        return False
    rest = [f for f in term.factors if f != applied]
    responses = [f for f in rest if isinstance(f, Entry) and f.tensor.kind == Kind.RESPONSE_FIELD]
    hats = entries_of(Mul(*rest), Kind.CONJUGATE)
    hidden = len(entries_of(Mul(*rest), Kind.RESPONSE_FIELD)) != 1
    if len(responses) != 1 or hats or hidden:
        return False
    (time,) = responses[0].times
    if any(e.tensor.site and e != responses[0] for e in entries_of(Mul(*rest))):
        return False
    return {t for e in entries_of(applied.body) for t in e.times} == {time}


def find_uses(model: Model, site: Site) -> tuple[list[Use], Expr]:
    """The uses of matrices in the action of a site, and the action without them."""
    uses, rest = [], Integer(0)
    for expression in site.terms:
        held = sorted(expression.atoms(Applied), key=str)
        empty = lambda e: isinstance(e, Binding) and e.body == 0
        rest += expression.xreplace(dict.fromkeys(held, Integer(0))).replace(empty, lambda e: Integer(0))
        for term in contract(flatten(expression), (), f"the action of site {site.name}") if held else ():
            if term.body.has(Applied):
                uses.append(_use(model, site, term))
    return uses, rest


def _use(model: Model, site: Site, term: Term) -> Use:
    applied = next(f for f in term.factors if isinstance(f, Applied))
    matrix = model.matrices[applied.matrix]
    expected = matrix.columns if applied.transposed else matrix.rows
    if expected.name != site.name:
        raise LanguageError(
            f"site {site.name}: {applied} gives values to the units of site {expected.name} and can only stand there"
        )
    outer, driven, factor, query = Integer(1), Integer(1), Integer(1), Integer(1)
    for part in (f for f in term.factors if f != applied):
        local = any(e.tensor.site for e in entries_of(part))
        outer, driven = (outer, driven * part) if local else (outer * part, driven)
    for part in Mul.make_args(applied.body):
        plain = not part.atoms(Entry, Index)  # a number or a parameter
        factor, query = (factor * part, query) if plain else (factor, query * part)
    return Use(
        matrix=matrix,
        member=applied.member,
        transposed=applied.transposed,
        outer=outer * factor,
        driven=driven,
        query=query,
        bound=term.bound,
        constraints=term.constraints,
    )
