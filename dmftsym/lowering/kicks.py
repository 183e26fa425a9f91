"""Kicks: response fields of sites that are closed exactly, as paths of their own.

The fields of a Gaussian site are linear in its normals e and, after an impulse in a source u(s), move by the response
R(t,s) = <x(t) u~(s)>. So a response field is one more direction besides the normals: a path on which all normals vanish
and u(s) is kicked. It has no weight in <x y> (averages of response fields alone vanish), but Wick's theorem for
averages that hold response functions needs it.

The same numbers are the changes of lowering/responses.py, which are no paths. They are paths here because the sweep
backward in time gives every direction, normal or kick, its influence by the same statements; changes along an axis of
their own would need a second influence and a second pairing.
"""

from dataclasses import replace

from sympy import Expr, Integer, KroneckerDelta, Mul

from dmftsym.derivation.process import Covariance, EffectiveProcess, Source, SourceKind
from dmftsym.derivation.responses import ResponseFunction
from dmftsym.language.symbols import Index, Kind, Tensor
from dmftsym.language.terms import Term


def kick_name(field: str) -> str:
    """The name of the source that kicks a field."""
    return f"kick_{field}"


def with_kicks(process: EffectiveProcess, responses: tuple[ResponseFunction, ...], strength: Expr) -> EffectiveProcess:
    """The process with a source of unit impulses, of size `strength`, in every equation whose source responds."""
    fields = {r.responder.tensor.name for r in responses if r.site == process.site}
    equations, covariances = [], []
    for equation in process.equations:
        field = equation.field
        if field.name not in fields:
            equations.append(equation)
            continue
        tensor = Tensor(kick_name(field.name), Kind.SOURCE, field.indices, process.site)
        source = Source(tensor, field, SourceKind.KICK, Integer(1))
        primed = tuple(i if i.is_time else Index(f"{i.name}'", i.axis) for i in field.indices)
        same = Mul(*[KroneckerDelta(i, j) for i, j in zip(field.indices, primed, strict=True) if i != j])
        entries = source.tensor[field.indices], source.tensor[primed]
        covariances.append(Covariance(*entries, (Term(same * strength**2),)))
        equations.append(replace(equation, sources=(*equation.sources, source)))
    return replace(process, equations=tuple(equations), covariances=(*process.covariances, *covariances))
