"""The causal schedule: right order on random graphs, and errors that name the user's symbols."""

import pytest
import raw_library
from hypothesis import given, settings
from hypothesis import strategies as st

import dmftsym as ds
from dmftsym.compiler import derive
from dmftsym.lowering.lower import lower, program_of
from dmftsym.lowering.schemes import scheme_named
from dmftsym.models.loading import build_model
from dmftsym.program.nodes import Node
from dmftsym.program.schedule import build_causal_schedule
from dmftsym.program.times import When


def lowered(model, outputs=()):
    d = derive(model)
    return lower(d, scheme_named("euler"), (*d.action.outputs, *outputs))


class _Timed:
    """A statement of which the schedule asks no more than this."""

    loops, is_constant = (), False


def node(name, reads, site=""):
    return Node(name=name, label=name, statements=(_Timed(),), reads=tuple(reads), site=site)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.data())
def test_random_acyclic_graphs_are_ordered(data):
    size = data.draw(st.integers(1, 12))
    names = [f"q{k}" for k in range(size)]
    order = data.draw(st.permutations(names))
    same = data.draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=30))
    past = data.draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=30))
    reads = {name: [] for name in names}
    for a, b in same:
        if a != b:
            early, late = sorted((a, b))
            reads[order[late]].append((order[early], data.draw(st.sampled_from([When.NOW, When.UPTO, When.INITIAL]))))
    for a, b in past:
        reads[order[a]].append((order[b], data.draw(st.sampled_from([When.PAST, When.LAG]))))
    sites = data.draw(st.lists(st.sampled_from(["", "one", "two"]), min_size=size, max_size=size))
    nodes = {name: node(name, reads[name], site) for name, site in zip(names, sites, strict=True)}
    schedule = build_causal_schedule(nodes)
    position = {n.name: k for k, n in enumerate(schedule.step)}
    assert sorted(position) == sorted(names)
    for name in names:
        for other, moment in reads[name]:
            if moment.same_step:
                assert position[other] < position[name]


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(0, 5))
def test_cycles_are_named(length, extra):
    names = [f"c{k}" for k in range(length)]
    nodes = {n: node(n, [(names[k - 1], When.NOW)]) for k, n in enumerate(names)}
    nodes |= {f"x{k}": node(f"x{k}", [(names[0], When.NOW)]) for k in range(extra)}
    with pytest.raises(ds.LoweringError, match="instantaneous loop") as error:
        build_causal_schedule(nodes)
    cycle = str(error.value).split(": ")[1].split(";")[0].split(" <- ")
    assert set(cycle) == set(names) and cycle[0] == cycle[-1]


def two_layer(drift):
    m = ds.Model("probe")
    t, s = m.times("t s")
    y = m.data("y", m.indices("mu", size="P"))
    mu = m.index_symbols["mu"]
    f = m.order_parameter("f", mu, t)
    site = m.site("hidden")
    h = site.field("h", mu, t)
    site.equation(h[mu, t], drift(m, f, h, y, mu, t, s))
    site.noise(h[mu, t], h[mu, s], 1)
    site.observe(f[mu, t], h[mu, t] ** 2)
    return m


def test_instantaneous_feedback_is_an_error_in_the_users_symbols():
    with pytest.raises(ds.LoweringError, match=r"instantaneous loop.*h\[mu, t\].*f\[mu, t\]"):
        lowered(two_layer(lambda m, f, h, y, mu, t, s: y[mu] - f[mu, t]))
    program = program_of(lowered(two_layer(lambda m, f, h, y, mu, t, s: y[mu] - ds.past(s)(f[mu, s]))))
    assert [o.name for o in program.facts.outputs] == ["f"]


def test_feedback_through_an_inclusive_sum_is_an_instantaneous_loop():
    with pytest.raises(ds.LoweringError, match="instantaneous loop"):
        lowered(two_layer(lambda m, f, h, y, mu, t, s: ds.past(s, inclusive=True)(f[mu, s])))


@pytest.mark.parametrize(
    "drift",
    [
        lambda m, f, h, y, mu, t, s: f[mu, s],
        lambda m, f, h, y, mu, t, s: h[mu, t + 1],
        lambda m, f, h, y, mu, t, s: y[mu] * ds.sum_over(s)(f[mu, s]),
    ],
)
def test_acausal_terms_are_named(drift):
    with pytest.raises(ds.LoweringError, match=r"acausal.*h\[mu, t\]|h\[mu, t\].*acausal|acausal"):
        lowered(two_layer(drift))


def test_order_of_the_two_layer_network():
    schedule = lowered(build_model("mlp")).schedule
    position = {n.name: k for k, n in enumerate(schedule.step)}
    assert position["h"] < position["g"] < position["G1_equal"] < position["K"]
    assert max(position["h"], position["z"]) < position["f"] < position["Delta"]
    assert {n.name for n in schedule.epilogue} == {"memory_h", "memory_z"}
    assert "h(t)" in schedule.text()


@pytest.mark.usefixtures("averaged_form")
def test_order_of_the_recurrent_network():
    schedule = lowered(raw_library.recurrent()).schedule
    order = [n.name for n in schedule.step]
    assert order.index("x") < order.index("C") < order.index("u_x") < order.index("x_rate")
