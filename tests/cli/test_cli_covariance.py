"""Covariances on the command line: variables, dimensions, attributes, and one line where something is wrong."""

import re

import numba
import numpy as np
import pytest
import xarray as xr

import dmftsym as ds
from dmftsym.models.loading import build_model
from dmftsym.runtime import solver

PARAMETERS = ("-p", "gamma=1", "-p", "eta=0.1")
SOLVE = ("solve", "mlp", *PARAMETERS, "--data", "in.npz", "--steps", "3", "--points", "64")
COVARIANCE = ("--covariance", "f,K", "--covariance-points", "64")


@pytest.fixture(autouse=True)
def without_compilation(monkeypatch):
    """Kernels of these tests run as plain Python: the command line is the same."""

    def load(name, text):
        known, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, 1
        try:
            return real(name, f"{text}# interpreted\n")
        finally:
            numba.config.DISABLE_JIT = known

    real = solver.load_module
    monkeypatch.setattr(solver, "load_module", load)


def test_solve_writes_covariances(dmftsym, folder, data):
    done = dmftsym(*SOLVE, *COVARIANCE, "-o", "out.nc")
    assert (done.status, done.err) == (0, "")
    compiled = ds.compile_model(build_model("mlp"), ds.Options(covariance=("f", "K")))
    expected = compiled.solve({"gamma": 1, "eta": 0.1}, data, steps=3, points=64, covariance_points=64)
    other = compiled.solve({"gamma": 1, "eta": 0.1}, data, steps=3, points=64, covariance_points=128)
    with xr.open_dataset(folder / "out.nc") as found:
        xr.testing.assert_equal(found.load(), expected)
        assert found.cov_f_f.dims == ("sample", "time", "sample2", "time2")
        assert found.cov_f_K.dims == ("sample", "time", "sample2", "sample3", "time2")
        assert found.cov_K_K.dims == ("sample", "sample2", "time", "sample3", "sample4", "time2")
        for name in ("cov_f_f", "cov_f_K", "cov_K_K"):
            assert found[f"se_{name}"].dims == found[name].dims and np.isfinite(found[f"se_{name}"]).all()
            assert f"N times the covariance of {name[4]} and {name[6]}" in found[name].attrs["long_name"]
            assert name in done.out
            assert not np.array_equal(found[name], other[name])  # negative control: other sample paths
        assert np.array_equal(found.f, other.f)  # which leave the means as they are
        assert np.array_equal(found.time2, found.time)
        attributes = found.attrs
        assert attributes["cov_status"] == attributes["status"] == "ok"
        assert attributes["cov_modes"] > 0 and attributes["cov_estimated_error"] > 0
        assert "8 independent scramblings of 8 paths" in attributes["cov_measure"]
        for words in ("covariance=('f', 'K')", "points=64", "covariance_points=64", "steps=3", "seed=0"):
            assert words in attributes["options"]
    assert f"{attributes['cov_modes']} modes" in done.out


def test_functions_that_are_not_linear_have_an_excess(dmftsym, folder, data):
    assert dmftsym(*SOLVE, "--covariance", "loss", "--covariance-points", "32", "-o", "out.nc").status == 0
    with xr.open_dataset(folder / "out.nc") as found:
        assert found.excess_loss.dims == ("time",) and "mean of loss" in found.excess_loss.attrs["long_name"]
        assert "cov_f_f" not in found and "excess_f" not in found


def test_names_may_be_given_twice_or_be_outputs_too(dmftsym, folder, data):
    arguments = ("--covariance", " f, f ,", "--outputs", "Phi1,f", "--covariance-points", "32")
    done = dmftsym(*SOLVE, *arguments, "-o", "out.nc")
    assert (done.status, done.err) == (0, "")
    with xr.open_dataset(folder / "out.nc") as found:
        assert {"f", "Phi1", "cov_f_f", "se_cov_f_f"} <= set(found.data_vars)
        assert [name for name in found.data_vars if name.startswith("cov_")] == ["cov_f_f"]


def test_without_covariances_nothing_is_added(dmftsym, folder, data):
    for arguments in ((), ("--covariance", ""), ("--covariance", " , ")):
        assert dmftsym(*SOLVE, *arguments, "-o", "out.nc").status == 0
        with xr.open_dataset(folder / "out.nc") as found:
            assert not any("cov" in name for name in (*found.data_vars, *found.attrs) if name != "covariance_jitter")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("Phi9", "'Phi9' is not a quantity of model mlp; it has f"),
        ("f,y", "'y' is not a quantity"),
        ("h", "'h' is not a quantity"),
        ("f;K", "'f;K' is not a quantity"),
        ("f K", "'f K' is not a quantity"),
    ],
)
@pytest.mark.parametrize("command", ("solve", "compile", "derive"))
def test_unknown_names(command, names, words, refused, folder, data):
    arguments = {
        "solve": (*SOLVE, "-o", "out.nc"),
        "compile": ("compile", "mlp", "-o", "out.py"),
        "derive": ("derive", "mlp", "--show", "schedule"),
    }
    assert words in refused(*arguments[command], "--covariance", names)
    assert [p.name for p in folder.iterdir()] == ["in.npz"]


STILL = '''
"""Something that does not fluctuate, and something that jumps."""
import dmftsym as ds
from sympy import Heaviside

model = ds.Model("still")
t, s = model.times("t s")
kick = model.data("kick", t)
q = model.order_parameter("q", t)
model.define("push", t, kick[t]**2)
model.define("above", t, Heaviside(q[t] - 1))
site = model.site("unit")
x = site.field("x", t)
site.equation(x[t], kick[t])
site.noise(x[t], x[s], 1)
site.observe(q[t], x[t]**2)
'''


@pytest.mark.parametrize(
    ("name", "words"),
    [("push", "'push'.*does not depend on any site average.*fluctuate"), ("above", "'above'.*Heaviside.*jumps")],
)
def test_what_has_no_covariance(name, words, refused, folder):
    (folder / "still.py").write_text(STILL)
    np.savez(folder / "in.npz", kick=np.ones(3))
    line = refused("solve", "still.py", "--data", "in.npz", "--steps", "3", "--covariance", name, "-o", "out.nc")
    assert re.search(words, line)
    assert not (folder / "out.nc").exists()


@pytest.mark.parametrize("points", ("1", "0", "-5"))
def test_too_few_points(points, refused, folder, data):
    line = refused(*SOLVE, "--covariance", "f", "--covariance-points", points, "-o", "out.nc")
    assert "covariance" in line and points in line


@pytest.mark.parametrize("points", ("many", "2.5", ""))
def test_points_that_are_no_number(points, dmftsym, folder, data):
    done = dmftsym(*SOLVE, "--covariance", "f", "--covariance-points", points, "-o", "out.nc")
    assert done.status == 2 and "--covariance-points" in done.err and "Traceback" not in done.err
    assert not (folder / "out.nc").exists()


def test_bad_points_are_found_before_the_means_are_solved(refused, folder, data, monkeypatch):
    load, solved = solver.load_module, []

    def watched(name, text):
        module = load(name, text)
        solve = module.solve
        monkeypatch.setattr(module, "solve", lambda *given, **options: solved.append(1) or solve(*given, **options))
        return module

    monkeypatch.setattr(solver, "load_module", watched)
    refused(*SOLVE, "--covariance", "f", "--covariance-points", "1", "-o", "out.nc")
    assert not solved


def test_covariances_that_do_not_fit_are_refused_before_the_means_are_solved(refused, folder):
    """N·Cov of a two-time quantity at 400 times has 2.6e10 entries."""
    line = "--steps 400 --points 16 --covariance C -o out.nc"
    assert "GiB" in refused("solve", "recurrent", "-p", "g=1.5", *line.split())
    assert not (folder / "out.nc").exists()


def test_a_run_that_diverges_keeps_the_means(dmftsym, folder, data):
    arguments = ("-p", "gamma=1", "-p", "eta=1e60", "--data", "in.npz", "--steps", "6", "--points", "64")
    done = dmftsym("solve", "mlp", *arguments, "--covariance", "f", "-o", "out.nc")
    assert done.status == 2 and done.err.startswith("dmftsym: diverged") and done.err.count("\n") == 1
    assert "out.nc" in done.err
    with xr.open_dataset(folder / "out.nc") as found:
        assert np.isfinite(found.f[:, 0]).all() and np.isnan(found.f[:, -1]).all()
        assert not any("cov_" in name for name in found.data_vars)
        assert "diverged" in found.attrs["status"]


BLOW_UP = '''
"""Paths that start beyond 1/sqrt(3) run away: the more paths, the more surely one of them does."""
import dmftsym as ds

model = ds.Model("blow_up")
t, s = model.times("t s")
q = model.order_parameter("q", t)
site = model.site("unit")
x = site.field("x", t, variance=0.04)
site.equation(x[t], 3*x[t - 1]**3)
site.observe(q[t], x[t]**2)
'''


def test_covariances_that_diverge_are_told(dmftsym, folder):
    (folder / "blow_up.py").write_text(BLOW_UP)
    line = "--steps 9 --points 2 --measure sobol --covariance q --covariance-points 4096 -o out.nc"
    done = dmftsym("solve", "blow_up.py", *line.split())
    with xr.open_dataset(folder / "out.nc") as found:
        assert found.attrs["status"] == "ok" and "diverged" in found.attrs["cov_status"]
        assert np.isfinite(found.q).all() and "cov_q_q" not in found
    assert done.status == 2 and "diverged" in done.err and done.err.count("\n") == 1


def test_compile_writes_a_module_with_covariances(dmftsym, folder):
    done = dmftsym("compile", "mlp", "--covariance", "f,K", "-o", "solver.py")
    assert (done.status, done.err) == (0, "")
    expected = ds.compile_model(build_model("mlp"), ds.Options(covariance=("f", "K"))).source.text
    assert (folder / "solver.py").read_text(encoding="utf-8") == expected
    assert "def fluctuations(" in expected and "covariance=('f', 'K')" in expected.split('"""')[1]


@pytest.mark.parametrize("form", ("text", "latex", "html"))
def test_derive_shows_what_fluctuates(form, dmftsym):
    done = dmftsym("derive", "mlp", "--show", "schedule", "--covariance", "f,K", "--format", form)
    assert (done.status, done.err) == (0, "")
    shown = done.out.replace("&#x000A0;", " ")
    for words in ("covariances of: f, K", "feed back: f", "by the chain rule"):
        assert words in shown
    plain = dmftsym("derive", "mlp", "--show", "schedule", "--format", form)
    assert "covariances of" not in plain.out.replace("&#x000A0;", " ")


@pytest.mark.parametrize("form", ("text", "latex", "html"))
def test_derive_shows_the_tangent_program(form, dmftsym):
    done = dmftsym("derive", "mlp", "--show", "program", "--covariance", "f", "--format", form)
    assert (done.status, done.err) == (0, "")
    assert "random combinations of the observable of f[mu, t]" in done.out and "d_f[mu, r, t]" in done.out
    kinked = dmftsym("derive", "mlp", "--set", "activation=relu", "--show", "program", "--covariance", "f")
    assert "jump" in kinked.out and "g[mu, t]" in kinked.out and "jump" not in done.out


def test_derive_shows_the_code_with_covariances(dmftsym, folder):
    dmftsym("compile", "recurrent", "--covariance", "C", "-o", "solver.py")
    shown = dmftsym("derive", "recurrent", "--covariance", "C", "--show", "code").out
    assert shown.rstrip() == (folder / "solver.py").read_text(encoding="utf-8").rstrip()
