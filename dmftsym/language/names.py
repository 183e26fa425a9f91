"""What a name may look like, and the few names that results keep for themselves."""

import re
from collections.abc import Iterable

from dmftsym.errors import LanguageError
from dmftsym.language.symbols import Axis, Tensor

LONGEST = 60
_SYMBOL = re.compile(r"[^\W\d]\w*")
_FREE = re.compile(r"\w(?:[\w .+-]*\w)?")
# what a result tells about a run, under these names
REPORTED = frozenset(
    "time status measure paths estimated_error null_directions covariance_jitter rounding_error paths_at_once "
    "time_step_error accuracy directions dropped_variance cov_measure cov_modes cov_status cov_estimated_error".split()
)


def check_name(name, what: str = "", free: bool = False) -> None:
    """Refuse what is no name: letters of any alphabet, digits, underscores; with `free` also blanks and - + . inside.

    How a symbol is named in generated code is not the user's business (see lowering/code_names.py).
    """
    label = f"{what} " if what else ""
    if not isinstance(name, str):
        raise LanguageError(f"{label}name: text is expected, given: {name!r}"[:200])
    if len(name) > LONGEST:
        raise LanguageError(f"the {label}name '{name[:20]}...' has {len(name)} letters, at most {LONGEST} are possible")
    if not (_FREE if free else _SYMBOL).fullmatch(name):
        rule = "letters of any alphabet, digits and underscores" + (", blanks and - + . inside" if free else "")
        more = "" if free else ", a letter first; latex=... says how a symbol is printed"
        raise LanguageError(f"{label}{name!r} is not a usable name: {rule}{more}")


def check_results(quantities: Iterable[Tensor], axes: Iterable[Axis]) -> None:
    """Refuse quantities and axes whose names mean something else in a result.

    Raises `LanguageError`, saying what: reports of a run, coordinates, second indices, errors and covariances.
    """
    names = [q.name for q in quantities]
    dimensions = [a.name for a in axes]
    for name in names:
        if name in REPORTED:
            raise LanguageError(f"the name '{name}' of a quantity: results report something else under it; rename it")
        if name in dimensions:
            raise LanguageError(f"the name '{name}' of a quantity is that of an axis, whose coordinate it would be")
        for kind, meaning in (("se", "the sampling error"), ("excess", "a finite-width part")):
            if name.startswith(f"{kind}_") and name[len(kind) + 1 :] in names:
                raise LanguageError(f"the name '{name}': in results it is {meaning} of {name[len(kind) + 1 :]}")
        pairs = ((one, other) for one in names for other in names if name == f"cov_{one}_{other}")
        for one, other in pairs:
            raise LanguageError(f"the name '{name}': in results it is the covariance of {one} and {other}")
    for name in dimensions:
        stem = name.rstrip("0123456789")
        if name != stem and stem in dimensions and int(name[len(stem) :]) > 1:
            raise LanguageError(f"axis '{name}': results give this name to a further index of the axis '{stem}'")
