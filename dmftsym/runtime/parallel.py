"""Parallel kernels in processes that were forked after a run, and in several threads at once."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _State:
    """Whether Numba's threads were started in a process that this one was forked from; who may run kernels now."""

    def __init__(self) -> None:
        self.lost, self.running = False, threading.RLock()

    def forked(self) -> None:
        """A child has none of the threads of its parent, and none that could give the lock back."""
        numba = sys.modules.get("numba.np.ufunc.parallel")
        self.lost = self.lost or bool(getattr(numba, "_is_initialized", False))
        self.running = threading.RLock()


_state = _State()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_state.forked)


def threads_are_lost() -> bool:
    """Whether parallel kernels would wait for ever, or end the process, whatever Numba's threading layer."""
    return _state.lost


def serial(text: str) -> str:
    """Source of a generated module whose kernels need no threads; sums over paths are taken in another order."""
    return text.replace("parallel=True", "parallel=False")


@contextmanager
def alone() -> Iterator[None]:
    """One thread at a time: not every threading layer of Numba can be used from several, and one run uses all cores."""
    with _state.running:
        yield
