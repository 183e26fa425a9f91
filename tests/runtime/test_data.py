"""Data from files: what is read, and what is refused before it takes memory."""

import io
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import xarray as xr

from dmftsym.errors import SolveError
from dmftsym.runtime.data import load_data


def refusal(path):
    with pytest.raises(SolveError) as error:
        load_data(path)
    return str(error.value)


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def test_a_bomb_is_refused_by_its_header(tmp_path):
    """2 GiB of zeros in 2 MiB: neither its time nor its memory is taken."""
    path, block = tmp_path / "in.npz", bytes(2**24)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("y.npy", "w") as file:
        file.write(npy(np.zeros(1))[:-8].replace(b"(1,)", b"(9,)"))
        for _ in range(8):
            file.write(block)
    begin = time.perf_counter()
    tracemalloc.start()
    line = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "128 MiB" in line and time.perf_counter() - begin < 1 and peak < 2**22


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"y.txt": b"1 2 3"}, "member 'y.txt' that is no array"),
        ({"y.npy": b"1 2 3"}, "array 'y': .*magic"),
        ({"y.npy": npy(np.zeros(3)).replace(b"(3,)", b"(4,)")}, "'y': its header does not fit its length"),
        ({"y.npy": npy(np.zeros(3)).replace(b"(3,), }       ", b"(300000000,), }")}, "its header does not fit"),
        ({"y.npy": npy(np.zeros(3))[:-1]}, "its header does not fit"),
        ({"y.npy": npy(np.array([None]))}, "'y' holds pickled objects"),
        ({}, None),
    ],
)
def test_members_of_an_archive(members, words, tmp_path):
    with zipfile.ZipFile(tmp_path / "in.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    if words is None:
        assert load_data(tmp_path / "in.npz") == {}
        return
    with pytest.raises(SolveError, match=words):
        load_data(tmp_path / "in.npz")


def test_any_array_that_numpy_saves_is_read(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.normal(size=(2, 3)).T,
        "b": np.array(3),
        "c": np.arange(4, dtype="f4"),
        "empty": np.zeros((0, 2)),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "in.npz", **arrays)
        found = load_data(tmp_path / "in.npz")
        assert all(np.array_equal(found[k], a) and found[k].dtype == a.dtype for k, a in arrays.items())


def test_netcdf(tmp_path):
    values = {"Kx": (("sample", "sample2"), np.eye(2)), "y": ("sample", np.array([1, -1], dtype="i4"))}
    xr.Dataset(values).to_netcdf(tmp_path / "in.nc")
    found = load_data(tmp_path / "in.nc")
    assert np.array_equal(found["Kx"], np.eye(2)) and np.array_equal(found["y"], [1, -1])
    packed = xr.Dataset({"y": ("sample", np.array([0.5, 2.0]))})
    packed.to_netcdf(
        tmp_path / "packed.nc",
        encoding={"y": {"dtype": "i2", "scale_factor": 0.5, "add_offset": 1.0, "_FillValue": -99}},
    )
    assert np.array_equal(load_data(tmp_path / "packed.nc")["y"], [0.5, 2.0])


@pytest.mark.parametrize("dtype", ("i2", "f8"))
def test_missing_values_of_netcdf_are_refused(dtype, tmp_path):
    data = xr.Dataset({"y": ("sample", np.array([1.0, np.nan, 2.0]))})
    data.to_netcdf(tmp_path / "in.nc", encoding={"y": {"dtype": dtype, "_FillValue": -99}})
    assert "variable 'y': 1 of 3 values are missing" in refusal(tmp_path / "in.nc")


def test_tables(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("X, y,X\n1,2,3\n4.5,5,-6e-1\n\n")
    found = load_data(path)
    assert list(found) == ["X", "y"]
    assert np.array_equal(found["X"], [[1, 3], [4.5, -0.6]]) and np.array_equal(found["y"], [2, 5])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line"),
        ("1,2\n3,4\n", "first line"),
        ("a,\n1,2\n", "first line"),
        ("a,b\n1,2\n3\n", "line 3 has 1 values, there are 2 columns"),
        ("a,b\n1,2\n3,x\n", "line 3: 'x' in column 'b' is not a number"),
        ("a,b\n1,\n", "line 2: '' in column 'b'"),
        ('a\n"1\n', "unexpected end|not a number"),
    ],
)
def test_tables_that_are_refused(text, words, tmp_path):
    (tmp_path / "in.csv").write_text(text)
    with pytest.raises(SolveError, match=words):
        load_data(tmp_path / "in.csv")


@pytest.mark.parametrize("name", ("in.json", "in.txt", "in", "in.npz", "in.nc"))
def test_other_files(name, tmp_path):
    (tmp_path / name).write_text('{"y": [1, 2]}')
    line = refusal(tmp_path / name)
    assert (".npz (numpy.savez), .nc (netCDF) and .csv" in line) == (name not in ("in.npz", "in.nc")) and name in line


def test_what_a_file_is_tells_its_content(tmp_path):
    np.savez(tmp_path / "in.csv.npz", y=np.ones(2))
    (tmp_path / "in.csv.npz").rename(tmp_path / "in.csv")
    assert np.array_equal(load_data(tmp_path / "in.csv")["y"], [1, 1])
    np.save(tmp_path / "y.npy", np.ones(2))
    assert "single array" in refusal(tmp_path / "y.npy")
