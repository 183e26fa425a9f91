"""Random matrices that were found in an averaged action, and the finite system in which they act."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count

from sympy import Expr, Integer, S, Tuple

from dmftsym.averaging.products import Product
from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.finite_system import FiniteSystem
from dmftsym.derivation.process import EffectiveProcess, FieldEquation
from dmftsym.language.disorder import Applied, Learned, RandomMatrix
from dmftsym.language.site import Site
from dmftsym.language.symbols import Index, Kind, Tensor
from dmftsym.language.terms import Term, collapse_deltas, indices_of
from dmftsym.lowering.kernels import distributed
from dmftsym.lowering.noise import Drive

Place = tuple[str, int, int]  # a field, the number of a term in its equation, and of a part of it


@dataclass(frozen=True, kw_only=True)
class Use:
    """A drive by a matrix, with its factor; `transposed`: by the transpose."""

    drive: Drive
    factor: Expr
    transposed: bool


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A matrix with all its uses, and the terms that are its memories and drifts."""

    uses: tuple[Use, ...]
    variance: Expr
    symmetry: Expr = S.Zero
    memories: tuple[Place, ...] = ()
    learned: tuple[Learned, ...] = ()
    drifts: tuple[Place, ...] = ()

    @property
    def reference(self) -> Drive:
        """Its first drive forward."""
        return next(u.drive for u in self.uses if not u.transposed)

    @property
    def sources(self) -> set[Tensor]:
        """The sources that it drives."""
        return {u.drive.source.tensor for u in self.uses}


def terms_of(equation: FieldEquation) -> list[Term]:
    """The terms of an equation, sums of kernels as several terms."""
    return [part for term in equation.terms for part in distributed(term)]


def finite_system_of(equations: Derivation, found: list[Matrix]) -> FiniteSystem:
    """The equations with products of named matrices."""
    action = equations.action
    taken = {*(t.name for t in action.tensors), *action.declared.names, *(s.name for s in action.sites)}
    matrices, products = [], []
    for matrix in found:
        named = _named(matrix, taken, {s.name: s.weight for s in action.sites})
        matrices.append(named)
        uses = _joined(matrix.uses)
        products += [(use, _product(use, named, number, action.declared.indices)) for number, use in enumerate(uses)]
    dropped = {place[:2] for m in found for place in (*m.memories, *m.drifts)}
    return FiniteSystem(
        processes=tuple(_rewritten(p, products, dropped) for p in equations.process),
        matrices=tuple(matrices),
        products=tuple(product for _, product in products),
        sizes=tuple((s.name, s.weight) for s in action.sites),
        added=(),
    )


def _joined(uses: Iterable[Use]) -> list[Use]:
    """What a matrix is asked for one source as one function."""
    result: list[Use] = []
    for use in uses:
        for k, other in enumerate(result):
            drive = replace(other.drive, query=use.drive.query, strength=use.drive.strength)
            if drive == use.drive and use.transposed == other.transposed:
                query = other.factor * other.drive.query + use.factor * use.drive.query
                result[k] = replace(other, factor=Integer(1), drive=replace(other.drive, query=query))
                break
        else:
            result.append(use)
    return result


def _named(matrix: Matrix, taken: set[str], sizes: dict[str, Expr]) -> RandomMatrix:
    """The matrix as it would have been said, named after the field that it drives: J where it is square, else W."""
    drive = matrix.reference
    stem = f"{'J' if drive.near == drive.far else 'W'}_{drive.source.field.name}"
    names = (stem if k == 1 else f"{stem}_{k}" for k in count(1))
    name = next(n for n in names if n not in taken)
    taken.add(name)
    return RandomMatrix(
        name=name,
        rows=Site(drive.near, None, sizes[drive.near]),
        columns=Site(drive.far, None, sizes[drive.far]),
        variance=matrix.variance,
        symmetry=matrix.symmetry,
        indices=drive.member,
        learned=list(matrix.learned),
    )


def _product(use: Use, matrix: RandomMatrix, number: int, declared: tuple[Index, ...]) -> Product:
    drive = use.drive
    applied = Applied(matrix.symbol, Integer(use.transposed), Tuple(*drive.member), drive.query)
    rank = lambda i: (i.is_time, declared.index(i) if i in declared else len(declared), i.name)
    indices = sorted({*indices_of(drive.query), *drive.member}, key=rank)
    tensor = Tensor(f"product {number} of {matrix.name}", Kind.DEFINITION, tuple(indices), drive.near)
    return Product(tensor=tensor, applied=applied, matrix=matrix)


def _rewritten(
    process: EffectiveProcess, products: list[tuple[Use, Product]], dropped: set[tuple[str, int]]
) -> EffectiveProcess:
    """A process with products in place of sources, memories and drifts."""
    mine = [(use, product) for use, product in products if use.drive.near == process.site]
    replaced = {use.drive.source.tensor for use, _ in mine}
    equations = []
    for equation in process.equations:
        new = []
        for use, product in mine:
            if use.drive.source.field == equation.field:
                front = use.drive.source.amplitude * use.drive.outer * use.factor
                body = front * product.tensor[product.tensor.indices]
                new.append(collapse_deltas(Term(body, use.drive.bound)))
        kept = equation.terms
        if any(name == equation.field.name for name, _ in dropped):
            kept = tuple(t for k, t in enumerate(terms_of(equation)) if (equation.field.name, k) not in dropped)
        sources = tuple(s for s in equation.sources if s.tensor not in replaced)
        equations.append(replace(equation, terms=(*new, *kept), sources=sources))
    covariances = tuple(c for c in process.covariances if c.left.tensor not in replaced)
    return replace(process, equations=tuple(equations), covariances=covariances)
