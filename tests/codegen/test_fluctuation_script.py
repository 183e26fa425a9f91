"""Generated modules with covariances: the same text on every run, standalone as a script."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fluctuating_models import EXAMPLES, KX, Y, interpreted
from test_generated_module import imported
from test_script import STANDALONE

import dmftsym as ds
from dmftsym.models.loading import build_model

WANTED = (
    ("mlp", {"activation": "relu"}, ("f", "K", "loss", "sharpness")),
    ("recurrent", {}, ("C", "Cx")),
    (str(EXAMPLES / "lotka_volterra.py"), {}, ("C", "M")),
)
SCRIPT = """
import json, sys
from dmftsym import Options, compile_model
from dmftsym.models.loading import build_model
texts = []
for spec, structure, covariance in json.loads(sys.argv[1]):
    texts.append(compile_model(build_model(spec, **structure), Options(covariance=tuple(covariance))).source.text)
json.dump(texts, sys.stdout)
"""


def text_of(spec, structure, covariance):
    return ds.compile_model(build_model(spec, **structure), ds.Options(covariance=covariance)).source.text


@pytest.mark.slow
def test_the_text_does_not_depend_on_the_hash_seed():
    command = [sys.executable, "-c", SCRIPT, json.dumps(WANTED)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("0", "4321")
    ]
    printed = [p.communicate(timeout=120)[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0]
    found = [json.loads(text) for text in printed]
    digest = lambda text: hashlib.sha256(text.encode()).hexdigest()
    here = [digest(text_of(*wanted)) for wanted in WANTED]
    assert [[digest(text) for text in texts] for texts in found] == [here, here]
    assert len(set(here)) == len(WANTED)


def test_what_is_asked_for_changes_the_module_and_nothing_else():
    plain = ds.compile_model(build_model("mlp")).source
    varied = ds.compile_model(build_model("mlp"), ds.Options(covariance=("f",))).source
    assert plain.model_hash == varied.model_hash and plain.text != varied.text
    sweep = lambda text: text.split("\ndef sweep(")[1].split("\n\n\n")[0]
    assert sweep(plain.text) == sweep(varied.text)
    assert "tangent" not in plain.text and "COVARIANCES" not in plain.text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("script")
    (folder / "solver.py").write_text(text_of("mlp", {}, ("f", "K")), encoding="utf-8")
    np.savez(folder / "in.npz", Kx=KX, y=Y)
    return folder


RULE = "--measure sobol --points 64 --covariance-points 128 --seed 2 --accuracy inf"
LINE = f"solver.py --data in.npz --steps 3 {RULE} -p gamma=1 -p eta=0.2 -o out.npz"


def run_alone(folder, line):
    """A process in which nothing but NumPy and Numba can be imported; kernels run as plain Python."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", STANDALONE, *line.split()]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, env=environment
    )


def test_the_script_writes_covariances(folder):
    text = (folder / "solver.py").read_text(encoding="utf-8")
    assert imported(text) - set(sys.stdlib_module_names) == {"numpy", "numba"}
    done = run_alone(folder, LINE)
    assert (done.returncode, done.stderr) == (0, "")
    module = interpreted(text)
    options = {"steps": 3, "measure": "sobol", "seed": 2, "accuracy": np.inf}
    parameters, data = {"gamma": 1, "eta": 0.2}, {"Kx": KX, "y": Y}
    mean = module.solve(parameters, data, points=64, **options)
    expected = module.fluctuations(parameters, data, points=128, **options)
    other = module.fluctuations(parameters, data, points=128, **(options | {"seed": 3}))
    assert {"cov_f_f", "cov_f_K", "cov_K_K", "se_cov_f_K", "cov_status", "cov_modes", "cov_measure"} <= set(expected)
    with np.load(folder / "out.npz") as out:
        assert set(out.files) == set(mean) | set(expected)
        for name in expected:
            assert np.array_equal(out[name], expected[name]), name
        assert np.array_equal(out["f"], mean["f"])
        assert not np.array_equal(out["cov_f_f"], other["cov_f_f"])  # negative control: another seed


def test_a_script_that_diverges_writes_the_means(folder):
    line = LINE.replace("eta=0.2", "eta=1e60").replace("--steps 3", "--steps 6").replace("out.npz", "bad.npz")
    done = run_alone(folder, line)
    assert done.returncode == 2 and "diverged" in done.stdout + done.stderr
    with np.load(folder / "bad.npz") as out:
        assert "f" in out.files and not any("cov_f" in name for name in out.files)


def test_the_folder_holds_nothing_else(folder):
    names = {p.name for p in Path(folder).iterdir() if p.suffix != ".npz"}
    assert names <= {"solver.py", "__pycache__"}
