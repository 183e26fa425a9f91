"""The CuPy target against the real package: kernels compiled by NVRTC, every name looked up, and runs on a device.

Without a device only `pytest -m gpu` is skipped.
"""

import ast
import importlib
import inspect
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cupy_cases import ALL, distance, loaded, on_hardware, reference, run, source
from cupy_stand_in import RawKernel

import dmftsym as ds
from dmftsym.models.loading import build_model


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


@pytest.mark.parametrize("architecture", [pytest.param("sm_80", marks=pytest.mark.slow), "sm_90"])
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
