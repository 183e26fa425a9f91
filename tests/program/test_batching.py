"""Batched programs: independent parts of the paths side by side give what each part gives by itself."""

import numpy as np
import pytest
import raw_library
from fluctuating_models import CASES, module_of, prepared
from running_mean import RunningMean
from sympy import Integer
from test_interpreter import EULER, RECALLING, distance, drawn_paths, lowered_program

import dmftsym as ds
from dmftsym.language.symbols import Index
from dmftsym.linearise.fluctuations import linearise
from dmftsym.lowering.schemes import scheme_named
from dmftsym.models.loading import build_model
from dmftsym.program.axes import BATCH
from dmftsym.program.batching import Batching, batched_program
from dmftsym.program.interpreter import interpret

pytestmark = pytest.mark.usefixtures("averaged_form")
STEPS, PARTS, TOLERANCE = 3, 3, 1e-13  # steps: those of `drawn_paths`
LAYERS = {"Kx": np.array([[1.0, 0.4], [0.4, 0.8]]), "y": np.array([1.0, -0.7]), "P": 2}
MODELS = {
    "two layers": (lambda: build_model("mlp"), {"gamma": 1.2, "eta": 0.3}, ("K",), EULER),
    "recurrent": (raw_library.recurrent, {"g": 1.4}, (), EULER),
} | RECALLING


def parts_of(name):
    """A program with values, factors, weights and time step, and the normals of several parts of the paths."""
    build, parameters, wanted, scheme = MODELS[name]
    model = build()
    program, dt = lowered_program(model, wanted, scheme), model.time_step or 1.0
    values = {p.name: p.default for p in program.facts.parameters} | parameters | (LAYERS if "layers" in name else {})
    drawn = [drawn_paths(program, values, dt, seed) for seed in range(PARTS)]
    factors, _, weights = drawn[0]
    return program, (values, factors, weights, dt), [normals for _, normals, _ in drawn]


def run(program, known, normals, **given):
    values, factors, weights, dt = known
    return interpret(program, values, factors, normals, weights, STEPS, dt, given)


def stacked(normals):
    return {name: np.stack([own[name] for own in normals]) for name in normals[0]}


@pytest.mark.parametrize("name", MODELS)
def test_parts_run_side_by_side_as_by_themselves(name):
    program, (values, *rest), normals = parts_of(name)
    together = run(batched_program(program), (values | {"(batches)": PARTS}, *rest), stacked(normals))
    names = [t.name for t in program.facts.outputs]
    for k, own in enumerate(normals):
        alone = run(program, (values, *rest), own)
        assert distance({n: alone[n] for n in names}, {n: together[n][k] for n in names}) < TOLERANCE
        other = {n: together[n][k - 1] for n in names}
        assert distance({n: alone[n] for n in names}, other) > 1e-3, "negative control: parts differ"


def test_a_part_that_reads_another_is_noticed():
    """One path of one part moved: the other parts stay as they are to the last digit, it does not."""
    program, (values, *rest), normals = parts_of("symmetric")
    known, batched = (values | {"(batches)": PARTS}, *rest), batched_program(program)
    before = run(batched, known, stacked(normals))
    normals[1] = {name: array.copy() for name, array in normals[1].items()}
    next(iter(normals[1].values()))[..., 0] += 0.1
    after = run(batched, known, stacked(normals))
    moved = [np.abs(after["C"][k] - before["C"][k]).max() for k in range(PARTS)]
    assert moved[0] == moved[2] == 0 and moved[1] > 1e-4


def test_an_added_statement_needs_no_rule():
    unit = ds.Model("unit")
    (t,) = unit.times("t")
    x, mean = (unit.site(f"site {name}").field(name, t) for name in ("x", "m"))
    part = Index("part", BATCH)
    batched = RunningMean(mean[t], x[t], Integer(1) / 3, "").batched(Batching(part, set()))
    assert isinstance(batched, RunningMean) and str(batched.target) == "m[part, t]"
    assert str(batched.parts[0].expression) == "2*m[part, t - 1]/3 + x[part, t]/3"


@pytest.mark.parametrize("name", ["white", pytest.param("memory", marks=pytest.mark.slow)])
def test_changes_are_batched_too(name):
    """Columns and parts together: changes of draws, and sums that grow from step to step."""
    chosen, module = CASES[name], module_of(name)
    program = lowered_program(chosen.build(), chosen.covariance, scheme_named(chosen.scheme))
    changes, _ = linearise(ds.derive(chosen.build()), scheme_named(chosen.scheme), chosen.covariance, program)
    tangent, columns = changes.programs.tangent, 2
    made = [prepared(module, chosen.parameters, chosen.data, STEPS, 5, seed) for seed in range(PARTS)]
    values, factors, _, weights = made[0]
    values, known = values | {"(columns)": columns}, (factors, weights, module.TIME_STEP)
    rng = np.random.default_rng(3)
    shape = lambda site: (PARTS, columns, len(weights[site]))
    modes = {f"mode_{site}": rng.standard_normal(shape(site)) for site in weights}
    normals = [own for _, _, own, _ in made]
    together = run(batched_program(tangent), (values | {"(batches)": PARTS}, *known), stacked(normals), **modes)
    names = [change.name for _, change in changes.covariances]
    for k, own in enumerate(normals):
        alone = run(tangent, (values, *known), own, **{site: mode[k] for site, mode in modes.items()})
        assert max(np.abs(alone[n]).max() for n in names) > 1e-3
        assert distance({n: alone[n] for n in names}, {n: together[n][k] for n in names}) < TOLERANCE
