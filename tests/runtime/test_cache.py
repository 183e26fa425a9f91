"""The cache of generated modules: one file a text, never half a file, never the wrong text."""

import sys
from pathlib import Path

import pytest

from dmftsym.files import cache_folder, write_atomically
from dmftsym.runtime.cache import load_module


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache for every test; modules that a test loads are forgotten."""
    monkeypatch.setenv("DMFTSYM_CACHE", str(tmp_path / "cache"))
    before = set(sys.modules)
    yield tmp_path / "cache"
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_folder_is_the_one_of_the_environment(folder, monkeypatch):
    assert cache_folder() == folder and folder.is_dir()
    monkeypatch.delenv("DMFTSYM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    assert cache_folder() == folder / "dmftsym"


def test_a_folder_that_cannot_be_made_falls_back_to_a_temporary_one(folder, monkeypatch):
    folder.write_text("a file is in the way")
    module = load_module("unit", "VALUE = 1\n")
    assert module.VALUE == 1 and folder not in Path(module.__file__).parents


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
    sys.modules.pop(next(name for name, m in sys.modules.items() if getattr(m, "__file__", "") == str(path)))
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
