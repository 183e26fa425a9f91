"""SIGINT and SIGTERM: what was computed until then is kept, with a status that says so."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import xarray as xr
from fluctuating_models import interpreted

import dmftsym as ds
from dmftsym.models.loading import build_model

STEPS = 7
OPTIONS = {"steps": STEPS, "points": 64, "measure": "monte-carlo"}
GOOD = {"g": 1.5}
BOTH = pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))


@pytest.fixture(scope="module")
def text():
    return ds.compile_model(build_model("recurrent"), ds.Options(covariance=("C",))).source.text


@pytest.fixture
def solver(text, monkeypatch):
    """A solver whose kernels are not compiled; `signals` tells at which looks at a step which signals come."""
    made = ds.compile_model(build_model("recurrent")).solver
    module = interpreted(text)
    vars(made)["module"] = module
    looks, original = [], module._first_non_finite
    made.__dict__["signals"] = {}

    def look(*named):
        looks.append(1)
        for number in made.__dict__["signals"].get(len(looks), ()):
            os.kill(os.getpid(), number)
        return original(*named)

    monkeypatch.setattr(module, "_first_non_finite", look)
    module.fluctuations, module.compute = None, module.fluctuations
    del module.fluctuations
    return made


def whole(text):
    return interpreted(text).solve(GOOD, **OPTIONS)


@BOTH
def test_the_steps_done_are_kept(number, solver, text):
    expected = whole(text)
    solver.__dict__["signals"][3] = [number]
    found = solver.solve(GOOD, **OPTIONS)
    assert found.attrs["status"] == "interrupted at step 3"
    for name in ("C", "Cx", "R"):
        # averages over pairs of times are products of matrices of another size
        assert np.allclose(found[name][:3, :3], expected[name][:3, :3], rtol=1e-13, atol=0)
        assert np.isnan(found[name][3:]).all()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "handlers of Python are back"


def test_a_signal_in_a_later_sweep_keeps_the_means(solver, text):
    solver.__dict__["signals"][STEPS + 4] = [signal.SIGINT]
    found = solver.solve(GOOD, **OPTIONS)
    assert found.attrs["status"] == f"interrupted at step {STEPS}" and "se_C" not in found
    assert np.array_equal(found.C, whole(text)["C"]) and found.attrs["paths"] == 64


def test_a_signal_after_the_last_step_changes_nothing(solver, text):
    expected = whole(text)
    solver.__dict__["signals"][9 * STEPS + (STEPS + 1) // 2] = [signal.SIGTERM]  # after the run at twice the time step
    found = solver.solve(GOOD, **OPTIONS)
    assert not found.attrs["status"].startswith("interrupted")
    assert np.array_equal(found.se_C, expected["se_C"], equal_nan=True)


def test_the_second_signal_ends_a_run_at_once(solver):
    solver.__dict__["signals"][2] = [signal.SIGINT, signal.SIGTERM]
    with pytest.raises(KeyboardInterrupt):
        solver.solve(GOOD, **OPTIONS)


def test_covariances_are_given_up_and_the_means_kept(solver, monkeypatch):
    module = solver.module

    def long(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        raise AssertionError("the signal was not heard")

    monkeypatch.setattr(module, "fluctuations", long, raising=False)
    found = solver.solve(GOOD, **OPTIONS | {"measure": "monte-carlo"})
    assert not found.attrs["status"].startswith("interrupted") and np.isfinite(found.C).all()
    assert found.attrs["cov_status"] == "interrupted"


def test_other_handlers_and_other_threads_are_left_alone(solver, monkeypatch):
    heard = []
    known = signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:
        solver.__dict__["signals"][2] = [signal.SIGINT]
        assert not solver.solve(GOOD, **OPTIONS).attrs["status"].startswith("interrupted")
    finally:
        signal.signal(signal.SIGINT, known)
    assert heard
    found = []
    thread = threading.Thread(target=lambda: found.append(solver.solve(GOOD, **OPTIONS)))
    thread.start()
    thread.join()
    assert len(found) == 1


def test_whoever_calls_a_module_can_stop_it(text):
    module = interpreted(text)
    found = module.solve(GOOD, **OPTIONS, progress=lambda done, total: done >= 2)
    assert str(found["status"]) == "interrupted at step 2"
    assert np.isfinite(found["C"][:2, :2]).all() and np.isnan(found["C"][2:]).all()


@BOTH
def test_the_script_writes_what_it_has(number, solver, tmp_path, capsys):
    solver.__dict__["signals"][4] = [number]
    out = tmp_path / "out.npz"
    status = solver.module.main(["--steps", "7", "--points", "64", "-p", "g=1.5", "-o", str(out)])
    printed = capsys.readouterr()
    assert status == 2 and printed.err == f"recurrent: interrupted at step 4; what was computed is in {out}\n"
    with np.load(out) as file:
        assert np.isfinite(file["C"][:4, :4]).all() and np.isnan(file["C"][4:]).all()
    solver.__dict__["signals"][8] = [number, number]
    assert solver.module.main(["--steps", "7", "--points", "64", "-p", "g=1.5", "-o", str(out)]) == 128 + number
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [out], "no temporary file is left"


@pytest.mark.slow
@BOTH
def test_the_command_line_in_a_process(number, tmp_path):
    line = "solve recurrent -p g=1.5 --steps 3000 --points 2048 -o out.nc"
    command = [sys.executable, "-m", "dmftsym.cli.main", *line.split()]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    time.sleep(40)
    started.send_signal(number)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 2 and err.startswith("dmftsym: interrupted at step ") and err.count("\n") == 1, err
    reached = int(err.split("step ")[1].split(";")[0])
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert np.isfinite(found.C[:reached, :reached]).all() and np.isnan(found.C[reached:]).all()
    assert [p.name for p in tmp_path.iterdir()] == ["out.nc"]
