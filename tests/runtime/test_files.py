"""Files: only regular ones are replaced, links followed, modes kept, leftovers swept, and the path is checked first."""

import os
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr
from fluctuating_models import interpreted

import dmftsym as ds
from dmftsym.files import replacing, sweep, target_of
from dmftsym.models.loading import build_model
from dmftsym.runtime.results import check_output, save

RESULT = xr.Dataset({"f": ("time", np.arange(3.0))})


@pytest.fixture(scope="module")
def module():
    return interpreted(ds.compile_model(build_model("recurrent")).source.text)


@pytest.fixture(params=("dataset", "text", "script"))
def write(request, module):
    """Write something to a path: None, or the line that refuses it."""

    def of_dataset(path):
        try:
            check_output(path)
            save(RESULT, path)
        except ds.SolveError as error:
            return str(error)

    def of_text(path):
        try:
            with replacing(path) as temporary:
                temporary.write_text("new")
        except OSError as error:
            return str(error)

    def of_script(path):
        try:
            module._save(str(path), {"f": np.arange(3.0)})
        except OSError as error:
            return str(error)

    return {"dataset": of_dataset, "text": of_text, "script": of_script}[request.param]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_pipe_is_not_replaced(write, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "regular file" in write(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode) and names(tmp_path) == ["pipe"]


def test_a_device_is_not_replaced(write, tmp_path):
    node = tmp_path / "null"
    try:
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")
    (tmp_path / "link").symlink_to(node)
    for path in (node, tmp_path / "link"):
        assert "regular file" in write(path)
    assert stat.S_ISCHR(node.stat().st_mode) and names(tmp_path) == ["link", "null"]


def test_the_target_of_a_link_is_written(write, tmp_path):
    (tmp_path / "data").mkdir()
    for known in (True, False):
        target = tmp_path / "data" / f"out{known}.nc"
        if known:
            target.write_text("old")
        link = tmp_path / f"link{known}"
        link.symlink_to(target)
        assert write(link) is None
        assert link.is_symlink() and target.is_file() and target.read_bytes() != b"old"
    assert names(tmp_path / "data") == ["outFalse.nc", "outTrue.nc"]


def test_the_mode_of_a_file_stays(write, tmp_path):
    path = tmp_path / "out.nc"
    for mode in (0o640, 0o604):
        path.write_text("old")
        path.chmod(mode)
        assert write(path) is None and stat.S_IMODE(path.stat().st_mode) == mode
    path.unlink()
    known = os.umask(0o027)
    try:
        assert write(path) is None and stat.S_IMODE(path.stat().st_mode) == 0o640, "that of a new file"
    finally:
        os.umask(known)


def test_what_cannot_be_written(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    cases = {
        ".": "folder", "folder": "folder", "..": "folder", "missing/out.nc": "no folder", "file/out.nc": "no folder",
        "n" * 300: "300 letters|too long", "o\0o": "null", "loop": "circle|regular", "x/" * 3000 + "y": "",
    }  # fmt: skip
    for path, words in cases.items():
        line = write(tmp_path / path)
        assert line is not None and "\n" not in line and any(w in line for w in words.split("|")), (path, line)
    assert names(tmp_path) == ["file", "folder", "loop"] and (tmp_path / "file").read_text() == "old"
    known = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("file") and known(path, mode))
    assert "read-only" in write(tmp_path / "file")
    monkeypatch.setattr(os, "open", full)
    assert "No space" in write(tmp_path / "new")


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_the_path_is_checked_before_anything_is_computed(module, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "solve", None)
    assert module.main(["--steps", "3", "-p", "g=1.5", "-o", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "folder" in err and err.count("\n") == 1


def test_names_that_are_long_but_allowed(write, tmp_path):
    path = tmp_path / ("n" * 255)
    assert write(path) is None and names(tmp_path) == ["n" * 255]


def test_leftovers_of_killed_runs_are_swept(tmp_path):
    kill = "import os, sys; from dmftsym.files import replacing; from pathlib import Path\n"
    kill += "with replacing(Path('out')) as t: t.write_text('half'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", kill], cwd=tmp_path, check=False)
    (left,) = names(tmp_path)
    assert left.startswith(".dmftsym-") and left.endswith(".tmp")
    machine, ours = left.split("-")[1], f"{os.getpid()}"
    others = [f".dmftsym-{machine}-{ours}-9.tmp", ".dmftsym-00000000-1-0.tmp", ".dmftsym-x.tmp", ".dmftsym-a-b-c.tmp"]
    for name in others:
        (tmp_path / name).write_text("in use")
    with replacing(tmp_path / "out") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == sorted([*others, "out"]), "what is in use stays"
    os.utime(tmp_path / others[1], (time.time() - 30 * 86400,) * 2)
    sweep(tmp_path)
    assert names(tmp_path) == sorted([*others[:1], *others[2:], "out"]), "of another machine, old"


def test_the_command_line_looks_first(tmp_path):
    with pytest.raises(OSError, match="folder"):
        target_of(tmp_path)
