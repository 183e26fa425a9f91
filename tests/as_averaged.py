"""Models as they were averaged: no matrix is held, so that draws, recalls and tangents of evolving noise are tested."""

from contextlib import contextmanager

import pytest

from dmftsym.lowering.gaussian import close_linear_sites


@contextmanager
def as_averaged():
    """What is compiled inside holds no random matrix."""
    closed = lambda equations, *_: (*close_linear_sites(equations), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dmftsym.lowering.lower.closed_or_held", closed)
        yield
