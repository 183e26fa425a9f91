"""Which indices a named formula carries when nobody lists them."""

from collections.abc import Iterable

from sympy import Expr

from dmftsym.errors import LanguageError
from dmftsym.language.symbols import Index
from dmftsym.language.terms import count_indices, flatten


def indices_of_formula(formula: Expr, declared: Iterable[Index], strict: str = "") -> list[Index]:
    """The indices that a named formula carries: those that stand once in some term, and times, which come last.

    With `strict`, which says where, an index that stands more often is not taken for summed but refused.
    """
    order = list(declared)
    once: set[Index] = set()
    often: dict[Index, Expr] = {}
    for term in flatten(formula):
        for index, count in count_indices(term.body).items():
            if index not in term.bound:
                if count == 1 or index.is_time:
                    once.add(index)
                else:
                    often.setdefault(index, term.body)
    for index in (i for i in order if strict and i in often and i not in once):
        raise LanguageError(
            f"{strict}: index {index} stands more than once in {often[index]}; name the indices before the "
            f"formula, or sum with sum_over({index})(...)"
        )
    return sorted(once, key=lambda i: (i.is_time, order.index(i)))
