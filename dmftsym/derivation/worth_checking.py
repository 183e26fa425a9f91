"""What a right action may hold, but a slip often does: told in the user's symbols, refused nowhere."""

from collections.abc import Iterator
from dataclasses import dataclass

from sympy import Add, Expr, Integer, Mul, simplify

from dmftsym.derivation.functional import strictly_before
from dmftsym.derivation.process import Processes
from dmftsym.derivation.responses import ResponseFunction
from dmftsym.derivation.saddle_point import OrderParameterEquation, SaddlePoint, SiteAverage, split_own_term
from dmftsym.language.action import Action, SiteAction
from dmftsym.language.display import Displayed, latex_text
from dmftsym.language.sums import LogZ
from dmftsym.language.symbols import Entry, Index, Kind
from dmftsym.language.terms import Term, all_indices, count_indices, entries_of, flatten

TITLE = "Worth checking"


@dataclass(frozen=True)
class WorthChecking(Displayed):
    """Short notes, one a suspicion; empty for most right models."""

    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.notes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.notes)

    def text(self) -> str:
        """A title and one note a line; nothing if there is none."""
        return "\n".join([f"{TITLE}:", *(f"  {note}" for note in self.notes)]) if self.notes else ""

    def latex_lines(self) -> list[str]:
        """One note a line, as text."""
        return [rf"\text{{{latex_text(line)}}}" for line in ([f"{TITLE}:", *self.notes] if self.notes else [])]


def find_worth_checking(
    action: Action,
    processes: Processes,
    saddle: SaddlePoint,
    responses: tuple[ResponseFunction, ...],
    added: tuple[str, ...] = (),
) -> WorthChecking:
    """Look for factors that do not cancel, terms that vanish, crowded indices, missing initial values, repetitions.

    `added` are order parameters that the average over random matrices brought, whose pairs no user wrote.
    Cost: linear in the number of terms.
    """
    written = [e for e in saddle.equations if e.tensor.name not in added]
    notes = [note for equation in written for note in _factors(action, equation)]
    notes += _vanishing(processes, saddle, responses)
    notes += [note for site in action.sites for note in _crowded(site.expression, f"site {site.name}")]
    notes += _crowded(action.expression, "the action")
    notes += _starts(processes)
    notes += [note for site in action.sites for note in _repetitions(site)]
    return WorthChecking(tuple(dict.fromkeys(notes)))


# --- factors of pairs and weights of sites ------------------------------------------------------------


def _factors(action: Action, equation: OrderParameterEquation) -> list[str]:
    """An order parameter that is not the plain average of its observable: a pair or a weight has a factor too many."""
    q, conjugate = equation.tensor, action.conjugate(equation.tensor)
    own = conjugate.tensor == q.hat
    if not equation.averages or (_cancels(equation.averages) if own else _is_one_up_to_parameters(equation.averages)):
        return []
    line = f"{q[q.indices]} = {equation.right_side()}"
    if not own:
        return [f"the pair term of {q[q.indices]} and {conjugate} leaves a factor: {line}"]
    coefficient, _ = split_own_term(action, q)
    names = [a.site for a in equation.averages]
    weights = [f"{s.weight} of site {s.name}" for s in action.sites if s.name in names and s.weight != 1]
    pair = f"the pair {conjugate}*{q[q.indices]}"
    if not weights:
        return [f"{pair} carries the factor {coefficient}, not -1: {line}"]
    weight = f"the weight {' and '.join(weights)}"
    if coefficient == -1:
        return [f"{weight} does not cancel in {q}: {line}"]
    return [f"{weight} and the factor {coefficient} of {pair} do not cancel in {q}: {line}"]


def _cancels(averages: tuple[SiteAverage, ...]) -> bool:
    """Whether every weight cancels, or they add up to one, or the observables carry what is left."""
    ratios = [a.coefficient for a in averages]
    if all(_is_one(r) for r in ratios) or _is_one(Add(*ratios)):
        return True
    return all(_is_one(factor) for a in averages for factor in _outer_factors(a))


def _is_one_up_to_parameters(averages: tuple[SiteAverage, ...]) -> bool:
    """For a pair: their common scale is free, a number such as 1/2 is a slip; signs within a sum are none."""
    numbers = [simplify(factor).as_coeff_Mul()[0] for a in averages for factor in _outer_factors(a)]
    return set(numbers) == {1} or set(numbers) == {1, -1}


def _outer_factors(average: SiteAverage) -> list[Expr]:
    """What stands in front of each averaged product of fields."""
    local = lambda f: any(e.tensor.site for e in entries_of(f))
    return [average.coefficient * Mul(*[f for f in t.factors if not local(f)]) for t in average.terms]


def _is_one(ratio: Expr) -> bool:
    return ratio == 1 or simplify(ratio - 1) == 0


# --- terms that vanish by causality -------------------------------------------------------------------


def _vanishing(processes: Processes, saddle: SaddlePoint, responses: tuple[ResponseFunction, ...]) -> list[str]:
    kernels = {r.tensor: r for r in responses}
    places = [(f"the equation of {e.field}", e.terms) for p in processes for e in p.equations]
    places += [(f"the definition of {d.tensor}", d.terms) for p in processes for d in p.definitions]
    places += [(f"the definition of {d.tensor}", d.terms) for d in saddle.definitions]
    notes = []
    for where, terms in places:
        for term in terms:
            for entry in (e for e in entries_of(term.body, Kind.ORDER_PARAMETER) if e.tensor in kernels):
                reason = _why_zero(entry, kernels[entry.tensor], term)
                if reason:
                    notes.append(f"{reason}, the term {term.body} in {where} vanishes")
    return notes


def _why_zero(entry: Entry, response: ResponseFunction, term: Term) -> str:
    later, earlier = (entry.indices[k] for k in response.time_slots)
    if strictly_before(later, earlier, term.constraints):
        return f"{entry} is 0 for {later} < {earlier} (a response to what enters at {earlier})"
    if later == earlier and not response.instant:
        return f"{entry} is 0 (nothing responds at the time at which it is driven)"
    return ""


# --- indices, initial values, repetitions -------------------------------------------------------------


def _crowded(expression: Expr, where: str) -> list[str]:
    """Indices that are contracted silently and stand more than twice, where another index may have been meant."""
    notes = []
    for term in flatten(expression):
        if term.body.has(LogZ):
            continue
        counts = count_indices(term.body)
        for index in (i for i in sorted(counts, key=str) if not i.is_time and i not in term.bound):
            if _places(index, term) > 2 and (_stands_twice_in_one(index, term) or _others_like(index, term)):
                notes.append(f"{where}: the index {index} stands {counts[index]} times in the term {term}")
    return notes


def _places(index: Index, term: Term) -> int:
    """How often an index stands in a product; a function of the unit's own fields counts once."""
    own = [e for e in entries_of(term.body, Kind.FIELD, Kind.DEFINITION) if e.tensor.site]
    rest = count_indices(term.body.xreplace({e: Integer(1) for e in own}))
    return rest[index] + any(e.has(index) for e in own)


def _stands_twice_in_one(index: Index, term: Term) -> bool:
    return any(e.indices.count(index) > 1 for e in entries_of(term.body))


def _others_like(index: Index, term: Term) -> bool:
    return any(i.axis == index.axis and i != index for i in all_indices(term))


def _starts(processes: Processes) -> list[str]:
    given = {s.field for p in processes for s in p.starts}
    moving = [e.field for p in processes for e in p.equations if e.derivative and e.field not in given]
    return [f"{f}(0) = 0: no initial value is declared, variance=0 (or another) says which" for f in moving]


def _repetitions(site: SiteAction) -> list[str]:
    return [f"site {site.name}: the term {term} was added more than once, it counts twice" for term in site.repeated]
