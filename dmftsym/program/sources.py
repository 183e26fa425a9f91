"""Jointly Gaussian sources of a site, as a sweep draws them."""

from dataclasses import dataclass

from dmftsym.derivation.process import Covariance, Source, SourceKind
from dmftsym.program.axes import length_of


@dataclass(frozen=True)
class SourceGroup:
    """Jointly Gaussian sources of one site: members and the blocks of their covariance.

    `antithetic`: drawn in pairs of opposite sign, because some observable is odd in it. `basis`: the site on whose
    paths the whitened functions of the group live, if any. `shares`: the larger group of another program whose
    normals it takes.
    """

    name: str
    site: str
    kind: SourceKind
    members: tuple[Source, ...]
    blocks: tuple[Covariance, ...]
    antithetic: bool = False
    basis: str = ""
    shares: str = ""

    @property
    def evolving(self) -> bool:
        """Whether the values at one time are correlated with those at earlier times."""
        return self.kind is SourceKind.EVOLVING

    @property
    def static(self) -> bool:
        """Whether one draw holds for all times."""
        return self.kind is SourceKind.STATIC

    @property
    def white(self) -> bool:
        """Whether the values at different times are independent."""
        return self.kind is SourceKind.WHITE

    @property
    def kicks(self) -> bool:
        """Whether these are unit impulses, no noise."""
        return self.kind is SourceKind.KICK

    @property
    def size(self) -> str:
        """The number of jointly Gaussian values at one time, as source."""
        return " + ".join(map(size_of, self.members))


def size_of(source: Source) -> str:
    """The number of values of a source at one time, as source."""
    return "*".join(length_of(i.axis) for i in source.tensor.indices if not i.is_time) or "1"


def times_size(count: str, size: str) -> str:
    """Source of count times a size, without superfluous brackets."""
    if size == "1":
        return count
    return f"{count}*{size}" if size.isidentifier() else f"{count}*({size})"
