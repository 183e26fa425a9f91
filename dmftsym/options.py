"""One table of options: it feeds the Python interface, the command line and the header of generated files."""

from dataclasses import dataclass, fields

from dmftsym.errors import DmftsymError
from dmftsym.lowering.schemes import scheme_named


@dataclass(frozen=True)
class Options:
    """What changes the generated code.

    backend: "numba" or "cupy". outputs: quantities to compute besides the default results. covariance: quantities whose
    finite-width covariances are computed. scheme: time discretisation of
    continuous models, "euler" (first order) or "heun" (second order).
    """

    backend: str = "numba"
    outputs: tuple[str, ...] = ()
    covariance: tuple[str, ...] = ()
    scheme: str = "euler"

    def __post_init__(self):
        if self.backend not in BACKENDS:
            raise DmftsymError(f"unknown backend '{self.backend}'; available: {', '.join(BACKENDS)}")
        scheme_named(self.scheme)

    def as_dict(self) -> dict:
        """Options by name, for headers and hashes."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


BACKENDS = ("numba", "cupy")
