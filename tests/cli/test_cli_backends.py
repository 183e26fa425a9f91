"""`--backend auto` and `dmftsym bench`, with and without a device (the stand-in)."""

import sys

import numpy as np
import pytest
import xarray as xr
from cupy_stand_in import COMPILER, stand_in

from dmftsym.runtime import backends

RUN = ("solve", "mlp", "--data", "in.npz", "-p", "gamma=1", "-p", "eta=0.2", "--steps", 4, "-o", "out.nc")
ROUGH = ("--accuracy", "inf")  # few points are enough here
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels")


@pytest.fixture
def device():
    """A device is there: the stand-in; what is loaded with it is forgotten afterwards."""
    before = set(sys.modules)
    with stand_in():
        yield
    for name in set(sys.modules) - before:
        if name.startswith("dmftsym_generated"):
            del sys.modules[name]


@pytest.fixture
def no_device(monkeypatch):
    monkeypatch.setattr(backends, "missing_device", lambda: "there is no CUDA device")


def test_auto_takes_numba_without_a_device_and_says_so(dmftsym, data, no_device):
    done = dmftsym(*RUN, "--backend", "auto")
    assert done.status == 0 and done.err == "backend numba: there is no CUDA device\n"


@needs_compiler
def test_auto_takes_the_device_for_large_problems_alone(dmftsym, data, device, monkeypatch):
    small = dmftsym(*RUN, "--backend", "auto", "--measure", "sobol", "--points", 256, *ROUGH)
    assert small.status == 0 and small.err.startswith("backend numba: about "), small
    monkeypatch.setattr(backends, "WORTHWHILE", 1e3)
    large = dmftsym(*RUN, "--backend", "auto", "--measure", "sobol", "--points", 256, *ROUGH)
    assert large.status == 0 and large.err.startswith("backend cupy: about "), large


@needs_compiler
def test_single_precision_says_what_it_costs(dmftsym, data, device):
    done = dmftsym(*RUN, "--backend", "cupy", "--precision", "float32", "--measure", "sobol", "--points", 256, *ROUGH)
    assert done.status == 0 and "single precision changes the result by " in done.out
    with xr.open_dataset("out.nc") as result:
        assert 0 < result.attrs["rounding_error"] < 1e-5 and "precision=float32" in result.attrs["options"]


def test_single_precision_needs_the_device(refused, data):
    assert refused(*RUN, "--precision", "float32") == "dmftsym: precision float32 needs the backend cupy\n"


def test_the_estimate_of_work_grows_like_the_work(data):
    import dmftsym as ds
    from dmftsym.models.loading import build_model

    module = ds.compile_model(build_model("mlp", depth=2)).solver.module
    values, *_ = module._prepare({"gamma": 1, "eta": 1}, {"Kx": np.eye(4), "y": np.ones(4)}, 50)
    work = lambda steps, paths: backends.multiply_adds(module, values, steps, paths)
    assert work(50, 2000) == pytest.approx(2 * work(50, 1000))
    assert 1.9 < work(200, 1000) / work(100, 1000) < 2.1, "no past is kept"
    averaged = ds.compile_model(build_model("mlp", depth=2), ds.Options(outputs=("A1",))).solver.module
    work = lambda steps, paths: backends.multiply_adds(averaged, values, steps, paths)
    assert 7 < work(200, 1000) / work(100, 1000) < 8.1, "tangents of memories, at all times of an impulse"


def test_a_missing_package_is_one_line_with_the_way_to_install_it(refused, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert refused(*RUN, "--backend", "cupy", "--outputs", "sharpness") == (
        "dmftsym: the backend cupy needs CuPy and a CUDA device: pip install cupy-cuda12x\n"
    )
    assert "CuPy is not installed" in backends.missing_device()


def test_compiling_for_a_device_needs_none(dmftsym, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert dmftsym("compile", "p_spin", "--backend", "cupy", "-o", "gpu.py").status == 0


def test_unusable_data_are_named_before_a_backend_is_chosen(refused, data, device):
    np.savez("in.npz", X=data["X"], y=data["y"][:2])
    assert "y" in refused(*RUN, "--backend", "auto")


@needs_compiler
def test_bench_prints_a_table(dmftsym, device):
    done = dmftsym("bench", "--quick")
    assert done.status == 0
    assert all(heading in done.out for heading in ("cupy, s", "share of dgemm", "its error"))
    assert done.out.count("256") >= 2


def test_bench_without_a_device_is_one_line(refused, monkeypatch):
    from dmftsym.cli import bench

    monkeypatch.setattr(bench, "missing_device", lambda: "there is no CUDA device")
    assert "nothing to measure, there is no CUDA device" in refused("bench")


def test_bench_of_numba_needs_no_device(dmftsym):
    assert "numba, s" in dmftsym("bench", "--backend", "numba", "--quick").out
