"""The CuPy target without a GPU: kernels compiled by NVRTC, modules run on a stand-in, names checked in the package.

Nothing here ran on hardware; `pytest -m gpu` repeats the comparison there.
"""

import ast
import importlib
import inspect
import re
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from cupy_stand_in import COMPILER, DeviceArray, RawKernel, stand_in
from fluctuating_models import interpreted
from sympy import Abs, sqrt

import dmftsym as ds
from dmftsym.models.loading import build_model

TWO = {"Kx": np.array([[1.0, 0.4], [0.4, 0.8]]), "y": np.array([1.0, -0.7])}
THREE = {"Kx": np.array([[1.0, 0.4, 0.3], [0.4, 0.8, 0.1], [0.3, 0.1, 0.9]]), "y": np.array([1.0, -0.7])}
RICH = {"gamma": 1.5, "eta": 0.3}
LABELLED = THREE | {"y_test": np.array([1.0])}
EQUAL = {"Kx": np.ones((2, 2)), "y": np.array([1.0, 0.5])}
LOGISTIC = {"activation": "softplus", "loss": "logistic", "centered": True, "test_labels": True}
FEW = {"points": 256}


class Case(NamedTuple):
    """A model of the library with its structure, what is asked for, and a run."""

    model: str
    structure: dict
    outputs: tuple
    parameters: dict
    data: dict
    options: dict
    covariance: tuple = ()
    scheme: str = "euler"


CASES = {
    "two layers": Case("mlp", {}, ("sharpness", "Phi1"), RICH, TWO, {}),
    "sampled": Case("mlp", {"activation": "relu"}, ("G1",), RICH, TWO, {"measure": "sobol", "points": 300}),
    "options": Case("mlp", LOGISTIC, (), RICH, LABELLED, {}),
    "three layers": Case("mlp", {"depth": 2}, ("A1", "B1", "sharpness"), RICH, TWO, FEW),
    "four layers": Case("mlp", {"depth": 3, "activation": "erf", "test": True}, (), RICH, THREE, FEW),
    "equal samples": Case("mlp", {"depth": 2}, (), RICH, EQUAL, {"points": 64}),
    "deep linear": Case("mlp", {"depth": 2, "activation": "linear"}, (), RICH, TWO, {}),
    "recurrent": Case("recurrent", {}, ("R",), {"g": 1.4}, {}, FEW),
    "symmetric": Case("recurrent", {"symmetric": True}, (), {"g": 1.4, "rho": 0.5}, {}, FEW),
    "p_spin": Case("p_spin", {}, (), {"temperature": 0.7}, {}, {}),
    "two passes": Case("recurrent", {"symmetric": True}, ("R",), {"g": 1.4, "rho": 0.5}, {}, FEW, scheme="heun"),
}
SPARSE = {"points": 128, "repeats": 2}
FLUCTUATING = {  # as other tests have them, so that Numba has compiled them already
    "tangents": Case("mlp", {}, (), RICH, TWO, {}, ("f", "K", "loss")),
    "tangents, options": Case("mlp", LOGISTIC, (), RICH, LABELLED, SPARSE, ("f_test", "loss_test", "sharpness")),
    "differences": Case("mlp", {"activation": "relu"}, (), RICH, TWO, SPARSE, ("f",)),
    "evolving": Case("recurrent", {}, (), {"g": 1.4}, {}, SPARSE, ("C",)),
    "influences": Case("mlp", {"depth": 2, "test": True}, (), RICH, THREE, SPARSE, ("f", "f_test", "Phi1_cross")),
    "correlated": Case("recurrent", {"symmetric": True}, (), {"g": 1.4, "rho": 0.5}, {}, SPARSE, ("C",)),
    "closed": Case("mlp", {"depth": 2, "activation": "linear"}, (), RICH, TWO, {}, ("f", "Phi1", "G2")),
    "kicks": Case("p_spin", {}, (), {"temperature": 0.7}, {}, {}, ("C", "mu")),
}
ALL = CASES | FLUCTUATING
TOLERANCE = 1e-12  # relative to the largest entry: sums are taken in another order
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels")


@cache
def source(name, backend):
    case = ALL[name]
    options = ds.Options(backend=backend, outputs=case.outputs, covariance=case.covariance, scheme=case.scheme)
    return ds.compile_model(build_model(case.model, **case.structure), options).source.text


def loaded(text):
    module = types.ModuleType("generated")
    with stand_in():
        exec(compile(text, "generated", "exec"), module.__dict__)
    return module


def run(name, module):
    case = ALL[name]
    if case.covariance:
        return module.fluctuations(case.parameters, case.data, steps=5, **case.options)
    return module.solve(case.parameters, case.data, steps=6, dt=0.1, **case.options)


def reference(name):
    case = ALL[name]
    if case.scheme != "euler":
        return run(name, interpreted(source(name, "numba")))  # no other test has compiled it
    options = ds.Options(outputs=case.outputs, covariance=case.covariance)
    return run(name, ds.compile_model(build_model(case.model, **case.structure), options).solver.module)


def distance(expected, found):
    """The largest difference of two results, each array relative to its largest entry."""
    assert set(found) == set(expected)
    worst = 0.0
    for name, value in expected.items():
        if value.dtype.kind != "f":
            assert str(value) == str(found[name]), name
        elif not name.startswith("se_") and "estimated_error" not in name:
            assert np.array_equal(np.isnan(value), np.isnan(found[name])), name
            scale = max(1.0, np.nanmax(np.abs(value), initial=0.0))
            worst = max(worst, np.nanmax(np.abs(value - found[name]), initial=0.0) / scale)
    return worst


@needs_compiler
@pytest.mark.parametrize("case", ALL)
def test_module_on_the_stand_in_agrees_with_numba(case):
    """Common random numbers; the same status, rule, number of paths and null directions."""
    RawKernel.launches.clear()
    numba, cupy = reference(case), run(case, loaded(source(case, "cupy")))
    assert distance(numba, cupy) < TOLERANCE
    if case == "equal samples":
        assert numba["null_directions"] == cupy["null_directions"] == 12, "one of two directions, for h2 and for z1"
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
@pytest.mark.parametrize("case", ["two layers", "four layers", "recurrent", "p_spin"])
def test_the_host_looks_at_the_device_once_a_step(case):
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
@pytest.mark.parametrize("case", FLUCTUATING)
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
    numba = ds.compile_model(build_model(case.model, **case.structure), ds.Options(outputs=case.outputs)).solver.module
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


def comments(text):
    """The equations of all sweeps, in order."""
    parts = [part for part in re.split(r"^def ", text, flags=re.M) if re.match(r"(\w+_)?sweep\(", part)]
    return [re.findall(r"^(?: {8}| {12})# (.*)$", part, re.M) for part in parts]


@pytest.mark.parametrize("case", ALL)
def test_numba_and_cupy_modules_differ_only_where_the_targets_do(case):
    """The same functions, the same equations in the same order, the same kernels but those that only sum on Numba."""
    numba, cupy = source(case, "numba"), source(case, "cupy")
    own = re.findall(r"^@njit\(parallel=True, cache=True, error_model.*\ndef (\w+)\(", numba, re.M)
    there = re.findall(r'^(\w+) = _elementwise\("\1"', cupy, re.M)
    assert there and (own == there or ALL[case].covariance)
    assert [f for f in functions(numba) if f not in own] == functions(cupy)
    assert comments(numba) == comments(cupy)
    changed = comments(cupy)
    changed[0][0], changed[0][1] = changed[0][1], changed[0][0]
    assert comments(numba) != changed  # negative control: two updates exchanged


# The real package


@pytest.fixture(scope="module")
def cupy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("cupy", reason="CuPy is not installed")


def compile_kernel(code, architecture):
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(code, "kernel.cu", [], [])
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture={architecture}", "--std=c++11"))
        return nvrtc.getCUBIN(program)
    except nvrtc.NVRTCError:
        raise RuntimeError(nvrtc.getProgramLog(program)) from None
    finally:
        nvrtc.destroyProgram(program)


def kernels_of(text):
    RawKernel.made.clear()
    loaded(text)
    return list(RawKernel.made)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_every_kernel_compiles_for_the_device(cupy, architecture):
    codes = dict.fromkeys(code for case in ALL for code in kernels_of(source(case, "cupy")))
    assert len(codes) > 30
    with ThreadPoolExecutor() as pool:
        assert all(pool.map(lambda code: compile_kernel(code, architecture), codes))
    for code in codes:
        if "typedef" not in code:
            assert ("float" in code) != ("double" in code), "one precision a kernel"


def test_a_kernel_that_is_no_cuda_is_refused(cupy):
    code = next(code for code in kernels_of(source("three layers", "cupy")) if "tanh(" in code)
    for wrong in (code.replace("tanh(", "tan_h("), code.replace("double gamma", "double gama", 1)):
        assert wrong != code
        with pytest.raises(RuntimeError, match="undefined"):
            compile_kernel(wrong, "sm_80")


def names_used(text):
    """Calls (name, number of arguments, keywords) and plain names of the cupy namespace in a module."""
    tree, calls, names = ast.parse(text), [], set()
    for node in ast.walk(tree):
        name = dotted(node) if isinstance(node, ast.Attribute) else None
        if name:
            names.add(name)
        if isinstance(node, ast.Call) and (called := dotted(node.func)):
            calls.append((called, len(node.args), tuple(k.arg for k in node.keywords)))
    return names, calls


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    known = isinstance(node, ast.Name) and node.id in ("cp", "cupyx") and parts
    return ".".join([node.id, *reversed(parts)]) if known else None


def named(name):
    """What a dotted name stands for in the real package, None if there is no such thing."""
    item = importlib.import_module("cupy" if name.startswith("cp.") else "cupyx")
    for part in name.split(".")[1:]:
        item = getattr(item, part, None)
    return item


def unknown_names(text):
    """Names and calls that the real package does not have in this form."""
    wrong = []
    names, calls = names_used(text)
    for name in names:
        if named(name) is None:
            wrong.append(name)
    for name, count, keywords in calls:
        item = named(name)
        try:
            signature = inspect.signature(item)
        except (TypeError, ValueError):
            continue  # a ufunc or a class of the extension module
        try:
            signature.bind(*range(count), **dict.fromkeys(keywords))
        except TypeError as error:
            wrong.append(f"{name}: {error}")
    return wrong


@pytest.mark.parametrize("case", ["four layers", "kicks"])
def test_module_loads_with_the_package_and_asks_for_a_device(cupy, case):
    """Everything that the module imports is there; without a device a run ends with one line."""
    module = types.ModuleType("generated")
    exec(compile(source(case, "cupy"), "generated", "exec"), module.__dict__)
    if not cupy.cuda.is_available():
        with pytest.raises(module.InputError, match=r"needs a CUDA device and its driver.*or use the backend numba"):
            run(case, module)


def test_every_name_exists_in_the_package(cupy):
    everything = "\n".join(source(case, "cupy") for case in ALL)
    assert len(names_used(everything)[0]) > 15
    assert unknown_names(everything) == []
    text = source("influences", "cupy")
    for right, wrong in (
        ("cp.einsum(", "cp.einsun("),
        ("cp.tensordot(", "cp.tensordot(0, 0, 0, 0, "),
        ("contiguousarray(item, dtype)", "contiguousarray(item, oder=1)"),
        ("cupyx.empty_pinned(", "cupyx.empty_pined("),
    ):
        assert unknown_names(text.replace(right, wrong)) != []


def on_hardware(cupy, name):
    """The module of a case with the real package, where there is a device."""
    if not cupy.cuda.is_available():
        pytest.skip("no CUDA device")
    case = ALL[name]
    options = ds.Options(backend="cupy", outputs=case.outputs, covariance=case.covariance)
    return ds.compile_model(build_model(case.model, **case.structure), options).solver.module


@pytest.mark.gpu
@pytest.mark.parametrize("name", ALL)
def test_module_on_a_device_agrees_with_numba(cupy, name):
    module = on_hardware(cupy, name)
    assert distance(reference(name), run(name, module)) < 1e-10


@pytest.mark.gpu
def test_normals_on_a_device_are_those_of_numba(cupy):
    module = on_hardware(cupy, "recurrent")
    numba = ds.compile_model(build_model("recurrent"), ds.Options(outputs=("R",))).solver.module
    for dimensions, count in ((70, 256), (1, 2**18)):
        draws = [m.sobol_normals(dimensions, count, np.random.default_rng(3)) for m in (numba, module)]
        assert np.abs(draws[0] - cupy.asnumpy(draws[1])).max() < 1e-13
