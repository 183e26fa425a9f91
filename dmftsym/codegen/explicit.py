"""Noise that order parameters have of their own, from explicit terms of second order in conjugates, as source code."""

from sympy import Integer

from dmftsym.codegen.arrays import ArrayFormula, size_code
from dmftsym.codegen.influences import place_of_column
from dmftsym.codegen.sweeps import is_read, tuple_code, unpack, values_of
from dmftsym.codegen.targets import Target
from dmftsym.derivation.hessian import ExplicitNoise
from dmftsym.language.symbols import Index
from dmftsym.language.terms import Before, as_expression, entries_of
from dmftsym.linearise.records import Fluctuations, Influences
from dmftsym.lowering.clock import CLOCK
from dmftsym.program.program import Program

LAST = "path_last"


def explicit_tables(fluctuations: Fluctuations | Influences, program: Program, target: Target) -> dict:
    """The keys of the template: for every noisy order parameter its axes, and the blocks of κ as lines of code."""
    noise = fluctuations.noise
    tensors = list(dict.fromkeys(n.first.tensor for n in noise))
    lines = [line for n in noise for line in _block(n, program)]
    names = dict.fromkeys(name for n in noise for name in n.reads)
    clock = any(e.tensor.name == CLOCK for n in noise for t in n.terms for e in entries_of(t.body))
    step = "dt*" if program.grid.continuous else ""
    given = [f"{name} = " + target.on_host(f'arrays["{name}"]') for name in names]
    return {
        "noisy": {t.name: repr(tuple(i.axis.name for i in t.indices)) for t in tensors},
        "columns": {t.name: place_of_column(t) for t in tensors},
        "lines": [
            *[f"{LAST} = steps - 1"] * is_read(LAST, [lines]),
            *given,
            *[f"{CLOCK} = {step}np.arange(steps)"] * clock,
            *lines,
        ],
        "unpack": unpack(values_of(program), [lines]),
    }


def _block(noise: ExplicitNoise, program: Program) -> list[str]:
    """One block of κ, all times at once."""
    axis = program.grid.now.axis
    formula = ArrayFormula(Index(LAST, axis))
    target = (*noise.first.indices, *noise.second.indices)
    limits = tuple(Before(t, formula.now, True) for t in target if t.is_time)
    code = formula.sum_of_terms(noise.terms, target, limits)
    shape = tuple_code([size_code(i.axis) for i in target])
    places = f'places["{noise.first.tensor.name}"], places["{noise.second.tensor.name}"]'
    return [
        f"# κ[{noise.first}; {noise.second}] holds {as_expression(noise.terms) or Integer(0)}",
        f"block = np.broadcast_to({code}, {shape})",
        f"kappa[np.ix_({places})] += block.reshape(len(places['{noise.first.tensor.name}']), -1)".replace("'", '"'),
    ]
