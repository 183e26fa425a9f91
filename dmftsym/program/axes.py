"""The axes of a sweep beside those of the user: directions, impulses, passes; and the time step."""

from sympy import Symbol

from dmftsym.language.symbols import KICKS, PASSES, Axis, Tensor

TIME_STEP = Symbol("dt", positive=True)
COLUMNS = Axis("column", "columns")  # the independent directions in which a tangent sweep perturbs the path weights
BATCH = Axis("batch", "batches")  # the independent parts of the sample paths, where every array has an axis for them
PARTS = Axis("part", "parts")  # the same where only what has no paths has one

__all__ = ["BATCH", "COLUMNS", "KICKS", "PARTS", "PASSES", "TIME_STEP", "has_columns", "length_of"]


def has_columns(tensor: Tensor) -> bool:
    """Whether a quantity has one value per column of a tangent sweep."""
    return any(i.axis == COLUMNS for i in tensor.indices)


def length_of(axis: Axis) -> str:
    """The name (or number) of the length of an axis; the time axis has ``steps``."""
    return "steps" if axis.is_time else axis.size
