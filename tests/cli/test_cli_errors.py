"""What the command line answers to bad input: status 2 and one line that names the item; nothing is lost."""

import re

import numpy as np
import pytest
import xarray as xr

KERNEL = np.array([[1.0, 0.2], [0.2, 1.0]])
LABELS = np.array([1.0, -1.0])
PARAMETERS = ("-p", "gamma=1", "-p", "eta=0.1")
SOLVE = ("solve", "mlp", *PARAMETERS, "--data", "in.npz", "--steps", "3", "--points", "4", "-o", "out.nc")


@pytest.mark.parametrize("command", (("compile",), ("derive",), ("solve", "-o", "out.nc")))
def test_unknown_model(command, refused):
    line = refused(*command, "perceptron")
    assert "perceptron" in line and "mlp" in line and "recurrent" in line


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("width=3", r"'width'.*depth=1.*activation=tanh"),
        ("depth=two", r"depth.*whole number.*two"),
        ("centered=perhaps", r"centered.*true or false.*perhaps"),
        ("depth=0", r"depth.*0"),
        ("depth", r"--set.*NAME=VALUE.*depth"),
        ("=3", r"--set.*NAME=VALUE.*=3"),
        ("activation=swish", r"swish"),
        ("activation=tanh(x)", r"\bx\b.*unknown"),
        ("activation=tanh(h", r"tanh\(h"),
        ("activation=tanh(h)/0", r"zero"),
        ("activation=h**1000", r"power"),
        ("loss=(y - g)**2", r"\bg\b.*unknown"),
    ],
)
def test_bad_structure(settings, words, refused):
    for command in (("derive", "mlp"), ("compile", "mlp", "-o", "solver.py")):
        assert re.search(words, refused(*command, "--set", settings))


def test_structure_given_twice(refused):
    assert "activation" in refused("derive", "mlp", "--set", "activation=relu", "--set", "activation=erf")


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os').system('touch executed')",
        "h.__class__",
        "(lambda: open('executed', 'w'))()",
        "[open('executed', 'w') for i in h]",
        "exec(\"open('executed', 'w')\")",
        "open('executed', 'w')",
        "getattr(h, 'x')",
        "h if h else open('executed', 'w')",
        "'tanh'",
        "f\"{open('executed', 'w')}\"",
    ],
)
def test_no_formula_is_executed(formula, refused, folder):
    for command in (("derive", "mlp"), ("compile", "mlp"), ("solve", "mlp", *PARAMETERS, "-o", "out.nc")):
        line = refused(*command, "--set", f"activation={formula}")
        assert "in '" in line or "formula" in line
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("-p gamma=1", "'eta' is missing"),
        ("-p gamma=1 -p eta=0.1 -p beta=2", "'beta'.*gamma, eta"),
        ("-p gamma=1 -p eta=fast", "'eta'.*number.*fast"),
        ("-p gamma=1 -p eta=", "'eta'.*number"),
        ("-p gamma=1 -p eta=nan", "'eta'.*finite.*nan"),
        ("-p gamma=-1 -p eta=0.1", "'gamma'.*above 0.*-1"),
        ("-p gamma=1 -p eta", "-p.*NAME=VALUE.*eta"),
        ("-p gamma=1 -p eta=0.1 -p eta=0.2", "eta.*twice"),
    ],
)
def test_bad_parameters(parameters, words, refused, data, folder):
    line = refused("solve", "mlp", *parameters.split(), "--data", "in.npz", "--steps", "3", "-o", "out.nc")
    assert re.search(words, line)
    assert not (folder / "out.nc").exists()


BAD_DATA = {
    "missing": ({"Kx": KERNEL}, "'y'.*missing"),
    "no kernel": ({"y": LABELS}, "'Kx'.*missing.*'X'"),
    "surplus": ({"Kx": KERNEL, "y": LABELS, "z": LABELS}, "'z'.*X, y, Kx"),
    "shape": ({"X": np.ones((3, 4)), "y": LABELS}, r"\(.*3.*\).*\(.*2|\(.*2.*\).*\(.*3"),
    "rank": ({"Kx": KERNEL, "y": np.ones((2, 1))}, r"'y'.*\(2, 1\)"),
    "not square": ({"Kx": np.ones((2, 3)), "y": LABELS}, r"'Kx'.*\(2, 3\)"),
    "NaN": ({"Kx": KERNEL, "y": LABELS * np.nan}, "'y'.*NaN"),
    "not symmetric": ({"Kx": KERNEL + np.triu(KERNEL), "y": LABELS}, "'Kx'.*symmetric"),
    "indefinite": ({"Kx": np.array([[1.0, 2.0], [2.0, 1.0]]), "y": LABELS}, "Kx.*not positive.*-1"),
    "complex": ({"Kx": KERNEL * 1j, "y": LABELS}, "'Kx'.*complex"),
    "text": ({"Kx": KERNEL, "y": np.array(["a", "b"])}, "'y'.*real numbers"),
    "pickled": ({"Kx": KERNEL, "y": np.array([None, {}])}, "'y'.*pickled"),
    "empty": ({"Kx": np.ones((0, 0)), "y": np.ones(0)}, "no entries"),
    "fewer points than samples": ({"Kx": KERNEL, "y": np.ones(3), "X_test": np.ones((1, 1))}, "Kx|'X'"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(case, refused, folder):
    arrays, words = BAD_DATA[case]
    np.savez(folder / "in.npz", **arrays)
    assert re.search(words, refused(*SOLVE))
    assert [p.name for p in folder.iterdir()] == ["in.npz"]


def test_no_data_at_all(refused):
    assert re.search("'(y|Kx)'.*missing", refused("solve", "mlp", *PARAMETERS, "--steps", "3", "-o", "out.nc"))


def test_data_for_a_model_that_takes_none(refused, data):
    assert "'X'" in refused("solve", "recurrent", "-p", "g=1.5", "--data", "in.npz", "--steps", "3", "-o", "out.nc")


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # NumPy leaves a damaged archive open
@pytest.mark.parametrize("content", (b"text", b"PK\x03\x04 cut off", None), ids=("text", "cut", "no file"))
def test_unreadable_data_file(content, refused, folder):
    if content is not None:
        (folder / "in.npz").write_bytes(content)
    assert "in.npz" in refused(*SOLVE)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--steps 0", "steps.*at least 1.*0"),
        ("--steps -3", "steps.*at least 1.*-3"),
        ("--steps 3 --dt -0.1", "dt.*positive.*-0.1"),
        ("--steps 3 --dt nan", "dt.*positive.*nan"),
        ("--steps 3 --points 1", "points.*at least 2.*1"),
        ("--steps 3 --seed -1", "seed.*-1"),
        ("--steps 3 --measure gaussian", "gaussian"),
        ("--steps 3 --measure hermite", "hermite.*3 dimensions.*4"),
        ("--steps 3 --covariance f,Phi9", "Phi9.*Phi1"),
        ("--steps 3 --outputs Phi9", "Phi9.*Phi1"),
        ("--steps 3 --scheme heun", "heun.*mlp.*discrete time"),
    ],
)
def test_bad_options(options, words, refused, data, folder):
    line = refused("solve", "mlp", *PARAMETERS, "--data", "in.npz", *options.split(), "-o", "out.nc")
    assert re.search(words, line)
    assert not (folder / "out.nc").exists()


def test_more_memory_than_there_is(refused):
    line = refused("solve", "recurrent", "-p", "g=1.5", "--steps", "2000000", "-o", "out.nc")
    assert re.search(r"GiB.*reduce.*2000000", line)


def test_a_correlation_beyond_one(refused):
    line = refused("solve", "recurrent", "-p", "g=1.5", "-p", "rho=-2", "--steps", "3", "-o", "out.nc")
    assert "'rho' must be a finite number between -1.0 and 1.0, given: -2.0" in line


def test_symmetry_of_the_couplings_against_the_structure(refused):
    structure = ("--set", "symmetric=false")
    line = refused("solve", "recurrent", *structure, "-p", "g=1.5", "-p", "rho=0.5", "--steps", "3", "-o", "out.nc")
    assert re.search(r"'rho' must be 0.*symmetric=true.*0\.5", line)


@pytest.mark.parametrize("command", (("compile",), ("derive", "--show", "code"), SOLVE[:1] + SOLVE[2:]))
def test_unknown_output(command, refused, data):
    line = refused(command[0], "mlp", *command[1:], "--outputs", "Phi1,Phi9")
    assert "Phi9" in line and "Phi1" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("solve", "mlp", "-o", "out.nc", "--measure", "simpson"), ("simpson", "sobol")),
        (("solve", "mlp", "-o", "out.nc", "--steps", "many"), ("--steps", "integer")),
        (("solve", "mlp"), ("-o",)),
        (("compile", "mlp", "--backend", "fortran"), ("fortran", "numba")),
        (("derive", "mlp", "--show", "everything"), ("everything", "saddle")),
        (("derive", "mlp", "--format", "pdf"), ("pdf", "latex")),
        (("dance",), ("dance",)),
    ],
)
def test_malformed_command_lines(arguments, words, dmftsym):
    done = dmftsym(*arguments)
    assert done.status == 2 and done.out == ""
    assert "Traceback" not in done.err
    assert all(word in done.err for word in words)


@pytest.mark.parametrize("output", ("missing/out.nc", "there"))
def test_output_that_cannot_be_written(output, refused, data, folder):
    (folder / "there").mkdir()
    line = refused(*SOLVE[:-1], output)
    assert output in line and "folder" in line
    assert output in refused("compile", "recurrent", "-o", output)
    assert sorted(p.name for p in folder.rglob("*")) == ["in.npz", "there"]


def test_divergence_ends_with_status_2_and_keeps_the_file(dmftsym, data, folder):
    options = ("--data", "in.npz", "--steps", "60", "--points", "64", "-o", "out.nc")
    done = dmftsym("solve", "mlp", "-p", "gamma=1", "-p", "eta=50", *options)
    assert done.status == 2 and done.err.count("\n") == 1
    assert re.search(r"diverged: (f|K|loss|Delta)\b.* step \d+.*out\.nc", done.err)
    with xr.open_dataset(folder / "out.nc") as found:
        step = int(re.search(r"step (\d+)", found.attrs["status"])[1])
        assert found.attrs["status"] in done.err
        assert np.isfinite(found.f[:, : step - 1]).all() and np.isnan(found.f[:, step + 1 :]).all()


@pytest.mark.parametrize("formula", ("1/h", "h**(-2)", "log(abs(h))/h", "1e30*h", "sqrt(h)"))
def test_an_average_that_does_not_exist_is_not_reported_as_accurate(formula, dmftsym, folder):
    """<phi^2> is infinite or undefined for these, or runs away at once; some rules even meet h = 0."""
    np.savez(folder / "in.npz", Kx=KERNEL, y=LABELS)
    done = dmftsym(*SOLVE[:-1], "out.nc", "--set", f"activation={formula}")
    if done.status == 2:
        assert done.err.count("\n") == 1 and "diverged" in done.err
    else:
        with xr.open_dataset(folder / "out.nc") as found:
            assert found.attrs["estimated_error"] > 0.1


def test_a_failing_run_keeps_the_file_of_an_earlier_one(dmftsym, refused, data, folder):
    assert dmftsym(*SOLVE[:-3], "64", "-o", "out.nc").status == 0
    good = (folder / "out.nc").read_bytes()
    refused(*SOLVE, "--dt", "-1")
    assert (folder / "out.nc").read_bytes() == good


# --- model files -----------------------------------------------------------------------------------------------------

HEAD = """
import dmftsym as ds

model = ds.Model("mine")
t, s = model.times("t s")
q = model.order_parameter("q", t)
C = model.order_parameter("C", t, s)
site = model.site("unit")
x = site.field("x", t)
site.noise(x[t], x[s], 1)
site.observe(q[t], x[t])
site.observe(C[t, s], x[t]*x[s])
"""
BROKEN_FILES = {
    "syntax": ("model = (\n", r"line 1"),
    "name": ("import dmftsym as ds\nmodel = ds.Modell('x')\n", "Modell"),
    "division": ("rate = 1/0\n", "[Dd]ivision"),
    "assertion": ("assert 1 == 2, 'sizes differ'\n", "sizes differ"),
    "import": ("import no_such_package\n", "no_such_package"),
    "no model": ("value = 3\n", "model.*build"),
    "another model": ("model = 'mlp'\n", "model.*build"),
    "inside build": ("def build(rate=2):\n    return rte\n", "rte"),
    "build of nothing": ("def build(rate=2):\n    return rate\n", "build"),
    "option without default": ("def build(rate):\n    return rate\n", "rate"),
    "binary": ("\x00\x01", "mine.py"),
}


@pytest.mark.parametrize("case", BROKEN_FILES)
def test_model_file_with_an_error(case, refused, folder):
    text, words = BROKEN_FILES[case]
    (folder / "mine.py").write_text(text)
    line = refused("derive", "mine.py")
    assert "mine" in line and re.search(words, line)


def test_a_file_that_is_no_python(refused, folder):
    (folder / "in.npz").write_bytes(b"PK")
    assert "in.npz" in refused("derive", "in.npz")
    assert str(folder.name) in refused("derive", str(folder))


ACAUSAL = {
    "future field": ("site.equation(x[t], 1 + x[t + 1])", (r"x\[t", r"t \+ 1")),
    "future order parameter": ("site.equation(x[t], 1 + q[t + 1])", (r"x\[t", r"t \+ 1")),
    "whole history": ("site.equation(x[t], 1 + ds.sum_over(s)(q[s]))", (r"q\[s\]",)),
    "instantaneous loop": ("site.equation(x[t], 1 + q[t])", (r"\bx\b", r"\bq\b")),
    "loop of fields": (
        "w = site.field('w', t)\nsite.equation(x[t], 1 + w[t]/2)\nsite.equation(w[t], x[t]/3)",
        (r"\bx\b", r"\bw\b"),
    ),
    "loop through a definition": (
        "F = model.define('F', t, q[t]**2)\nsite.equation(x[t], 1 + F[t])",
        (r"\bx\b", r"\bq\b", r"\bF\b"),
    ),
}


@pytest.mark.parametrize("case", ACAUSAL)
def test_acausal_model_names_the_cycle(case, refused, folder):
    equations, words = ACAUSAL[case]
    (folder / "mine.py").write_text(f"{HEAD}{equations}\n")
    line = refused("compile", "mine.py")
    for word in words:
        assert re.search(word, line), line
    assert not (folder / "solver.py").exists()


def test_the_same_model_with_a_delay_is_accepted(dmftsym, folder):
    """Negative control: the file of the cycles is well formed where only past values act."""
    (folder / "mine.py").write_text(f"{HEAD}site.equation(x[t], 1 + ds.past(s)(q[s]))\n")
    assert dmftsym("compile", "mine.py").status == 0
