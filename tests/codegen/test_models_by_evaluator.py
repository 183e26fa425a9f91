"""300 random models against the evaluator of `evaluator.py`, 60 of them by default: no wrong number, no false refusal.

A model that the evaluator can order has to be compiled, and its generated code, interpreted, gives the same numbers on
the same sample paths; one that it cannot order has to be refused. A few run on the stand-in for CuPy as well.
"""

import re

import numpy as np
import pytest
from cupy_cases import loaded
from cupy_stand_in import COMPILER
from evaluator import Evaluator, NotOrdered, agreement, own_paths
from fluctuating_models import CASES, interpreted, module_of, prepared
from random_models import Drawn
from test_fluctuation_code import covariances, covariances_by_influence, distance

import dmftsym as ds
from dmftsym.language.reading import read_action

pytestmark = pytest.mark.usefixtures("averaged_form")  # with the sources of the model as written
STEPS, PATHS, TOLERANCE = 3, 5, 1e-9
DEFAULT, ALL = range(60), range(300)


def can_be_ordered(drawn):
    numbers = drawn.data | drawn.parameters | {"P": 2}
    evaluator = own_paths(drawn.model, numbers, STEPS, PATHS, drawn.seed, drawn.model.time_step or 1.0)
    try:
        evaluator.all()
    except NotOrdered:
        return False
    return True


def compiled(drawn, **options):
    """The generated text, or None where the model is rightly refused."""
    try:
        return ds.compile_model(drawn.model, ds.Options(**options)).source.text
    except ds.DmftsymError as error:
        assert not can_be_ordered(drawn), f"refused: {error}"
        return None


def paths_of(module, drawn):
    data = {name: array for name, array in drawn.data.items() if name in module.DATA}
    parameters = {name: value for name, value in drawn.parameters.items() if name in module.PARAMETERS}
    return prepared(module, parameters, data, STEPS, {s: PATHS + k for k, s in enumerate(module.SITES)}, drawn.seed)


@pytest.mark.parametrize("seed", [s if s in DEFAULT else pytest.param(s, marks=pytest.mark.slow) for s in ALL])
def test_means(seed):
    drawn = Drawn(seed)
    text = compiled(drawn)
    if text is not None:
        module = interpreted(text)
        error, *_ = agreement(drawn.model, module, STEPS, paths_of(module, drawn))
        assert error < TOLERANCE


def asked_for(drawn):
    """Up to three quantities without response fields, not too large."""
    tensors = drawn.model.tensors
    known = [
        n for n in drawn.model.outputs if not n.startswith("R") and sum(2 + i.is_time for i in tensors[n].indices) < 8
    ]
    chosen = np.random.default_rng(drawn.seed).permutation(len(known))[:3]
    return tuple(known[k] for k in sorted(chosen))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_covariances(seed):
    """Sums over the influence of every path, found by differences of whole sweeps."""
    drawn = Drawn(seed)
    names = asked_for(drawn)
    try:
        text = compiled(drawn, covariance=names) if names else None
    except AssertionError as refusal:
        assert "response function" in str(refusal)  # of a site that is not linear: said to be unavailable
        return
    if text is None:
        return
    module = interpreted(text)
    known, mean = (*paths_of(module, drawn), STEPS), module.sweep
    if hasattr(module, "plain_sweep"):  # where the mean draws more sources together, its paths are another sample
        module.sweep = lambda *given: (mean(*given)[0] | module.plain_sweep(*given[:-1])[0], *mean(*given)[1:])
    sizes = {site.name: float(site.weight) for site in read_action(drawn.model).sites}
    expected = covariances_by_influence(module, known, list(module.COVARIANCES), {module.MODEL: sizes})
    assert distance(covariances(module, known), expected) < 1e-5


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels")
@pytest.mark.parametrize("seed", [0, 7, *(pytest.param(s, marks=pytest.mark.slow) for s in range(300, 330))])
def test_means_on_the_device(seed):
    drawn = Drawn(seed)
    text = compiled(drawn, backend="cupy")
    if text is None:
        return
    module = loaded(text)
    values, factors, normals, weights = paths_of(module, drawn)
    on_device = (module._in_precision(arrays, "float64") for arrays in (normals, weights))
    found, status, _ = module.sweep(values, factors, *on_device, STEPS, module.TIME_STEP, None)
    assert status == "ok"
    expected = Evaluator(drawn.model, values, factors, normals, weights, STEPS, module.TIME_STEP)
    for name in module.OUTPUTS:
        array = expected.array(name)
        assert np.abs(np.asarray(found[name]) - array).max() < TOLERANCE * max(1, np.abs(array).max())


LIBRARY = (
    "mlp",
    "recurrent",
    "two_populations",
    "lotka_volterra",
    "white",
    "pair",
    "lag",
    "memory",
    "explicit",
    "chain",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARY)
def test_the_evaluator_on_known_models(name):
    """Models whose numbers are checked in many other ways."""
    case, module = CASES[name], module_of(name)
    known = prepared(module, case.parameters, case.data, 4, {s: PATHS + k for k, s in enumerate(module.SITES)})
    error, *_ = agreement(case.build(), module, 4, known)
    assert error < 1e-11


REACH = {
    "exchanged indices": (r"\w+\[i, j, \w[^\]]*\].*\w+\[j, i, ", 60),
    "diagonals": (r"\[(\w), \1, [ts]\]", 60),
    "an average before time 0": (r"q\d\[[^\]]*t - 1\]", 40),
    "a lag inside a function": (r"cos\((q\d|D\d|sum_\{\w\}\()[^)]*t - 1", 10),
    "a ratio": (r"/\(?\d*\*?sum_\{\w\}\(exp\(", 20),
    "correlated noise of two fields": (r"x\d\.tilde\[[^\]]*\]\*x\d\.tilde", 60),
    "one matrix twice": (r"w\d\.tilde\[t\]\*ab\d", 5),
    "response functions": (r"R\d\.hat", 30),
    "a kernel in a memory": (r"past\(s\)\([^)]*[CR]\d\[t, s\]", 10),
    "functions of time": (r"exp\(-\(-?s? ?[+-]? ?t|cos\(2\*t\)|beta\*\*", 60),
    "sums up to now": (r"s<=t", 20),
    "weights and explicit terms": (r"log_Z\(\w+\)/3", 40),
    "two sites": (r"S_site1", 60),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", REACH)
def test_the_random_models_reach(what, texts):
    pattern, least = REACH[what]
    assert sum(bool(re.search(pattern, text)) for text in texts) >= least


@pytest.fixture(scope="module")
def texts():
    return [read_action(Drawn(seed).model).text() for seed in ALL]


def test_the_tolerance_notices_a_wrong_model():
    """Data that differ in the fifth digit."""
    drawn = Drawn(0)
    text = compiled(drawn)
    module = interpreted(text)
    known = paths_of(module, drawn)
    moved = [name for name in ("Ki", "W", "V", "y", "z", "beta") if name in known[0]]
    changed = (known[0] | {name: known[0][name] * (1 + 1e-5) for name in moved}, *known[1:])
    found, *_ = module.sweep(*known, STEPS, module.TIME_STEP, None)
    expected = Evaluator(drawn.model, *changed, STEPS, module.TIME_STEP)
    assert moved and max(np.abs(found[n] - expected.array(n)).max() for n in module.OUTPUTS) > 100 * TOLERANCE
