"""Templates are strict: a key that is missing and a key that nothing uses are errors."""

import re

import pytest

from dmftsym.codegen import generate
from dmftsym.codegen.templates import COMMON, render, template_folder
from dmftsym.errors import CodegenError

TEMPLATE = "module.py.jinja"


@pytest.fixture
def context(compiled, monkeypatch):
    """The keys with which the template of a real module is filled."""
    kept = {}

    def keep(target, name, context):
        kept.update(context)
        return render(target, name, context)

    monkeypatch.setattr(generate, "render", keep)
    generate.generate_source(compiled("mlp").program, "numba", "0", {})
    return kept


def test_a_complete_context_is_a_module(context):
    compile(render("numba", TEMPLATE, context), "module.py", "exec")


def test_every_missing_key_is_named(context):
    assert len(context) > 10
    for key in context:
        with pytest.raises(CodegenError, match=rf"missing.*'{key}'"):
            render("numba", TEMPLATE, {k: v for k, v in context.items() if k != key})


def test_an_unused_key_is_named(context):
    with pytest.raises(CodegenError, match=r"unused.*'surplus'"):
        render("numba", TEMPLATE, {**context, "surplus": 1})


def test_a_missing_attribute_inside_a_loop_is_an_error(context):
    parameters = [{k: v for k, v in p.items() if k != "lower"} for p in context["parameters"]]
    with pytest.raises(CodegenError, match="lower"):
        render("numba", TEMPLATE, {**context, "parameters": parameters})


def test_unknown_target():
    with pytest.raises(CodegenError, match="fortran"):
        render("fortran", TEMPLATE, {})


TEMPLATES = template_folder(COMMON).parent


def test_common_templates_do_not_ask_for_the_target():
    for path in sorted((TEMPLATES / COMMON).glob("*.jinja")):
        tags = re.findall(r"\{%.*?%\}|\{\{.*?\}\}", path.read_text(encoding="utf-8"))
        assert not [tag for tag in tags if re.search(r"\bxp\s*[!=]=|\bin\s*xp\b", tag)], path.name


def test_all_targets_define_the_same_pieces():
    macros = lambda target: re.findall(
        r"\{% macro (\w+)\(", (TEMPLATES / target / "target.py.jinja").read_text("utf-8")
    )
    assert sorted(macros("numba")) == sorted(macros("cupy")) and len(set(macros("numba"))) == len(macros("numba"))
    used = {m for path in TEMPLATES.rglob("*.jinja") for m in re.findall(r"\btarget\.(\w+)\(", path.read_text("utf-8"))}
    assert used == set(macros("numba"))
