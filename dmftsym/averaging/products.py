"""The products of random matrices as quantities of the sites: the finite system, in which the matrices still act."""

from dataclasses import dataclass

from sympy import Expr

from dmftsym.averaging.matching import declared_order
from dmftsym.averaging.uses import find_uses
from dmftsym.language.disorder import Applied, RandomMatrix
from dmftsym.language.model import Model
from dmftsym.language.symbols import Entry, Kind, Tensor
from dmftsym.language.terms import count_indices


@dataclass(frozen=True, kw_only=True)
class Product:
    """tensor[indices] = Σ_j J_ij query(j), a quantity of the units of the site that the matrix acts into."""

    tensor: Tensor
    applied: Applied
    matrix: RandomMatrix

    @property
    def query(self) -> Expr:
        """The function that the matrix acts on."""
        return self.applied.body


def with_products(model: Model) -> tuple[Model, tuple[Product, ...]]:
    """The model with every ``J @ v`` as a quantity of its own, and these quantities; `model` is changed.

    Every matrix stands beside one response field, and every product once, as `give_fields` leaves it.
    """
    found: dict[Applied, Product] = {}
    for site in model.sites.values():
        find_uses(model, site)  # refuses what stands at the wrong site
        for number, term in enumerate(site.terms):
            replaced: dict[Expr, Entry] = {}
            for applied in sorted(term.atoms(Applied), key=str):
                if applied not in found:
                    found[applied] = _product(model, applied, len(found))
                    site.tensors[found[applied].tensor.name] = found[applied].tensor
                replaced[applied] = found[applied].tensor[found[applied].tensor.indices]
            site.terms[number] = term.xreplace(replaced)
    return model, tuple(found.values())


def _product(model: Model, applied: Applied, number: int) -> Product:
    matrix = model.matrices[applied.matrix]
    site = matrix.columns if applied.transposed else matrix.rows
    indices = sorted(count_indices(applied), key=declared_order(model))
    tensor = Tensor(f"product {number} of {matrix.name}", Kind.DEFINITION, tuple(indices), site.name)
    return Product(tensor=tensor, applied=applied, matrix=matrix)
