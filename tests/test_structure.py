"""The shape of the project: stages import in one direction, files and functions stay small, the README is current."""

import ast
from pathlib import Path

import pytest

import dmftsym

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dmftsym"
STAGES = ("language", "derivation", "program", "lowering", "linearise", "codegen")
FILES = sorted(PACKAGE.rglob("*.py"))


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def stage_of(module):
    parts = module.split(".")
    return parts[1] if parts[0] == "dmftsym" and len(parts) > 1 else ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_stages_import_only_earlier_stages(path):
    stage = path.relative_to(PACKAGE).parts[0]
    allowed = {"errors", "files", "version", ""}
    if stage in STAGES:
        allowed |= set(STAGES[: STAGES.index(stage) + 1])
    elif stage == "runtime":
        allowed |= {"runtime"}
        assert not any(module.split(".")[0] == "sympy" for module in imports_of(path))
    else:
        return
    for module in imports_of(path):
        assert stage_of(module) in allowed, f"{path} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60 or "models" in path.parts, f"{path}:{node.name}"
        assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("eval", "exec")), path


def test_the_compiler_knows_no_model_by_name():
    for stage in (*STAGES, "runtime"):
        for path in (PACKAGE / stage).rglob("*.py"):
            text = path.read_text().lower()
            assert not any(name in text for name in ("mlp", "recurrent", "two_layer", "p_spin")), path


def test_top_level_holds_only_what_was_agreed():
    agreed = {"pyproject.toml", "dmftsym", "templates", "tests", "examples", "README.md", "LICENSE"}
    visible = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    assert visible <= agreed | {"build", "dist"}


def test_readme_names_the_current_version():
    changes = (ROOT / "README.md").read_text().split("## Changes")[1]
    assert dmftsym.__version__ in changes
