"""The progress bar appears on long runs only, and knows how far the sweep is."""

import io

from rich.console import Console

from dmftsym.runtime import progress


def test_short_runs_show_nothing(monkeypatch, capsys):
    with progress.progress_bar("model", enabled=True) as report:
        report(1, 10)
    assert capsys.readouterr().err == ""
    with progress.progress_bar("model", enabled=False) as report:
        assert report is None


def test_long_runs_show_the_model_and_the_share(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=screen, force_terminal=True, width=80))
    with progress.progress_bar("model", enabled=True) as report:
        report(5, 10)
        report(10, 10)
    assert "model, sweep 1" in screen.getvalue()
    assert "50%" in screen.getvalue() or "100%" in screen.getvalue()
