"""Second tangents: the tangent of a tangent program, against differences of the first one, in the interpreter."""

import numpy as np
import pytest
from fluctuating_models import CASES, module_of, prepared

import dmftsym as ds
from dmftsym.errors import LoweringError
from dmftsym.language.symbols import Index
from dmftsym.linearise.feedback import find_feedback
from dmftsym.linearise.tangent import second_tangent, tangent_of
from dmftsym.lowering.lower import lower, program_of
from dmftsym.lowering.schemes import scheme_named
from dmftsym.program.axes import COLUMNS
from dmftsym.program.interpreter import interpret

STEPS, PATHS, STRIDE = 4, 6, 1e-4

pytestmark = pytest.mark.usefixtures("averaged_form")


def sweep_of(program, schedule, buffers):
    """A program that does the updates of a schedule one after the other."""
    statements = lambda nodes: tuple(s for n in nodes for s in n.statements)
    return program.with_axis(COLUMNS).with_sweep(
        buffers=tuple(buffers.values()), step=statements(schedule.step), epilogue=statements(schedule.epilogue)
    )


class Linearised:
    """A case with its first and second tangent, and the sample paths of its generated module."""

    def __init__(self, name):
        case, module = CASES[name], module_of(name)
        self.wanted, self.dt = case.covariance, module.TIME_STEP
        lowered = lower(ds.derive(case.build()), scheme_named(case.scheme), case.covariance)
        buffers = lowered.builder.buffers
        self.first = tangent_of(lowered, find_feedback(lowered, case.covariance).active)
        schedule = self.first.schedule(lowered.schedule)
        self.second = second_tangent(self.first, schedule, Index("other", COLUMNS))
        twice = self.second.schedule(schedule)
        plain = program_of(lowered)
        self.once = sweep_of(plain, schedule, buffers | self.first.buffers)
        self.twice = sweep_of(plain, twice, buffers | self.first.buffers | self.second.buffers)
        self.values, self.factors, self.normals, self.weights = prepared(
            module, case.parameters, case.data, STEPS, PATHS
        )
        rng = np.random.default_rng(4)
        self.modes, self.others = (
            {site: rng.standard_normal((2, PATHS)) for site in self.weights} for _ in ("first", "second")
        )

    def run(self, program, moved=None, **more):
        """Run with weights w (1 + moved); the first directions stay what they add to w."""
        factors = {site: 1 + (0 if moved is None else moved[site]) for site in self.weights}
        weights = {site: w * factors[site] for site, w in self.weights.items()}
        given = {f"mode_{site}": mode / factors[site] for site, mode in self.modes.items()} | more
        values = self.values | {"(columns)": 2}
        return interpret(program, values, self.factors, self.normals, weights, STEPS, self.dt, given)

    def changes(self, entry):
        """The names of the first change of a quantity and of the change of that, and where the columns stand."""
        (first,) = (varied for varied, of in self.first.origin.items() if of.name == entry)
        (second,) = (varied for varied, of in self.second.origin.items() if of == first)
        return first.name, second.name, [i.name for i in second.indices].index("other")


@pytest.mark.parametrize("name", ["mlp", "drift", "lag", "inner sum"])
def test_second_changes_are_differences_of_first_ones(name):
    found = Linearised(name)
    second = found.run(found.twice, **{f"other_mode_{s}": m for s, m in found.others.items()})
    for q in range(2):
        moved = [found.run(found.once, {s: k * STRIDE * m[q] for s, m in found.others.items()}) for k in (1, -1)]
        for entry in found.wanted:
            d, dd, place = found.changes(entry)
            expected = (moved[0][d] - moved[1][d]) / (2 * STRIDE)
            scale = np.abs(expected).max()
            assert np.abs(np.take(second[dd], q, place) - expected).max() < 1e-5 * scale, entry
            assert np.abs(np.take(second[dd], 1 - q, place) - expected).max() > 1e-3 * scale, "negative control"


def test_averages_are_linear_in_the_weights_of_given_paths():
    found = Linearised("plain")  # sources that nothing changes
    second = found.run(found.twice, **{f"other_mode_{s}": m for s, m in found.others.items()})
    d, dd, _ = found.changes("q")
    assert np.abs(second[d]).max() > 0.1 and np.all(second[dd] == 0)


def test_second_changes_do_not_depend_on_the_order_of_directions():
    found = Linearised("lag")
    found.others = found.modes
    second = found.run(found.twice, **{f"other_mode_{s}": m for s, m in found.modes.items()})
    _, dd, place = found.changes("f")
    changes = second[dd]
    assert np.abs(changes - changes.swapaxes(place, place - 1)).max() < 1e-12 * np.abs(changes).max()


def test_a_draw_of_a_covariance_that_changes_has_no_second_change():
    with pytest.raises(LoweringError, match="change of <u_x"):
        Linearised("recurrent")
