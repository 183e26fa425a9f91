"""Apply one change to every formula of a derivation: what rewrites of equations have in common."""

from collections.abc import Callable
from dataclasses import replace

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.process import EffectiveProcess, Processes
from dmftsym.derivation.saddle_point import SaddlePoint
from dmftsym.language.terms import Term

Rewrite = Callable[[Term], Term]


def rewrite_terms(equations: Derivation, change: Rewrite) -> Derivation:
    """The derivation with every term of its processes, saddle point and response functions changed."""
    each = lambda terms: tuple(change(t) for t in terms)
    responses = tuple(
        replace(r, terms=each(r.terms), coefficient=change(Term(r.coefficient)).body) for r in equations.responses
    )
    return replace(
        equations,
        process=Processes(_process(p, each) for p in equations.process),
        saddle_point=_saddle_point(equations.saddle_point, each, change),
        responses=responses,
    )


def _process(process: EffectiveProcess, each: Callable) -> EffectiveProcess:
    factor = lambda source: replace(source, amplitude=each((Term(source.amplitude),))[0].body)
    return replace(
        process,
        equations=tuple(
            replace(e, terms=each(e.terms), sources=tuple(map(factor, e.sources))) for e in process.equations
        ),
        covariances=tuple(replace(c, terms=each(c.terms)) for c in process.covariances),
        definitions=tuple(replace(d, terms=each(d.terms)) for d in process.definitions),
    )


def _saddle_point(saddle: SaddlePoint, each: Callable, change: Rewrite) -> SaddlePoint:
    averages = lambda found: tuple(
        replace(a, terms=each(a.terms), coefficient=change(Term(a.coefficient)).body) for a in found
    )
    return replace(
        saddle,
        equations=tuple(replace(e, averages=averages(e.averages), explicit=each(e.explicit)) for e in saddle.equations),
        definitions=tuple(replace(d, terms=each(d.terms)) for d in saddle.definitions),
        constraints=tuple(replace(c, terms=each(c.terms)) for c in saddle.constraints),
    )
