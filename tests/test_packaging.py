"""The wheel holds the templates, and a model compiles from the installed layout, away from the checkout."""

import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_model_compiles_from_the_wheel(tmp_path):
    build = f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    templates = {f"dmftsym/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "templates").rglob("*.jinja")}
    assert {t.split("/")[2] for t in templates} == {"common", "numba", "cupy"} and templates <= set(names)
    assert "dmftsym/py.typed" in names
    assert not any(name.startswith(("tests/", "examples/")) for name in names)

    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    where = "import dmftsym, pathlib; print(pathlib.Path(dmftsym.__file__).parents[1])"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert Path(found.stdout.strip()) == installed, "the installed copy is imported, not the checkout"
    command = [sys.executable, "-m", "dmftsym.cli.main", "compile", "mlp", "-o", "solver.py"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert "def solve(" in (tmp_path / "solver.py").read_text()


# The oldest versions with which the commands were run: Typer reads Literal from 0.19 on; netCDF4 1.7.0 and 1.7.1 were
# withdrawn.
TRIED = {
    "sympy": "1.13", "numpy": "2.0", "numba": "0.61", "scipy": "1.13", "jinja2": "3.1", "xarray": "2024.7",
    "netCDF4": "1.7.2", "typer": "0.19", "rich": "13", "matplotlib": "3.9", "latex2mathml": "3.77",
}  # fmt: skip


def test_declared_floors_are_those_that_were_tried():
    """Whoever lowers a floor, or uses a newer function, runs the command line with that version first."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert dict(line.split(">=") for line in declared) == TRIED
    numbers = lambda text: [int(part) for part in text.split(".")[:3] if part.isdigit()]
    assert all(numbers(version(name)) >= numbers(floor) for name, floor in TRIED.items())
