"""The plan of the arrays of a sweep is what generated code allocates, forward, along directions, and backward."""

import numpy as np
import pytest
import raw_library
from fluctuating_models import CASES, KX, Y, compiled_case, interpreted, prepared

import dmftsym as ds
from dmftsym.program.batching import parted_program
from dmftsym.program.storage import at_most, storage_of, storage_of_adjoint_noise, storage_of_fresh, storage_of_noise

STEPS, COLUMNS, PATHS = 3, 2, 7


def planned_shape(stored, values):
    """The lengths of the axes of an array as numbers."""
    sizes = {name: value for name, value in values.items() if isinstance(value, int | np.integer)}
    sizes |= {"steps": STEPS, "columns": COLUMNS, "parts": 1, f"paths_{stored.site}": PATHS}
    return tuple(eval(length, {}, sizes) for length in stored.shape)


def compared(state, plan, values):
    """How many arrays of a state have the shapes of the plan; those that nothing reads are not allocated."""
    held = {s.name: vars(state)[s.name] for s in plan if s.name in vars(state)}
    for stored in (s for s in plan if s.name in held):
        assert held[stored.name].shape == planned_shape(stored, values), stored
    return len(held)


def total(plan, values, along):
    """How many numbers of a plan are for each sample path, or for none."""
    chosen = [s for s in plan if bool(s.site) is along and not s.columns]
    return sum(int(np.prod(planned_shape(s, values), dtype=int)) for s in chosen)


@pytest.mark.parametrize("name", ["memory", "recurrent"])
def test_forward_and_along_directions(name):
    case, compiled = CASES[name], compiled_case(name)
    module = interpreted(compiled.source.text)
    values, factors, normals, weights = prepared(module, case.parameters, case.data, STEPS, PATHS)
    values = values | {"(columns)": COLUMNS}
    modes = {site: np.zeros((COLUMNS, PATHS)) for site in module.SITES}
    arguments = (values, factors, normals, weights, STEPS, 0.1)
    tangent = compiled.fluctuations.programs.tangent
    for state, program, sweep in (
        (module.allocate(*arguments), parted_program(compiled.program), "sweep"),
        (module.allocate_tangent(*arguments, modes), tangent, "tangent_sweep"),
    ):
        plan = storage_of(program)
        assert compared(state, plan, values) > len(plan) / 2
        noise = []
        for group in (g for g in program.sampling.groups if g.evolving):
            noise += storage_of_noise(program, group)
            for stored in storage_of_noise(program, group):
                drawn = vars(state)[f"noise_{group.name}"]
                found = getattr(drawn.members[0] if sweep == "sweep" else drawn, stored.name)
                assert found.shape == planned_shape(stored, values), stored
        shared, per_path, *_ = module._amounts(values, STEPS)[sweep]
        given = [s for s in plan if s.role != "given"]
        assert shared == total([*given, *noise], values, along=False), "the estimate of memory is that of the plan"
        assert sum(per_path.values()) * PATHS > total([*given, *noise], values, along=True)


@pytest.mark.usefixtures("averaged_form")
def test_backward():
    compiled = ds.compile_model(raw_library.mlp(2), ds.Options(covariance=("f", "Phi1")))
    module, program = interpreted(compiled.source.text), compiled.fluctuations.adjoint
    values, factors, normals, weights = prepared(module, {"gamma": 1, "eta": 0.2}, {"Kx": KX, "y": Y}, STEPS, PATHS)
    recorded, status, _ = module.record_sweep(values, factors, normals, weights, STEPS, 1.0)
    assert status == "ok"
    values = values | {"(columns)": COLUMNS}
    seeds = {"f": np.zeros((2, COLUMNS, STEPS)), "Phi1": np.zeros((2, COLUMNS, STEPS, 2, STEPS))}
    state = module.allocate_adjoint(values, recorded, normals, weights, STEPS, 1.0, seeds, (), STEPS - 1)
    groups = tuple(g for g in program.sampling.groups if g.evolving)
    plan = [s for g in groups for s in storage_of_adjoint_noise(program, g)]
    plan += [storage_of_fresh(*pair) for pair in compiled.fluctuations.duals]
    bounded = [at_most(s, groups) for s in plan]  # here every direction opens a column
    assert compared(state, bounded, values) == len(plan) > 4
    assert compared(state, storage_of(program), values) > len(storage_of(program)) / 2


def test_another_shape_is_seen():
    """Negative control."""
    compiled = compiled_case("memory")
    module, case = interpreted(compiled.source.text), CASES["memory"]
    values, *rest = prepared(module, case.parameters, case.data, STEPS, PATHS)
    state = module.allocate(values, *rest, STEPS, 0.1)
    state.C = state.C[:, :, 1:]
    with pytest.raises(AssertionError):
        compared(state, storage_of(parted_program(compiled.program)), values)
