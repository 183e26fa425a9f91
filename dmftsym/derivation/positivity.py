"""Covariances that cannot be: those of noise that are response functions."""

from dmftsym.derivation.process import Covariance, Processes
from dmftsym.derivation.responses import ResponseFunction
from dmftsym.errors import DerivationError
from dmftsym.language.symbols import Entry, Kind, Tensor
from dmftsym.language.terms import Term, entries_of


def check_covariances(processes: Processes, responses: tuple[ResponseFunction, ...]) -> None:
    """Refuse noise whose two-time covariance is a response function.

    R(t, s) vanishes for t < s and, unless the response is instantaneous, at t = s: its symmetric part has no diagonal,
    so it is positive only if it is zero. Raises `DerivationError`; what depends on numbers is
    checked when they are known.
    """
    kernels = {r.tensor: r for r in responses}
    for process in processes:
        for block in process.covariances:
            found = [_response(t, block, kernels) for t in block.terms]
            if block.left.tensor == block.right.tensor and all(found):
                entry = max((e for e in found if e), key=lambda e: e.times == (*block.left.times, *block.right.times))
                field = next(s.field for e in process.equations for s in e.sources if s.tensor == block.left.tensor)
                raise DerivationError(
                    f"site {process.site}: the covariance of the noise of {field} is not positive: {entry} is a "
                    "response function, 0 at equal times and in one order of them; a covariance has no response fields"
                )


def _response(term: Term, block: Covariance, kernels: dict[Tensor, ResponseFunction]) -> Entry | None:
    """The response function between the two times of a covariance that makes a term vanish at equal times."""
    ends = {*block.left.times, *block.right.times}
    for entry in entries_of(term.body, Kind.ORDER_PARAMETER):
        if entry.tensor in kernels and set(entry.times) == ends and not kernels[entry.tensor].instant:
            return entry
    return None
