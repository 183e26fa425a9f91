"""Direction numbers of the Sobol sequence, read off SciPy's generator for the generated modules."""

import base64
import hashlib
from functools import lru_cache

import numpy as np
import scipy

from dmftsym.files import cache_folder, without_cache, write_atomically

DIMENSIONS, BITS = 64, 17


@lru_cache(maxsize=1)
def sobol_table() -> tuple[tuple[str, ...], tuple[int, int]]:
    """The table as lines of base-85 text, and its shape (dimensions, bits)."""
    text = _cached_table()
    width = 100
    return tuple(text[k : k + width] for k in range(0, len(text), width)), (DIMENSIONS, BITS)


def _cached_table() -> str:
    """The table as text, computed once a SciPy version: importing SciPy's statistics takes half a second."""
    folder = cache_folder()
    if folder is None:
        return _fresh_table()
    path = folder / f"sobol-{DIMENSIONS}-{BITS}-scipy-{scipy.__version__}.txt"
    text, _, digest = path.read_text(encoding="utf-8").partition("\n") if path.exists() else ("", "", "")
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        text = _fresh_table()
        try:
            write_atomically(path, f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}")
        except OSError as error:
            without_cache(str(folder), error.strerror or str(error))
    return text


def _fresh_table() -> str:
    return base64.b85encode(_direction_numbers().tobytes()).decode()


def _direction_numbers() -> np.ndarray:
    """Point 2^(j+1) - 1 of the Gray-code sequence is the j-th direction number of every dimension."""
    from scipy.stats import qmc

    sampler = qmc.Sobol(DIMENSIONS, scramble=False, bits=32)
    table, position = np.zeros((DIMENSIONS, BITS), dtype="<u4"), 0
    for bit in range(BITS):
        index = 2 ** (bit + 1) - 1
        sampler.fast_forward(index - position)
        table[:, bit] = np.round(sampler.random(1)[0] * 2.0**32).astype("<u4")
        position = index + 1
    return table
