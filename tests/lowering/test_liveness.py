"""What is computed, and at which times: nothing that no result needs."""

import pytest

import dmftsym as ds
from dmftsym.lowering.lower import lower, program_of
from dmftsym.lowering.schemes import scheme_named
from dmftsym.models.loading import build_model
from dmftsym.program.printer import program_text


def lowered(model, outputs=()):
    equations = ds.derive(model)
    return lower(equations, scheme_named("euler"), (*equations.action.outputs, *outputs))


def test_kernels_on_request_are_needed_at_equal_times_only():
    found = lowered(build_model("mlp"))
    program, liveness = program_of(found), found.liveness
    assert set(liveness.equal_time) == {"Phi1", "G1"}
    assert set(liveness.outputs) == {"f", "K", "loss"}
    assert not any(a.history for a in program.sweep.buffers), "one-time results need no history of the fields"
    found = lowered(build_model("mlp"), ("Phi1",))
    program, liveness = program_of(found), found.liveness
    assert liveness.equal_time == ("G1",) and "Phi1" in liveness.outputs
    assert {a.tensor.name for a in program.sweep.buffers if a.history} == {"phi_h"}


def test_unused_order_parameters_are_not_computed():
    m = ds.Model("probe")
    t, s = m.times("t s")
    unused = m.order_parameter("Unused", t, s, on_request=True)
    q = m.order_parameter("q", t)
    site = m.site("one")
    x, extra = site.field("x", t), site.field("extra", t)
    site.equation(x[t], 0)
    site.noise(x[t], x[s], 1)
    site.equation(extra[t], ds.past(s)(x[s] ** 3))
    site.observe(q[t], x[t] ** 2)
    site.observe(unused[t, s], extra[t] * extra[s])
    found = lowered(m)
    program, liveness = program_of(found), found.liveness
    assert liveness.unused == ("Unused",)
    assert not any("extra" in a.tensor.name for a in program.sweep.buffers)
    assert "Unused" in liveness.text()
    found = lowered(m, ("Unused",))
    program, liveness = program_of(found), found.liveness
    assert {"extra", "Unused"} <= {a.tensor.name for a in program.sweep.buffers}


def test_unknown_outputs_are_named():
    with pytest.raises(ds.LoweringError, match=r"'Phi7'.*Phi1"):
        lowered(build_model("mlp"), ("Phi7",))


def test_averages_with_two_response_fields_are_derived_but_not_solved():
    m = ds.Model("probe")
    t, s = m.times("t s")
    R = m.order_parameter("R", t, s)
    site = m.site("one")
    x = site.field("x", t)
    site.equation(x[t], ds.past(s)(x[s]))
    site.noise(x[t], x[s], 1)
    site.terms.append(R.hat[t, s] * x[t] * x.tilde[s] * x.tilde[s])
    with pytest.raises(ds.LoweringError, match=r"R .*response fields.*no response function of one source"):
        lowered(m)


@pytest.mark.parametrize("where", ["fixed time", "repeated index"])
def test_conjugates_at_fixed_or_repeated_indices_are_refused(where):
    m = ds.Model("probe")
    t, s = m.times("t s")
    k, j = m.indices("k j", size=2)
    F = m.order_parameter("F", k, j, t)
    site = m.site("one")
    x = site.field("x", k, t)
    site.equation(x[k, t], 0)
    site.noise(x[k, t], x[k, s], 1)
    if where == "fixed time":
        site.observe(F[k, j, 0], x[k, 0] * x[j, 0])
    else:
        site.observe(F[k, k, t], x[k, t])
    with pytest.raises(ds.LoweringError, match=r"order parameter F.*declared indices"):
        lowered(m)


def test_every_stage_can_be_printed():
    found = lowered(build_model("recurrent"))
    program, schedule, liveness = program_of(found), found.schedule, found.liveness
    text = program_text(program)
    for piece in ("C[t, s] = <phi_x[s] phi_x[t]>", " @ phi_x[t]", "x_rate[t] = ", "all times kept"):
        assert piece in text
    assert schedule.text() and liveness.text()


def test_initial_values_must_fit_the_equation():
    two = ds.Model("probe")
    t, _ = two.times("t s")
    q = two.order_parameter("q", t)
    site = two.site("one")
    x = site.field("x", t, variance=1)
    site.equation(x[t], 1)
    site.observe(q[t], x[t])
    with pytest.raises(ds.LoweringError, match="does not continue"):
        lowered(two)
