"""Results as labelled arrays: an xarray.Dataset, stored as netCDF-4."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import xarray as xr

from dmftsym.errors import SolveError
from dmftsym.files import replacing, target_of

DEVICE = ("rounding_error", "paths_at_once")  # of single precision, and where paths wait on the host
MATRICES = ("directions", "dropped_variance")  # of models with random matrices that a sweep holds
OF_TIME_STEP = ("time_step_error", "time_step_uncertainty")  # of continuous models
REPORT = (
    *("measure", "paths", "status", "estimated_error", *OF_TIME_STEP, "null_directions", "covariance_jitter"),
    *MATRICES,
    *DEVICE,
)
COVARIANCE_REPORT = ("cov_measure", "cov_modes", "cov_status", "cov_estimated_error")


def dimensions(axes: tuple[str, ...]) -> tuple[str, ...]:
    """Dimension names; a second index on the same axis gets the suffix 2, a third 3."""
    names: list[str] = []
    for axis in axes:
        name, count = axis, 2
        while name in names:
            name, count = f"{axis}{count}", count + 1
        names.append(name)
    return tuple(names)


def to_dataset(module: ModuleType, arrays: Mapping[str, np.ndarray], attributes: Mapping) -> xr.Dataset:
    """The arrays of a generated solver as a Dataset: quantities, their sampling errors, time, and how they were made.

    Dimensions in declaration order, a second index of an axis with suffix 2; coordinate time = step·dt.
    """
    times = arrays["time"]
    variables: dict[str, tuple] = {}
    coordinates = {"time": times}
    for name, (axes, note) in _quantities(module, arrays).items():
        names = dimensions(axes)
        coordinates |= {n: times for n in names if n.startswith("time")}
        variables[name] = (names, arrays[name], {"long_name": note} if note else {})
        if f"se_{name}" in arrays:
            variables[f"se_{name}"] = (names, arrays[f"se_{name}"], {"long_name": f"sampling standard error of {name}"})
    used = {n for names, *_ in variables.values() for n in names} | {"time"}
    report = {k: arrays[k].item() for k in (*REPORT, *COVARIANCE_REPORT) if k in arrays}
    return xr.Dataset(
        variables,
        {k: v for k, v in coordinates.items() if k in used},
        {**report, **{k: v for k, v in attributes.items()}},
    )


def _quantities(module: ModuleType, arrays: Mapping) -> dict[str, tuple[tuple[str, ...], str]]:
    """Every variable of a result with its axes and a note: quantities, then covariances of those that were compiled."""
    found = {name: (axes, "") for name, axes in module.OUTPUTS.items()}
    axes_of = {name: axes for name, (axes, _) in getattr(module, "COVARIANCES", {}).items()}
    for one, axes in axes_of.items():
        excess = f"excess_{one}"
        if excess in arrays:
            found[excess] = (axes, f"N times what the fluctuations of its arguments add to the mean of {one}")
        for other in axes_of:
            name = f"cov_{one}_{other}"
            if name in arrays:
                found[name] = ((*axes, *axes_of[other]), f"N times the covariance of {one} and {other}, N to infinity")
    return found


def check_output(path: str | Path) -> None:
    """Raise `SolveError` if a result could not be written to this path: before anything is computed."""
    try:
        target_of(Path(path))
    except OSError as error:
        raise SolveError(f"cannot write {path}: {error.strerror or error}") from None


def save(dataset: xr.Dataset, path: str | Path) -> None:
    """Write netCDF-4 beside the target and rename it; a failed write leaves an existing file untouched.

    Raises `SolveError` if the path cannot be written.
    """
    try:
        with replacing(Path(path)) as temporary:
            dataset.to_netcdf(temporary, format="NETCDF4", engine="netcdf4")
    except OSError as error:
        raise SolveError(f"cannot write {path}: {error.strerror or error}") from None
    except (RuntimeError, ValueError) as error:
        raise SolveError(f"cannot write {path}: {error}") from None


def stopwatch():
    """A function that tells the seconds since it was made."""
    begin = time.perf_counter()
    return lambda: time.perf_counter() - begin
