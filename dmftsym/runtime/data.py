"""Data from files: .npz of plain arrays, netCDF, .csv. What a file says of its size is read before its contents."""

import csv
import math
import os
import zipfile
from pathlib import Path

import numpy as np
import xarray as xr

from dmftsym.errors import SolveError

LARGEST = 2**30  # bytes of all arrays of a file: theories of more data have no memory for their results
SPARSE, RATIO = 2**26, 200  # an archive of more bytes than the first that shrinks by more than the second is a bomb
READ = "data are read from .npz (numpy.savez), .nc (netCDF) and .csv (its first line names the columns)"
KINDS = {b"PK": "npz", b"\x93NUMPY": "npy", b"CDF": "nc", b"\x89HDF": "nc"}


def load_data(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name.

    A column of a .csv file is an array of one dimension, columns of the same name together are a matrix. Raises
    `SolveError` for anything that is not plain numbers, and for more than a GiB; pickled objects are never loaded.
    """
    try:
        kind = _kind(Path(path))
        return {"npz": _archive, "nc": _netcdf, "csv": _table}[kind](path)
    except SolveError as error:
        raise SolveError(f"cannot read data from {path}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged file raises errors of many libraries
        raise SolveError(f"cannot read data from {path}: {error}") from None


def _kind(path: Path) -> str:
    """What a file is, by how it begins, else by its name."""
    if not os.path.lexists(path):
        raise SolveError("there is no such file")
    if not path.is_file():
        raise SolveError("it is not a regular file")
    if path.stat().st_size > LARGEST:
        raise SolveError(f"it is larger than {LARGEST // 2**20} MiB")
    with open(path, "rb") as file:
        begin = file.read(8)
    kind = next((kind for magic, kind in KINDS.items() if begin.startswith(magic)), "")
    if kind == "npy":
        raise SolveError("it holds a single array without a name; save named arrays with numpy.savez")
    if not kind and path.suffix == ".csv":
        return "csv"
    if not kind:
        raise SolveError(READ if path.suffix not in (".npz", ".nc") else f"it is not a {path.suffix} file")
    return kind


# --- archives -----------------------------------------------------------------------------------------------------


def _archive(path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        size, packed = (sum(getattr(m, key) for m in members) for key in ("file_size", "compress_size"))
        if size > LARGEST or (size > SPARSE and size > RATIO * max(packed, 1)):
            raise SolveError(f"its arrays have {size / 2**20:.0f} MiB, packed in {packed / 2**20:.1f} MiB: refused")
        arrays: dict[str, np.ndarray] = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                raise SolveError(f"it has a member '{name}' that is no array (.npy)")
            if name in arrays:
                raise SolveError(f"it has two arrays '{name}'")
            arrays[name] = _member(archive, member, name)
    return arrays


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> np.ndarray:
    """One array; its header is compared with the size of the member before memory is taken for it."""
    with archive.open(member) as file:
        try:
            version = np.lib.format.read_magic(file)
            reader = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
            shape, _, dtype = reader(file)
        except ValueError as error:
            raise SolveError(f"array '{name}': {error}") from None
        if dtype.hasobject:
            raise SolveError(f"array '{name}' holds pickled objects, which are refused; store numbers")
        if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise SolveError(f"array '{name}': its header does not fit its length")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


# --- netCDF -------------------------------------------------------------------------------------------------------


def _netcdf(path) -> dict[str, np.ndarray]:
    with xr.open_dataset(path, engine="netcdf4", mask_and_scale=False, decode_times=False) as dataset:
        size = sum(variable.nbytes for variable in dataset.data_vars.values())
        if size > LARGEST:
            raise SolveError(f"its arrays have {size / 2**20:.0f} MiB, which is refused")
        return {str(name): _variable(str(name), variable) for name, variable in dataset.data_vars.items()}


def _variable(name: str, variable: xr.DataArray) -> np.ndarray:
    values = variable.values
    for key in ("_FillValue", "missing_value"):
        fill = {**variable.encoding, **variable.attrs}.get(key)
        if fill is not None and values.dtype.kind in "fiu" and (values == fill).any():
            raise SolveError(f"variable '{name}': {(values == fill).sum()} of {values.size} values are missing")
    scale, offset = (variable.attrs.get(key) for key in ("scale_factor", "add_offset"))
    if scale is None and offset is None:
        return values
    return values * (1.0 if scale is None else scale) + (0.0 if offset is None else offset)


# --- tables -------------------------------------------------------------------------------------------------------


def _table(path) -> dict[str, np.ndarray]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, strict=True)
        names = [name.strip() for name in next(rows, [])]
        if not names or not all(names) or any(_number(name) is not None for name in names):
            raise SolveError("the first line of a .csv file names its columns")
        columns: list[list[float]] = [[] for _ in names]
        for row in (row for row in rows if row):
            if len(row) != len(names):
                raise SolveError(f"line {rows.line_num} has {len(row)} values, there are {len(names)} columns")
            for name, text, column in zip(names, row, columns, strict=True):
                value = _number(text)
                if value is None:
                    raise SolveError(f"line {rows.line_num}: '{text}' in column '{name}' is not a number")
                column.append(value)
    together = {name: [c for n, c in zip(names, columns, strict=True) if n == name] for name in names}
    return {name: np.array(several[0] if len(several) == 1 else several).T for name, several in together.items()}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
