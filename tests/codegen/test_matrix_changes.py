"""Changes of random matrices beside a recorded run: against the transpose, and generated code against the interpreter.

No model asks for them yet, so that the class is put beside that of the adjoints here.
"""

import matrix_models
import numpy as np
import pytest
from cupy_cases import loaded
from cupy_stand_in import stand_in
from fluctuating_models import KX, Y, interpreted, prepared
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import dmftsym as ds
from dmftsym.codegen.matrices import change_lines
from dmftsym.codegen.statements import StatementWriter
from dmftsym.codegen.targets import TARGETS
from dmftsym.codegen.templates import template_folders
from dmftsym.language.symbols import Index
from dmftsym.language.terms import entries_of
from dmftsym.linearise.fluctuations import linearise
from dmftsym.lowering.held import Asked
from dmftsym.lowering.lower import lower, program_of
from dmftsym.lowering.schemes import scheme_named
from dmftsym.program.axes import COLUMNS, has_columns
from dmftsym.program.interpreter import State
from dmftsym.program.matrix_changes import MatrixChanges
from dmftsym.program.statements import Learning, LearningChange, MatrixChange, MatrixProduct
from dmftsym.program.tangents import Tangents

COUNT, STEPS, PATHS = 3, 4, 40


def with_changes(module, target):
    """A generated module with the class of the changes."""
    folders = Environment(loader=FileSystemLoader(template_folders(target)), undefined=StrictUndefined)
    text = folders.get_template("matrix_tangent.py.jinja").render(xp=TARGETS[target].xp, families=True)
    with stand_in():
        exec(compile(text, "changes", "exec"), module.__dict__)
    return module


# The class


@pytest.fixture(scope="module")
def generated():
    text = ds.compile_model(matrix_models.correlated(), ds.Options(covariance=("C",))).source.text
    return with_changes(interpreted(text), "numba")


def recorded(module, rng, mean, symmetry, tolerance):
    """A matrix that was asked smooth functions and learned in every way, and what was done with it."""
    sizes = (40, 40) if symmetry else (40, 50)
    weights = [w / w.sum() for w in (rng.uniform(0.5, 1.5, n) for n in sizes)]
    weights[1] = weights[0] if symmetry else weights[1]
    sides = [
        (nu, w, rng.standard_normal((64, len(w))))
        for nu, w in zip((1.0 if symmetry else 0.6, 1.0), weights, strict=True)
    ]
    W, done = module.RandomMatrix(*sides, mean, 1.3, symmetry, tolerance, 2, recording=True), []
    bases = [rng.standard_normal((5, n)) for n in sizes]
    smooth = lambda side, rows: np.tanh(rng.standard_normal((rows, 5)) @ bases[side] / 2)
    for t in range(4):
        phi, g, other = smooth(1, 2) * (t != 2), smooth(0, 3), smooth(1, 1)  # zeros too
        W.forward(phi)
        done.append(("query", (2, 1), (2, 0)))
        if symmetry:
            continue
        W.backward(g)
        done.append(("query", (3, 0), (3, 1)))
        W.learn(rng.standard_normal((3, 2)), g, phi, outer=True)
        done.append(("lesson", (3, 2), None, None))
        W.learn(np.array([0.3, -0.2]), smooth(0, 2), phi)
        done.append(("lesson", (2,), (2, 0), None))
        W.learn(np.array([[0.1], [0.4], [0.2]]), g, other, outer=True)
        done.append(("lesson", (3, 1), None, (1, 1)))
        W.decay(0.9)
        done.append(("decay",))
    return W, done, weights


def test_a_sweep_backward_begins_where_its_step_ended(generated):
    """Regression: it took it that every step asks as much; later directions make a step ask a value once more."""
    rng, weights = np.random.default_rng(2), np.full(40, 1 / 40)
    side = (1.0, weights, rng.standard_normal((64, 40)))
    W, ends = generated.RandomMatrix(side, side, 0.0, 1.0, 0.0, 1e-6, 3, recording=True), []
    for new in (True, False, False, False):
        phi, g = np.ones((1, 40)), np.ones((1, 40))
        W.forward(phi)
        W.forward(rng.standard_normal((1, 40)) if new else 2 * phi)  # opens a direction, or does not
        W.backward(g)
        W.learn(np.array([0.1]), g, phi)
        W.end_step()
        ends.append((len(W.queries), len(W.lessons)))
    assert ends[0][0] == 4 and ends[3][0] == 13, "one query more in the first step"
    for last, (queries, lessons) in enumerate(ends):
        found = generated.MatrixAdjoint(W, COUNT, *(np.zeros((COUNT, 40)) for _ in range(2)), last)
        assert (found.left, found.lessons) == (queries, lessons)
    assert round(ends[3][0] * 2 / 4) != ends[1][0], "negative control: an equal share is another place"


LAWS = {"plain": (0.0, 0.0, 1e-9), "mean, tolerance": (0.3, 0.0, 0.05), "correlated": (0.3, 0.5, 0.05)}


@pytest.mark.parametrize("law", LAWS)
def test_changes_are_the_transpose_of_adjoints(generated, law):
    """<u, T v> = <T^T u, v> over all queries, rates and sides together."""
    rng = np.random.default_rng(4)
    W, done, weights = recorded(generated, rng, *LAWS[law])
    both = [np.zeros((COUNT, len(w))) for w in weights]
    forward, backward = generated.MatrixTangent(W, COUNT), generated.MatrixAdjoint(W, COUNT, *both)
    draw = lambda at: None if at is None else rng.standard_normal((at[0], COUNT, len(weights[at[1]])))
    dot = lambda one, other, side: (one * other * weights[side]).sum(axis=(0, 2))
    given, found = [], []
    for kind, *shapes in done:
        if kind == "decay":
            forward.push_decay(0.9)
        given.append([rng.standard_normal((*shapes[0], COUNT)), *map(draw, shapes[1:])] if kind == "lesson" else None)
        given[-1] = draw(shapes[0]) if kind == "query" else given[-1]
        found.append(forward.push(given[-1]) if kind == "query" else None)
        if kind == "lesson":
            forward.push_learn(*given[-1])
    one, other, own = (np.zeros(COUNT) for _ in range(3))
    for (kind, *shapes), values, answer in reversed(list(zip(done, given, found, strict=True))):
        if kind == "decay":
            backward.pull_decay(0.9)
        elif kind == "query":
            adjoint = rng.standard_normal(answer.shape)
            one += dot(adjoint, answer, shapes[1][1])
            own += np.abs(dot(adjoint, answer, shapes[1][1]))
            other += dot(backward.pull(adjoint), values, shapes[0][1])
        else:
            of_rates, *sides = backward.pull_learn()
            other += (of_rates * values[0]).sum(axis=tuple(range(of_rates.ndim - 1)))
            for adjoint, value, shape in zip(sides, values[1:], shapes[1:], strict=True):
                other += 0.0 if shape is None else dot(adjoint, value, shape[1])
    assert np.abs(one - other).max() < 1e-10 * own.max()
    assert np.abs(one - 1.000001 * other).max() > 1e-8 * own.max(), "a millionth must show"


def test_changes_are_those_of_the_matrix_inside_what_is_known(generated):
    """A change along what was asked, in one query that is asked again: W of it, as asking it would give."""
    rng = np.random.default_rng(5)
    W, _, _ = recorded(generated, rng, 0.3, 0.0, 1e-9)
    phi = W.queries[0].values
    again = W.forward(phi)
    changes = generated.MatrixTangent(W, 1)
    changes.done = len(W.queries) - 1
    np.testing.assert_allclose(changes.push(phi[:, None])[:, 0], again, rtol=0, atol=1e-10)


# The statements


CASES = {
    "network": (lambda: ds.build_model("mlp", depth=2), {"gamma": 1.2, "eta": 0.3}, {"Kx": KX, "y": Y}, ("f",)),
    "unequal": (
        *(matrix_models.unequal, {"width": 0.6, "sigma": 1.2, "eta": 0.05, "rate": 0.1}, {"Kx": KX, "y": Y}, ("f",)),
    ),
    "ring": (matrix_models.ring, {"sigma": 1.1, "nu": 0.5, "tug": 0.7, "eta": 0.2}, {}, ("D",)),
    "correlated": (matrix_models.correlated, {"g": 1.4, "rho": -0.6}, {}, ("C",)),
}


class Everything(Tangents):
    """All quantities change."""

    def change_of(self, entry):
        return None if entry.tensor.kind == "data" else self.change(entry)


def run(program, values, factors, normals, weights, dt):
    """The state of the interpreter at the end of a run."""
    state = State(program, values, normals, weights, STEPS, dt)
    state.prepare(factors)
    for constant in program.sweep.constants:
        constant.run(state)
    for state.now in range(STEPS):
        state.carry_on()
        for _ in state.passes():
            for statement in (*program.sweep.step, *program.sweep.epilogue):
                statement.run(state)
    return state


QUICK = (("network", "numba"), ("correlated", "cupy"))
SLOW = [pytest.param(n, target, marks=pytest.mark.slow) for n in CASES for target in ("numba", "cupy")]


@pytest.mark.parametrize(("name", "target"), [*QUICK, *(c for c in SLOW if c.values not in QUICK)])
def test_generated_changes_agree_with_the_interpreter(name, target):
    build, parameters, data, names = CASES[name]
    model = ds.compile_model(build(), ds.Options(covariance=names, backend=target))
    equations, euler, text = ds.derive(build()), scheme_named("euler"), model.source.text
    mean = program_of(lower(equations, euler, Asked(wanted=names, fluctuating=True)))
    program = linearise(equations, euler, names, mean)[0].record  # with the names of the model
    module = with_changes(loaded(text) if target == "cupy" else interpreted(text), target)
    dt, host, device = module.TIME_STEP, np.asarray, module.cp.asarray if target == "cupy" else np.asarray
    host = module.cp.asnumpy if target == "cupy" else host
    values, factors, normals, weights = prepared(module, parameters, data, STEPS, PATHS)
    on_device = [{key: device(array) for key, array in each.items()} for each in (normals, weights)]
    kept, status, _ = module.record_sweep(values, factors, *on_device, STEPS, dt)
    assert status == "ok"
    values = values | {"(columns)": COUNT}
    state = run(program, values, factors, normals, weights, dt)
    state.matrices = MatrixChanges(state, state.matrices)
    rng, now, column = np.random.default_rng(7), program.grid.now, Index("r", COLUMNS)
    along, writer = Everything(now, (column,), ()), StatementWriter(program, target=TARGETS[target])
    changes = [s.tangent(along) for s in (*program.sweep.step, *program.sweep.epilogue) if is_of_matrix(s)]
    assert any(isinstance(c, MatrixChange) for c in changes)
    read = [e.tensor for c in changes for body, _ in c.reads(now) for e in entries_of(body) if has_columns(e.tensor)]
    for tensor in dict.fromkeys(read):
        state.arrays[tensor.name] = rng.standard_normal(state.shape(tensor))
    for tensor in dict.fromkeys(t for c in changes for t in c.writes):
        state.arrays[tensor.name] = np.zeros(state.shape(tensor))
    scope = dict(vars(module)) | {f"weight_{site}": device(w) for site, w in weights.items()} | values
    scope |= {"recorded": kept, "columns": COUNT, "steps": STEPS, "dt": dt}
    scope |= {key: array for key, array in kept.items() if hasattr(array, "shape")}
    exec("\n".join(change_lines(program)), scope)
    at = lambda tensor: tuple(state.now if i.is_time else slice(None) for i in tensor.indices)
    for state.now in range(STEPS):
        scope[now.name] = state.now
        for change in changes:
            tensors = {e.tensor for body, _ in change.reads(now) for e in entries_of(body) if has_columns(e.tensor)}
            for tensor in sorted((*tensors, *change.writes), key=lambda t: t.name):
                array = state.arrays[tensor.name]
                scope[tensor.name] = device(array[at(tensor)] if tensor.site else array)
            exec("\n".join(writer.lines(change)), scope)
            change.run(state)
            for tensor in change.writes:
                expected = state.arrays[tensor.name][at(tensor)]
                found = host(scope[tensor.name])
                assert np.abs(expected).max() > 1e-3 or state.now == 0
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * max(1.0, np.abs(expected).max()))


def is_of_matrix(statement):
    return isinstance(statement, MatrixProduct | Learning)


def test_a_change_says_what_it_does():
    program = program_of(lower(ds.derive(matrix_models.unequal()), scheme_named("euler"), ("f",)))
    along = Everything(program.grid.now, (Index("r", COLUMNS),), ())
    changes = [s.tangent(along) for s in (*program.sweep.step, *program.sweep.epilogue) if is_of_matrix(s)]
    lines = [line for change in changes for line in change.text()]
    assert sum(isinstance(c, LearningChange) for c in changes) == 2
    for line in (
        "d_W_out[mu, r, t] = W @ d_phi_v[mu, r, t] + change of W @ phi_v[mu, t]",
        "change of V += eta*Kx[mu, nu] * d_phi_h[mu, r, t] u[nu, t]^T/N",
    ):
        assert line in lines, lines
