"""Choose the faster backend for a run, if there is a device for it."""

from types import ModuleType

from dmftsym.errors import SolveError

# Multiply-adds a step below which the launches of a step (some hundred microseconds) outweigh what a GPU saves.
# An estimate from memory bandwidths, not measured.
WORTHWHILE = 2e7


def missing_device() -> str:
    """Why there is no CUDA device that CuPy can use; empty if there is one."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed (pip install cupy-cuda12x)"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"there is no CUDA device ({error})"
    return "" if count else "there is no CUDA device"


def choose_backend(module: ModuleType, parameters, data, steps: int, points: int | None = None) -> tuple[str, str]:
    """The backend for a run of the Numba module of a model, and the reason in one line.

    The work of a step is estimated from the memory of the run: each number of a path is read about once for every
    multiply-add. Raises `SolveError` for unusable parameters or data.
    """
    missing = missing_device()
    if missing:
        return "numba", missing
    try:
        values, *_ = module._prepare(parameters, data or {}, steps)
    except module.InputError as error:
        raise SolveError(str(error)) from None
    paths = points or module._default_points(values, steps, None)
    work = multiply_adds(module, values, steps, paths) / steps
    enough = work >= WORTHWHILE
    about = f"about {work:.0e} multiply-adds a step, a device gains from about {WORTHWHILE:.0e}"
    return ("cupy" if enough else "numba"), about


def multiply_adds(module: ModuleType, values, steps: int, paths: int) -> float:
    """A low estimate of the multiply-adds of a sweep: what a path keeps is read once a step, half of it on average."""
    sites = dict.fromkeys(module.SITES, paths)
    _, of_paths = module._numbers(module._amounts(values, steps)["sweep"], sites)
    return (of_paths + module._normal_numbers(values, steps, sites, 2)) * steps / 2
