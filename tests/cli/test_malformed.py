"""Whatever is wrong with an input: status 2, one line, no traceback, no file, soon, and without much memory."""

import os
import resource
import subprocess
import sys
import time

import malformed
import memory_peaks
import pytest

CASES = malformed.cases()
DEFAULT = (
    "usage: steps is text", "usage: option with newlines", "model (derive): 300 letters", "structure: tanh 39 deep",
    "structure: exponentials", "structure: depth 100000", "output (solve): pipe", "output (solve): 300 letters",
    "contents: bomb", "contents: no array", "file: in.json", "model file: sys.exit(0)", "model file: BaseException",
    "model file: getattr", "model file: build is a number", "model file: recursion",
)  # fmt: skip
PROCESSES = (
    "usage: steps is 100 kB", "structure: powers of powers", "contents: bomb", "contents: a header that lies",
    "model file: sys.exit(0)", "model file: memory asked for", "model file: recursion in build", "options: steps 10**9",
    "arrays: X_test of another D", "output (solve): null", "model file: deep brackets", "options: seed 10**40",
)  # fmt: skip


@pytest.fixture
def prepared(folder):
    """The files of a case, beside a folder, a pipe, a link to it and a link to itself."""

    def prepare(case):
        (folder / "folder").mkdir()
        os.mkfifo(folder / "pipe")
        (folder / "link").symlink_to("pipe")
        (folder / "loop").symlink_to("loop")
        for name, content in case.files.items():
            data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
            (folder / name).write_bytes(data)
        return {p.name for p in folder.iterdir()}

    return prepare


def check(line: str, name: str):
    assert line.count("\n") == 1 and line.endswith("\n"), (name, line[:2000])
    assert "Traceback" not in line and len(line) < 1000 and line[:-1].isprintable(), (name, line[:2000])
    assert line.startswith("dmftsym: ") and len(line) > 20, (name, line)


def judged(name, dmftsym, folder, prepared):
    before = prepared(CASES[name])
    started, held = time.perf_counter(), memory_peaks.resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    done = dmftsym(*CASES[name].command)
    assert done.status == 2, (name, done)
    check(done.err, name)
    assert time.perf_counter() - started < 20, name
    assert memory_peaks.resident("VmHWM") - held < 2**30, name
    left = {p.name for p in folder.iterdir()} - {"__pycache__"}
    assert left == before, (name, left - before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DEFAULT)
def test_a_handful(name, dmftsym, folder, prepared):
    judged(name, dmftsym, folder, prepared)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in CASES if name not in DEFAULT])
def test_all_others(name, dmftsym, folder, prepared):
    judged(name, dmftsym, folder, prepared)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_some_in_processes_of_their_own(name, folder, prepared):
    """With 20 seconds of processor time and, beside what Python and its libraries map, 1 GiB of data."""
    before = prepared(CASES[name])
    command = [a for a in CASES[name].command if "\0" not in a]
    code = "from dmftsym.cli.main import main; import resource\n"
    code += "resource.setrlimit(resource.RLIMIT_DATA, (RESERVED + 2**30,) * 2); main()".replace("RESERVED", str(2**30))
    limits = lambda: resource.setrlimit(resource.RLIMIT_CPU, (40, 40))
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=120, preexec_fn=limits
    )
    assert done.returncode == 2, done
    check(done.stderr, name)
    assert {p.name for p in folder.iterdir()} - {"__pycache__"} == before


def test_there_are_many():
    assert len(CASES) > 250 and set(DEFAULT) | set(PROCESSES) <= set(CASES)
