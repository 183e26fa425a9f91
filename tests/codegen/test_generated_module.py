"""What every generated module promises: standalone, commented, exact, the same text on every run."""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sympy import Rational

import dmftsym as ds
from dmftsym.compiler import hash_of
from dmftsym.models.loading import build_model

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = (
    ("mlp", {}),
    ("mlp", {"test": True}),
    ("mlp", {"activation": "relu", "loss": "logistic", "centered": True}),
    ("recurrent", {}),
    ("two_populations", {}),
    ("lotka_volterra", {}),
)


@pytest.fixture(params=MODELS, ids=lambda m: "-".join([m[0], *m[1]]))
def model(request, compiled):
    """The library models and the model files of the examples, compiled."""
    name, structure = request.param
    return compiled(name, **structure)


def imported(text: str) -> set[str]:
    """Top-level names of all modules that the text imports, wherever it does so."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("relative" if node.level else node.module.split(".")[0])
    return found


def test_imports_nothing_but_standard_library_numpy_and_numba(model):
    foreign = imported(model.source.text) - set(sys.stdlib_module_names)
    assert foreign == {"numpy", "numba"}
    names = {node.id for node in ast.walk(ast.parse(model.source.text)) if isinstance(node, ast.Name)}
    assert not names & {"__import__", "importlib", "exec", "eval", "compile", "dmftsym"}


def test_the_check_of_imports_sees_hidden_ones():
    text = "def f():\n    import scipy.stats\n    from dmftsym.runtime import cache\n    from . import a\n"
    assert imported(text) == {"scipy", "dmftsym", "relative"}


def test_header_tells_version_hash_and_options(model):
    header = ast.get_docstring(ast.parse(model.source.text))
    assert ds.__version__ in header
    assert hash_of(model.derivation.action) in header
    module = model.solver.module
    assert module.MODEL == model.derivation.action.name
    assert module.MODEL_HASH == model.source.model_hash == hash_of(model.derivation.action)
    assert module.OPTIONS == ds.Options().as_dict()
    for name, value in ds.Options().as_dict().items():
        assert f"{name}={value}" in header


def test_options_reach_the_header(compiled):
    wanted = compiled("mlp", outputs=("Phi1",))
    assert wanted.solver.module.OPTIONS["outputs"] == ("Phi1",)
    assert "Phi1" in ast.get_docstring(ast.parse(wanted.source.text)).split("Options:")[1].splitlines()[0]


def test_the_hash_follows_the_mathematics(compiled):
    plain, other = compiled("mlp"), compiled("mlp", activation="relu")
    assert plain.source.model_hash != other.source.model_hash
    assert plain.source.model_hash == compiled("mlp", outputs=("Phi1",)).source.model_hash


def updates_without_equation(text: str) -> list[str]:
    """Assignments to arrays in a step and in kernels that have no comment ``# name[...] = ...`` above them."""
    lines = text.splitlines()

    def equation_above(line: int, name: str) -> bool:
        comments = 0
        for above in reversed(lines[: line - 1]):
            if above.strip().startswith("#"):
                comments += 1
                if re.match(rf"# {re.escape(name)}\[.*\] = \S", above.strip()):
                    return True
            elif comments or not above.strip():
                return False
        return False

    bare = []
    for function in (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)):
        compiled = any("njit" in ast.unparse(decorator) for decorator in function.decorator_list)
        if function.name.startswith("_") or (function.name != "step" and not compiled):
            continue
        for node in ast.walk(next(n for n in function.body if isinstance(n, ast.For)) if compiled else function):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                    own = target.value.id
                    name = own.replace("_rate", ".dot")
                    if ast.unparse(node.value) in (f"{name}_start", "0.0"):
                        continue  # where the field starts, no update
                    if not equation_above(node.lineno, name) and not equation_above(node.lineno, own):
                        bare.append(f"{function.name}: {name}")
    return bare


def test_every_update_stands_below_its_equation(model):
    assert updates_without_equation(model.source.text) == []


def test_the_check_of_comments_finds_a_missing_one(compiled):
    text = compiled("mlp").source.text
    without = [line for line in text.splitlines() if not re.match(r" +# (f|h)\[mu, t\] = ", line)]
    missing = updates_without_equation("\n".join(without))
    assert "step: f" in missing and any(m.endswith(": h") for m in missing)


def test_comments_are_the_equations_of_the_paper(compiled):
    """The two-layer network of arXiv:2304.03408 in the user's symbols, where it is computed."""
    code = compiled("mlp").source.text.split('"""', 2)[2]
    comments = {line.strip("# ").replace(" ", "") for line in code.splitlines() if line.strip().startswith("#")}
    for equation in (
        "f[mu,t]=<phi(h[mu,t])*z[t]>_hidden/gamma",
        "Delta[mu,t]=y[mu]-f[mu,t]",
        "g[mu,t]=phi'(h[mu,t])*z[t]",
        "z[t]=eta*gamma*sum_{s<t,nu}(phi(h[nu,s])*Delta[nu,s])+u_z",
    ):
        assert equation in comments


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("mlp", {"f", "Delta", "K", "loss", "h", "z", "g", "gamma", "eta", "y", "Kx", "mu", "t"}),
        ("two_populations", {"x", "v", "C_E", "C_I", "m_E", "m_I", "drive", "g_E", "g_I", "nu_E", "tau_I", "t"}),
        ("lotka_volterra", {"n", "growth", "M", "C", "mu", "sigma", "immigration"}),
    ],
)
def test_names_of_the_user_are_kept(spec, names, compiled):
    tree = ast.parse(compiled(spec).source.text)
    arguments = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    assert names <= arguments | {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}


def floats(text: str) -> set[float]:
    return {n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and isinstance(n.value, float)}


def small_model(name, activation, default, step, variance, coefficient):
    """One unit, dx/dt = -a x + c x^2, with numbers in every place where a model takes them."""
    model = ds.Model(name)
    t, s = model.times("t s", continuous=True, dt=step)
    a = model.parameters("a", default=default)
    phi = model.activation("phi", activation)
    C = model.order_parameter("C", t, s)
    site = model.site("unit")
    x = site.field("x", t, variance=variance)
    site.equation(x.dot[t], -a * x[t] + coefficient * x[t] ** 2)
    site.observe(C[t, s], phi(x[t]) * phi(x[s]))
    return model


def test_numbers_survive_to_the_last_digit():
    wanted = {1 / 3, 0.1 + 0.2, 0.12345678901234567891, 1 / 7, 2 / 3, 1 / 9}
    activation = "tanh(0.12345678901234567891*h) + h/7"
    model = small_model("exact", activation, 0.1 + 0.2, 1 / 3, Rational(2, 3), Rational(1, 9))
    text = ds.compile_model(model).source.text
    assert wanted <= floats(text)
    assert not wanted <= floats(re.sub(r"(\d\.\d{12})\d+", r"\1", text))  # negative control: 13 digits are not enough


def test_python_floats_in_a_model_survive_to_the_last_digit():
    text = ds.compile_model(small_model("floats", lambda h: h * (1 / 7), 1, 1, 2 / 3, 1e-7 / 9)).source.text
    assert {1 / 7, 2 / 3, 1e-7 / 9} <= floats(text)


SCRIPT = """
import json, sys
from dmftsym import compile_model
from dmftsym.models.loading import build_model
texts = {}
for spec, structure in json.loads(sys.argv[1]):
    texts[str((spec, structure))] = compile_model(build_model(spec, **structure)).source.text
json.dump(texts, sys.stdout)
"""


def test_the_text_does_not_depend_on_the_hash_seed_or_on_what_was_compiled_before(compiled):
    wanted = [["mlp", {"test": True}], ["recurrent", {}], [str(EXAMPLES / "two_populations.py"), {}]]
    processes = []
    for seed in ("0", "1", "12345"):
        order = wanted if seed != "1" else wanted[::-1]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SCRIPT, json.dumps(order)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    found = [json.loads(p.communicate(timeout=120)[0]) for p in processes]
    here = {str((w[0], w[1])): compiled(Path(w[0]).stem, **w[1]).source.text for w in wanted}
    digest = lambda text: hashlib.sha256(text.encode()).hexdigest()
    for name, text in here.items():
        assert [digest(f[name]) for f in found] == [digest(text)] * 3, name


def test_the_same_mathematics_twice_in_a_process_gives_the_same_text(compiled):
    for name in ("mlp", "recurrent"):
        assert ds.compile_model(build_model(name)).source.text == compiled(name).source.text
