"""Results: names, dimensions, coordinates and attributes of the contract; storage that never leaves half a file."""

import numpy as np
import pytest
import xarray as xr

import dmftsym as ds
from dmftsym.errors import SolveError
from dmftsym.language.action import hash_of
from dmftsym.runtime.data import load_data
from dmftsym.runtime.results import dimensions, save


def test_dimensions_of_the_contract(result):
    expected = {
        "f": ("sample", "time"),
        "K": ("sample", "sample2", "time"),
        "Phi1": ("sample", "time", "sample2", "time2"),
        "G1": ("sample", "time", "sample2", "time2"),
        "loss": ("time",),
    }
    assert {name: result[name].dims for name in expected} == expected
    assert {f"se_{name}": result[f"se_{name}"].dims for name in expected} == {f"se_{n}": d for n, d in expected.items()}
    assert set(result.data_vars) == set(expected) | {f"se_{name}" for name in expected}
    assert dict(result.sizes) == {"sample": 3, "sample2": 3, "time": 4, "time2": 4}


def test_repeated_axes_are_numbered():
    assert dimensions(("time", "time", "time")) == ("time", "time2", "time3")
    assert dimensions(("sample", "time", "sample", "time")) == ("sample", "time", "sample2", "time2")
    assert dimensions(("x", "y")) == ("x", "y")


def test_axes_whose_names_end_in_a_digit_stay_apart():
    """Axes layer and layer2 are different ones, and no dimension may occur twice."""
    for axes in (("layer1", "layer1"), ("layer", "layer2"), ("layer2", "layer", "layer"), ("layer", "layer2", "layer")):
        assert len(set(dimensions(axes))) == len(axes), axes


def test_time_is_step_times_dt(result):
    assert list(result.time.values) == [0.0, 0.5, 1.0, 1.5]
    assert list(result.time2.values) == [0.0, 0.5, 1.0, 1.5]


def test_the_time_step_of_the_model_is_the_default(recurrent):
    result = recurrent.solve({"g": 1.5}, steps=3, points=32)
    assert list(result.time.values) == [0.0, 0.05, 0.1]
    assert result.C.dims == ("time", "time2")


def test_kernels_are_consistent(result, samples):
    """K = Phi + Kx*G at equal times, symmetric in sample and time; f starts at 0, the loss at sum y^2/2."""
    kernel = samples["X"] @ samples["X"].T / 5
    agree = lambda one, other: np.allclose(one, other, rtol=1e-12, atol=1e-14)
    for t in range(4):
        equal = {"time": t, "time2": t}
        assert agree(result.K[:, :, t], result.Phi1.isel(equal) + kernel * result.G1.isel(equal))
        assert not agree(result.K[:, :, t], result.Phi1.isel(equal) + result.G1.isel(equal))  # negative control
    assert agree(result.Phi1, result.Phi1.values.transpose(2, 3, 0, 1))
    assert not agree(result.Phi1, result.Phi1.values.transpose(0, 3, 2, 1))  # negative control
    assert np.allclose(result.f[:, 0], 0, atol=1e-12)
    assert float(result.loss[0]) == pytest.approx((samples["y"] ** 2).sum() / 2, rel=1e-9)


def test_attributes_tell_how_the_result_was_made(network, result):
    a = result.attrs
    assert a["model"] == "mlp"
    assert a["model_hash"] == hash_of(network.derivation.action)
    assert ds.__version__ in a["version"]
    assert a["seed"] == 7 and a["status"].startswith("inaccurate: the sampling error of ")
    assert a["parameter_gamma"] == 1.0 and a["parameter_eta"] == 0.2
    assert "gamma=1.0" in a["parameters"] and "eta=0.2" in a["parameters"]
    for text in ("backend=numba", "Phi1", "steps=4", "dt=0.5", "points=128"):
        assert text in a["options"]
    assert a["measure"].startswith("sobol") and a["paths"] == 128
    assert 0 < a["wall_time"] < 60
    relative = [float(abs(result[f"se_{n}"]).max() / abs(result[n]).max()) for n in ("f", "K", "Phi1", "G1", "loss")]
    assert a["estimated_error"] == pytest.approx(max(relative), rel=1e-12)


def test_no_sampling_no_sampling_errors(network):
    data = {"Kx": np.array([[0.2]]), "y": np.ones(1)}
    result = network.solve({"gamma": 1, "eta": 0.1}, data, steps=3)
    assert result.attrs["measure"].startswith("hermite")
    assert not [name for name in result.data_vars if name.startswith("se_")]


def test_netcdf_round_trip(result, tmp_path):
    save(result, tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc", engine="netcdf4") as stored:
        xr.testing.assert_equal(stored.load(), result)
        assert {name: stored[name].dims for name in stored} == {name: result[name].dims for name in result}
        assert set(stored.attrs) == set(result.attrs)
        assert all(stored.attrs[name] == result.attrs[name] for name in result.attrs)
    assert (tmp_path / "out.nc").read_bytes()[:4] == b"\x89HDF"  # netCDF-4
    assert [p.name for p in tmp_path.iterdir()] == ["out.nc"]


def test_saving_again_replaces_the_file(result, tmp_path):
    path = tmp_path / "out.nc"
    save(result, path)
    save(result.isel(sample=[0]), str(path))
    with xr.open_dataset(path) as stored:
        assert stored.sizes["sample"] == 1


@pytest.mark.parametrize("error", (OSError("no space left on device"), RuntimeError("NetCDF: HDF error")))
def test_a_failing_write_keeps_the_good_file(error, result, tmp_path, monkeypatch):
    path = tmp_path / "out.nc"
    save(result, path)
    good = path.read_bytes()

    def half(self, target, **options):
        with open(target, "wb") as file:
            file.write(good[: len(good) // 2])
        raise error

    monkeypatch.setattr(xr.Dataset, "to_netcdf", half)
    with pytest.raises(SolveError, match=str(error)):
        save(result, path)
    assert path.read_bytes() == good
    assert [p.name for p in tmp_path.iterdir()] == ["out.nc"]


def test_an_interrupted_write_keeps_the_good_file(result, tmp_path, monkeypatch):
    path = tmp_path / "out.nc"
    save(result, path)
    good = path.read_bytes()

    def interrupted(self, target, **options):
        with open(target, "wb") as file:
            file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.Dataset, "to_netcdf", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(result, path)
    assert path.read_bytes() == good
    assert [p.name for p in tmp_path.iterdir()] == ["out.nc"]


@pytest.mark.parametrize(("name", "words"), [("", "folder"), ("missing/out.nc", "missing")])
def test_a_path_that_cannot_be_written_is_named(name, words, result, tmp_path):
    with pytest.raises(SolveError, match=words):
        save(result, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_load_data_reads_plain_arrays(tmp_path):
    np.savez(tmp_path / "in.npz", X=np.eye(2), n=np.array(3), mask=np.array([True, False]))
    data = load_data(tmp_path / "in.npz")
    assert set(data) == {"X", "n", "mask"}
    assert np.array_equal(data["X"], np.eye(2)) and data["n"] == 3 and data["mask"].dtype == bool


class Evil:
    """An object that would run code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code of the data file was run')",))


def test_pickled_objects_are_refused_and_not_run(tmp_path):
    np.savez(tmp_path / "in.npz", good=np.ones(2), labels=np.array([Evil()], dtype=object))
    with pytest.raises(SolveError, match=r"'labels'.*pickled"):
        load_data(tmp_path / "in.npz")


UNREADABLE = {
    "text": b"sample,label\n1,2\n",
    "pickle": b"\x80\x04K\x01.",
    "empty": b"",
    "cut archive": b"PK\x03\x04 cut off",
}


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # NumPy leaves a damaged archive open
@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_archive_is_refused(kind, tmp_path):
    (tmp_path / "in.npz").write_bytes(UNREADABLE[kind])
    with pytest.raises(SolveError, match=r"in\.npz"):
        load_data(tmp_path / "in.npz")


def test_other_paths_are_refused(tmp_path):
    np.save(tmp_path / "single.npy", np.ones(3))
    with pytest.raises(SolveError, match=r"single\.npy"):
        load_data(tmp_path / "single.npy")
    with pytest.raises(SolveError, match="absent"):
        load_data(tmp_path / "absent.npz")
    with pytest.raises(SolveError, match=tmp_path.name):
        load_data(tmp_path)
