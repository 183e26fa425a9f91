"""Order parameters that are sums of response functions, as functions of elementary ones.

R(t, s) = Σ_k λ_k <O_k(t) x̃_k(s)> responds to several sources at once. An elementary response function responds to one,
so R = Σ_k λ_k R_x(k, t, k, s) with R_x(k, t, l, s) = <O_k(t) x̃_l(s)>.
"""

from dataclasses import dataclass, replace

from sympy import Integer, Mul

from dmftsym.derivation.saddle_point import OrderParameterEquation, SiteAverage
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Term, entries_of, fresh_index

Equations = tuple[OrderParameterEquation, ...]


@dataclass(frozen=True)
class SumOfResponses:
    """An order parameter with two times that sums elementary response functions, and the slots of its times."""

    tensor: Tensor
    parts: tuple[Tensor, ...]
    later: int
    earlier: int


def separate(equations: Equations, is_elementary) -> tuple[Equations, tuple[SumOfResponses, ...]]:
    """The equations with sums of response functions written as functions of elementary ones, whose equations follow.

    `is_elementary` tells the equations that stay as they are. Also returns the sums that vanish where their parts do.
    """
    made: dict[tuple, OrderParameterEquation] = {}
    result, sums = [], []
    for equation in equations:
        if is_elementary(equation):
            result.append(equation)
            continue
        written, entries = _written(equation, made)
        result.append(written)
        ends = {(e.times[0], e.times[-1]) for e in entries}
        if len(ends) == 1 and not written.averages and len(written.explicit) == len(entries):
            places = [equation.tensor.indices.index(t) for t in ends.pop() if t in equation.tensor.indices]
            if len(set(places)) == 2:
                sums.append(SumOfResponses(equation.tensor, tuple(e.tensor for e in entries), *places))
    return (*result, *made.values()), tuple(sums)


def _written(equation: OrderParameterEquation, made: dict) -> tuple[OrderParameterEquation, list[Entry]]:
    kept, explicit, found = [], list(equation.explicit), []
    for average in equation.averages:
        plain = []
        for term in average.terms:
            function = _elementary(term, average.site, made)
            if function is None:
                plain.append(term)
                continue
            entry, rest = function
            found.append(entry)
            explicit.append(replace(term, body=average.coefficient * rest * entry))
        if plain:
            kept.append(replace(average, terms=tuple(plain)))
    return replace(equation, averages=tuple(kept), explicit=tuple(explicit)), found


def _elementary(term: Term, site: str, made: dict) -> tuple[Entry, object] | None:
    """The elementary response function in a term of an average, and what multiplies it; None if there is none."""
    responding = [f for f in term.factors if isinstance(f, Entry) and f.tensor.kind == Kind.RESPONSE_FIELD]
    if len(responding) != 1:
        return None
    local = [f for f in term.factors if any(e.tensor.site == site for e in entries_of(f)) and f not in responding]
    observable, (source,) = Mul(*local), responding
    times = {t for e in entries_of(observable) if e.tensor.site for t in e.times}
    plain = all(isinstance(i, Index) for i in (*times, *source.indices))
    if len(times) != 1 or not plain or len(set(source.indices)) < len(source.indices):
        return None
    own = [i for i in sorted(observable.atoms(Index), key=lambda i: (i.is_time, i.name))]
    taken, end = list(own), []
    for index in source.indices:
        end.append(fresh_index(index, taken))
        taken.append(end[-1])
    key = (site, observable, source)
    if key not in made:
        name = f"response_{source.tensor.name}_{len(made) + 1}"
        tensor = Tensor(name, Kind.ORDER_PARAMETER, (*own, *end), latex_name=rf"R^{{{source.tensor.latex_name}}}")
        body = observable * source.tensor[tuple(end)]
        made[key] = OrderParameterEquation(tensor, (SiteAverage(site, Integer(1), (Term(body),)),), ())
    tensor = made[key].tensor
    rest = [f for f in term.factors if f not in local and f != source]
    return tensor[(*own, *source.indices)], Mul(*rest)
