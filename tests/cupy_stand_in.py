"""A stand-in for CuPy without a GPU: arrays are NumPy's, CUDA kernels are compiled as C++. Those whose
threads wait for each other are run by four threads, the others (one thread a sample path) by one.

It shares nothing with the printers: a kernel's text goes to the compiler as it is, behind a few definitions.
"""

import ctypes
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import types
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.special

ALONE = """
#include <math.h>
struct Dimensions { unsigned x, y, z; };
static const Dimensions blockIdx = {0, 0, 0}, threadIdx = {0, 0, 0}, blockDim = {1, 1, 1}, gridDim = {1, 1, 1};
#define __global__
"""
TOGETHER = """
#include <math.h>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>
struct Dimensions { unsigned x, y, z; };
static const unsigned THREADS = 4;
static const Dimensions blockIdx = {0, 0, 0}, blockDim = {THREADS, 1, 1}, gridDim = {1, 1, 1};
static thread_local Dimensions threadIdx = {0, 0, 0};
static std::mutex gate;
static std::condition_variable opened_gate;
static unsigned arrived = 0, rounds = 0;
static void __syncthreads() {
    std::unique_lock<std::mutex> lock(gate);
    const unsigned own = rounds;
    if (++arrived == THREADS) {
        arrived = 0;
        ++rounds;
        opened_gate.notify_all();
    } else {
        opened_gate.wait(lock, [own] { return rounds != own; });
    }
}
#define __global__
#define __shared__ static
"""
LAUNCH = """
extern "C" void launch_{name}({parameters}) {{
    std::vector<std::thread> launch_all;
    for (unsigned launch_number = 0; launch_number < THREADS; ++launch_number)
        launch_all.emplace_back([=] {{ threadIdx.x = launch_number; {name}({arguments}); }});
    for (auto& launch_one : launch_all) launch_one.join();
}}
"""
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
TYPES = {"double": ctypes.c_double, "long long": ctypes.c_longlong, "int": ctypes.c_int, "float": ctypes.c_float}
_FOLDER = tempfile.mkdtemp(prefix="dmftsym-kernels-")


class RawKernel:
    """The part of cupy.RawKernel that generated code uses; `launches` counts calls by name."""

    launches: ClassVar[dict[str, int]] = {}

    def __init__(self, code, name, options=()):
        self.code, self.name = code, name
        signature = re.search(rf"void\s+{name}\s*\(([^)]*)\)", code).group(1)
        self.parameters = [p.strip() for p in signature.split(",") if p.strip()]
        self._function = None

    def __call__(self, grid, block, arguments):
        if self._function is None:
            code, name = ALONE + self.code, self.name
            if "__syncthreads" in self.code:
                names = ", ".join(p.replace("*", " ").split()[-1] for p in self.parameters)
                launch = LAUNCH.format(name=name, parameters=", ".join(self.parameters), arguments=names)
                code, name = TOGETHER + self.code + launch, f"launch_{name}"
            self._function = getattr(_compiled(code), name)
            self._function.restype = None
        assert len(arguments) == len(self.parameters), f"{self.name} takes {self.parameters}"
        kept = [_argument(p, a) for p, a in zip(self.parameters, arguments, strict=True)]
        self.launches[self.name] = self.launches.get(self.name, 0) + 1
        self._function(*[passed for passed, _ in kept])


def _argument(parameter, argument):
    """A C argument, and what must stay alive during the call; a wrong type, shape or order of memory is an error."""
    if "*" in parameter:
        array = np.asarray(argument)
        expected = np.dtype(np.int64) if "long long" in parameter else np.dtype(np.float64)
        assert array.dtype == expected and array.flags.c_contiguous, f"{parameter}: {array.dtype}, {array.strides}"
        return ctypes.c_void_p(array.ctypes.data), array
    kind = next(kind for kind in TYPES if parameter.replace("const ", "").startswith(kind))
    # like CuPy, which passes a whole number as long long whatever the kernel declares
    assert isinstance(argument, (int, np.integer) if kind == "long long" else float), parameter
    return TYPES[kind](argument), argument


def _compiled(code):
    stem = Path(_FOLDER) / hashlib.sha256(code.encode()).hexdigest()[:16]
    if not stem.with_suffix(".so").exists():
        stem.with_suffix(".cpp").write_text(code)
        files = [str(stem.with_suffix(".so")), str(stem.with_suffix(".cpp"))]
        subprocess.run(
            [COMPILER, "-O1", "-std=c++11", "-ffp-contract=off", "-pthread", "-shared", "-fPIC", "-o", *files],
            check=True,
        )
    return ctypes.CDLL(str(stem.with_suffix(".so")))


@contextmanager
def stand_in():
    """`import cupy` gives the stand-in inside this context."""
    cupy = types.ModuleType("cupy")
    cupy.__getattr__ = lambda name: getattr(np, name)
    cupy.ndarray, cupy.asnumpy, cupy.RawKernel = np.ndarray, np.array, RawKernel
    runtime = types.SimpleNamespace(getDeviceCount=lambda: 1, memGetInfo=lambda: (2**34, 2**34))
    runtime.CUDARuntimeError = RuntimeError
    cupy.cuda = types.SimpleNamespace(runtime=runtime)
    cupyx, scipy_part, special = (types.ModuleType(n) for n in ("cupyx", "cupyx.scipy", "cupyx.scipy.special"))
    special.erf, special.erfc = scipy.special.erf, scipy.special.erfc
    modules = {"cupy": cupy, "cupyx": cupyx, "cupyx.scipy": scipy_part, "cupyx.scipy.special": special}
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield cupy
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
