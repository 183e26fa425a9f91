"""First-order changes of the quantities of a sweep along further axes: what the tangent rules of statements ask."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from sympy import Expr

from dmftsym.derivation.functional import variation
from dmftsym.derivation.jumps import without_jumps
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Term


class Tangents:
    """The changes of the quantities that are `changing`, one for every value of the indices `columns`.

    Those who apply the rules derive from it and say what a change is called and what
    else adds to it. Of what a tensor is the
    change, `origin` says.
    """

    def __init__(self, now: Index, columns: tuple[Index, ...], changing: Collection[str]):
        self.now, self.columns, self.changing = now, columns, changing
        self.origin: dict[Tensor, Tensor] = {}

    def name_of(self, tensor: Tensor) -> str:
        """The name of a quantity's change."""
        return f"d_{tensor.name}"

    def site_of(self, tensor: Tensor) -> str:
        """The site over whose paths a quantity's change differs, or an empty text."""
        return tensor.site

    def varied_tensor(self, tensor: Tensor) -> Tensor:
        """The tensor of a quantity's first-order change: the columns stand before its first time."""
        varied = Tensor(
            self.name_of(tensor), Kind.DEFINITION, self._placed(tensor, tensor.indices), self.site_of(tensor)
        )
        self.origin[varied] = tensor
        return varied

    def change_of(self, entry: Entry) -> Entry | None:
        """The first-order change of an entry, or None if it does not change."""
        return self.change(entry) if entry.tensor.name in self.changing else None

    def change(self, entry: Entry) -> Entry:
        """The first-order change of an entry that changes."""
        return self.varied_tensor(entry.tensor)[self._placed(entry.tensor, entry.indices)]

    def vary(self, terms: Iterable[Term]) -> tuple[Term, ...]:
        """The first-order change of a sum of functions of order parameters.

        Order parameters do not fluctuate at N→∞, so a jump away from their value contributes nothing.
        """
        changed = variation(tuple(terms), self.change_of)
        changed = tuple(replace(t, body=without_jumps(t.body)) for t in changed)
        return tuple(t for t in changed if t.body != 0)

    def slope(self, partial: Expr, target: Entry, entry: Entry) -> Expr:
        """The partial derivative of an update by an entry: as it is, or an array computed beside the update."""
        return partial

    def mode(self, site: str) -> Entry | None:
        """The relative changes of the weights of a site's paths, if they change."""
        return None

    def noise(self, target: Entry) -> tuple[Term, ...]:
        """What noise of its own adds to the change of an order parameter."""
        return ()

    def jumps(self, target: Entry) -> None:
        """Note that an update jumps, where its derivative misses a part."""

    def _placed(self, tensor: Tensor, indices: tuple) -> tuple:
        first = tensor.time_slots[0] if tensor.time_slots else len(tensor.indices)
        return (*indices[:first], *self.columns, *indices[first:])
