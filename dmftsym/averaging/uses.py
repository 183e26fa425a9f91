"""What a model asks of its random matrices: every term that holds ``J @ v`` as a response field times a function.

A use is c·x̃(i)·Σ_j J_ij v(j): the function v of the units that the matrix acts on, and the response field x̃ of the
field that it drives. What is not of this form first gets a field of its own.
"""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain, count

from sympy import Expr, Integer, Mul

from dmftsym.errors import LanguageError
from dmftsym.language.disorder import Applied, RandomMatrix
from dmftsym.language.model import Model
from dmftsym.language.site import Site
from dmftsym.language.sums import Binding
from dmftsym.language.symbols import Entry, Index, Kind, split_index
from dmftsym.language.terms import Before, Term, contract, count_indices, entries_of, flatten, indices_of


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
        mapping = renaming(self.bound, taken, indices_of(self.driven * self.query * self.outer), declared)
        sub = lambda e: e.xreplace(mapping)
        limits = tuple(Before(sub(c.time), sub(c.upper), c.inclusive) for c in self.constraints)
        return replace(
            self,
            member=tuple(map(sub, self.member)),
            outer=sub(self.outer),
            driven=sub(self.driven),
            query=sub(self.query),
            bound=tuple(map(sub, self.bound)),
            constraints=limits,
        )


def renaming(bound, taken, used, declared) -> dict[Index, Index]:
    """New names for those of the `bound` indices that are `taken`: of `declared` ones, or numbered."""
    names = {i.name for i in (*taken, *used, *bound)}
    mapping = {}
    for index in (i for i in bound if i in taken):
        stem = index.name.rstrip("0123456789'")
        others = (i.name for i in declared if i.axis == index.axis)
        name = next(n for n in chain(others, (f"{stem}{k}" for k in count(1))) if n not in names)
        names.add(name)
        mapping[index] = Index(name, index.axis)
    return mapping


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

    After this every site action is linear in what the matrices give, each time with one response field of its time.
    """
    for site in model.sites.values():
        for name in list(site.definitions):
            while found := _innermost(site.definitions[name]):
                site.definitions[name] = site.definitions[name].xreplace({found: _field_for(model, found)})
        for number in range(len(site.terms)):
            while found := _unlike(site.terms[number]):
                site.terms[number] = site.terms[number].xreplace({found: _field_for(model, found)})
    for applied in _repeated(model):
        entry = _field_for(model, applied)
        for site in model.sites.values():
            equation = next((k for k, t in enumerate(site.terms) if t.has(applied) and t.has(entry.tensor.tilde)), None)
            site.terms = [t if k == equation else t.xreplace({applied: entry}) for k, t in enumerate(site.terms)]
    for matrix in model.matrices.values():
        for k, learned in enumerate(matrix.learned):
            for side in ("left", "right"):
                while found := _innermost(getattr(learned, side)):
                    value = getattr(learned, side).xreplace({found: _field_for(model, found)})
                    learned = matrix.learned[k] = replace(learned, **{side: value})


def _repeated(model: Model) -> list[Applied]:
    """The products that stand in several places: they are computed once."""
    terms = [t for site in model.sites.values() for term in site.terms for t in flatten(term)]
    found = Counter(a for t in terms for a in t.body.atoms(Applied))
    return sorted((a for a, number in found.items() if number > 1), key=str)


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


def _field_for(model: Model, applied: Applied) -> Entry:
    """A new field of the site that the matrix acts into, equal to what it gives; its entry at these indices.

    What acts on earlier values, ``J @ x[t - 1]``, is the earlier value of that field.
    """
    matrix = model.matrices[applied.matrix]
    times = {t for e in entries_of(applied.body) for t in e.times}
    lagged = min(times, key=str)
    time, shift = split_index(lagged)
    if len(times) == 1 and shift and (matrix.learned or matrix.decay_rate != 0):
        raise LanguageError(
            f"{applied}: matrix {matrix.name} changes with time, and it acts on what has another one; give that a field, "
            f"x[{time}] = {applied.body}, and write {matrix.name} @ x[{time}]"
        )
    if len(times) == 1 and shift:
        applied = applied.xreplace({lagged: time})
    site = model.sites[(matrix.columns if applied.transposed else matrix.rows).name]
    known = {i: k for k, i in enumerate(model.index_symbols.values())}
    own = sorted(count_indices(applied), key=lambda i: (i.is_time, known.get(i, len(known)), i.name))
    names = {*model.tensors, *(n for s in model.sites.values() for n in s.tensors)}
    stem = f"{matrix.name}_{'back' if applied.transposed else 'out'}"
    numbered = (stem if k == 1 else f"{stem}{k}" for k in count(1))
    field = site.field(next(n for n in numbered if n not in names), *own)
    site.equation(field[tuple(own)], applied)
    return field[tuple(i + shift if i == time and len(times) == 1 else i for i in own)]


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
