"""Whatever the user calls things, the numbers are the same, and results, messages and equations keep the user's names.

Names are drawn from the identifiers of the generated code itself, keywords of Python and C++, and other alphabets.
"""

import ast
import builtins
import keyword
import re
from functools import cache

import numpy as np
import pytest
import test_fluctuation_names as everything
import xarray as xr
from cupy_stand_in import COMPILER, stand_in
from fluctuating_models import interpreted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sympy import tanh

import dmftsym as ds
from dmftsym.codegen.names import generated_names, in_users_names
from dmftsym.language.names import REPORTED
from dmftsym.lowering.code_names import with_code_names

WORDS = "int double long void register auto struct threadIdx blockIdx const float char this new delete template".split()
LETTERS = "λ Σ α β Δ φ_1 ψ é ñandú день 温度 x_λ λ_history u_λ _x __init__ λ2 É".split()
ROLES = tuple(everything.NAMES)


def source(backend="numba", covariance=True, **names):
    name = {**everything.NAMES, **names}
    varied = (name["average"], name["definition"], "lead") if covariance else ()
    return ds.compile_model(everything.everything(**names), ds.Options(backend=backend, covariance=varied)).source


@cache
def identifiers():
    """Every identifier of the generated code of both targets, kernels included."""
    found: set[str] = set()
    for backend in ("numba", "cupy"):
        tree = ast.parse(source(backend).text)
        for node in ast.walk(tree):
            parts = [getattr(node, a, None) for a in ("id", "arg", "name", "attr")]
            found |= {part for part in parts if isinstance(part, str)}
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "__global__" in node.value:
                found |= set(re.findall(r"[A-Za-z_]\w*", node.value))
    return tuple(sorted(found))


def drawn_names():
    pools = [identifiers(), keyword.kwlist, WORDS, LETTERS, [n for n in dir(builtins) if n[0] != "_"]]
    return st.one_of([st.sampled_from(list(pool)) for pool in pools])


def distinct(names):
    """Names that are declared once, in roles that are not taken by the fixed names of the model."""
    fixed = {"s", "nu", "v", "lead", "everything", "sample"}
    chosen = {role: name for role, name in names.items() if name not in fixed}
    full = {**everything.NAMES, **chosen}
    return chosen if len(set(full.values())) == len(full) else None


def expected_clash(names):
    """Quantities that results cannot hold under these names."""
    quantities = [{**everything.NAMES, **names}[r] for r in ("average", "two-time average", "definition")] + ["lead"]
    composed = {f"{kind}_{q}" for q in quantities for kind in ("se", "excess")}
    composed |= {f"cov_{one}_{other}" for one in quantities for other in quantities}
    return any(q in REPORTED or q == "sample" or q in composed for q in quantities)


@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_names_from_everywhere_in_every_role(data):
    roles = data.draw(st.lists(st.sampled_from(ROLES), min_size=1, max_size=5, unique=True))
    names = distinct({role: data.draw(drawn_names()) for role in roles})
    if names is None:
        return
    if expected_clash(names):
        with pytest.raises(ds.LanguageError, match=r"the name '|axis '"):
            source(**names)
        return
    assert everything.same(everything.results(**names))


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_many_names_from_everywhere_in_every_role(data):
    test_names_from_everywhere_in_every_role.hypothesis.inner_test(data)


SETS = {
    "Greek": {"share": "λ", "parameter": "β", "data": "κ", "kernel": "Σ", "size": "Π", "index": "μ", "average": "ρ",
              "two-time average": "Γ", "definition": "Δ", "field": "ξ", "wide field": "η", "site": "α",
              "other site": "ω", "activation": "φ", "time": "τ"},
    "keywords": {"share": "lambda", "parameter": "class", "data": "for", "kernel": "int", "size": "double",
                 "index": "if", "average": "is", "two-time average": "float", "definition": "not", "field": "def",
                 "wide field": "long", "site": "void", "other site": "my site", "activation": "d", "time": "while"},
    "code": {"share": "values", "parameter": "columns", "data": "steps", "kernel": "weights", "size": "paths_one",
             "index": "path", "average": "normals", "two-time average": "factors", "definition": "sweep",
             "field": "u_h", "wide field": "d_x", "site": "rows", "other site": "now", "activation": "np", "time": "i"},
}  # fmt: skip


@pytest.mark.parametrize("case", ["Greek", pytest.param("keywords", marks=pytest.mark.slow), "code"])
def test_all_names_at_once(case):
    assert everything.same(everything.results(**SETS[case]))


@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("case", [pytest.param("Greek", marks=pytest.mark.slow), "code"])
def test_all_names_at_once_on_the_stand_in(case):
    """The means of the text for CUDA, whose kernels hold the names as well."""
    names = {**everything.NAMES, **SETS[case]}

    def solved(names):
        text = source("cupy", False, **{k: v for k, v in names.items() if v != everything.NAMES[k]}).text
        with stand_in():
            space: dict = {"__name__": "everything"}
            exec(compile(text, "everything.py", "exec"), space)
            data = {names["kernel"]: everything.KX, names["data"]: np.array([1.0, 0.5, -0.7])}
            found = space["solve"]({}, data, steps=3, measure="sobol", points=12, repeats=1)
        return [found[names[q]] for q in ("average", "two-time average")]

    for one, other in zip(solved(everything.NAMES), solved(names), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


# --- what the user sees ---------------------------------------------------------------------------------------------


def greek():
    """A field λ driven by data Κ with gain β and noise of strength lambda; order parameters Σ and C_λ."""
    m = ds.Model("modèle 1")
    t, s = m.times("τ s")
    i, j = m.indices("for j", size="class", axis="my samples")
    beta, strength = m.parameters("β", default=2.0), m.parameters("lambda", nonnegative=True)
    K = m.data("Κ", i, j)
    S, C = m.order_parameter("Σ", i, t), m.order_parameter("C_λ", i, t, j, s)
    site = m.site("site nº2")
    x = site.field("λ", i, t)
    site.equation(x[i, t], beta * ds.past(s, j)(K[i, j] * S[j, s]))
    site.noise(x[i, t], x[j, s], K[i, j] * strength)
    site.observe(S[i, t], tanh(x[i, t]) + x[i, t] ** 2)
    site.observe(C[i, t, j, s], x[i, t] * x[j, s])
    return m


def test_results_messages_and_equations_keep_the_users_names(tmp_path):
    compiled = ds.compile_model(greek(), ds.Options(covariance="Σ"))
    module = interpreted(compiled.source.text)
    assert set(module.PARAMETERS) == {"β", "lambda"} and list(module.DATA) == ["Κ"] and module.MODEL == "modèle 1"
    assert module.OUTPUTS == {"Σ": ("my samples", "time"), "C_λ": ("my samples", "time") * 2}
    assert module.SITES == ("site nº2",) and module.AXES == {"my samples": ("class", None)}
    K = np.array([[1.0, 0.3], [0.3, 0.5]])
    found = module.solve({"lambda": 0.5}, {"Κ": K}, steps=2, points=256, measure="sobol")
    assert {"Σ", "C_λ", "se_Σ"} <= set(found)
    np.testing.assert_allclose(found["C_λ"][:, 0, :, 0], K / 2, rtol=0.1)
    varied = module.fluctuations({"lambda": 0.5}, {"Κ": K}, steps=2, points=64, measure="sobol")
    assert varied["cov_Σ_Σ"].shape == (2, 2, 2, 2)
    own = {key for key in {**found, **varied} if "Σ" not in key and "C_λ" not in key}
    assert own <= REPORTED, "names that quantities must not have"
    for call, words in (
        (lambda: module.solve({}, {"Κ": K}, steps=2), "parameter 'lambda' is missing"),
        (lambda: module.solve({"lambda": -1}, {"Κ": K}, steps=2), "parameter 'lambda' must"),
        (lambda: module.solve({"lambda": 1}, {}, steps=2), "data 'Κ' are missing"),
        (lambda: module.solve({"lambda": 1}, {"Κ": -K}, steps=2), "<u_λ[for] u_λ[for']> = lambda*Κ[for, for']"),
        (lambda: module.solve({"lambda": 1}, {"Κ": K}, steps=2, measure="gaussian"), "site nº2"),
    ):
        with pytest.raises(module.InputError, match=re.escape(words)):
            call()
    assert "λ[for, τ] = β*sum_{s<τ, j}(Κ[for, j]*Σ[j, s]) + u_λ[for]" in module.__doc__
    assert "# λ[for, τ] = " in compiled.source.text, "comments above the updates"
    code = re.sub(r'"""[\s\S]*?"""|#.*|"[^"\n]*"|\'[^\'\n]*\'', "", compiled.source.text)
    assert code.isascii() and "lambda_" in code


def test_errors_of_the_compiler_show_the_users_names():
    m = ds.Model("loop")
    t, _ = m.times("t s")
    q = m.order_parameter("λ", t)
    site = m.site("lambda")
    x = site.field("for", t)
    site.equation(x[t], 2 * q[t])
    site.observe(q[t], x[t])
    with pytest.raises(ds.LoweringError, match="instantaneous loop") as info:
        ds.compile_model(m)
    assert "for[t]" in str(info.value) and "λ[t]" in str(info.value) and "_[" not in str(info.value)
    with pytest.raises(ds.LoweringError, match="'Σ' is not a quantity of model loop; it has λ"):
        ds.compile_model(m, ds.Options(outputs="Σ"))


@pytest.mark.slow
def test_the_command_line_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    solver = ds.compile_model(greek()).solver
    K = np.array([[1.0, 0.3], [0.3, 0.5]])
    result = solver.solve({"lambda": 0.5}, {"Κ": K}, steps=2, points=256)
    from dmftsym.runtime.results import save

    save(result, "out.nc")
    again = xr.load_dataset("out.nc")
    assert {"Σ", "C_λ"} <= set(again) and again["C_λ"].dims == ("my samples", "time", "my samples2", "time2")
    assert again.attrs["parameter_lambda"] == 0.5


# --- how it is done -------------------------------------------------------------------------------------------------


def test_names_that_can_stand_in_code_are_kept():
    for model in (ds.build_model("mlp", depth=2), ds.build_model("recurrent"), ds.build_model("p_spin")):
        equations = ds.derive(model)
        assert with_code_names(equations, generated_names()) == (equations, {})
    kept = "f h z Kx X y mu nu t s gamma eta phi Delta g rho x C R K loss temperature J alpha beta sigma N S E I d m"
    assert not [name for name in kept.split() if generated_names().clash(name)]


def test_different_names_are_different_in_code():
    m = ds.Model("many")
    t, _ = m.times("t s")
    names = ["λ", "lambda", "lambda_", "Λ", "λ_", "é", "e_", "É", "d_x", "x_rate", "u_x", "s1", "t_"]
    symbols = m.parameters(" ".join(names), default=1.0)
    q = m.order_parameter("q", t)
    site = m.site("unit")
    x = site.field("x", t)
    site.equation(x[t], sum((k + 1) * p for k, p in enumerate(symbols)))
    site.observe(q[t], x[t])
    module = interpreted(ds.compile_model(m).source.text)
    assert list(module.PARAMETERS) == names
    values = {name: 0.5 + k for k, name in enumerate(names)}
    found = module.solve(values, {}, steps=1)["q"][0]
    assert found == pytest.approx(sum((k + 1) * (0.5 + k) for k in range(len(names))))


def test_texts_of_code():
    lines = ('"""{0} is {0}."""', 'x_ = values["{0}"]  # {0} here', 'y = f"{{x_}} of {0}"', 'e = {{"excess_{0}": x_}}')
    untouched = 'z = "ax_"\nk = r"""x_"""\n'
    text, expected = (untouched + "\n".join(line.format(name) for line in lines) for name in ("x_", "ξ"))
    assert in_users_names(text, {"ξ": "x_"}) == expected
    assert in_users_names(text, {}) == text
