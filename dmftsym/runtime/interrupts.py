"""SIGINT and SIGTERM: the first one ends a run after its step, so that what it has is kept; a second one at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Watch:
    """What the signals said since handlers were installed."""

    def __init__(self) -> None:
        self.asked, self.at_once = False, False

    def handle(self, number) -> None:
        """Take note of a signal; the second one, or the first where nothing can be kept, ends what runs."""
        again, self.asked = self.asked or self.at_once, True
        if again:
            raise KeyboardInterrupt(number)


@contextmanager
def noted() -> Iterator[list[int]]:
    """A program that both signals end at once, outside of runs; yields the signals that have come."""
    came: list[int] = []

    def handle(number, frame):
        came.append(number)
        raise KeyboardInterrupt

    with _installed(handle):
        yield came


@contextmanager
def _installed(handle) -> Iterator[None]:
    """Handlers in place of Python's own, in the main thread; those of somebody else are left alone."""
    known = {}
    if threading.current_thread() is threading.main_thread():
        ours = (signal.SIG_DFL, signal.default_int_handler)
        for number in SIGNALS:
            if signal.getsignal(number) in ours or getattr(signal.getsignal(number), "_ours", False):
                handle._ours = True
                known[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in known.items():
            signal.signal(number, handler)


_watches: list[Watch] = []


@contextmanager
def watched() -> Iterator[Watch]:
    """Handlers for a run in the main thread; inside another such run its watch, elsewhere one that hears nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield Watch()
        return
    if _watches:
        yield _watches[-1]
        return
    watch = Watch()
    _watches.append(watch)
    try:
        with _installed(lambda number, frame: watch.handle(number)):
            yield watch
    finally:
        _watches.remove(watch)


@contextmanager
def at_once(watch: Watch) -> Iterator[None]:
    """Where a part of a run is lost if it does not finish: the first signal ends it, also one that came before."""
    watch.at_once = True
    try:
        if watch.asked:
            raise KeyboardInterrupt
        yield
    finally:
        watch.at_once = False
