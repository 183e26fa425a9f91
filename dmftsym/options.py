"""The options that change generated code: for the Python interface, and by the same names for the command line."""

from dataclasses import dataclass, fields

from dmftsym.codegen.targets import TARGETS
from dmftsym.errors import DmftsymError
from dmftsym.lowering.schemes import scheme_named


@dataclass(frozen=True)
class Options:
    """What changes the generated code.

    backend: "numba" or "cupy". outputs: quantities to compute besides the default results. covariance: quantities whose
    finite-width covariances are computed (of both, several names, or one text with commas). scheme: time discretisation
    of continuous models, "euler" (first order) or "heun" (second order).
    """

    backend: str = "numba"
    outputs: tuple[str, ...] = ()
    covariance: tuple[str, ...] = ()
    scheme: str = "euler"

    def __post_init__(self):
        for name in ("outputs", "covariance"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        if self.backend not in TARGETS:
            raise DmftsymError(f"unknown backend '{self.backend}'; available: {', '.join(TARGETS)}")
        scheme_named(self.scheme)

    def as_dict(self) -> dict:
        """Options by name, for headers and hashes."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def _names(option: str, value) -> tuple[str, ...]:
    """Names given one by one, or as one text with commas."""
    try:
        names = tuple(n.strip() for n in value.split(",") if n.strip()) if isinstance(value, str) else tuple(value)
    except TypeError:
        names = (None,)
    if not all(isinstance(n, str) for n in names):
        raise DmftsymError(f"option {option}: names of quantities are expected, given: {value!r}")
    return names
