"""The command line in this process, in an empty folder."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest

from dmftsym.cli.main import main


@dataclass
class Outcome:
    """Exit status and what was printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The empty folder in which the commands of a test run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dmftsym(folder, monkeypatch, capsys):
    """dmftsym("solve", "mlp", ...): run the command line; an exception that it lets through fails the test."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dmftsym", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def refused(dmftsym):
    """Run a command that must be refused: status 2, one line on stderr, no traceback; returns that line."""

    def run(*arguments):
        done = dmftsym(*arguments)
        assert done.status == 2, done
        assert done.err.startswith("dmftsym: ") and done.err.count("\n") == 1, done.err
        assert "Traceback" not in done.out + done.err
        return done.err

    return run


@pytest.fixture
def data(folder):
    """in.npz: three samples in five dimensions, and with their labels."""
    rng = np.random.default_rng(1)
    arrays = {"X": rng.standard_normal((3, 5)), "y": np.array([1.0, -1.0, 0.5])}
    np.savez(folder / "in.npz", **arrays)
    return arrays
