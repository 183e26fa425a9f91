"""Sample paths on the device: kept on the host where they are too many, or in single precision. On the stand-in."""

import numpy as np
import pytest
import raw_library
from cupy_cases import ALL, TOLERANCE, distance, loaded, on_hardware, source
from cupy_stand_in import COMPILER, DeviceArray

import dmftsym as ds
from dmftsym.models.loading import build_model

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels")
SAMPLED = ("three layers", "four layers", "equal samples", "recurrent", "symmetric")
OPTIONS = {"steps": 6, "dt": 0.1, "points": 512, "repeats": 4}


def solve(case, module, **options):
    judged = {"accuracy": np.inf, "time_step_error": False}  # few paths
    return module.solve(ALL[case].parameters, ALL[case].data, **OPTIONS | judged | options)


def numba(case):
    options = ds.Options(outputs=ALL[case].outputs)
    return ds.compile_model(build_model(ALL[case].model, **ALL[case].structure), options).solver.module


def memory(case, module, share, word=8):
    """A limit that leaves room for a share of what the paths keep for all times."""
    values, *_ = module._prepare(ALL[case].parameters, ALL[case].data, OPTIONS["steps"])
    of_paths = word * OPTIONS["points"] * sum(module._kept_numbers(values, OPTIONS["steps"]).values())
    return module.memory_bytes(values, OPTIONS["steps"], OPTIONS["points"], word=word) - (1 - share) * of_paths


def differs(expected, found):
    try:
        return distance(expected, found) > 1e-6
    except AssertionError:  # in its status, or in what is not a number
        return True


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.slow] * (c == "equal samples")) for c in SAMPLED if c != "four layers"]
)
def test_paths_that_wait_on_the_host_give_the_same_result(case):
    module = loaded(source(case, "cupy"))
    found = solve(case, module, memory_limit=memory(case, module, 0.4))
    assert found.pop("paths_at_once") in (64, 128)
    assert distance(solve(case, numba(case)), found) < TOLERANCE


@pytest.mark.usefixtures("averaged_form")
def test_what_waits_is_not_on_the_device():
    """In the averaged form, which keeps pasts."""
    text, largest = ds.compile_model(raw_library.mlp(2), ds.Options(backend="cupy")).source.text, []
    module = loaded(text)
    for share in (1.0, 0.4):
        DeviceArray.largest = 0
        solve("equal samples", module, memory_limit=memory("equal samples", module, share))
        largest.append(DeviceArray.largest)
    history = 8 * OPTIONS["points"] * 2 * OPTIONS["steps"]  # phi_h1 at all times, of two samples
    assert largest[1] < 0.7 * history < history <= largest[0]


@pytest.mark.parametrize("mistake", ["a row is not kept", "a part is taken twice"])
def test_the_tolerance_notices_what_is_lost_on_the_way(mistake):
    text = source("three layers", "cupy")
    wrong = {
        "a row is not kept": ("            self[step] = row\n", ""),
        "a part is taken twice": ("operand.parts[number]", "operand.parts[0]"),
    }[mistake]
    assert text.count(wrong[0]) == 1
    module = loaded(text.replace(*wrong))
    found = solve("three layers", module, memory_limit=memory("three layers", module, 0.4))
    assert found.pop("paths_at_once") and differs(solve("three layers", numba("three layers")), found)


def test_a_run_too_large_for_both_is_refused():
    module = loaded(source("three layers", "cupy"))
    with pytest.raises(module.InputError, match=r"needs about .* on the device and .* on the host; reduce steps \(6\)"):
        solve("three layers", module, memory_limit=1000)
    module = loaded(source("sampled", "cupy"))
    with pytest.raises(module.InputError, match="reduce steps"):  # nothing that could wait
        solve("sampled", module, memory_limit=1000, measure="sobol")


@pytest.mark.parametrize(
    "case",
    [
        *(pytest.param(c, marks=[pytest.mark.slow] * (c == "four layers")) for c in SAMPLED),
        "sampled",
        "two layers",
        "deep linear",
        "p_spin",
    ],
)
def test_single_precision_measures_its_error(case):
    """The error that a run reports for a part of its paths is that of the whole, within a factor of five or 1e-7."""
    module = loaded(source(case, "cupy"))
    single, double = (solve(case, module, precision=p) for p in ("float32", "float64"))
    error = max(np.abs(single[n] - double[n]).max() / np.abs(double[n]).max() for n in module.OUTPUTS)
    assert 1e-10 < error < 2e-5
    assert error / 5 - 1e-7 < single["rounding_error"] < 5 * error + 1e-7
    assert single["null_directions"] == double["null_directions"] and single["status"] == "ok"
    assert "rounding_error" not in double


def test_averages_in_single_precision_would_not_do():
    """Nearly singular covariances lose their small directions: why sums over paths are in double precision."""
    text = source("symmetric", "cupy")
    module = loaded(text.replace("np.dtype(float) if summed", "np.dtype(np.float32) if summed"))
    found = solve("symmetric", module, precision="float32", steps=9)
    assert found["status"] != "ok" or found["rounding_error"] > 1e-4
    right = solve("symmetric", loaded(text), precision="float32", steps=9)
    assert right["status"] == "ok" and right["rounding_error"] < 1e-6


def test_paths_in_single_precision_wait_on_the_host_as_well():
    module = loaded(source("three layers", "cupy"))
    limit = memory("three layers", module, 0.4, word=4)
    found = solve("three layers", module, memory_limit=limit, precision="float32")
    assert found["paths_at_once"] <= 128 and found["rounding_error"] < 2e-5
    right = solve("three layers", module)
    assert np.abs(found["f"] - right["f"]).max() < 2e-5


def test_an_unknown_precision_is_refused():
    module = loaded(source("p_spin", "cupy"))
    with pytest.raises(module.InputError, match="precision must be float64 or float32, given: 'half'"):
        solve("p_spin", module, precision="half")


def test_the_module_as_a_script_takes_a_precision(tmp_path, capsys):
    arguments = ["--steps", "3", "-p", "g=1.4", "--points", "64", "--measure", "sobol", "--accuracy", "inf"]
    main = loaded(source("recurrent", "cupy")).main
    assert main([*arguments, "--precision", "float32", "-o", str(tmp_path / "out.npz")]) == 0
    assert 0 < np.load(tmp_path / "out.npz")["rounding_error"] < 1e-5
    with pytest.raises(SystemExit):
        main([*arguments, "--precision", "float16", "-o", str(tmp_path / "out.npz")])
    assert "invalid choice: 'float16'" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize("case", SAMPLED)
def test_paths_of_a_device_that_wait_on_the_host(cupy, case):
    module = on_hardware(cupy, case)
    found = solve(case, module, memory_limit=memory(case, module, 0.4))
    assert found.pop("paths_at_once") in (64, 128)
    assert distance(solve(case, numba(case)), found) < 1e-10


@pytest.mark.gpu
@pytest.mark.parametrize("case", SAMPLED)
def test_single_precision_on_a_device(cupy, case):
    found = solve(case, on_hardware(cupy, case), precision="float32")
    assert found["status"] == "ok" and found["rounding_error"] < 2e-5
