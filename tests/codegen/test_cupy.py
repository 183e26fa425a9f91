"""The CuPy target without a GPU: modules run on a stand-in, whose kernels are compiled as C++."""

import ast
import inspect
import re
from types import MappingProxyType

import numpy as np
import pytest
from cupy_cases import ALL, FLUCTUATING, TOLERANCE, built, distance, loaded, reference, run, source
from cupy_stand_in import COMPILER, DeviceArray, RawKernel
from sympy import Abs, sqrt

import dmftsym as ds
from dmftsym.models.loading import build_model

SLOW = ("four layers", "three layers", "equal samples")  # deep networks that "influences" and "kicks" cover
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels")


@needs_compiler
@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] * (c in SLOW)) for c in ALL])
def test_module_on_the_stand_in_agrees_with_numba(case):
    """Common random numbers; the same status, rule, number of paths and null directions."""
    RawKernel.launches.clear()
    numba, cupy = reference(case), run(case, loaded(source(case, "cupy")))
    assert distance(numba, cupy) < TOLERANCE
    if case == "equal samples":
        assert numba["directions"] == cupy["directions"] > 0
    assert RawKernel.launches, "kernels were run"


def kernel_at(text, match):
    return re.findall(r"^void (\w+)\(", text[: match.start()], re.M)[-1]


@needs_compiler
@pytest.mark.parametrize("case", [pytest.param("three layers", marks=pytest.mark.slow), "p_spin", "kicks"])
def test_a_kernel_with_a_wrong_number_is_noticed(case):
    """Every update of every kernel that runs once wrong by 1e-10, one after the other."""
    text, expected = source(case, "cupy"), reference(case)
    RawKernel.launches.clear()
    run(case, loaded(text))
    launched, missed = set(RawKernel.launches), []
    updates = re.finditer(r"^ +\w+\[[^\n]*path\] = ([^\n]*);$", text, re.M)
    updates = [m for m in updates if kernel_at(text, m) in launched]
    assert len(updates) > 1
    for update in updates:
        wrong = text[: update.start(1)] + f"1.0000000001*({update[1]})" + text[update.end(1) :]
        try:
            right = distance(expected, run(case, loaded(wrong))) < TOLERANCE
        except AssertionError:
            right = False
        missed += [update[0].strip()] if right else []
    assert not missed


@needs_compiler
def test_normals_are_those_of_numba():
    """Points of the table, several scramblings of it, and counters; a wrong coefficient shows."""
    numba = ds.compile_model(build_model("recurrent"), ds.Options(outputs=("R",))).solver.module
    module = loaded(source("recurrent", "cupy"))
    for dimensions, count in ((70, 256), (1, 2**18), (3, 1)):
        draws = [m.sobol_normals(dimensions, count, np.random.default_rng(3)) for m in (numba, module)]
        assert np.abs(draws[0] - draws[1]._host).max() < 1e-14
    draws = [m.random_normals(5, 7, np.random.default_rng(3)) for m in (numba, module)]
    assert np.abs(draws[0] - draws[1]._host).max() < 1e-14
    module._CENTRE = ((*module._CENTRE[0][:-1], 3.3872), module._CENTRE[1])
    assert np.abs(draws[0] - module.random_normals(5, 7, np.random.default_rng(3))._host).max() > 1e-6


@needs_compiler
@pytest.mark.parametrize("case", ["two layers", "options", "symmetric", "p_spin"])
def test_the_host_looks_at_the_device_once_a_step(case):
    """With random matrices that are held it looks once more a query, at what is left of the values."""
    module, chosen = loaded(source(case, "cupy")), ALL[case]
    options = {"measure": "hermite"} if case == "two layers" else chosen.options | {"repeats": 1}
    options = options | {"time_step_error": False}
    looks = []
    for steps in (5, 9):
        DeviceArray.looks = 0
        module.solve(chosen.parameters, chosen.data, steps=steps, dt=0.1, **options)
        looks.append(DeviceArray.looks)
    sweeps = 2 if case == "two layers" else 1  # quadrature takes two rules
    assert looks[1] - looks[0] == 4 * sweeps


@needs_compiler
@pytest.mark.parametrize("case", [c for c in FLUCTUATING if c != "through matrices"])
def test_covariances_look_at_the_device_at_most_once_a_step(case):
    """What grows with the number of steps: the looks, and the steps of all sweeps."""
    module, chosen = loaded(source(case, "cupy")), ALL[case]
    taken, looks = [], []

    def counted(sweep):
        at = list(inspect.signature(sweep).parameters).index("steps")
        return lambda *arguments: (taken.__setitem__(-1, taken[-1] + arguments[at]), sweep(*arguments))[1]

    for name in [name for name in vars(module) if name.endswith("sweep")]:
        setattr(module, name, counted(getattr(module, name)))
    options = chosen.options | ({"measure": "hermite", "points": 8} if case == "tangents" else {})
    for steps in (3, 5):
        DeviceArray.looks = 0
        taken.append(0)
        module.fluctuations(chosen.parameters, chosen.data, steps=steps, **options)
        looks.append(DeviceArray.looks)
    assert 0 < looks[1] - looks[0] <= taken[1] - taken[0]


@needs_compiler
def test_a_time_step_may_be_a_whole_number():
    module = loaded(source("recurrent", "cupy"))
    found = [module.solve({"g": 1.4}, {}, steps=3, dt=dt, points=64)["C"] for dt in (1, 1.0)]
    assert np.array_equal(*found)


@needs_compiler
@pytest.mark.parametrize("name", ["two layers", "sampled", "three layers", "deep linear"])
def test_failures_are_reported_alike(name):
    """A run that diverges stops at the same step with the same message."""
    case = ALL[name]
    numba = ds.compile_model(built(case), ds.Options(outputs=case.outputs)).solver.module
    wild = case.parameters | {"eta": 1e9}
    modules = (numba, loaded(source(name, "cupy")))
    found = [module.solve(wild, case.data, steps=12, **case.options)["status"] for module in modules]
    assert str(found[0]) == str(found[1]) != "ok"


@needs_compiler
@pytest.mark.parametrize("backend", ["numba", "cupy"])
def test_the_size_of_a_parameter_of_any_sign(backend):
    """Regression: |b| and sqrt(b^2) were printed as b, as if every parameter were positive."""
    m = ds.Model("sizes")
    t, s = m.times("t s")
    b, c = m.parameters("b"), m.parameters("c", positive=True)
    M = m.order_parameter("M", t)
    cell = m.site("cell")
    x, u = cell.field("x", t), cell.field("u", t)
    cell.equation(u[t], 0)
    cell.noise(u[t], u[s], 1)
    cell.equation(x[t], Abs(b) + sqrt(b**2) + sqrt(c**2) + 0 * u[t])
    cell.observe(M[t], Abs(b) * x[t])
    compiled = ds.compile_model(m, ds.Options(backend=backend))
    module = compiled.solver.module if backend == "numba" else loaded(compiled.source.text)
    assert np.allclose(module.solve({"b": -1.5, "c": 2.0}, {}, steps=2)["M"], 7.5)


# Structure


def functions(text):
    return [n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]


def comments(text, last=lambda name: name == "step" or name.endswith("_step")):
    """The equations of the steps of all sweeps, in order: those in a step, and those of the kernels that it calls."""
    parts = re.split(r"^(?=def |\w+ = _elementwise)", text, flags=re.M)
    named = {re.match(r"(?:def )?(\w+)", part)[1]: part for part in parts[1:]}
    kernels = {name: equations(part) for name, part in named.items() if "prange(" in part or part.startswith(name)}
    return [equations(part, kernels) for name, part in named.items() if last(name)]


def equations(code, kernels=MappingProxyType({})):
    found = []
    for line in code.splitlines():
        comment, call = re.match(r" +(?:#|//) (.*)", line), re.match(r" +(\w+)\(", line)
        if comment and comment[1].startswith("    "):  # a comment goes on
            found[-1] += f" {comment[1].strip()}"
        elif comment:
            found.append(comment[1])
        elif call:
            found += kernels.get(call[1], [])
    return found


@pytest.mark.parametrize("case", ALL)
def test_numba_and_cupy_modules_differ_only_where_the_targets_do(case):
    """The same functions and equations, in the same order but for averages that Numba defers to the end.

    On Numba, functions of whole arrays stand outside kernels, and some kernels sum too.
    """
    numba, cupy = source(case, "numba"), source(case, "cupy")
    own = re.findall(r"^@njit\(parallel=True, cache=True, error_model.*\ndef (\w+)\(", numba, re.M)
    there = re.findall(r'^(\w+) = _elementwise\("\1"', cupy, re.M)
    assert there
    assert [f for f in functions(numba) if f not in (*own, "finish")] == functions(cupy)
    deferred = [equation for part in comments(numba, lambda name: name == "finish") for equation in part]
    ordered = (lambda each: [*each]) if not ALL[case].covariance else sorted
    on_numba, on_cupy = comments(numba), comments(cupy)
    assert all(equation in on_cupy[0] for equation in deferred)
    on_cupy[0] = [equation for equation in on_cupy[0] if equation not in deferred]
    assert [ordered(each) for each in on_numba] == [ordered(each) for each in on_cupy]
    changed = on_cupy[0][1::-1] + on_cupy[0][2:]
    assert on_numba[0] != changed  # negative control: two updates exchanged
