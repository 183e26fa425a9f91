"""What notebooks and web pages show: valid, balanced LaTeX that says what the equations say, the same on every run."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from latex2mathml.converter import convert
from sympy import Integer, Tuple, latex

import dmftsym as ds
from dmftsym.derivation.document import code_page, document
from dmftsym.language.sums import FutureSum
from dmftsym.models.loading import build_model, find_model

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = {
    "mlp": lambda: build_model("mlp"),
    "mlp with test points": lambda: build_model("mlp", test=True, centered=True, activation="relu", loss="logistic"),
    "recurrent": lambda: build_model("recurrent"),
    "two populations": lambda: find_model(str(EXAMPLES / "two_populations.py")).build({}),
    "Lotka-Volterra": lambda: find_model(str(EXAMPLES / "lotka_volterra.py")).build({}),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.fixture(scope="module")
def derivation(model):
    return ds.derive(model)


def check_latex(text):
    """Balanced braces and delimiters, nothing of Python or of SymPy's fallbacks in it."""
    depth = 0
    for position, character in enumerate(text):
        escaped = position and text[position - 1] == "\\"
        depth += {"{": 1, "}": -1}.get(character, 0) * (not escaped)
        assert depth >= 0
    assert depth == 0
    for opening, closing in ((r"\left", r"\right"), (r"\begin{", r"\end{"), (r"\left\langle", r"\right\rangle")):
        assert text.count(opening) == text.count(closing), opening
    assert not any(word in text for word in ("Sum", "Entry", "unresolved", "_Dummy", "None", "**", ".tilde", ".hat"))


def records(derivation):
    action = derivation.action
    return [derivation, action, action.declared, derivation.process, *derivation.process, derivation.saddle_point]


def test_notebook_display(model, derivation):
    for record in (model, *records(derivation)):
        shown = record._repr_latex_()
        assert shown.startswith(r"$\displaystyle") and shown.endswith("$") and shown.count("$") == 2
        check_latex(shown)


def test_every_line_becomes_mathml(derivation):
    for record in records(derivation):
        for line in record.latex_lines():
            check_latex(line)
            tree = ElementTree.fromstring(convert(line, display="block"))
            assert not any(element.tag.endswith("merror") for element in tree.iter())
            assert "\\" not in "".join(tree.itertext())


def test_documents(derivation):
    parts = (derivation.action, *derivation.process, derivation.saddle_point)
    page = document("<title> & more", parts, "html")
    root = ElementTree.fromstring(page.removeprefix("<!doctype html>\n").replace('<meta charset="utf-8">', ""))
    lines = sum(len(p.latex_lines()) for p in parts)
    assert len(root.findall(".//p")) == lines and root.find(".//h1").text == "<title> & more"
    headings = ["Action", *["Effective process" for _ in derivation.process], "Saddle point"]
    assert [h.text for h in root.findall(".//h2")] == headings
    text = document("", parts, "latex")
    check_latex(text)
    assert text.count(r"\[") == lines and re.findall(r"section\*{(.*)}", text) == headings
    assert document("", parts, "text") == "\n\n".join(map(str, parts))


def test_code_pages_escape():
    assert "a &lt; b &amp; c" in code_page("t", "a < b & c", "html")
    assert code_page("t", "a < b", "text") == "a < b"
    assert "a < b" in code_page("t", "a < b", "latex")


def test_what_the_lines_say():
    derivation = ds.derive(build_model("recurrent"))
    (process,) = derivation.process
    assert process.latex_lines() == [
        r"\partial_{t} x(t) = u^{x}(t) - x(t)",
        r"\left\langle u^{x}(t) u^{x}(t') \right\rangle = g^{2} C(t,t')",
        r"O_{\hat{C}(t,s)} = \phi\left(x(s)\right) \phi\left(x(t)\right)",
        r"O_{\hat{R}(t,s)} = \phi\left(x(t)\right) \tilde{x}(s)",
        r"O_{\hat{C}^{x}(t,s)} = x(s) x(t)",
        r"u^{x}: \quad \text{evolving noise, correlated between times}",
        r"x(0) \sim \mathcal{N}\left(0, x_{0 variance}\right)",
    ]
    average = r"\left\langle \phi\left(x(s)\right) \phi\left(x(t)\right) \right\rangle_{\mathrm{neuron}}"
    assert derivation.saddle_point.latex_lines()[0] == f"C(t,s) = {average}"
    assert r"\hat{C}(t,s) = 0" in derivation.saddle_point.latex_lines()
    assert "x[s]*x[t]" in str(derivation.saddle_point) and "x.dot[t] = u_x[t] - x[t]" in str(process)


PRINT = """
import dmftsym as ds
from dmftsym.language.action import hash_of
from dmftsym.models.loading import build_model, find_model
for model in (build_model("mlp", test=True), build_model("recurrent"), find_model({path!r}).build({{}})):
    derivation = ds.derive(model)
    print(derivation, derivation._repr_latex_(), model._repr_latex_(), hash_of(derivation.action))
"""


def test_the_same_text_whatever_the_hash_seed():
    code = PRINT.format(path=str(EXAMPLES / "two_populations.py"))
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            cwd=EXAMPLES.parent,
        ).stdout
        for seed in ("1", "4242")
    ]
    assert runs[0] == runs[1] and "f[mu, t] = " in runs[0]


@pytest.fixture
def sums():
    m = ds.Model("toy")
    t, s = m.times("t s", continuous=True)
    mu = m.indices("mu", size="P")
    y, x = m.data("y", mu), m.site("A").field("x", t)
    later = lambda body: FutureSum(body, Tuple(s), t, Integer(0))
    return {
        "past": ds.past(s, before=t)(x[s]),
        "all": ds.sum_over(mu)(y[mu]),
        "future": later(x[s]),
        "dot": x.dot[t],
        "future bracket": later(x[s] + 1),
        "past bracket": ds.past(s, before=t)(x[s] + 1),
    }


@pytest.mark.parametrize("kind", ["past", "all", "future", "dot"])
def test_powers_of_sums_are_bracketed(sums, kind):
    # Regression: (sum of x)^2 is shown as the sum of x^2, (dx/dt)^2 as d(x^2)/dt.
    square = latex(sums[kind] ** 2)
    assert square in (rf"\left({latex(sums[kind])}\right)^{{2}}", rf"\left[{latex(sums[kind])}\right]^{{2}}")


def test_sums_of_brackets(sums):
    # Regression: a sum over the future shows a bracket without its brackets.
    assert r"\left[x(s) + 1\right]" in latex(sums["past bracket"])
    assert r"\left[x(s) + 1\right]" in latex(sums["future bracket"])


def test_continuous_time_has_integrals(sums):
    # Regression: the integral over later times, the mirror image of the one over the past, is shown as a sum.
    assert latex(sums["past"]).startswith(r"\int_0^{t}") and str(sums["past"]).startswith("int_")
    assert latex(sums["future"]).startswith(r"\int_{t}^{") and str(sums["future"]).startswith("int_")
