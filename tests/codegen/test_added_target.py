"""A target added as CONTRIBUTING.md says, NumPy without a compiler: a record and a folder of templates."""

import re
import types
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from cupy_cases import TOLERANCE, distance, reference, run, source

from dmftsym.codegen.kernels import kernel_code
from dmftsym.codegen.printers import FormulaPrinter
from dmftsym.codegen.targets import TARGETS, Target

FOLDER = Path(__file__).parent / "plain"


@dataclass(frozen=True)
class PlainTarget(Target):
    """Kernels that work on all sample paths at once; products over paths are written with `dot`."""

    fuses_changes: ClassVar[bool] = False

    def einsum(self, subscripts, arrays):
        """A sum of products in which arrays over sample paths take part, in the order in which they stand."""
        return f'np.einsum("{subscripts}", {arrays})'

    def product(self, matrix, array):
        """A matrix times an array over sample paths."""
        return f"np.dot({matrix}, {array})"

    def grouped(self, product):
        """A call is one factor."""
        return product


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    kernel = partial(kernel_code, printer=FormulaPrinter(array=True))
    monkeypatch.setitem(TARGETS, "plain", PlainTarget("plain", "np", kernel, (FOLDER, "numba")))


CASES = ["two layers", "p_spin", "evolving"]  # the last one is recurrent, with covariances


def plain_module(case, change=lambda text: text):
    module = types.ModuleType("generated")
    exec(compile(change(source(case, "plain")), "generated", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("case", CASES)
def test_module_agrees_with_numba(case):
    """Common random numbers."""
    module = plain_module(case)
    assert "numba" not in vars(module) and module._extend_factor.__module__ == "generated"
    assert distance(reference(case), run(case, module)) < TOLERANCE


def test_a_wrong_number_is_noticed():
    """Negative control: one update wrong by 1e-10."""
    change = lambda text: re.sub(r"^( +h\[mu, path\]) = (.*)$", r"\1 = 1.0000000001*(\2)", text, flags=re.M)
    wrong = plain_module("two layers", change)
    assert distance(reference("two layers"), run("two layers", wrong)) > 10 * TOLERANCE


def test_targets_differ_only_in_what_the_record_and_the_folder_say():
    """A step, and what allocates its state, are those of Numba but for the calls that the record writes otherwise."""
    physics = lambda backend: re.search(r"^def step\(.*?(?=^def sweep\()", source("two layers", backend), re.M | re.S)[
        0
    ]
    numba = re.sub(r", optimize=True\)", ")", physics("numba"))
    assert re.sub(r"\s", "", numba) != re.sub(r"\s", "", physics("plain"))
    numba = re.sub(r"\((factors\S*) @ (normals\S*)\)(?=\.reshape)", r"np.dot(\1, \2)", numba)
    assert re.sub(r"\s", "", numba) == re.sub(r"\s", "", physics("plain"))
