"""Objects in a notebook: short names, equations as LaTeX, pictures; copies, pickles and other processes."""

import copy
import pickle
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from slips import finished, layered, network

import dmftsym as ds
from dmftsym.runtime import progress

DATA = {"G": np.array([[1.0, 0.2], [0.2, 0.7]]), "y": np.array([1.0, -0.4])}


@cache
def compiled():
    return ds.compile_model(finished(layered()), ds.Options(covariance="q"))


@cache
def objects():
    model, c = finished(layered()), compiled()
    derived = c.derivation
    records = (c, derived, derived.action, derived.process, derived.process[0], derived.saddle_point, derived.hessian)
    records += (derived.propagator, derived.worth_checking, c.liveness, c.schedule, c.feedback, c.program, c.source)
    records += (c.fluctuations, c.solver, ds.Options())
    network_record = ds.derive(finished(network()))
    symbols = (*model.tensors.values(), *model.index_symbols.values(), *model.parameter_symbols.values())
    symbols += (*model.activations.values(), *model.axes.values(), model.action, model.index_symbols["i"].size)
    symbols += tuple(e.right_side() for e in derived.saddle_point.equations)
    return (*records, network_record, *symbols)


@pytest.mark.parametrize("number", range(18))
def test_names_are_short(number):
    assert len(repr(objects()[number])) < 200 and "\n" not in repr(objects()[number])


def test_names_say_what_an_object_is():
    model = finished(layered())
    assert repr(model) == "Model('layers'): S = -q[i, t]*q.hat[i, t] + log_Z(unit)"
    assert repr(model.sites["unit"]) == "Site('unit'): fields k[i, t], w[t]"
    for part in ("layers", "numba", "parameters a, b", "data G[i, j], y[i]", "results q", "covariances q"):
        assert part in repr(compiled())
    assert "worth checking: 1" in repr(ds.compile_model(finished(layered(), pair=layered().pair * 2)))
    assert repr(ds.derive(finished(layered())).worth_checking) == "<WorthChecking: nothing>"
    deep = repr(ds.build_model("mlp", depth=4))
    assert len(deep) < 200 and deep.endswith("...")


def test_equations_are_latex():
    model, c = finished(layered()), compiled()
    assert model._repr_latex_().count(r"S_{\mathrm{unit}}") == model.sites["unit"]._repr_latex_().count("S_") == 1
    assert c._repr_latex_() == c.derivation._repr_latex_()
    for record in (c.derivation.action, c.derivation.process, c.derivation.saddle_point, c.derivation.hessian):
        assert record._repr_latex_().startswith(r"$\displaystyle \begin{aligned}")


def test_figures_show():
    picture = compiled().derivation.propagator.figure()
    assert "<svg" in picture._repr_svg_() and picture._repr_svg_() == picture._repr_svg_()


def test_copies_and_pickles_are_equal():
    for thing in objects():
        for again in (pickle.loads(pickle.dumps(thing)), copy.copy(thing), copy.deepcopy(thing)):
            assert again == thing and repr(again) == repr(thing)
    assert pickle.loads(pickle.dumps(layered().q)) != network().D


@pytest.mark.parametrize("start", [layered, pytest.param(network, marks=pytest.mark.slow)])
def test_models_can_be_pickled_at_any_time(start):
    empty, full = start(), finished(start())
    for again in (pickle.loads(pickle.dumps(full)), copy.deepcopy(full)):
        assert ds.compile_model(again).source == ds.compile_model(full).source
        assert again.sites["unit" if start is layered else "cell"].model is again
    again = pickle.loads(pickle.dumps(empty.m))
    again.parameters("later")
    assert "later" not in empty.m.parameter_symbols


@pytest.mark.slow
def test_a_solver_in_another_process(tmp_path):
    """What a worker of multiprocessing gets: the pickle alone, in a new interpreter (spawn)."""
    solver = compiled().solver
    (tmp_path / "solver").write_bytes(pickle.dumps(solver))
    code = (
        "import pickle; solver = pickle.load(open('solver', 'rb')); m = solver.module; "
        "print(m.MODEL, sorted(m.PARAMETERS), m.OUTPUTS)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "layers ['a', 'b'] {'q': ('example', 'time')}"


def test_a_solver_with_its_module_loaded_can_be_pickled():
    solver = copy.copy(compiled().solver)
    solver.__dict__["module"] = sys  # whatever it is, it is left out
    again = pickle.loads(pickle.dumps(solver))
    assert again == solver and "module" not in vars(again)


# --- progress -------------------------------------------------------------------------------------------------------


class Terminal:
    """Standard error of a terminal, or of none."""

    def __init__(self, terminal):
        self.terminal, self.text = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize(("terminal", "notebook"), [(True, False), (False, True), (False, False)])
def test_progress_is_shown_where_someone_looks(terminal, notebook, monkeypatch):
    monkeypatch.setattr(progress.sys, "stderr", Terminal(terminal))
    monkeypatch.setattr(progress, "in_notebook", lambda: notebook)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    with progress.progress_bar("model") as report:
        assert (report is not None) == (terminal or notebook)
        if notebook:
            report(3, 4)
            assert "model, sweep 1: 75 %" in progress.sys.stderr.text
    with progress.progress_bar("model", enabled=False) as report:
        assert report is None
