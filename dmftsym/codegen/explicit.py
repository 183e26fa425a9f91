"""Noise that order parameters have of their own, from explicit terms of second order in conjugates, as source code."""

from sympy import Integer

from dmftsym.codegen.array_printer import ArrayPrinter
from dmftsym.codegen.arrays import Arrays
from dmftsym.codegen.influences import place_of_column
from dmftsym.codegen.places import length
from dmftsym.codegen.sweeps import values_of
from dmftsym.codegen.targets import HOST, Target
from dmftsym.codegen.tree import Broadcast
from dmftsym.derivation.hessian import ExplicitNoise
from dmftsym.language.symbols import Index
from dmftsym.language.terms import Before, as_expression
from dmftsym.linearise.records import Fluctuations, Influences
from dmftsym.lowering.clock import CLOCK
from dmftsym.program.program import Program

LAST = "path_last"


def explicit_tables(fluctuations: Fluctuations | Influences, program: Program, target: Target) -> dict:
    """The keys of the template: for every noisy order parameter its axes, and the blocks of κ as lines of code."""
    noise = fluctuations.noise
    tensors = list(dict.fromkeys(n.first.tensor for n in noise))
    blocks = [_block(n, program) for n in noise]
    lines = [line for n, block in zip(noise, blocks, strict=True) for line in _lines(n, block)]
    reads = {name for block in blocks for name in block.names()}
    step = "dt*" if program.grid.continuous else ""
    given = [f"{name} = " + target.on_host(f'arrays["{name}"]') for n in noise for name in n.reads]
    return {
        "noisy": {t.name: repr(tuple(i.axis.name for i in t.indices)) for t in tensors},
        "columns": {t.name: place_of_column(t) for t in tensors},
        "lines": [
            *[f"{LAST} = steps - 1"] * (LAST in reads),
            *dict.fromkeys(given),
            *[f"{CLOCK} = {step}np.arange(steps)"] * (CLOCK in reads),
            *lines,
        ],
        "unpack": [f'{name} = values["{name}"]' for name in values_of(program) if name in reads],
    }


def _block(noise: ExplicitNoise, program: Program) -> Broadcast:
    """One block of κ, all times at once."""
    now = Index(LAST, program.grid.now.axis)
    target = (*noise.first.indices, *noise.second.indices)
    limits = tuple(Before(t, now, True) for t in target if t.is_time)
    return Broadcast(target, Arrays(now).total(noise.terms, target, limits), tuple(length(i.axis) for i in target))


def _lines(noise: ExplicitNoise, block: Broadcast) -> list[str]:
    places = f'places["{noise.first.tensor.name}"], places["{noise.second.tensor.name}"]'
    return [
        f"# κ[{noise.first}; {noise.second}] holds {as_expression(noise.terms) or Integer(0)}",
        f"block = {ArrayPrinter(HOST).text(block)}",
        f'kappa[np.ix_({places})] += block.reshape(len(places["{noise.first.tensor.name}"]), -1)',
    ]
