"""Memory: the limit that holds is the least of several, and what a run is said to need is near what it takes."""

import resource
import subprocess
import sys

import memory_peaks
import pytest
from fluctuating_models import interpreted

import dmftsym as ds
from dmftsym.models.loading import build_model

GIB = 2**30
BOUND = 1.5


@pytest.fixture(scope="module")
def recurrent():
    return interpreted(ds.compile_model(build_model("recurrent"), ds.Options(covariance=("C",))).source.text)


def group_files(folder, version, limit, used, forgettable):
    """The files of a control group that holds the process."""
    names = {1: ("limit_in_bytes", "usage_in_bytes", "total_inactive_file"), 2: ("max", "current", "inactive_file")}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"memory.{names[version][0]}").write_text(f"{limit}\n")
    (folder / f"memory.{names[version][1]}").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"other 7\n{names[version][2]} {forgettable}\n")


@pytest.mark.parametrize("version", (1, 2))
def test_the_tightest_control_group_counts(version, recurrent, tmp_path):
    mounted, groups = tmp_path / "fs", tmp_path / "cgroup"
    groups.write_text("4:cpu,memory:/jobs/one\n2:cpuset:/\n" if version == 1 else "0::/jobs/one\n")
    root = mounted / "memory" if version == 1 else mounted
    group_files(root / "jobs" / "one", version, "max" if version == 2 else 2**63 - 4096, 3 * GIB, 0)
    group_files(root / "jobs", version, 8 * GIB, 5 * GIB, GIB)
    found = recurrent._group_memory(str(groups), str(mounted))
    assert min(found) == 4 * GIB, "8 less the 5 that are used, 1 of which can be forgotten"
    group_files(root / "jobs" / "one", version, 3 * GIB, GIB, 0)
    assert min(recurrent._group_memory(str(groups), str(mounted))) == 2 * GIB


def test_without_control_groups_nothing_is_known_of_them(recurrent, tmp_path):
    assert recurrent._group_memory(str(tmp_path / "none"), str(tmp_path)) == []
    (tmp_path / "meminfo").write_text("MemTotal: 30 kB\nMemAvailable: 20 kB\n")
    assert recurrent._free_memory(str(tmp_path / "meminfo")) == [20 * 1024]
    assert recurrent._free_memory(str(tmp_path / "none"))[0] > GIB / 4, "all that the machine has"


def test_a_limit_of_the_process_counts(recurrent, monkeypatch):
    limits = {resource.RLIMIT_AS: 20 * GIB, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], limits[kind]))
    (left,) = recurrent._process_memory()
    assert 20 * GIB - left == pytest.approx(memory_peaks.resident("VmSize"), rel=0.02)
    limits[resource.RLIMIT_AS] = 1
    assert recurrent._available_memory() == 0
    with pytest.raises(recurrent.InputError, match=r"0\.0 GiB are there; reduce"):
        recurrent.solve({"g": 1.5}, steps=2, points=16)


def test_covariances_are_checked_first(recurrent, monkeypatch):
    source = ds.compile_model(build_model("recurrent"), ds.Options(covariance=("C",))).solver
    vars(source)["module"] = recurrent  # in place of the compiled one
    solved = []
    monkeypatch.setattr(recurrent, "solve", lambda *given, **options: solved.append(given))
    with pytest.raises(ds.SolveError, match=r"the covariances need about [\d.]+ GiB"):
        source.solve({"g": 1.5}, steps=600, points=16)
    assert not solved


def test_no_memory_is_a_line(recurrent, monkeypatch):
    solver = ds.compile_model(build_model("recurrent")).solver
    vars(solver)["module"] = recurrent

    def greedy(*_, **__):
        raise MemoryError("Unable to allocate 8.00 EiB for an array")

    monkeypatch.setattr(recurrent, "check_fluctuations", lambda *_, **__: None)
    monkeypatch.setattr(recurrent, "solve", greedy)
    with pytest.raises(ds.SolveError, match="memory does not suffice: Unable to allocate") as error:
        solver.solve({"g": 1.5}, steps=2)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", memory_peaks.RUNS)
def test_the_estimate_is_near_the_peak_of_a_process(name):
    found = memory_peaks.measured(name)
    assert found["status"] == "ok"
    assert 1 / BOUND < found["needed"] / found["peak"] < BOUND, found


@pytest.mark.slow
def test_a_run_that_does_not_fit_under_a_limit_of_the_shell(tmp_path):
    """ulimit -v of 4 GB: a run that needs more is refused, and a small one is not."""
    arguments = ("solve", "recurrent", "-p", "g=1.5", "-o", str(tmp_path / "out.nc"))
    command = [sys.executable, "-m", "dmftsym.cli.main", *arguments]
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (4 * 10**9, 4 * 10**9))
    run = lambda *more: subprocess.run([*command, *more], capture_output=True, text=True, preexec_fn=limit)
    done = run("--steps", "1500", "--points", "65536")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "GiB are there" in done.stderr, done.stderr
    done = run("--steps", "20", "--points", "2048")
    assert done.returncode == 0, done.stderr
