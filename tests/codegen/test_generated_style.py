"""Generated modules pass the linter, physics comes first, and long lines keep their meaning."""

import ast
import copy
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import random_models
import raw_library
from fluctuating_models import CASES, KX, Y, interpreted, prepared

import dmftsym as ds
from dmftsym.codegen.layout import WIDTH, laid_out
from dmftsym.models.loading import build_model

RULES = Path(__file__).parents[2] / "pyproject.toml"
DEEP = {"depth": 2, "test": True}
WANTED = {
    "deep_numba": (lambda: build_model("mlp", **DEEP), {}),
    "deep_cupy": (lambda: build_model("mlp", **DEEP), {"backend": "cupy"}),
    "adjoint_numba": (lambda: build_model("mlp", depth=2), {"covariance": ("f", "Phi1")}),
    "tangent_numba": (CASES["chain"].build, {"covariance": CASES["chain"].covariance}),
    "tangent_cupy": (CASES["pair"].build, {"covariance": CASES["pair"].covariance, "backend": "cupy"}),
    "heun_cupy": (lambda: build_model("recurrent"), {"backend": "cupy", "scheme": "heun"}),
    "random_numba": (lambda: random_models.Drawn(39).model, {}),
    "random_cupy": (lambda: random_models.Drawn(28).model, {"backend": "cupy"}),
}


@pytest.fixture(scope="module")
def texts():
    """The text of a module for every case."""
    return {
        name: ds.compile_model(build(), ds.Options(**options)).source.text for name, (build, options) in WANTED.items()
    }


def complaints(folder):
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--config",
        str(RULES),
        "--output-format",
        "concise",
    ]
    return subprocess.run([*command, str(folder)], capture_output=True, text=True).stdout.splitlines()


def test_generated_modules_pass_the_linter(texts, tmp_path):
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    text = texts["deep_numba"]
    unused = text.replace("import zlib\n", "import zlib\nimport uuid\n")
    (tmp_path / "wrong.py").write_text(f"{unused}\n\ndef public(): return {'1 + ' * 40}1\n", encoding="utf-8")
    found = complaints(tmp_path)
    assert [line for line in found if re.search(r"py:\d", line) and "wrong.py" not in line] == []
    control = {code for code in ("F401", "D103", "E501") for line in found if "wrong.py" in line and code in line}
    assert control == {"F401", "D103", "E501"}, "the rules are those of the project"


@pytest.mark.parametrize("name", WANTED)
def test_physics_comes_first(name, texts):
    """Tables of the model, kernels and the sweep, then the functions that users call, then what serves them."""
    tree = ast.parse(texts[name])
    lines = {node.name: node.lineno for node in tree.body if isinstance(node, ast.FunctionDef)}
    tables = {
        t.id: n.lineno for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)
    }
    order = [tables["PARAMETERS"], tables["OUTPUTS"], lines["sweep"], lines["solve"]]
    order += [lines["fluctuations"]] if "fluctuations" in lines else []
    order += [lines["draw_normals"], lines["check_data"], lines["memory_bytes"], lines["main"], tables["SOBOL"]]
    assert order == sorted(order)


@pytest.mark.parametrize("name", WANTED)
def test_the_header_lists_what_is_computed_once(name, texts):
    header = ast.get_docstring(ast.parse(texts[name])).split("Equations\n")[1].split("\nTime: ")[0]
    lines = [line for line in re.sub(r"\n {8}", " ", header).splitlines() if line.strip()]
    assert len(lines) == len(set(lines)) and not any("observable of" in line for line in lines)
    if name == "deep_numba":
        assert not any(line.strip().startswith(("A1[", "sharpness")) for line in lines), "they are computed nowhere"


# --- the step ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deepest():
    """The text of a network with three hidden layers, and its functions by name."""
    text = ds.compile_model(build_model("mlp", depth=3)).source.text
    return text, {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


def test_the_step_of_a_deep_network_fits_on_a_screen(deepest):
    length = {name: node.end_lineno - node.lineno + 1 for name, node in deepest[1].items()}
    assert length["step"] <= 75 and length["allocate"] <= 45 and length["sweep"] <= 45


def test_equations_stand_once_in_the_step_or_in_a_kernel(deepest):
    text, functions = deepest
    assert list(functions).index("step") < list(functions).index("allocate") < list(functions).index("sweep")
    physics = text.splitlines()[ast.parse(text).body[0].end_lineno : functions["allocate"].lineno]
    equations = [line.strip() for line in physics if re.match(r" +# (<u_)?\w+\[.*\] = ", line)]
    assert len(equations) == len(set(equations)) > 20
    for name in ("update_z3", "update_g3_phi_h3_z3"):
        assert name in functions, "kernels are named by what they update"


STATES = {
    "deep": (lambda: raw_library.mlp(2), {"gamma": 1.2, "eta": 0.3}, {"Kx": KX, "y": Y}, "euler"),
    "recurrent": (lambda: build_model("recurrent", symmetric=True), {"g": 1.4, "rho": 0.5}, {}, "euler"),
    "two passes": (lambda: build_model("recurrent", symmetric=True), {"g": 1.4, "rho": 0.5}, {}, "heun"),
    "p_spin": (lambda: build_model("p_spin"), {"temperature": 0.7}, {}, "euler"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_step_is_a_function_of_a_state(name):
    """A copy of the state after some steps goes on as the state does, and both as the sweep without a stop."""
    build, parameters, data, scheme = STATES[name]
    module, steps, dt = interpreted(ds.compile_model(build(), ds.Options(scheme=scheme)).source.text), 6, 0.1
    arguments = (*prepared(module, parameters, data, steps, 12), steps, dt)
    whole, status, counts = module.sweep(*arguments, None)
    assert status == "ok"
    state = module.allocate(*arguments)
    for t in range(3):
        module.step(state, t)
    copies = [copy.deepcopy(state) for _ in range(2)]
    evolving, held = (getattr(module, name, ()) for name in ("NoiseOfParts", "RandomMatrix"))
    noise = [[v for v in vars(each).values() if isinstance(v, (evolving, held))] for each in copies]
    for each in noise[1]:  # negative control: another state goes on to other numbers
        for drawn in getattr(each, "members", None) or (each.above, each.below):
            drawn.normals *= 1.001
    for t in range(3, steps):
        for each in (state, *copies):
            module.step(each, t)
    for each in (state, *copies):
        getattr(module, "finish", lambda *_: None)(each, steps - 1)
    for quantity, expected in whole.items():
        assert np.array_equal(getattr(state, quantity)[0], expected, equal_nan=True)
        assert np.array_equal(getattr(copies[0], quantity)[0], expected, equal_nan=True)
    assert not all(np.array_equal(getattr(copies[1], q)[0], value, equal_nan=True) for q, value in whole.items())
    assert noise[0]
    null = sum(each.null_directions for each in noise[0] if isinstance(each, evolving))
    assert null == counts["null_directions"]


# --- long lines -----------------------------------------------------------------------------------------------------

TERM = "first_array[:, t, None]*np.exp(-second_array[:, t])"
LONG = [
    f"x[:, t] = {' + '.join([TERM] * 4)}\n",
    f"y = np.einsum('ab,bc->ac', {TERM}, {TERM}, {TERM}, optimize=True).reshape(3, -1)[None]\n",
    f"names = {{'a': '{'several words ' * 12}', 'b': (1, 2), 'c': ({', '.join(['12345678'] * 20)})}}\n",
    f"if x:\n    first, second = {TERM}, {TERM}, {TERM}\n",
    f"def f(x):\n    return {{'a': {TERM}, 'b': {TERM}, 'c': {TERM}}}, x, x\n",
    f"total = sum({TERM} + {TERM} for first_array, second_array in many_arrays_of_sample_paths if first_array)\n",
    f"z = {TERM} if condition_with_a_long_name and another_condition else {TERM} - {TERM}\n",
]


@pytest.mark.parametrize("text", LONG)
def test_long_statements_keep_their_meaning(text):
    found = laid_out(text)
    assert max(map(len, text.splitlines())) > WIDTH >= max(map(len, found.splitlines()))
    assert ast.dump(ast.parse(found)) == ast.dump(ast.parse(text))
    assert laid_out(found) == found


def test_long_comments_and_kernels_keep_their_words():
    words = "# x[t] = " + " + ".join(f"sum_{{s<t, nu}}(C[t, s]*x_{k}[nu, s])" for k in range(9))
    kernel = 'source = r"""\n    x[path] = ' + "*".join(f"y{k}[path*{k} + 1]" for k in range(20)) + ';\n"""'
    found = laid_out(f"{words}\n{kernel}\n")
    assert max(map(len, found.splitlines())) <= WIDTH
    comments = [line for line in found.splitlines() if line.startswith("#")]
    assert " ".join(line.lstrip("# ") for line in comments) == words.lstrip("# ")
    assert all(line.count("(") == line.count(")") for line in comments), "breaks stand between terms"
    squeezed = lambda text: re.sub(r"\s", "", text)
    assert squeezed(found.split("source")[1]) == squeezed(kernel.split("source")[1])
