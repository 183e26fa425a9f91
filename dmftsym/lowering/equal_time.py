"""Order parameters of two times that are read only at t = s are stored with one time."""

from dataclasses import replace

from dmftsym.derivation.process import EffectiveProcess
from dmftsym.derivation.saddle_point import SaddlePoint
from dmftsym.language.symbols import Entry, Kind, Tensor
from dmftsym.language.terms import Term, entries_of


def restrict_to_equal_time(
    names: tuple[str, ...], saddle: SaddlePoint, processes: tuple[EffectiveProcess, ...]
) -> tuple[SaddlePoint, tuple[EffectiveProcess, ...]]:
    """Replace q[mu, t, nu, t] by a one-time quantity q_equal[mu, nu, t] wherever `names` lists q."""
    if not names:
        return saddle, processes
    equations = []
    for equation in saddle.equations:
        averages = tuple(replace(a, terms=_rewrite(a.terms, names)) for a in equation.averages)
        explicit = _rewrite(equation.explicit, names)
        tensor = equation.tensor
        if tensor.name in names:
            tensor = equal_time_tensor(tensor)
            first, second = (equation.tensor.indices[k] for k in equation.tensor.time_slots)
            same = {second: first}
            averages = tuple(replace(a, terms=tuple(_at(t, same) for t in a.terms)) for a in averages)
            explicit = tuple(_at(t, same) for t in explicit)
        equations.append(replace(equation, tensor=tensor, averages=averages, explicit=explicit))
    definitions = tuple(replace(d, terms=_rewrite(d.terms, names)) for d in saddle.definitions)
    moved = tuple(_rewrite_process(p, names) for p in processes)
    return replace(saddle, equations=tuple(equations), definitions=definitions), moved


def equal_time_tensor(tensor: Tensor) -> Tensor:
    """The one-time version of a two-time tensor: indices other than time in order, then its first time."""
    others = [i for i in tensor.indices if not i.is_time]
    time = tensor.indices[tensor.time_slots[0]]
    return Tensor(f"{tensor.name}_equal", tensor.kind, (*others, time), latex_name=tensor.latex_name)


def _rewrite_process(process: EffectiveProcess, names) -> EffectiveProcess:
    return replace(
        process,
        equations=tuple(replace(e, terms=_rewrite(e.terms, names)) for e in process.equations),
        covariances=tuple(replace(c, terms=_rewrite(c.terms, names)) for c in process.covariances),
        definitions=tuple(replace(d, terms=_rewrite(d.terms, names)) for d in process.definitions),
    )


def _rewrite(terms: tuple[Term, ...], names: tuple[str, ...]) -> tuple[Term, ...]:
    return tuple(replace(t, body=t.body.xreplace(_replacements(t, names))) for t in terms)


def _replacements(term: Term, names: tuple[str, ...]) -> dict[Entry, Entry]:
    found = [e for e in entries_of(term.body, Kind.ORDER_PARAMETER) if e.tensor.name in names]
    result = {}
    for entry in found:
        others = [i for i, slot in zip(entry.indices, entry.tensor.indices, strict=True) if not slot.is_time]
        result[entry] = equal_time_tensor(entry.tensor)[(*others, entry.times[0])]
    return result


def _at(term: Term, mapping) -> Term:
    return replace(term, body=term.body.xreplace(mapping))
