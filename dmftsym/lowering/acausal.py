"""Sums over all times in the equation of a field: the plain reason why a conjugate does not vanish."""

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.process import FieldEquation
from dmftsym.errors import LoweringError
from dmftsym.language.symbols import Index, Kind
from dmftsym.language.terms import Term, entries_of


def explain_by_missing_past(equations: Derivation) -> None:
    """Raise `LoweringError` if a field at time t reads other fields at every time s, in the user's symbols."""
    for process in equations.process:
        for equation in process.equations:
            for term in equation.terms:
                for time in _loose_times(term):
                    raise LoweringError(
                        f"acausal: {_own(equation)} needs every time {time}, later ones too, in the term {term.body}; "
                        f"sum over the past with ds.past({', '.join(i.name for i in _with(time, term))})(...)"
                    )


def _loose_times(term: Term) -> list[Index]:
    limited = {c.time for c in term.constraints}
    read = {i for e in entries_of(term.body, Kind.FIELD, Kind.DEFINITION) for t in e.times for i in t.atoms(Index)}
    return [i for i in term.bound if i.is_time and i in read and i not in limited]


def _with(time: Index, term: Term) -> list[Index]:
    return [time, *(i for i in term.bound if not i.is_time)]


def _own(equation: FieldEquation) -> str:
    return str(equation.field[equation.field.indices])
