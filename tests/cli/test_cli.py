"""The four commands: what they print and write when all is well."""

import ast
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import dmftsym as ds
from dmftsym.models.loading import build_model, library

ROUGH = ("--accuracy", "inf")  # few points are enough here
RUN = ("-p", "gamma=1", "-p", "eta=0.1", "--points", "64", *ROUGH)
MODEL_FILE = '''
"""A unit that relaxes."""
import dmftsym as ds

def build(rate=2, kind="linear", noisy=False):
    model = ds.Model("relaxation")
    t, s = model.times("t s", continuous=True, dt=0.1)
    T = model.parameters("T", default=1, nonnegative=True)
    phi = model.activation("phi", kind)
    C = model.order_parameter("C", t, s)
    unit = model.site("unit")
    x = unit.field("x", t, mean=1, variance=T if noisy else 0)
    unit.equation(x.dot[t], -rate*x[t])
    unit.observe(C[t, s], phi(x[t])*phi(x[s]))
    return model
'''


def test_compile_writes_a_module_that_runs(dmftsym, folder, data):
    done = dmftsym("compile", "mlp", "--set", "activation=relu", "--outputs", "G1", "-o", "relu.py")
    assert (done.status, done.err) == (0, "") and "relu.py" in done.out
    expected = ds.compile_model(build_model("mlp", activation="relu"), ds.Options(outputs=("G1",)))
    assert (folder / "relu.py").read_text(encoding="utf-8") == expected.source.text
    assert [p.name for p in folder.iterdir() if p.name != "in.npz"] == ["relu.py"]


def test_compile_replaces_a_file_and_has_a_default_name(dmftsym, folder):
    (folder / "solver.py").write_text("old")
    assert dmftsym("compile", "recurrent").status == 0
    assert ast.parse((folder / "solver.py").read_text(encoding="utf-8"))


def test_solve_writes_the_result_of_the_python_interface(dmftsym, folder, data):
    options = "--steps 4 --dt 0.5 --measure sobol --points 128 --seed 3 --outputs Phi1".split()
    done = dmftsym("solve", "mlp", *RUN[:4], "--data", "in.npz", *ROUGH, *options, "-o", "out.nc")
    assert (done.status, done.err) == (0, "")
    compiled = ds.compile_model(build_model("mlp"), ds.Options(outputs=("Phi1",)))
    settings = {"steps": 4, "dt": 0.5, "measure": "sobol", "points": 128, "seed": 3, "accuracy": np.inf}
    expected = compiled.solve({"gamma": 1, "eta": 0.1}, data, **settings)
    with xr.open_dataset(folder / "out.nc") as found:
        xr.testing.assert_equal(found.load(), expected)
        same = set(expected.attrs) - {"wall_time"}
        assert {n: found.attrs[n] for n in same} == {n: expected.attrs[n] for n in same}
    for name in expected.data_vars:
        assert name in done.out


def test_solve_takes_what_the_model_declares_from_a_file_that_holds_more(dmftsym, folder, data):
    sizes = iter(range(99))
    as_variable = lambda array: (tuple(f"axis_{next(sizes)}" for _ in array.shape), array)
    variables = {name: as_variable(np.asarray(array)) for name, array in data.items()}
    xr.Dataset(variables | {"surplus": ("other", np.ones(3))}).to_netcdf(folder / "in.nc")
    common = ("solve", "mlp", *RUN, "--steps", "3")
    assert dmftsym(*common, "--data", "in.nc", "-o", "out.nc").status == 0
    assert dmftsym(*common, "--data", "in.npz", "-o", "same.nc").status == 0
    with xr.open_dataset(folder / "out.nc") as found, xr.open_dataset(folder / "same.nc") as expected:
        assert np.array_equal(found.f, expected.f)


def test_solve_adds_test_points_when_the_data_hold_them(dmftsym, folder, data):
    np.savez(folder / "in.npz", **data, X_test=data["X"][:2])
    assert dmftsym("solve", "mlp", *RUN, "--data", "in.npz", "--steps", "3", "-o", "out.nc").status == 0
    with xr.open_dataset(folder / "out.nc") as found:
        assert found.f_test.dims == ("test", "time")
        assert np.allclose(found.f_test, found.f[:2], rtol=0, atol=1e-7)  # the test points are training points
        assert not np.allclose(found.f_test, found.f[1:], rtol=0, atol=1e-7)


def test_solve_runs_a_model_file_with_its_options(dmftsym, folder):
    (folder / "relaxation.py").write_text(MODEL_FILE)
    common = ("solve", "relaxation.py", "--steps", "4", *ROUGH, "-o", "out.nc")
    assert dmftsym(*common, "--set", "rate=3", "--set", "kind=h**2").status == 0
    with xr.open_dataset(folder / "out.nc") as found:
        x = (1 - 0.3) ** np.arange(4)
        assert np.allclose(found.C, np.outer(x**2, x**2), rtol=1e-12)
    assert dmftsym(*common, "--set", "noisy=true", "-p", "T=4").status == 0
    with xr.open_dataset(folder / "out.nc") as found:
        x = (1 - 0.2) ** np.arange(4)
        assert np.allclose(found.C, (1 + 4) * np.outer(x, x), rtol=1e-10)  # mean 1, variance 4


def test_derive_shows_the_equations_of_the_paper(dmftsym):
    done = dmftsym("derive", "mlp")
    assert (done.status, done.err) == (0, "")
    text = done.out.replace(" ", "")
    for equation in (
        "f[mu,t]=<phi(h[mu,t])*z[t]>_hidden/gamma",
        "z[t]=eta*gamma*sum_{s<t,nu}(phi(h[nu,s])*Delta[nu,s])+u_z",
        "Delta[mu,t]=y[mu]-f[mu,t]",
    ):
        assert equation in text


SHOWN = {
    "action": ("f.hat", "h.tilde"),
    "process": ("u_h", "<phi(h"),
    "saddle": ("f[mu, t] = <", "h.tilde"),
    "hessian": ("H[f.hat[mu, t]; f[mu', t']] = ", "\\frac"),
    "propagator": ("f drives f, Phi1, G1", "\\frac"),
    "schedule": ("z", "f.hat"),
    "program": ("z", "\\frac"),
    "code": ("def solve(", "\\frac"),
}


@pytest.mark.parametrize("show", SHOWN)
def test_derive_shows_one_part(show, dmftsym):
    present, absent = SHOWN[show]
    done = dmftsym("derive", "mlp", "--show", show)
    assert (done.status, done.err) == (0, "")
    assert present in done.out
    if show in ("process", "saddle"):
        assert absent not in done.out


def test_derive_shows_the_finite_system_that_was_said(dmftsym):
    hopfield = str(Path(__file__).parents[2] / "examples" / "hopfield.py")
    done = dmftsym("derive", hopfield, "--show", "disorder")
    assert (done.status, done.err) == (0, "")
    assert "xi: neuron x pattern, entries of mean 0, variance 1/N" in done.out and "alpha*N units" in done.out
    refused = dmftsym("derive", "mlp", "--show", "disorder")
    assert refused.status == 2 and "says no random matrix" in refused.err


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_derive_draws_the_graph(suffix, dmftsym, folder):
    assert dmftsym("derive", "mlp", "--show", "propagator", "--graph", f"drives.{suffix}").status == 0
    begins = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    assert (folder / f"drives.{suffix}").read_bytes().startswith(begins[suffix])
    assert list(folder.glob(".drives*")) == []


@pytest.mark.parametrize("target", ["missing/drives.svg", "drives.doc"])
def test_a_graph_that_cannot_be_written(target, dmftsym, folder):
    done = dmftsym("derive", "mlp", "--graph", target)
    assert done.status == 2 and "Traceback" not in done.err and target in done.err
    assert not (folder / target).exists()


def test_derive_shows_the_code_that_compile_writes(dmftsym, folder):
    dmftsym("compile", "recurrent", "-o", "recurrent.py")
    shown = dmftsym("derive", "recurrent", "--show", "code").out
    assert shown.rstrip() == (folder / "recurrent.py").read_text(encoding="utf-8").rstrip()


def test_the_scheme_reaches_every_command(dmftsym, folder):
    """The same model file by Euler's rule and by Heun's: x = exp(-2 t), so C(1, 1) = exp(-4)."""
    (folder / "unit.py").write_text(MODEL_FILE, encoding="utf-8")
    errors = {}
    for scheme in ("euler", "heun"):
        assert dmftsym("compile", "unit.py", "--scheme", scheme, "-o", "solver.py").status == 0
        text = (folder / "solver.py").read_text(encoding="utf-8")
        assert f"Time: {scheme}." in text and f"\nORDER = {2 if scheme == 'heun' else 1} " in text
        assert dmftsym("derive", "unit.py", "--scheme", scheme, "--show", "code").out.rstrip() == text.rstrip()
        for steps in (11, 21):
            arguments = ("--steps", str(steps), "--dt", str(1 / (steps - 1)), "-o", "out.nc")
            assert dmftsym("solve", "unit.py", "--scheme", scheme, *arguments).status == 0
            with xr.open_dataset(folder / "out.nc") as result:
                errors[scheme, steps] = abs(float(result.C[-1, -1]) - np.exp(-4))
    ratios = {scheme: errors[scheme, 11] / errors[scheme, 21] for scheme in ("euler", "heun")}
    assert 1.5 < ratios["euler"] < 3 and 3.5 < ratios["heun"] < 6, ratios
    assert dmftsym("solve", "unit.py", "--scheme", "midpoint", "--steps", "3", "-o", "out.nc").status == 2


def balanced(text: str) -> bool:
    """Whether LaTeX braces and environments are opened and closed in order."""
    depth = 0
    for sign in re.sub(r"\\[{}]", "", text):
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return False
    begins, ends = (sorted(re.findall(rf"\\{word}{{(\w+\*?)}}", text)) for word in ("begin", "end"))
    return depth == 0 and begins == ends and text.count(r"\left") == text.count(r"\right")


def test_the_check_of_braces_can_fail():
    assert balanced(r"\begin{align}\hat{f}\end{align}")
    assert not balanced(r"\hat{f") and not balanced(r"\begin{align}") and not balanced("}{")


@pytest.mark.parametrize("show", [*SHOWN, None])
def test_latex(show, dmftsym):
    done = dmftsym("derive", "mlp", "--format", "latex", *(("--show", show) if show else ()))
    assert (done.status, done.err) == (0, "")
    if show == "code":
        assert "def solve(" in done.out
        return
    assert balanced(done.out)
    if show in ("action", "saddle", None):
        assert r"\phi" in done.out and r"\mu" in done.out


class Page(HTMLParser):
    """Counts open elements and the formulas of a page."""

    empty = frozenset("meta link br hr img input col wbr".split())

    def __init__(self, text):
        super().__init__()
        self.open, self.formulas, self.ok = [], 0, True
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.formulas += tag == "math"
        if tag not in self.empty:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.ok &= bool(self.open) and self.open.pop() == tag


@pytest.mark.parametrize("show", [*SHOWN, None])
def test_html(show, dmftsym):
    done = dmftsym("derive", "recurrent", "--format", "html", *(("--show", show) if show else ()))
    assert (done.status, done.err) == (0, "")
    page = Page(done.out)
    assert page.ok and page.open == [] and "<html" in done.out
    if show in ("action", "process", "saddle", None):
        assert page.formulas > 0
    assert "http://" not in done.out.replace("http://www.w3.org", "") and "https://" not in done.out  # stands alone


def test_the_check_of_html_can_fail():
    assert not Page("<p><b></p>").ok and Page("<p>").open == ["p"]


def test_models_lists_the_library(dmftsym):
    done = dmftsym("models")
    assert (done.status, done.err) == (0, "")
    blocks = dict(re.findall(r"^(\w+): (.*(?:\n  .*)*)", done.out, flags=re.MULTILINE))
    assert set(blocks) == set(library()) >= {"mlp", "recurrent"}
    for word in ("depth=1", "activation=tanh", "centered=False", "gamma", "eta", "X", "y", "Kx", "f", "K", "loss"):
        assert re.search(rf"\b{re.escape(word)}\b", blocks["mlp"]), word
    for word in ("g", "rho=0", "x0_variance=1", "C", "Cx"):
        assert re.search(rf"\b{re.escape(word)}\b", blocks["recurrent"]), word


def test_version(dmftsym):
    done = dmftsym("--version")
    assert done.status == 0 and ds.__version__ in done.out


@pytest.mark.parametrize("command", ("compile", "derive", "solve", "models"))
def test_help(command, dmftsym):
    done = dmftsym(command, "--help")
    assert done.status == 0 and command in done.out


def test_the_process_ends_with_the_status(folder):
    """The same in a process of its own: 0, and 2 with one line on stderr."""
    command = [sys.executable, "-m", "dmftsym.cli.main"]
    run = lambda *a: subprocess.run([*command, *a], capture_output=True, text=True, timeout=60, check=False)
    good, bad = run("derive", "recurrent", "--show", "saddle"), run("derive", "perceptron")
    assert (good.returncode, good.stderr) == (0, "") and "C[t, s] = " in good.stdout
    assert (bad.returncode, bad.stdout) == (2, "")
    assert re.fullmatch(r"dmftsym: .*perceptron.*mlp.*\n", bad.stderr)


def test_errors_are_printed_and_bounded(dmftsym, folder):
    """The error of the time step of a continuous model, exit status 2 where it is too large, the file in any case."""
    (folder / "relaxation.py").write_text(MODEL_FILE)
    common = ("solve", "relaxation.py", "--steps", "11", "-o", "out.nc")
    fine = dmftsym(*common, "--dt", "0.01")
    assert fine.status == 0 and re.search(r"estimated relative error \S+, of the time step \S+e-03$", fine.out, re.M)
    rough = dmftsym(*common, "--dt", "0.3")
    assert rough.status == 2 and rough.err.count("\n") == 1
    assert re.search(r"inaccurate: the time step error of C is .*smaller dt \(0.3\); .*out.nc", rough.err)
    with xr.open_dataset(folder / "out.nc") as found:
        assert found.attrs["time_step_error"] > 0.05 and found.attrs["status"] in rough.err
    skipped = dmftsym(*common, "--dt", "0.3", "--no-time-step-error")
    assert skipped.status == 0 and "time step" not in skipped.out
    assert "accuracy" in dmftsym(*common, "--accuracy", "-1").err
    one = dmftsym(*common[:2], "--steps", "2", "-o", "out.nc")
    assert one.status == 0 and "time step" not in one.out
