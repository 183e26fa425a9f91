"""Inputs that are wrong in many ways: the files that they need, and the command."""

import io
import zipfile
from dataclasses import dataclass, field

import numpy as np

KERNEL, LABELS = np.array([[1.0, 0.2], [0.2, 1.0]]), np.array([1.0, -1.0])
GOOD = {"Kx": KERNEL, "y": LABELS}
RUN = ("solve", "mlp", "-p", "gamma=1", "-p", "eta=0.1", "--data", "in.npz", "--steps", "3", "-o", "out.nc")
MLP = ("solve", "mlp", "--data", "in.npz", "--steps", "3", "-o", "out.nc")
RECURRENT = ("solve", "recurrent", "-p", "g=1.5", "--steps", "3")
LONG = "n" * 300
HUGE = "x" * 100_000


@dataclass(frozen=True)
class Malformed:
    """A command; `files` by name (text, bytes, or arrays for .npz), and links."""

    command: tuple
    files: dict = field(default_factory=dict)


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def archive(compressed=False, **members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return file.getvalue()


def npy(array) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array))
    return file.getvalue()


def with_data(content, name="in.npz", command=RUN) -> Malformed:
    return Malformed(tuple(name if a == "in.npz" else a for a in command), {name: content})


def with_good(*command) -> Malformed:
    return Malformed(command, {"in.npz": npz(**GOOD)})


def with_model(text, *more) -> Malformed:
    return Malformed(("solve", "model.py", "--steps", "3", "-o", "out.nc", *more), {"model.py": text})


USAGE = {
    "no such command": ("frobnicate",),
    "no model": ("solve",),
    "no output": ("solve", "recurrent", "--steps", "3"),
    "steps is text": (*RECURRENT[:4], "--steps", "many", "-o", "out.nc"),
    "steps is a fraction": (*RECURRENT[:4], "--steps", "2.5", "-o", "out.nc"),
    "steps is empty": (*RECURRENT[:4], "--steps", "", "-o", "out.nc"),
    "steps with control characters": (*RECURRENT[:4], "--steps", "\x1b[31m3", "-o", "out.nc"),
    "steps is 100 kB": (*RECURRENT[:4], "--steps", HUGE, "-o", "out.nc"),
    "dt is text": (*RECURRENT, "--dt", "small", "-o", "out.nc"),
    "points is text": (*RECURRENT, "--points", "1e3", "-o", "out.nc"),
    "seed is text": (*RECURRENT, "--seed", "lucky", "-o", "out.nc"),
    "measure is unknown": (*RECURRENT, "--measure", "simpson", "-o", "out.nc"),
    "measure is 100 kB": (*RECURRENT, "--measure", HUGE, "-o", "out.nc"),
    "backend is unknown": (*RECURRENT, "--backend", "fortran", "-o", "out.nc"),
    "precision is unknown": (*RECURRENT, "--precision", "float16", "-o", "out.nc"),
    "option is unknown": (*RECURRENT, "--speed", "3", "-o", "out.nc"),
    "option with newlines": (*RECURRENT, "--a\nb\nc", "-o", "out.nc"),
    "option without value": (*RECURRENT, "-o"),
    "two models": ("solve", "recurrent", "mlp", "-o", "out.nc"),
    "show is unknown": ("derive", "mlp", "--show", "everything"),
    "format is unknown": ("derive", "mlp", "--format", "word"),
    "models with an argument": ("models", "mlp"),
    "bench of nothing": ("bench", "--backend", "abacus"),
    "depth of bench": ("bench", "--depth", "deep"),
}
UNKNOWN_MODELS = {
    "empty name": "", "a folder": ".", "no file": "perceptron", "no file.py": "missing.py", "300 letters": LONG,
    "100 kB": HUGE, "null": "a\0b.py", "newline": "a\nb", "escape": "\x1b]0;title\x07", "dots": "../../..",
    "device": "/dev/null", "url": "https://example.org/model.py",
}  # fmt: skip
STRUCTURE = {
    "depth 0": "depth=0", "depth -1": "depth=-1", "depth is text": "depth=two", "depth is a fraction": "depth=1.5",
    "depth 100000": "depth=100000", "depth 10**40": "depth=1" + 40 * "0", "depth is 5000 digits": "depth=" + 5000 * "9",
    "no value": "depth", "no name": "=3", "empty": "", "unknown": "width=3", "centered": "centered=perhaps",
    "newline": "a\nb=3", "100 kB name": HUGE + "=1", "100 kB value": "activation=" + HUGE,
    "tanh 13 deep": "activation=" + "tanh(" * 13 + "h" + ")" * 13,
    "tanh 39 deep": "activation=" + "tanh(" * 39 + "h" + ")" * 39,
    "tanh 90 deep": "activation=" + "tanh(" * 90 + "h" + ")" * 90,
    "brackets": "activation=" + "(" * 300 + "h" + ")" * 300,
    "powers of powers": "activation=((((h+1)**20+1)**20+1)**20+1)**20",
    "exponentials": "activation=exp(exp(exp(exp(9))))", "big number": "activation=h*1e999", "power": "activation=h**h",
    "power of 1000": "activation=h**1000",
    "negative power of 0": "activation=0**(-1)*h", "log of 0": "activation=log(0)",
    "imaginary": "activation=sqrt(-1)*h", "zero": "activation=h/0", "unknown symbol": "activation=tanh(x)",
    "unknown function": "activation=swish(h)", "open bracket": "activation=tanh(h", "attribute": "activation=h.real",
    "import": "activation=__import__('os').getcwd()", "lambda": "activation=lambda h: h", "list": "activation=[h]",
    "string": "activation='tanh'", "statement": "activation=h=3", "two formulas": "activation=h;h",
    "comparison": "activation=h>0", "null character": "activation=h\0", "escape": "activation=\x1b[2Jh",
    "no formula": "activation=", "blanks": "activation=   ", "two arguments": "activation=tanh(h, h)",
    "loss without f": "loss=(y - g)**2", "loss is large": "loss=(((y-f)**20+1)**20+1)**20", "loss is empty": "loss=",
    "unicode": "activation=𝗍𝖺𝗇𝗁(𝗑)", "walrus": "activation=(h:=3)", "conditional": "activation=h if h else 1",
}  # fmt: skip
PARAMETERS = {
    "missing": ("-p", "gamma=1"), "surplus": ("-p", "gamma=1", "-p", "eta=1", "-p", "beta=2"),
    "text": ("-p", "gamma=1", "-p", "eta=fast"), "empty": ("-p", "gamma=1", "-p", "eta="),
    "nan": ("-p", "gamma=1", "-p", "eta=nan"), "inf": ("-p", "gamma=1", "-p", "eta=inf"),
    "minus inf": ("-p", "gamma=1", "-p", "eta=-inf"), "too large": ("-p", "gamma=1", "-p", "eta=1e999"),
    "negative": ("-p", "gamma=-1", "-p", "eta=1"), "zero": ("-p", "gamma=0", "-p", "eta=1"),
    "twice": ("-p", "gamma=1", "-p", "gamma=2", "-p", "eta=1"), "no value": ("-p", "gamma"), "no name": ("-p", "=1"),
    "formula": ("-p", "gamma=1+1", "-p", "eta=1"), "complex": ("-p", "gamma=1j", "-p", "eta=1"),
    "newline": ("-p", "ga\nmma=1", "-p", "eta=1"), "100 kB name": ("-p", HUGE + "=1"),
    "100 kB value": ("-p", "gamma=" + HUGE), "escape": ("-p", "gamma=\x1b[31m", "-p", "eta=1"),
    "hexadecimal": ("-p", "gamma=0x10", "-p", "eta=1"), "percent": ("-p", "gamma=5%", "-p", "eta=1"),
    "comma": ("-p", "gamma=1,5", "-p", "eta=1"),
}  # fmt: skip
OPTIONS = {
    "steps 0": "--steps 0", "steps -1": "--steps -1", "steps 10**40": "--steps 1" + 40 * "0",
    "steps 10**400": "--steps 1" + 400 * "0", "steps 10**9": "--steps 1000000000", "dt 0": "--dt 0", "dt -1": "--dt -1",
    "dt nan": "--dt nan", "dt inf": "--dt inf", "points 0": "--points 0", "points 1": "--points 1",
    "points -5": "--points -5", "points 10**40": "--points 1" + 40 * "0",
    "points 2**30": "--measure sobol --points 1073741824",
    "seed -1": "--seed -1", "seed 10**40": "--seed 1" + 40 * "0", "hermite": "--measure hermite --points 300",
    "gaussian": "--measure gaussian", "float32": "--precision float32", "outputs": "--outputs Phi9",
    "outputs empty names": "--outputs Phi1,,Phi9",
    "covariance": "--covariance Phi9", "covariance twice": "--covariance g,g",
    "covariance points 1": "--covariance f --covariance-points 1",
    "covariance points -1": "--covariance f --covariance-points -1", "100 kB output": "--outputs " + HUGE,
    "covariance of nothing": "--covariance f.hat",
}  # fmt: skip
OUTPUTS = {
    "empty": "", "dot": ".", "dots": "..", "slash": "/", "folder": "folder", "missing folder": "missing/out.nc",
    "in a file": "in.npz/out.nc", "300 letters": LONG, "100 kB": HUGE, "null": "a\0b", "long path": "a/" * 3000 + "b",
    "loop": "loop", "pipe": "pipe", "link to the pipe": "link", "folder with slash": "folder/", "proc": "/proc/out.nc",
    "proc file": "/proc/self/status",
}  # fmt: skip
ARRAYS = {
    "y is missing": {"Kx": KERNEL}, "Kx is missing": {"y": LABELS}, "surplus": {**GOOD, "z": LABELS},
    "X of 3 samples": {"X": np.ones((3, 4)), "y": LABELS}, "y is a matrix": {**GOOD, "y": np.ones((2, 1))},
    "y is a number": {**GOOD, "y": np.array(1.0)}, "Kx is not square": {**GOOD, "Kx": np.ones((2, 3))},
    "Kx of 3": {**GOOD, "Kx": np.eye(3), "y": np.ones(4)}, "NaN": {**GOOD, "y": LABELS * np.nan},
    "infinite": {**GOOD, "y": LABELS * np.inf}, "not symmetric": {**GOOD, "Kx": np.array([[1, 0.2], [0.3, 1]])},
    "indefinite": {**GOOD, "Kx": np.array([[1, 2], [2, 1.0]])}, "negative": {**GOOD, "Kx": -KERNEL},
    "complex": {**GOOD, "Kx": KERNEL * 1j}, "text": {**GOOD, "y": np.array(["a", "b"])},
    "bytes": {**GOOD, "y": np.array([b"a", b"b"])}, "dates": {**GOOD, "y": np.array(["2020", "2021"], dtype="M8[Y]")},
    "records": {**GOOD, "y": np.zeros(2, dtype=[("a", float)])}, "pickled": {**GOOD, "y": np.array([None, {}])},
    "empty": {"Kx": np.ones((0, 0)), "y": np.ones(0)}, "X without columns": {"X": np.ones((2, 0)), "y": LABELS},
    "X_test of another D": {"X": np.ones((2, 3)), "X_test": np.ones((2, 4)), "y": LABELS},
    "X_test is a vector": {"X": np.ones((2, 3)), "X_test": np.ones(3), "y": LABELS},
    "X_test alone": {"X_test": np.ones((2, 3)), "y": LABELS}, "y_test of 3": {
        "X": np.ones((2, 3)), "X_test": np.ones((2, 3)), "y": LABELS, "y_test": np.ones(3)},
    "no arrays": {}, "a name with newlines": {**GOOD, "a\nb\nc": LABELS},
    "a name of 10 kB": {**GOOD, "n" * 10_000: LABELS},
    "a name with escapes": {**GOOD, "\x1b[2J": LABELS}, "huge numbers": {**GOOD, "y": np.array([1e400, 1.0])},
}  # fmt: skip
CONTENTS = {
    "empty": b"", "text": b"Kx y", "cut": npz(**GOOD)[:200], "cut at the end": npz(**GOOD)[:-30],
    "broken": npz(**GOOD).replace(b"NUMPY", b"NUMBY"), "pickle": b"\x80\x04K\x01.", "single array": npy(LABELS),
    "no array": archive(**{"y.txt": b"1 2"}), "half an array": archive(**{"y.npy": npy(LABELS)[:-4]}),
    "no header": archive(**{"y.npy": b"1 2"}), "a header that lies": archive(
        **{"y.npy": npy(np.zeros(3)).replace(b"(3,), }       ", b"(900000000,), }")}),
    "bomb": archive(True, **{"y.npy": npy(np.zeros(1)) + bytes(2**27)}), "zeros": bytes(10_000),
    "two of a name": archive(**{"y.npy": npy(LABELS)}) + b"rest",
}  # fmt: skip
OTHER_FILES = {
    "in.json": b'{"y": [1, 2]}', "in.txt": b"1 2\n", "in": b"", "in.csv": b"1,2\n3,4\n", "empty.csv": b"",
    "text.csv": b"y\none\n", "ragged.csv": b"y,X\n1\n", "utf.csv": b"\xff\xfe\x00", "gap.csv": b"y\n1\n,\n",
    "in.nc": b"CDF and no more", "in.h5": b"\x89HDF\r\n\x1a\n", "in.npy": npy(LABELS), "in.mat": b"MATLAB 5.0",
    "in.yaml": b"y: [1, 2]",
}  # fmt: skip
HEAD = """
import dmftsym as ds
m = ds.Model("one"); t, s = m.times("t s"); q = m.order_parameter("q", t); site = m.site("unit")
x = site.field("x", t); site.noise(x[t], x[s], 1)
"""
MODELS = {
    "empty": "", "null": "\0", "binary": "\udcff\udcfe", "sys.exit(0)": "import sys; sys.exit(0)",
    "exit()": "raise SystemExit",
    "SystemExit text": "raise SystemExit('a\\nb')", "BaseException": "raise BaseException('stop')",
    "GeneratorExit": "raise GeneratorExit", "interrupt in build": "def build():\n    raise BaseException(1)",
    "exit in build": "import sys\ndef build():\n    sys.exit(0)",
    "error with newlines": "raise ValueError('a\\nb\\nc')",
    "error of 100 kB": f"raise ValueError('{HUGE}')", "error with escapes": "raise ValueError('\\x1b[2J')",
    "error without text": "class E(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise E",
    "getattr": "def __getattr__(name):\n    raise RuntimeError(name)", "build is a number": "build = 3",
    "build is a class": "class build:\n    pass", "build returns None": "def build():\n    pass",
    "build returns text": "def build():\n    return 'model'", "build needs": "def build(n):\n    pass",
    "build raises": "def build():\n    return 1/0",
    "build is partial": "import functools\nbuild = functools.partial(3)",
    "model is a number": "model = 3", "model is a class": "import dmftsym as ds\nmodel = ds.Model",
    "syntax": "def build(:\n", "indentation": "def build():\nreturn 3", "tabs": "if 1:\n\tx = 1\n        y = 2",
    "recursion": "def f(): f()\nf()", "recursion in build": "def build():\n    return build()",
    "missing module": "import no_such_module_here", "missing name": "model = Model('m')", "assertion": "assert False",
    "memory": "raise MemoryError", "memory asked for": "x = bytearray(10**15)", "os error": "open('missing')",
    "returns itself": "def build():\n    return build", "stop iteration": "raise StopIteration",
    "no action": "import dmftsym as ds\nmodel = ds.Model('empty')", "data hook": (
        "def build():\n    pass\ndef structure_from_parameters(p):\n    return 3"),
    "hook that raises": "def build():\n    pass\ndef structure_from_parameters(p):\n    raise KeyError(1)",
    "no equation": HEAD + "site.observe(q[t], x[t])\nmodel = m",
    "twice": HEAD * 2 + "site.equation(x[t], x[t])\nmodel = m",
    "loop": HEAD + "site.equation(x[t], x[t])\nsite.observe(q[t], x[t])\nmodel = m",
    "name of a model": HEAD.replace('"one"', '"o\\nne"') + "model = m",
    "unknown symbol": HEAD
    + "import sympy\nsite.equation(x[t], sympy.Symbol('b'))\nsite.observe(q[t], x[t])\nmodel = m",
    "index of another": HEAD + "site.equation(x[t], x[s])\nsite.observe(q[t], x[t])\nmodel = m",
    "async": "async def build():\n    return 3", "generator": "def build():\n    yield 3",
    "deep brackets": "x = " + "(" * 5000 + ")" * 5000, "endless text": "x = '''abc",
}  # fmt: skip


def cases() -> dict[str, Malformed]:
    """All of them by name."""
    found = {f"usage: {k}": Malformed(c) for k, c in USAGE.items()}
    for command in (("derive",), ("solve", "-o", "out.nc")):
        found |= {f"model ({command[0]}): {k}": Malformed((*command, name)) for k, name in UNKNOWN_MODELS.items()}
    found |= {f"structure: {k}": Malformed(("compile", "mlp", "--set", s)) for k, s in STRUCTURE.items()}
    found |= {f"parameters: {k}": with_good(*MLP, *p) for k, p in PARAMETERS.items()}
    found |= {f"options: {k}": with_good(*RUN, *o.split(" ")) for k, o in OPTIONS.items()}
    for command in (("compile", "mlp"), RUN[:-2]):
        found |= {f"output ({command[0]}): {k}": with_good(*command, "-o", p) for k, p in OUTPUTS.items()}
    found["output (graph): no suffix"] = Malformed(("derive", "mlp", "--graph", "picture"))
    found["output (graph): folder"] = Malformed(("derive", "mlp", "--graph", "folder"))
    found |= {f"arrays: {k}": with_data(npz(**a)) for k, a in ARRAYS.items()}
    found |= {f"contents: {k}": with_data(c) for k, c in CONTENTS.items()}
    found |= {f"file: {k}": with_data(c, k) for k, c in OTHER_FILES.items()}
    for name in ("", "missing.npz", "folder", "pipe", LONG, "a\0b"):
        found[f"file: {name}"] = Malformed((*RUN[:7], name, *RUN[8:]))
    found |= {f"model file: {k}": with_model(text, "-p", "a=1") for k, text in MODELS.items()}
    return found
