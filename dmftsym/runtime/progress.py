"""A progress bar that appears only on runs that take longer than a moment, in a terminal or a notebook."""

import sys
import time
from contextlib import contextmanager

DELAY = 2.0


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


@contextmanager
def progress_bar(title: str, enabled: bool | None = None):
    """Yield a callable (done, total) for the generated solver, or None if nothing is to be shown.

    Without `enabled`, that is where stderr is a terminal or belongs to a notebook.
    """
    notebook = in_notebook()
    if not (sys.stderr.isatty() or notebook if enabled is None else enabled):
        yield None
        return
    bar = _Line(title) if notebook else _Bar(title)
    begin, passes = time.perf_counter(), 0

    def report(done: int, total: int) -> None:
        nonlocal passes
        if time.perf_counter() - begin >= DELAY:
            bar.show(f"{title}, sweep {passes + 1}", done, total)
            passes += done == total

    try:
        yield report
    finally:
        bar.stop()


def asking(watch, report):
    """A callable (done, total) for the generated solver that also tells it to stop once a signal has come."""

    def progress(done: int, total: int) -> bool:
        if report is not None:
            report(done, total)
        return watch.asked

    return progress


class _Bar:
    """A bar in a terminal."""

    def __init__(self, title: str):
        from rich.console import Console
        from rich.progress import Progress

        self.bar = Progress(console=Console(stderr=True), transient=True)
        self.task = self.bar.add_task(title, visible=False)

    def show(self, title: str, done: int, total: int) -> None:
        if not self.bar.live.is_started:
            self.bar.start()
        self.bar.update(self.task, completed=done, total=total, visible=True, description=title)

    def stop(self) -> None:
        if self.bar.live.is_started:
            self.bar.stop()


class _Line:
    """One line that is written anew, for notebooks, at most a few times a second."""

    def __init__(self, title: str):
        self.width, self.last = 0, 0.0

    def show(self, title: str, done: int, total: int) -> None:
        if done < total and time.perf_counter() - self.last < 0.3:
            return
        self.last = time.perf_counter()
        text = f"{title}: {100 * done // total} %"
        sys.stderr.write("\r" + text.ljust(self.width))
        sys.stderr.flush()
        self.width = len(text)

    def stop(self) -> None:
        if self.width:
            sys.stderr.write("\r" + " " * self.width + "\r")
            sys.stderr.flush()
