"""The cache of generated modules: one file a text, never half a file, never the wrong text."""

import errno
import importlib.util
import os
import py_compile
import sys
from pathlib import Path

import numba
import pytest

from dmftsym.errors import DmftsymError
from dmftsym.files import cache_folder, without_cache, write_atomically
from dmftsym.runtime.cache import load_module
from dmftsym.runtime.solver import Solver


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache for every test; modules that a test loads are forgotten."""
    monkeypatch.setenv("DMFTSYM_CACHE", str(tmp_path / "cache"))
    before = set(sys.modules)
    without_cache.cache_clear()
    yield tmp_path / "cache"
    for name in {n for n in set(sys.modules) - before if n.startswith("dmftsym_generated_")}:
        del sys.modules[name]


def forget(path):
    """The next load of the module finds only its files."""
    sys.modules.pop(next(name for name, m in list(sys.modules.items()) if getattr(m, "__file__", "") == str(path)))


def test_the_folder_is_the_one_of_the_environment(folder, monkeypatch):
    assert cache_folder() == folder and folder.is_dir()
    monkeypatch.delenv("DMFTSYM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    assert cache_folder() == folder / "dmftsym"


def test_without_a_folder_nothing_is_kept(folder, monkeypatch, capsys):
    folder.write_text("a file is in the way")
    module = load_module("unit", "VALUE = 1\n")
    assert module.VALUE == 1 and not Path(module.__file__).exists()
    assert load_module("other", "VALUE = 2\n").VALUE == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and str(folder) in line and "compiled anew" in line


def test_folders_are_private(folder):
    path = Path(load_module("unit", "VALUE = 1\n").__file__)
    assert [p.stat().st_mode & 0o777 for p in (folder, path.parent, path.parent / "__pycache__")] == [0o700] * 3


@pytest.mark.parametrize("place", ("cache", "module", "compiled"))
@pytest.mark.parametrize("mode", (0o777, 0o770, 0o702))
def test_a_folder_that_others_can_write_to_is_refused(place, mode, folder):
    path = Path(load_module("unit", "VALUE = 1\n").__file__)
    forget(path)
    {"cache": folder, "module": path.parent, "compiled": path.parent / "__pycache__"}[place].chmod(mode)
    with pytest.raises(DmftsymError, match=f"written by others.*{mode:o}.*not run"):
        load_module("unit", "VALUE = 1\n")


def test_a_folder_of_another_user_is_refused(folder, monkeypatch):
    load_module("unit", "VALUE = 1\n")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DmftsymError, match="another user"):
        load_module("unit", "VALUE = 2\n")


def test_planted_compiled_python_is_not_run(folder):
    path = Path(load_module("unit", "VALUE = 1\n").__file__)
    forget(path)
    other = path.with_name("planted.py")
    other.write_text("VALUE = 3\n")
    compiled = importlib.util.cache_from_source(str(path))
    py_compile.compile(str(other), compiled, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert load_module("unit", "VALUE = 1\n").VALUE == 1


NUMBA = """
MODEL = "unit"
from numba import njit

@njit(cache=True)
def _twice(x):
    return 2 * x

@njit(cache=True)
def twice(x):
    return _twice(x)
"""


@pytest.mark.parametrize("suffix", ("nbi", "nbc"))
@pytest.mark.parametrize("kept", (0, 0.5, 0.99))
def test_compiled_code_that_was_cut_is_built_anew(suffix, kept, folder, capsys):
    module = load_module("unit", NUMBA)
    assert module.twice(3) == 6
    (cut,) = (Path(module.__file__).parent / "__pycache__").glob(f"*.twice-*.{suffix}")
    forget(Path(module.__file__))
    assert load_module("unit", NUMBA).twice(4) == 8 and capsys.readouterr().err == ""
    forget(Path(module.__file__))
    content = cut.read_bytes()
    cut.write_bytes(content[: int(kept * len(content))])
    assert load_module("unit", NUMBA).twice(5) == 10
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "damaged" in err
    forget(Path(module.__file__))
    assert load_module("unit", NUMBA).twice(6) == 12 and capsys.readouterr().err == "", "it is whole again"


def test_a_disk_that_fills_up(folder, monkeypatch, capsys):
    """Numba writes what it compiles in the middle of a run: the run is done again without."""
    text = (
        NUMBA
        + """
InputError = ValueError
TIME_STEP, MODEL_HASH, GENERATED_BY, OPTIONS, OUTPUTS, CONTINUOUS = 1.0, "", "dmftsym 0", {}, {}, False

def check_parameters(parameters):
    return parameters

def solve(parameters, data, *, steps, **options):
    return {"time": np.arange(twice(steps)), "status": np.array("ok")}

import numpy as np
"""
    )
    solver = Solver("unit", text)
    solver.module  # noqa: B018  loaded while there is room

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "save", full)
    assert len(solver.solve(steps=3).time) == 6
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "No space left" in err


def test_the_same_text_is_the_same_module(folder):
    first = load_module("unit", "VALUE = 1\n")
    assert load_module("unit", "VALUE = 1\n") is first
    other = load_module("unit", "VALUE = 2\n")
    assert (first.VALUE, other.VALUE) == (1, 2)
    assert Path(first.__file__).read_text() == "VALUE = 1\n"
    assert Path(first.__file__).name == "unit.py" and folder in Path(first.__file__).parents
    assert Path(other.__file__) != Path(first.__file__)


def test_a_damaged_file_is_written_anew():
    path = Path(load_module("unit", "VALUE = 1\n").__file__)
    path.write_text("VALUE = ")
    forget(path)
    assert load_module("unit", "VALUE = 1\n").VALUE == 1


def test_a_module_that_fails_is_not_kept():
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            load_module("broken", "VALUE = 1 / 0\n")


def test_writing_replaces_the_whole_file(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "first, and longer")
    write_atomically(path, "η second")
    assert path.read_text(encoding="utf-8") == "η second"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_failing_write_keeps_the_good_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_atomically(path, "good")

    def half(self, content):
        with open(self, "wb") as file:
            file.write(content[:2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, "newer")
    assert path.read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
