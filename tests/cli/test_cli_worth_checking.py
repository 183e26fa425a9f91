"""What is worth checking is printed by derive (in the text), compile and solve (on stderr)."""

import pytest
import xarray as xr

MODEL = """
import dmftsym as ds
import numpy as np
from sympy import beta, gamma, tanh

model = ds.Model("spins")
t, s = model.times("t s", continuous=True, dt=0.1)
J = model.parameters("J", default=0.5)
M = model.order_parameter("M", t)
site = model.site("spin")
x = site.field("x", t, variance=1)
site.action(-x.tilde[t]*(x.dot[t] + {drift}) + x.tilde[t]**2/2 + M.hat[t]*tanh(x[t]))
model.action = {pair}*M.hat[t]*M[t] + ds.log_Z(site)
"""


@pytest.fixture
def spins(folder):
    def write(drift="x[t] - J*M[t]", pair="-1"):
        (folder / "spins.py").write_text(MODEL.format(drift=drift, pair=pair))
        return "spins.py"

    return write


SOLVE = ("--steps", "2", "--points", "64", "-o", "out.nc")


def test_a_right_model_prints_nothing_of_it(spins, dmftsym):
    model = spins()
    for command in (("derive", model), ("derive", model, "--show", "saddle"), ("compile", model)):
        done = dmftsym(*command)
        assert done.status == 0 and "Worth checking" not in done.out + done.err


def test_where_it_is_printed(spins, dmftsym):
    model = spins(pair="2")
    note = "the pair M.hat[t]*M[t] carries the factor 2, not -1: M[t] = -<tanh(x[t])>_spin/2"
    done = dmftsym("derive", model)
    assert done.out.rstrip().endswith(f"Worth checking:\n  {note}") and not done.err
    assert r"\text{Worth checking:}" in dmftsym("derive", model, "--format", "latex").out
    page = dmftsym("derive", model, "--format", "html").out
    assert "Worth checking" in page and "M[t] = -&lt;tanh(x[t])&gt;_spin/2" in page
    for command in (("derive", model, "--show", "process"), ("compile", model)):
        done = dmftsym(*command)
        assert done.status == 0 and done.err.splitlines() == ["Worth checking:", f"  {note}"]
        assert "Worth checking" not in done.out


@pytest.mark.slow
def test_solve_prints_it_on_stderr(spins, dmftsym):
    done = dmftsym("solve", spins(pair="2"), *SOLVE, "--accuracy", "inf")
    assert done.status == 0 and done.err.startswith("Worth checking:\n  the pair") and "Worth" not in done.out
    assert "M" in xr.open_dataset("out.nc")


@pytest.mark.parametrize(
    ("drift", "words"),
    [
        ("x[t]/gamma", "declare a parameter of that name"),
        ("beta*x[t]", "declare a parameter of that name"),
        ("np.tanh(2*x[t])", "functions of NumPy take numbers, not formulas: use tanh of SymPy"),
        ("np.tanh(x[t])", "x[t] is a symbol: use tanh of SymPy"),
        ("(x[t] if 2*x[t] > 0 else 0)", "formulas are no numbers"),
        ("x[t].diff(t)", "x.dot[t]"),
    ],
)
def test_slips_with_functions_of_numpy_and_sympy(drift, words, spins, refused):
    assert words in refused("derive", spins(drift))
