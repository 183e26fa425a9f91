"""The interpreter: against brute force without generated code, and generated code against the interpreter.

Nothing here compiles anything: generated modules are loaded as plain Python.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from evaluator import Evaluator, NotOrdered, own_paths
from fluctuating_models import CASES, interpreted, module_of, prepared
from random_models import Drawn

import dmftsym as ds
from dmftsym.linearise.fluctuations import linearise
from dmftsym.linearise.records import Fluctuations
from dmftsym.lowering.lower import lower, program_of
from dmftsym.lowering.schemes import scheme_named
from dmftsym.models.loading import build_model
from dmftsym.program.factors import square_root
from dmftsym.program.interpreter import State, interpret
from dmftsym.program.statements import Contract

STEPS, PATHS, TOLERANCE = 3, 5, 1e-10
EULER = scheme_named("euler")
QUICK = ("mlp-test", "white", "pair", "lag", "memory", "chain", "explicit", "heun, white")
MODELS = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES]


def lowered_program(model, wanted=(), scheme=EULER):
    equations = ds.derive(model)
    return program_of(lower(equations, scheme, (*equations.action.outputs, *wanted)))


def distance(expected, found):
    """The largest difference of arrays of the same names, relative to the largest entry of each."""
    with np.errstate(all="ignore"):
        worst = [np.nanmax(np.abs(found[name] - value), initial=0.0) / max(1.0, np.nanmax(np.abs(value), initial=0.0))
                 for name, value in expected.items()]  # fmt: skip
    return max(worst, default=0.0)


# Lowering against brute force


def drawn_paths(program, numbers, dt, seed):
    """Standard normals for all sources and initial values of a program, equal weights, and static factors."""
    weights = {site: np.full(PATHS, 1 / PATHS) for site in program.sampling.sites}
    state, rng, normals, factors = State(program, numbers, {}, weights, STEPS, dt), np.random.default_rng(seed), {}, {}
    for start in program.sampling.starts:
        size = math.prod(state.length(i) for i in start.field.indices if not i.is_time)
        normals[f"{start.field}_start"] = rng.standard_normal((size, PATHS))
    for group in program.sampling.groups:
        size = state.draws.size(group)
        shape = (size,) if group.static else (STEPS, size) if group.white else (STEPS * size,)
        normals[group.name] = rng.standard_normal((*shape, PATHS))
        if group.static:
            factors[group.name] = square_root(state.draws.covariance(group))
    return factors, normals, weights


@pytest.mark.parametrize("seed", [s if s < 8 else pytest.param(s, marks=pytest.mark.slow) for s in range(60)])
@pytest.mark.usefixtures("averaged_form")
def test_lowered_models_give_the_numbers_of_the_model_as_written(seed):
    drawn = Drawn(seed)
    dt, numbers = drawn.model.time_step or 1.0, drawn.data | drawn.parameters | {"P": 2}
    try:
        program = lowered_program(drawn.model)
    except ds.DmftsymError:
        with pytest.raises(NotOrdered):
            own_paths(drawn.model, numbers, STEPS, PATHS, seed, dt).all()
        return
    factors, normals, weights = drawn_paths(program, numbers, dt, seed)
    found = interpret(program, numbers, factors, normals, weights, STEPS, dt)
    by_hand = Evaluator(drawn.model, numbers, factors, normals, weights, STEPS, dt, unread=True)
    assert distance({t.name: by_hand.array(t.name) for t in program.facts.outputs}, found) < TOLERANCE


# Generated code against the interpreter


def case(name):
    """Parameters of a sweep, the generated module and the program with the user's names."""
    chosen, module = CASES[name], module_of(name)
    program = lowered_program(chosen.build(), chosen.covariance, scheme_named(chosen.scheme))
    return module, program, prepared(module, chosen.parameters, chosen.data, 4, 7)


@pytest.mark.parametrize("name", MODELS)
def test_generated_sweeps_agree_with_the_interpreter(name):
    module, program, (values, factors, normals, weights) = case(name)
    dt = module.TIME_STEP
    expected = interpret(program, values, factors, normals, weights, 4, dt)
    found, status, _ = module.sweep(values, factors, normals, weights, 4, dt, None)
    assert status == "ok"
    assert distance({name: expected[name] for name in found}, found) < TOLERANCE
    wrong = interpret(_with_a_wrong_number(program), values, factors, normals, weights, 4, dt)
    assert distance({name: wrong[name] for name in found}, found) > 1e-7, "negative control"


def _with_a_wrong_number(program):
    """The program with its first average 1 + 1e-6 times what it is."""
    steps = list(program.sweep.step)
    place = next(k for k, s in enumerate(steps) if isinstance(s, Contract) and s.fluctuates)
    average = steps[place]
    pieces = tuple(replace(p, scalar=p.scalar * (1 + 1e-6)) for p in average.pieces)
    steps[place] = replace(average, pieces=pieces)
    return program.with_sweep(step=tuple(steps))


@pytest.mark.parametrize("name", MODELS)
def test_generated_tangents_agree_with_the_interpreter(name):
    chosen = CASES[name]
    module, program, (values, factors, normals, weights) = case(name)
    changes, _ = linearise(ds.derive(chosen.build()), scheme_named(chosen.scheme), chosen.covariance, program)
    assert isinstance(changes, Fluctuations)
    rng = np.random.default_rng(3)
    modes = {site: rng.standard_normal((2, len(weight))) for site, weight in weights.items()}
    values = values | {"(columns)": 2}
    given = {f"mode_{site}": mode for site, mode in modes.items()}
    own = interpret(changes.programs.tangent, values, factors, normals, weights, 4, module.TIME_STEP, given)
    found, status, _ = module.tangent_sweep(values, factors, normals, weights, 4, module.TIME_STEP, modes)
    assert status == "ok"
    expected = {quantity.name: own[change.name] for quantity, change in changes.covariances}
    assert distance(expected, found) < TOLERANCE


RECALLING = {
    "three layers": (lambda: build_model("mlp", depth=2), {"gamma": 1.2, "eta": 0.3}, ("A1", "B1", "G1"), EULER),
    "symmetric": (lambda: build_model("recurrent", symmetric=True), {"g": 1.4, "rho": 0.5}, ("R",), EULER),
    "p_spin": (lambda: build_model("p_spin"), {"temperature": 0.7}, (), EULER),
    "two passes": (lambda: build_model("recurrent", symmetric=True), {"g": 1.4, "rho": 0.5}, (), scheme_named("heun")),
}


@pytest.mark.parametrize("name", RECALLING)
def test_memories_and_response_functions(name):
    build, parameters, wanted, scheme = RECALLING[name]
    data = {"Kx": np.array([[1.0, 0.4], [0.4, 0.8]]), "y": np.array([1.0, -0.7])} if "layers" in name else {}
    options = ds.Options(outputs=wanted, scheme=scheme.name)
    module = interpreted(ds.compile_model(build(), options).source.text)
    values, factors, normals, weights = prepared(module, parameters, data, 4, 9)
    if name == "p_spin":  # closed exactly
        normals, weights = module._gaussian_paths(values, factors, 4, module.GAUSSIAN)
    program = lowered_program(build(), wanted, scheme)
    own = interpret(program, values, factors, normals, weights, 4, module.TIME_STEP)
    found, status, _ = module.sweep(values, factors, normals, weights, 4, module.TIME_STEP, None)
    assert status == "ok"
    assert distance({name: own[name] for name in found}, found) < 1e-9
