"""A progress bar that appears only on runs that take longer than a moment."""

import time
from contextlib import contextmanager

DELAY = 2.0


@contextmanager
def progress_bar(title: str, enabled: bool):
    """Yield a callable (done, total) for the generated solver, or None if not enabled."""
    if not enabled:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    begin = time.perf_counter()
    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(title, visible=False)
    passes = {"done": 0}

    def report(done: int, total: int) -> None:
        if time.perf_counter() - begin < DELAY:
            return
        if not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=total, visible=True, description=f"{title}, sweep {passes['done'] + 1}")
        if done == total:
            passes["done"] += 1

    try:
        yield report
    finally:
        if bar.live.is_started:
            bar.stop()


def asking(watch, report):
    """A callable (done, total) for the generated solver that also tells it to stop once a signal has come."""

    def progress(done: int, total: int) -> bool:
        if report is not None:
            report(done, total)
        return watch.asked

    return progress
