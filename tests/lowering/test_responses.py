"""Response functions on the grid: against differences of kicked paths, and of tangents that are the same on each."""

from dataclasses import replace

import numpy as np
import pytest
from sympy import cos, exp, sign, sin, tanh

import dmftsym as ds
from dmftsym.language.symbols import Kind, Tensor
from dmftsym.lowering.lower import lower, program_of
from dmftsym.lowering.schemes import scheme_named
from dmftsym.program.interpreter import interpret
from dmftsym.program.statements import Assign

STEPS, STRIDE = 5, 1e-4


def with_memory(continuous):
    """x is driven by y, y by the memory of R and by x at once; R is the response of <tanh(x) w> to the source of y."""
    m = ds.Model("small")
    t, s = m.times("t s", continuous=True, dt=0.2) if continuous else m.times("t s")
    i, j = m.indices("i j", size="P", axis="part")
    z = m.data("z", i)
    R, C = m.order_parameter("R", i, t, j, s), m.order_parameter("C", i, t, j, s)
    site = m.site("unit")
    x, y = site.field("x", i, t, variance=1), site.field("y", i, t)
    w = site.define("w", i, t, cos(x[i, t]) * z[i])
    drift = sin(y[i, t]) - x[i, t] ** 3 / 5
    before = x[i, t - 1] / 2 + sin(y[i, t - 1])
    site.equation(*((x.dot[i, t], drift) if continuous else (x[i, t], before)))
    site.equation(y[i, t], ds.past(s, j)(R[i, t, j, s] * exp(-x[j, s]) * (1 + y[j, s])) + x[i, t] ** 2 / 3)
    site.noise(y[i, t], y[j, s], C[i, t, j, s])
    site.observe(C[i, t, j, s], tanh(x[i, t]) * tanh(x[j, s]))
    site.observe(R[i, t, j, s], tanh(x[i, t]) * w[i, t] * y.tilde[j, s])
    return m


def kicked(program, arguments, arrays, source, part, time):
    """The average of tanh(x) w with an impulse of size STRIDE and one of -STRIDE, at given order parameters."""
    push = Tensor("push", Kind.DATA, source.indices)
    paths = [u for s in program.sweep.step for u in s.parts if all(w.site and "_d_" not in w.name for w in u.writes)]
    late = [s for s in program.sweep.epilogue if all(w.site and "_d_" not in w.name for w in s.writes)]
    moved = []
    for update in paths:
        if isinstance(update, Assign) and update.target.tensor.name == source.name:
            update = replace(update, expression=update.expression + push[update.target.indices])
        moved.append(update)
    program = program.with_sweep(step=tuple(moved), epilogue=tuple(late))
    given = {b.tensor.name: arrays[b.tensor.name] for b in program.sweep.buffers if not b.site}
    found = []
    for side in (1, -1):
        impulse = np.zeros((2, STEPS))
        impulse[part, time] = side * STRIDE / (arguments[-1] if program.grid.continuous else 1)
        run = interpret(program, *arguments, given | {"push": impulse})
        found.append((np.tanh(run["x"]) * run["w"]).mean(-1))
    return (found[0] - found[1]) / (2 * STRIDE)


@pytest.mark.parametrize("continuous", [False, True], ids=["discrete", "continuous"])
def test_response_functions_are_differences_of_kicked_paths(continuous):
    """Common paths, given order parameters: wrong in the third digit if paths have no memory."""
    program = program_of(lower(ds.derive(with_memory(continuous)), scheme_named("euler"), ("R",)))
    numbers, dt = {"z": np.array([0.8, -1.3]), "P": 2}, program.grid.time_step
    rng, (group,) = np.random.default_rng(1), program.sampling.groups
    normals = {"x_start": rng.standard_normal((2, 6)), group.name: rng.standard_normal((2 * STEPS, 6))}
    arguments = numbers, {}, normals, {"unit": np.full(6, 1 / 6)}, STEPS, dt
    arrays = interpret(program, *arguments)
    source = program.sweep.buffer("y").tensor
    for part, time in ((0, 0), (1, 1)):
        tangent = arrays["R"][:, :, part, time]
        assert np.abs(tangent - kicked(program, arguments, arrays, source, part, time)).max() < 1e-6
        assert np.abs(tangent[part, time + 2 :]).max() > 1e-2
        other = kicked(program, arguments, arrays | {"R": 0 * arrays["R"]}, source, part, time)
        assert np.abs(tangent - other).max() > 1e-3, "negative control"


def test_a_shared_tangent_drives_one_that_differs_from_path_to_path():
    """dx/dt = -x + u and dy/dt = -y + tanh(x): <dy(t)/du(s)> = dt sum (1-dt)^(t-1-k) <tanh'(x(k))> dx(k)/du(s).

    dx/du is a number, so this holds to rounding for the sampled averages too.
    """
    m = ds.Model("chain")
    t, s = m.times("t s", continuous=True, dt=0.1)
    slope = m.order_parameter("slope", t)
    Rx, Ry = m.order_parameter("Rx", t, s), m.order_parameter("Ry", t, s)
    phi = m.activation("phi", "tanh")
    site = m.site("unit")
    x, y = site.field("x", t, variance=1), site.field("y", t, variance=1)
    site.equation(x.dot[t], -x[t])
    site.equation(y.dot[t], -y[t] + phi(x[t]))
    site.observe(slope[t], phi.d(1)(x[t]))
    site.action(Rx.hat[t, s] * x[t] * x.tilde[s] + Ry.hat[t, s] * y[t] * x.tilde[s])
    result = ds.compile_model(m).solve(steps=12, points=512)
    Rx, Ry, slope, dt = result.Rx.values, result.Ry.values, result.slope.values, 0.1
    steps = np.arange(12)
    assert np.allclose(Rx, np.where(steps[:, None] > steps, (1 - dt) ** (steps[:, None] - steps - 1.0), 0), atol=1e-14)
    expected = np.zeros((12, 12))
    for k in range(11):
        expected[k + 1] = (1 - dt) * expected[k] + dt * slope[k] * Rx[k]
    assert np.allclose(Ry, expected, rtol=0, atol=1e-13) and Ry.max() > 0.1
    assert not np.allclose(Ry, expected * 1.001, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("where", "words"), [("x.dot", r"x\.dot\[t\] = .*sign"), ("R", "the observable of R")])
def test_a_response_through_a_jump_is_refused_by_name(where, words):
    """The same with what is smooth, or with a jump in what does not change, is computed."""

    def model(moving, still):
        m = ds.Model("jump")
        t, s = m.times("t s", continuous=True, dt=0.1)
        R = m.order_parameter("R", t, s)
        site = m.site("unit")
        x, v = site.field("x", t, variance=1), site.field("v", t, variance=1)
        site.equation(v.dot[t], -v[t])
        site.equation(x.dot[t], still(v[t]) * ((moving if where == "x.dot" else tanh)(x[t]) - x[t]))
        site.observe(R[t, s], (moving if where == "R" else tanh)(x[t]) * x.tilde[s])
        return m

    with pytest.raises(ds.LoweringError, match=rf"response to the source of x: {words}.* jumps"):
        ds.compile_model(model(sign, sign))
    assert "R" in ds.compile_model(model(tanh, sign)).liveness.outputs
