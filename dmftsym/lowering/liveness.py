"""Liveness: which quantities the requested outputs need, and which two-time ones are needed at equal times only."""

from dataclasses import dataclass

from dmftsym.derivation.process import EffectiveProcess, FieldEquation
from dmftsym.derivation.saddle_point import SaddlePoint
from dmftsym.errors import LoweringError
from dmftsym.language.action import Action
from dmftsym.language.display import Displayed
from dmftsym.language.symbols import Entry, Kind
from dmftsym.language.terms import Term, entries_of


@dataclass(frozen=True)
class Liveness(Displayed):
    """Names of live quantities; `equal_time` are live order parameters needed on their diagonal t = s only."""

    title = "What is computed"

    outputs: tuple[str, ...]
    live: tuple[str, ...]
    equal_time: tuple[str, ...]
    unused: tuple[str, ...]

    def text(self) -> str:
        """What is computed, what only at equal times, and what is left out."""
        lines = [f"computed: {', '.join(self.live)}", f"results: {', '.join(self.outputs)}"]
        if self.equal_time:
            lines.append(f"at equal times only: {', '.join(self.equal_time)}")
        if self.unused:
            lines.append(f"not computed, nothing needs them: {', '.join(self.unused)}")
        return "\n".join(lines)

    def latex_lines(self) -> list[str]:
        """The same as text."""
        return [rf"\text{{{line}}}" for line in self.text().splitlines()]


def find_live(
    action: Action,
    processes: tuple[EffectiveProcess, ...],
    saddle: SaddlePoint,
    wanted: tuple[str, ...],
    more: dict[str, list[Entry]] | None = None,
) -> Liveness:
    """Walk back from the wanted quantities; `more` are entries that further quantities read.

    Raises `LoweringError` for a name that is no order parameter, definition or observable.
    """
    known = [q.name for q in action.order_parameters] + [d.tensor.name for d in action.definitions]
    for name in wanted:
        if name not in known:
            raise LoweringError(f"'{name}' is not a quantity of model {action.name}; it has {', '.join(known)}")
    reads = _reads(action, processes, saddle)
    for name, entries in (more or {}).items():
        reads[name] = [*reads.get(name, ()), *entries]
    roots = tuple(dict.fromkeys(wanted))
    live, full, queue = dict.fromkeys(roots), set(roots), list(roots)
    while queue:
        for entry in reads.get(queue.pop(0), ()):
            name = entry.tensor.name
            if len(set(entry.times)) > 1:
                full.add(name)
            if name not in live:
                live[name] = None
                queue.append(name)
    two_time = [q.name for q in action.order_parameters if len(q.time_slots) == 2]
    unused = tuple(name for name in known if name not in live)
    equal_time = tuple(n for n in two_time if n in live and n not in full)
    fed_back = [n for n in two_time if n in live and n in full and n not in roots]
    return Liveness((*roots, *fed_back), tuple(live), equal_time, unused)


def _reads(action: Action, processes, saddle: SaddlePoint) -> dict[str, list[Entry]]:
    """For every quantity the entries that its equation reads."""
    reads: dict[str, list[Entry]] = {}
    for equation in saddle.equations:
        terms = [t for a in equation.averages for t in a.terms]
        reads[equation.tensor.name] = _entries([*terms, *equation.explicit])
    for definition in action.definitions:
        reads[definition.tensor.name] = _entries(definition.terms)
    for process in processes:
        for definition in process.definitions:
            reads[definition.tensor.name] = _entries(definition.terms)
        for equation in process.equations:
            reads[equation.field.name] = _field_reads(process, equation)
    return reads


def _field_reads(process: EffectiveProcess, equation: FieldEquation) -> list[Entry]:
    names = {s.tensor.name for s in equation.sources}
    noise = [
        t for c in process.covariances if c.left.tensor.name in names or c.right.tensor.name in names for t in c.terms
    ]
    amplitudes = [Term(s.amplitude) for s in equation.sources]
    return _entries([*equation.terms, *noise, *amplitudes])


def _entries(terms) -> list[Entry]:
    kinds = (Kind.ORDER_PARAMETER, Kind.DEFINITION, Kind.OBSERVABLE, Kind.FIELD)
    return [e for t in terms for e in entries_of(t.body, *kinds)]
