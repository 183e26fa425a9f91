"""A stand-in for CuPy without a GPU: arrays wrap NumPy's, CUDA kernels are compiled as C++. Those whose
threads wait for each other are run by four, block after block, the others (one thread a sample path) by one. The four
take turns on one processor: each runs up to its barrier, so that what lacks a barrier is noticed every time.

As in CuPy, an array of the device meets no array of the host but by `asarray` and `asnumpy`, a number taken from it is
an array without axes, and to look at it is a synchronisation, which `DeviceArray.looks` counts.

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
#define __device__ static
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a*b) >> 64);
}
"""
TOGETHER = """
#include <math.h>
#include <ucontext.h>
#include <functional>
struct Dimensions { unsigned x, y, z; };
static const unsigned THREADS = 4;
static const Dimensions blockDim = {THREADS, 1, 1};
static Dimensions blockIdx = {0, 0, 0}, gridDim = {1, 1, 1}, threadIdx = {0, 0, 0};
static ucontext_t launch_threads[THREADS], launch_caller;
static char launch_stacks[THREADS][1 << 18];
static std::function<void()> launch_work;
static void __syncthreads() {
    const unsigned own = threadIdx.x;
    threadIdx.x = (own + 1) % THREADS;
    swapcontext(&launch_threads[own], &launch_threads[threadIdx.x]);
}
static void launch_thread() {
    launch_work();
    if (++threadIdx.x < THREADS) setcontext(&launch_threads[threadIdx.x]);
    setcontext(&launch_caller);
}
static void launch_together() {
    for (unsigned number = 0; number < THREADS; ++number) {
        ucontext_t& thread = launch_threads[number];
        getcontext(&thread);
        thread.uc_stack.ss_sp = launch_stacks[number];
        thread.uc_stack.ss_size = sizeof launch_stacks[number];
        thread.uc_link = nullptr;
        makecontext(&thread, launch_thread, 0);
    }
    threadIdx.x = 0;
    swapcontext(&launch_caller, &launch_threads[0]);
}
#define __global__
#define __shared__ static
"""
LAUNCH = """
extern "C" void launch_{name}(unsigned launch_blocks, {parameters}) {{
    gridDim.x = launch_blocks;
    launch_work = [=] {{
        for (unsigned launch_block = 0; launch_block < launch_blocks; ++launch_block) {{
            if (threadIdx.x == 0) blockIdx.x = launch_block;
            __syncthreads();
            {name}({arguments});
            __syncthreads();
        }}
    }};
    launch_together();
}}
"""
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
POINTERS = {
    "double": np.float64,
    "float": np.float32,
    "unsigned long long": np.uint64,
    "unsigned int": np.uint32,
    "long long": np.int64,
}
TYPES = {"double": ctypes.c_double, "long long": ctypes.c_longlong, "int": ctypes.c_int, "float": ctypes.c_float}
_FOLDER = tempfile.mkdtemp(prefix="dmftsym-kernels-")


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that is not on the host."""

    looks: ClassVar[int] = 0
    largest: ClassVar[int] = 0  # bytes

    def __init__(self, host):
        self._host = host
        DeviceArray.largest = max(DeviceArray.largest, host.nbytes)

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion of a device array to a host array")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if out is not None:
            getattr(ufunc, method)(*map(_inner, inputs), out=tuple(map(_inner, out)), **kwargs)
            return out[0]
        return _outer(getattr(ufunc, method)(*map(_inner, inputs), **kwargs))

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self._host, name)
        return _checked(found) if callable(found) and name != "dtype" else _outer(found)

    def __getitem__(self, key):
        return _outer(self._host[_index(key)])

    def __setitem__(self, key, value):
        self._host[_index(key)] = _inner(value)

    def __len__(self):
        return len(self._host)

    def _look(self):
        DeviceArray.looks += 1
        return self._host

    def __bool__(self):
        return bool(self._look())

    def __int__(self):
        return int(self._look())

    def __float__(self):
        return float(self._look())

    def __index__(self):
        return self._look().__index__()


def _inner(item):
    """What NumPy computes with; an array of the host has no business here."""
    if isinstance(item, DeviceArray):
        return item._host
    if isinstance(item, np.ndarray):
        raise TypeError(f"an array of the host, shape {item.shape}, meets the device")
    if isinstance(item, (list, tuple)):
        return type(item)(map(_inner, item))
    return item


def _outer(item):
    """What came out, on the device again."""
    if isinstance(item, (np.ndarray, np.generic)):
        return DeviceArray(np.asarray(item))
    return tuple(map(_outer, item)) if isinstance(item, tuple) and hasattr(item, "_fields") else item


def _index(key):
    """An index; arrays of the host are moved to the device, a mask makes the host wait for the number of its hits."""
    if isinstance(key, tuple):
        return tuple(map(_index, key))
    if isinstance(key, DeviceArray):
        return key._look() if key._host.dtype == bool else key._host
    return key


def _checked(function):
    """A function of NumPy for arrays of the device."""

    def call(*args, **kwargs):
        assert not {"initial", "where"} & set(kwargs), "CuPy's reductions take neither"
        return _outer(function(*map(_inner, args), **{k: _inner(v) for k, v in kwargs.items()}))

    return call


class _Namespace:
    """NumPy's functions by name, for arrays of the device; constants and types as they are."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        found = getattr(self._module, name)
        if isinstance(found, types.ModuleType):
            return _Namespace(found)
        return _checked(found) if callable(found) and not isinstance(found, type) else found


def _to_device(array, dtype=None):
    if isinstance(array, DeviceArray):
        return array if dtype is None or array.dtype == dtype else array.astype(dtype)
    return DeviceArray(np.array(array, dtype=dtype))


def _copied(array, dtype=None, order="K"):
    return DeviceArray(np.array(array._host if isinstance(array, DeviceArray) else array, dtype=dtype, order=order))


def _to_host(array, out=None):
    assert isinstance(array, DeviceArray), type(array)
    if out is None:
        return np.array(array._look())
    out[...] = array._look()
    return out


class RawKernel:
    """The part of cupy.RawKernel that generated code uses; `launches` counts calls by name, `made` are all codes."""

    launches: ClassVar[dict[str, int]] = {}
    made: ClassVar[list[str]] = []

    def __init__(self, code, name, options=()):
        self.code, self.name = code, name
        self.made.append(code)
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
        precision = (re.findall(r"typedef (\w+) real;", self.code) or [""])[0]
        kept = [_argument(p, a, precision) for p, a in zip(self.parameters, arguments, strict=True)]
        self.launches[self.name] = self.launches.get(self.name, 0) + 1
        blocks = [ctypes.c_uint(grid[0])] if "__syncthreads" in self.code else []
        self._function(*blocks, *[passed for passed, _ in kept])


def _argument(parameter, argument, precision):
    """A C argument, and what must stay alive during the call; a wrong type, shape or order of memory is an error."""
    if "*" in parameter:
        assert isinstance(argument, DeviceArray), parameter
        array = argument._host
        kind = parameter.replace("const ", "").split("*")[0]
        expected = np.dtype(POINTERS[precision if kind == "real" else kind])
        assert array.dtype == expected and array.flags.c_contiguous, f"{parameter}: {array.dtype}, {array.strides}"
        return ctypes.c_void_p(array.ctypes.data), array
    kind = next(kind for kind in TYPES if parameter.replace("const ", "").startswith(kind))
    # like CuPy, which passes a whole number as long long whatever the kernel declares
    expected = {"long long": (int, np.integer), "float": np.float32}.get(kind, float)
    assert isinstance(argument, expected), f"{parameter}: {type(argument)}"
    return TYPES[kind](argument), argument


def _compiled(code):
    stem = Path(_FOLDER) / hashlib.sha256(code.encode()).hexdigest()[:16]
    if not stem.with_suffix(".so").exists():
        stem.with_suffix(".cpp").write_text(code)
        files = [str(stem.with_suffix(".so")), str(stem.with_suffix(".cpp"))]
        subprocess.run(
            [COMPILER, "-O1", "-std=c++11", "-ffp-contract=off", "-shared", "-fPIC", "-o", *files],
            check=True,
        )
    return ctypes.CDLL(str(stem.with_suffix(".so")))


@contextmanager
def stand_in():
    """`import cupy` gives the stand-in inside this context."""
    cupy = types.ModuleType("cupy")
    cupy.__getattr__ = _Namespace(np).__getattr__
    cupy.ndarray, cupy.asarray, cupy.array, cupy.asnumpy = DeviceArray, _to_device, _copied, _to_host
    cupy.RawKernel = RawKernel
    runtime = types.SimpleNamespace(getDeviceCount=lambda: 1, memGetInfo=lambda: (2**34, 2**34))
    runtime.CUDARuntimeError = RuntimeError
    cupy.cuda = types.SimpleNamespace(runtime=runtime)
    cupy.get_default_memory_pool = lambda: types.SimpleNamespace(free_bytes=lambda: 0)
    cupyx, scipy_part, special = (types.ModuleType(n) for n in ("cupyx", "cupyx.scipy", "cupyx.scipy.special"))
    special.erf, special.erfc = _checked(scipy.special.erf), _checked(scipy.special.erfc)
    cupyx.zeros_pinned, cupyx.empty_pinned = np.zeros, np.empty
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
