"""A generated module as a script, in a process that has only the standard library, NumPy and Numba."""

import re
import subprocess
import sys

import numpy as np
import pytest

STANDALONE = """
import sys

class Guard:
    allowed = sys.stdlib_module_names | {"numpy", "numba", "llvmlite"}

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in self.allowed:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Guard())
for name in ("scipy", "sympy", "xarray", "dmftsym", "jinja2", "typer", "rich", "matplotlib", "netCDF4"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{name} could be imported")
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_alone(folder, *arguments):
    """Run a script of a folder in a process where nothing but NumPy and Numba can be imported."""
    command = [sys.executable, "-c", STANDALONE, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def folder(tmp_path, compiled, three_samples):
    """A folder with solver.py and its data in.npz."""
    (tmp_path / "solver.py").write_text(compiled("mlp").source.text, encoding="utf-8")
    np.savez(tmp_path / "in.npz", **three_samples)
    return tmp_path


def test_the_script_alone_gives_the_same_numbers_bit_for_bit(folder, compiled, three_samples):
    line = "solver.py --data in.npz --steps 20 -p gamma=1 -p eta=0.2 -o out.npz"
    done = run_alone(folder, *line.split())
    assert (done.returncode, done.stderr) == (0, "")
    result = compiled("mlp").solve({"gamma": 1, "eta": 0.2}, three_samples, steps=20)
    other = compiled("mlp").solve({"gamma": 1, "eta": 0.2}, three_samples, steps=20, seed=1)
    with np.load(folder / "out.npz") as out:
        assert set(result.data_vars) <= set(out.files)
        for name in (*result.data_vars, "time"):
            assert np.array_equal(out[name], result[name].values), name
        assert str(out["measure"]) == result.attrs["measure"] and str(out["status"]) == "ok"
        assert not np.array_equal(out["f"], other.f.values)  # negative control: another seed is seen


def test_bad_input_ends_the_process_with_status_2_and_one_line(folder):
    done = run_alone(folder, *"solver.py --data in.npz --steps 20 -p gamma=1 -o out.npz".split())
    assert done.returncode == 2
    assert re.fullmatch(r"mlp: .*'eta' is missing.*\n", done.stderr)
    assert not (folder / "out.npz").exists()


def test_options_reach_the_solver(folder, mlp, three_samples):
    line = "-p gamma=1 -p eta=0.2 --steps 4 --dt 0.5 --measure monte-carlo --points 128 --seed 3 --accuracy inf"
    status = mlp.main([*line.split(), "--data", str(folder / "in.npz"), "-o", str(folder / "out.npz")])
    options = {"steps": 4, "dt": 0.5, "measure": "monte-carlo", "points": 128, "seed": 3, "accuracy": np.inf}
    expected = mlp.solve({"gamma": 1, "eta": 0.2}, three_samples, **options)
    assert status == 0
    with np.load(folder / "out.npz") as out:
        assert set(out.files) == set(expected)
        assert all(np.array_equal(out[name], expected[name]) for name in expected)
        assert list(out["time"]) == [0.0, 0.5, 1.0, 1.5]


KERNEL = np.array([[1.0, 0.2], [0.2, 1.0]])
LABELS = np.array([1.0, -1.0])
GOOD = ("-p", "gamma=1", "-p", "eta=0.1", "--steps", "3")
BAD_DATA = {
    "missing": ({"Kx": KERNEL}, "'y'"),
    "no kernel": ({"y": LABELS}, "'Kx'"),
    "unknown": ({"Kx": KERNEL, "y": LABELS, "labels": LABELS}, "'labels'"),
    "NaN": ({"Kx": KERNEL, "y": np.array([1.0, np.nan])}, "'y'.*NaN"),
    "shape": ({"Kx": KERNEL, "y": np.ones(3)}, r"'y'.*\(2,\).*\(3,\)"),
    "rank": ({"Kx": KERNEL, "y": np.ones((2, 1))}, r"'y'.*\(2, 1\)"),
    "not square": ({"Kx": np.ones((2, 3)), "y": LABELS}, r"'Kx'.*\(2, 2\).*\(2, 3\)"),
    "not symmetric": ({"Kx": np.array([[1, 0.2], [0.1, 1]]), "y": LABELS}, "'Kx'.*symmetric"),
    "indefinite": ({"Kx": np.array([[1.0, 2.0], [2.0, 1.0]]), "y": LABELS}, "not positive.*-1"),
    "complex": ({"Kx": 1j * KERNEL, "y": LABELS}, "'Kx'.*complex"),
    "text": ({"Kx": KERNEL, "y": np.array(["a", "b"])}, "'y'.*real numbers"),
    "empty": ({"Kx": np.ones((0, 0)), "y": np.ones(0)}, "no entries"),
    "pickled": ({"Kx": KERNEL, "y": np.array([None, {}])}, "[Oo]bject|pickle"),
}


def refused(status, capsys) -> str:
    """The single line on stderr of a refused call."""
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.count("\n") == 1 and err.startswith("mlp: ")
    return err


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_are_named(case, tmp_path, mlp, capsys):
    arrays, words = BAD_DATA[case]
    np.savez(tmp_path / "in.npz", **arrays)
    status = mlp.main([*GOOD, "--data", str(tmp_path / "in.npz"), "-o", str(tmp_path / "out.npz")])
    assert re.search(words, refused(status, capsys))
    assert [p.name for p in tmp_path.iterdir()] == ["in.npz"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("-p gamma=1 --steps 3", "'eta' is missing"),
        ("-p gamma=1 -p eta=0.1 -p beta=2 --steps 3", "'beta'.*gamma, eta"),
        ("-p gamma=1 -p eta=fast --steps 3", "'eta'.*number.*fast"),
        ("-p gamma=0 -p eta=0.1 --steps 3", "'gamma'.*above 0"),
        ("-p gamma=1 -p eta=-1 --steps 3", "'eta'.*at least 0"),
        ("-p gamma=1 -p eta=nan --steps 3", "'eta'.*finite"),
        ("-p gamma=1 -p eta --steps 3", "NAME=VALUE.*eta"),
        ("-p gamma=1 -p eta=0.1 --steps 0", "steps.*at least 1.*0"),
        ("-p gamma=1 -p eta=0.1 --steps 3 --dt -0.5", "dt.*positive.*-0.5"),
        ("-p gamma=1 -p eta=0.1 --steps 3 --points 1", "points.*2.*1"),
        ("-p gamma=1 -p eta=0.1 --steps 3 --seed -1", "seed.*-1"),
        ("-p gamma=1 -p eta=0.1 --steps 3 --measure hermite", "hermite.*3 dimensions.*4"),
    ],
)
def test_bad_arguments_are_named(arguments, words, folder, mlp, capsys):
    status = mlp.main([*arguments.split(), "--data", str(folder / "in.npz"), "-o", str(folder / "out.npz")])
    assert re.search(words, refused(status, capsys))
    assert not (folder / "out.npz").exists()


def status_or_error(main, arguments):
    """The status, or the text of an exception that would end in a traceback."""
    try:
        return main(arguments)
    except Exception as error:
        return repr(error)


DAMAGED = {"text": b"not an archive", "cut": b"PK\x03\x04 cut off", "empty": b"", "no file": None}


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # NumPy leaves a damaged archive open
@pytest.mark.parametrize("content", DAMAGED)
def test_unreadable_data_file(content, tmp_path, mlp, capsys):
    if DAMAGED[content] is not None:
        (tmp_path / "in.npz").write_bytes(DAMAGED[content])
    arguments = [*GOOD, "--data", str(tmp_path / "in.npz"), "-o", str(tmp_path / "out.npz")]
    assert "in.npz" in refused(status_or_error(mlp.main, arguments), capsys)


def test_data_file_with_a_single_array(tmp_path, mlp, capsys):
    np.save(tmp_path / "in.npy", LABELS)
    arguments = [*GOOD, "--data", str(tmp_path / "in.npy"), "-o", str(tmp_path / "out.npz")]
    assert "in.npy" in refused(status_or_error(mlp.main, arguments), capsys)


@pytest.mark.parametrize("output", (".", "missing/out.npz"))
def test_output_that_cannot_be_written(output, folder, mlp, capsys):
    before = sorted(p.name for p in folder.iterdir())
    status = mlp.main([*GOOD, "--points", "16", "--data", str(folder / "in.npz"), "-o", str(folder / output)])
    assert str(folder / output).rstrip("/.") in refused(status, capsys)
    assert sorted(p.name for p in folder.iterdir()) == before


def test_a_failing_write_keeps_the_good_file(folder, mlp, capsys, monkeypatch):
    good = folder / "out.npz"
    good.write_bytes(b"good")

    def half(file, **arrays):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(mlp.np, "savez", half)
    status = mlp.main([*GOOD, "--points", "16", "--data", str(folder / "in.npz"), "-o", str(good)])
    assert "no space" in refused(status, capsys)
    assert good.read_bytes() == b"good"
    assert sorted(p.name for p in folder.iterdir()) == ["in.npz", "out.npz", "solver.py"]


def test_divergence_ends_with_status_2_and_keeps_what_was_computed(folder, mlp, capsys):
    arguments = ["-p", "gamma=1", "-p", "eta=50", "--steps", "60", "--points", "64"]
    status = mlp.main([*arguments, "--data", str(folder / "in.npz"), "-o", str(folder / "out.npz")])
    assert status == 2 and "diverged" in "".join(capsys.readouterr())
    with np.load(folder / "out.npz") as out:
        assert np.isfinite(out["f"][:, :3]).all() and np.isnan(out["f"][:, -1]).all()
