"""The shape of the project: stages import in one direction, files and functions stay small, the README is current."""

import ast
import re
from pathlib import Path

import pytest

import dmftsym

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dmftsym"
STAGES = ("language", "averaging", "derivation", "program", "lowering", "linearise", "codegen")
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


# --- imports between files ----------------------------------------------------------------------------

# late imports, by importing file: what makes the command line start at once, and what is heavy or optional
LATE = {
    "dmftsym.cli.main": ("dmftsym.",),
    "dmftsym.codegen.sobol": ("scipy.stats",),
    "dmftsym.derivation.picture": ("dmftsym.derivation.figure", "matplotlib."),
    "dmftsym.language.arithmetic": ("numpy",),
    "dmftsym.runtime.backends": ("cupy",),
    "dmftsym.runtime.progress": ("rich.",),
}
# imports for types only that close a circle: a rule names what it is given, and what it is given runs or prints rules
TYPES = {
    ("dmftsym.program.draws", "dmftsym.program.interpreter"),
    ("dmftsym.program.operations", "dmftsym.program.statements.elementwise"),
    ("dmftsym.program.operations", "dmftsym.program.statements.pieces"),
    ("dmftsym.program.printer", "dmftsym.program.program"),
    ("dmftsym.program.statements.base", "dmftsym.program.interpreter"),
}


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


KNOWN = {module_of(p) for p in FILES}


def timed_imports(tree, known=frozenset(KNOWN), late=False, types=False):
    """(imported module, "top", "late" inside a function or "types" for type checkers only), all of a file."""
    for node in ast.iter_child_nodes(tree):
        for_types = types or (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"))
        inside = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        found = []
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in known else node.module for name in inner]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        yield from ((name, "types" if for_types else "late" if inside else "top") for name in found)
        yield from timed_imports(node, known, inside, for_types)


IMPORTS = {module_of(p): list(timed_imports(ast.parse(p.read_text()))) for p in FILES}


def circle_in(graph):
    """The nodes of one circle of a graph (name: names), in order, or nothing."""
    done = set()

    def search(name, trail):
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for other in graph.get(name, ()):
            if circle := search(other, [*trail, name]):
                return circle
        done.add(name)
        return []

    return next((circle for name in graph if (circle := search(name, []))), [])


def test_no_circle_of_imports_between_files():
    """Late imports count, so that they hide none; those for types only count unless they are listed."""
    counts = lambda name, other, when: when != "types" or (name, other) not in TYPES
    graph = {name: [o for o, when in found if o in KNOWN and counts(name, o, when)] for name, found in IMPORTS.items()}
    assert circle_in(graph) == []
    for edge in TYPES:
        assert (edge[1], "types") in IMPORTS[edge[0]], f"{edge} is no longer an exception"


def test_late_imports_are_listed():
    for name, found in IMPORTS.items():
        for other, when in found:
            assert when != "late" or f"{other}.".startswith(LATE.get(name, ("nothing",))), (name, other)


def test_circles_and_late_imports_are_found():
    assert circle_in({"a": ["b"], "b": ["c"], "c": ["b"], "d": []}) == ["b", "c", "b"]
    assert circle_in({"a": ["b", "c"], "b": ["c"], "c": []}) == []
    text = "import a\nif TYPE_CHECKING:\n    from b import c\ndef f():\n    from d import e, g\nlambda: 0"
    assert list(timed_imports(ast.parse(text), {"d.e"})) == [
        ("a", "top"),
        ("b", "types"),
        ("d.e", "late"),
        ("d", "late"),
    ]


# --- sizes --------------------------------------------------------------------------------------------

# what is larger than it should be, and why it still is
LARGE_CLASSES = {
    "AdjointPrinter": "random matrices that are said replace most of it",
    "QuantityBuilder": "one method a kind of quantity; memories go with random matrices that are said",
}

# functions with more than five parameters: interfaces, whose parameters a user gives by name, ...
INTERFACES = {
    "cli/main.py": {"compile_command", "derive_command", "solve_command"},
    "language/model.py": {"parameters", "matrix"},
    "models/mlp.py": {"build"},
    "runtime/solver.py": {"solve"},
}
MANY_PARAMETERS = 6  # ... and others: this may fall, not grow
POSITIONAL = 17  # records of more than four fields made by position, in codegen and linearise: this may fall too


def large_classes(tree):
    return [n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.end_lineno - n.lineno >= 250]


def large_records(tree):
    """Dataclasses with more than ten fields."""
    records = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    records = [n for n in records if any("dataclass" in ast.unparse(d) for d in n.decorator_list)]
    is_field = lambda s: isinstance(s, ast.AnnAssign) and "ClassVar" not in ast.unparse(s.annotation)
    return [n.name for n in records if sum(map(is_field, n.body)) > 10]


def many_parameters(tree):
    """Functions with more than five parameters besides self."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            found += [node.name] if len([n for n in names if n not in ("self", "cls")]) > 5 else []
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_classes_and_records_stay_small(path):
    tree = ast.parse(path.read_text())
    assert set(large_classes(tree)) <= set(LARGE_CLASSES), path
    assert large_records(tree) == [], path


def test_functions_have_few_parameters():
    counted = {
        name: set(found) - INTERFACES.get(name, set())
        for p in FILES
        if (found := many_parameters(ast.parse(p.read_text()))) and (name := str(p.relative_to(PACKAGE)))
    }
    assert "solve" in many_parameters(ast.parse((PACKAGE / "runtime/solver.py").read_text()))
    assert sum(map(len, counted.values())) <= MANY_PARAMETERS, {k: v for k, v in counted.items() if v}


def positional(tree, fields):
    """Records with more than four fields that are made from more than four positional arguments."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    return [c.func.id for c in calls if fields.get(c.func.id, 0) > 4 and len(c.args) > 4]


def fields_of(trees):
    """How many fields the dataclasses of some files have, by name."""
    records = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    return {n.name: sum(isinstance(s, ast.AnnAssign) for s in n.body) for n in records if n.decorator_list}


def test_records_of_many_fields_are_made_by_keyword():
    trees = {p: ast.parse(p.read_text()) for p in FILES}
    fields = fields_of(trees.values())
    found = [(p.name, r) for p, tree in trees.items() for r in positional(tree, fields)]
    assert len(found) <= POSITIONAL, found
    record = ast.parse("@dataclass\nclass R:\n" + "".join(f"    f{k}: int\n" for k in range(5)) + "R(1, 2, 3, 4, 5)")
    assert positional(record, fields_of([record])) == ["R"]


def test_large_classes_and_records_are_found():
    fields = lambda n: "".join(f"    f{k}: int\n" for k in range(n)) + "    none: ClassVar[int] = 0\n"
    record = lambda n: ast.parse(f"@dataclass(frozen=True)\nclass R:\n{fields(n)}")
    assert large_records(record(11)) == ["R"] and large_records(record(10)) == []
    body = lambda n: ast.parse("class C:\n" + "    pass\n" * n)
    assert large_classes(body(250)) == ["C"] and large_classes(body(249)) == []
    method = "class C:\n    def f(self, {}): ..."
    assert many_parameters(ast.parse(method.format("a, b, c, *, d, e, g"))) == ["f"]
    assert many_parameters(ast.parse(method.format("a, b, c, *, d, e"))) == []


# --- the project --------------------------------------------------------------------------------------


def test_the_compiler_knows_no_model_by_name():
    for stage in (*STAGES, "runtime"):
        for path in (PACKAGE / stage).rglob("*.py"):
            text = path.read_text().lower()
            assert not any(name in text for name in ("mlp", "recurrent", "two_layer", "p_spin")), path


def test_top_level_holds_only_what_was_agreed():
    agreed = {"pyproject.toml", "dmftsym", "templates", "tests", "examples", "docs", "README.md", "LICENSE"}
    agreed |= {"CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"}
    visible = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    assert visible <= agreed | {"build", "dist"}


def test_citations_of_the_theory_resolve():
    sections = set(re.findall(r"^##+ (\d(?:\.\d)?)", (ROOT / "docs" / "theory.md").read_text(), re.MULTILINE))
    files = [p for folder in ("dmftsym", "templates", "tests", "docs") for p in (ROOT / folder).rglob("*.*")]
    texts = [p.read_text() for p in files if p.suffix in (".py", ".jinja", ".md")]
    cited = {found for text in texts for found in re.findall(r"theory(?:\.md)?\s+§? ?(\d(?:\.\d)?)\b", text)}
    assert {"1", "6.6"} <= cited <= sections


def test_readme_names_the_current_version():
    changes = (ROOT / "README.md").read_text().split("## Changes")[1]
    assert dmftsym.__version__ in changes
