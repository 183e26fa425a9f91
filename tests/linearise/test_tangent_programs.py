"""Tangent programs: every value is there when it is read, whatever shares a loop; slopes, names, and how they print."""

import numpy as np
import pytest
from fluctuating_models import CASES, KX, Y, compiled_case, interpreted, prepared
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Add, Integer, tanh

import dmftsym as ds
from dmftsym.language.symbols import PASSES, Axis, Index, Tensor
from dmftsym.language.terms import Term, entries_of
from dmftsym.program.axes import COLUMNS
from dmftsym.program.buffers import Role
from dmftsym.program.fusion import CHANGES, fuse, gathered
from dmftsym.program.nodes import Node, statements_of
from dmftsym.program.printer import program_text
from dmftsym.program.statements import Assign, Contract, DrawVariation, Evaluate, PathLoop, Piece, Sketch
from dmftsym.program.times import When

# --- loops over sample paths ----------------------------------------------------------------------------------------

now, column = Index("t", Axis("time", "T", is_time=True)), Index("r", COLUMNS)

pytestmark = pytest.mark.usefixtures("averaged_form")


def updates_in_order(statements):
    """(loop, target, entries read, whether it is an average) of every update; updates of one loop share its number."""
    for loop, statement in enumerate(statements):
        for update in statement.updates if isinstance(statement, PathLoop) else (statement,):
            match update:
                case Assign():
                    yield loop, update.target, entries_of(update.expression), False
                case Contract():
                    bodies = [p.scalar * p.coefficient for p in update.pieces] + [t.body for t in update.explicit]
                    read = [o for p in update.pieces for o in p.factors] + [e for b in bodies for e in entries_of(b)]
                    yield loop, update.target, read, update.averaged
                case Evaluate():
                    yield loop, update.target, [e for t in update.terms for e in entries_of(t.body)], False


def faults(statements, in_place, at_start=()):
    """Reads that find no value or a wrong one: `in_place` arrays hold the last step's value until they are updated."""
    written, found = {}, []
    everything = list(updates_in_order(statements))
    targets = {target.tensor.name for _, target, _, _ in everything}
    for loop, target, read, averaged in everything:
        for entry in read:
            name = entry.tensor.name
            lagged = any(time == now_of(entry) - 1 or now_of(entry).axis == PASSES for time in entry.times)
            if lagged and name in in_place and name in written and name != target.tensor.name:
                found.append(f"{target} reads {entry} after its update")
            elif not lagged and entry.times and name in targets and name not in at_start:
                if name not in written:
                    found.append(f"{target} reads {entry} before its update")
                elif written[name] == (loop, True):
                    found.append(f"{target} reads {entry} inside the loop that averages it")
        written[target.tensor.name] = loop, averaged
    return found


def now_of(entry):
    return next((i for time in entry.times for i in time.atoms(Index)), now)


def quantity(kind, name, site):
    return Tensor(name, "definition", (column, now), "" if kind in ("average", "function") else site)


def random_node(kind, tensor, reads, tensors):
    entries = [tensors[n][column, now - 1 if moment is When.LAG else now] for n, moment in reads]
    target = tensor[column, now]
    if kind == "field":
        statement = Assign(target, Add(*entries), str(target))
    elif kind == "average":
        statement = Contract(target, tuple(Piece(Integer(1), Integer(1), (e,)) for e in entries), (), True, str(target))
    else:
        statement = Evaluate(target, tuple(Term(e) for e in entries), str(target))
    return Node(tensor.name, tensor.name, (statement,), tuple(reads), tensor.site)


def random_graph(seed, averages_in_drifts):
    """Nodes with a causal order that exists, shuffled, and the arrays of which all times are kept."""
    random = np.random.default_rng(seed)
    size = random.integers(3, 11)
    names, sites = [f"q{k}" for k in range(size)], random.choice(["one", "two"], size)
    kinds = ["field", *random.choice(["field", "field", "average", "function"], size - 1)]
    tensors = {n: quantity(kind, n, str(site)) for n, kind, site in zip(names, kinds, sites, strict=True)}
    histories = {n for n in names if not tensors[n].site or random.random() < 0.5}
    nodes = []
    for k, name in enumerate(names):
        early = [n for n in names[:k] if random.random() < 0.5]
        local, shared = ([n for n in early if bool(tensors[n].site) == is_local] for is_local in (True, False))
        if kinds[k] == "field":
            mine = [n for n in local if sites[names.index(n)] == sites[k]] + shared * averages_in_drifts
            late = [n for n in names if random.random() < 0.3 and tensors[n].site in ("", sites[k])]
            old = [n for n in late if n not in mine and (n in histories or names.index(n) >= k)]
        else:
            one = [n for n in local or names[:1] if tensors[n].site == tensors[(local or names)[0]].site]
            mine, old = (one if kinds[k] == "average" else shared), []
        reads = [(n, When.NOW) for n in mine] + [(n, When.LAG) for n in old]
        nodes.append(random_node(kinds[k], tensors[name], reads, tensors))
    return [nodes[k] for k in random.permutation(size)], histories


def check_graph(graph):
    nodes, histories = graph
    in_place = {n.name for n in nodes if n.site and n.name not in histories}
    statements = fuse(statements_of(gathered(nodes, in_place)), now, CHANGES)
    order = [target.tensor.name for _, target, _, _ in updates_in_order(statements)]
    assert sorted(order) == sorted(n.name for n in nodes)
    assert faults(statements, in_place) == []
    kernels = [s for s in statements if isinstance(s, PathLoop)]
    assert len({k.name for k in kernels}) == len(kernels)
    for kernel in kernels:
        sites = {u.target.tensor.site or u.pieces[0].operands[0].tensor.site for u in kernel.updates}
        assert sites == {kernel.site}


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_random_graphs(seed):
    check_graph(random_graph(seed, averages_in_drifts=False))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_random_graphs_where_averages_stand_in_drifts(seed):
    check_graph(random_graph(seed, averages_in_drifts=True))


def test_the_check_of_order_finds_faults():
    x, v, q = (quantity(kind, name, "one") for kind, name in (("field", "x"), ("field", "v"), ("average", "q")))
    move = Assign(x[column, now], v[column, now], "")
    lag = Assign(v[column, now], x[column, now - 1], "")
    mean = Contract(q[column, now], (Piece(Integer(1), Integer(1), (x[column, now],)),), (), True, "")
    drift = Assign(v[column, now], q[column, now], "")
    loop = lambda *updates: PathLoop(name="loop", site="one", updates=updates)
    assert faults([move, drift], set()) == ["x[r, t] reads v[r, t] before its update"]
    assert faults([move, loop(mean, drift)], set())[-1] == "v[r, t] reads q[r, t] inside the loop that averages it"
    assert faults([loop(mean), loop(drift)], set()) == []
    assert faults([Assign(x[column, now], q[column, now - 1], ""), lag], {"x"}) == [
        "v[r, t] reads x[r, t - 1] after its update"
    ]
    assert faults([lag, Assign(x[column, now], Integer(0), "")], {"x"}) == []
    assert faults([Assign(x[column, now], Integer(0), ""), lag], set()) == []


def case_or_skip(name):
    try:
        return compiled_case(name)
    except ds.DmftsymError as error:
        pytest.skip(f"refused, see tests of the generated code: {error}")


@pytest.mark.parametrize("name", CASES)
def test_programs_of_models_read_nothing_too_early(name):
    found = case_or_skip(name).fluctuations.programs
    for program in (found.tangent, found.direct):
        if program is None:
            continue
        sweep, groups = program.sweep, program.sampling.groups
        in_place = {b.tensor.name for b in sweep.buffers if b.site and not b.history}
        drawn = {f"d_{m.tensor.name}" for g in groups for m in g.members}
        step = [s for s in sweep.step if not isinstance(s, DrawVariation) and getattr(s, "has_columns", True)]
        memories = {target.tensor.name for _, target, _, _ in updates_in_order(sweep.epilogue)}
        assert faults(step, in_place, at_start=drawn | memories) == []
        known = {b.tensor.name for b in sweep.buffers} | {m.tensor.name for g in groups for m in g.members}
        known |= {s.target.tensor.name for s in sweep.constants} | {d.tensor.name for d in program.facts.data}
        for _, target, read, _ in updates_in_order((*sweep.step, *sweep.epilogue)):
            missing = {e.tensor.name for e in read} - known - drawn
            assert not missing, f"{target} reads {missing}"


# --- slopes and names -----------------------------------------------------------------------------------------------


def lines_of(program):
    return {line.strip() for line in program_text(program).splitlines()}


def test_slopes_that_are_there_already_are_not_computed_again():
    """phi(h) z changes with h by phi'(h) z, which is the user's g."""
    tangent = compiled_case("mlp").fluctuations.programs.tangent
    lines = lines_of(tangent)
    assert "d_phi_h_z[mu, r, t] = d_z[r, t]*phi_h[mu, t] + g[mu, t]*d_h[mu, r, t]" in lines
    assert "d_g[mu, r, t] = d_z[r, t]*slope_phi_h_h[mu, t] + slope_g_h[mu, t]*d_h[mu, r, t]" in lines
    slopes = [b.tensor.name for b in tangent.sweep.buffers if b.role is Role.SLOPE]
    assert sorted(slopes) == ["slope_g_h", "slope_phi_h_h"]


def test_a_slope_at_the_previous_time_is_no_slope_of_this_time():
    """x(t) = phi(x(t-1)): its slope is not that of phi(x(t)), which is observed too."""
    model = ds.Model("lag")
    t, _ = model.times("t s")
    q, p = model.order_parameter("q", t), model.order_parameter("p", t)
    site = model.site("one")
    x = site.field("x", t, variance=1)
    site.equation(x[t], tanh(x[t - 1]) + q[t - 1])
    site.observe(q[t], tanh(x[t]))
    site.observe(p[t], 1 - tanh(x[t]) ** 2)
    tangent = ds.compile_model(model, ds.Options(covariance=("q", "p"))).fluctuations.programs.tangent
    (advance,) = [line for line in lines_of(tangent) if line.startswith("d_x[r, t] =")]
    slope = next(b.tensor.name for b in tangent.sweep.buffers if b.role is Role.SLOPE and b.tensor.name in advance)
    assert any(line.startswith(f"{slope}[t] = 1 - tanh(x[t - 1])**2") for line in lines_of(tangent))


@pytest.mark.parametrize(
    ("names", "column"), [("mu nu", "r"), ("r nu", "q"), ("r q", "k"), ("mu r", "q")], ids=lambda v: v
)
def test_the_column_has_a_name_of_its_own(names, column):
    assert column_of(renamed_mlp(names=names)) == column


@pytest.mark.parametrize("where", ("parameter", "order_parameter", "data", "size", "activation", "site", "field"))
def test_the_name_of_the_column_is_free_whatever_the_user_calls_r(where):
    model = renamed_mlp(**{where: "r"})
    compiled = ds.compile_model(model, ds.Options(covariance=(str(model.tensors_of_test[0]),)))
    assert column_of(model) != "r" or where in ("activation", "site")
    module = interpreted(compiled.source.text)
    data = {model.tensors_of_test[1].name: KX, "y": Y}
    found = module.fluctuations({}, data, steps=2, measure="sobol", points=16, repeats=2)
    name = f"cov_{model.tensors_of_test[0]}_{model.tensors_of_test[0]}"
    plain = renamed_mlp()
    module = interpreted(ds.compile_model(plain, ds.Options(covariance=("f",))).source.text)
    expected = module.fluctuations({}, {"Kx": KX, "y": Y}, steps=2, measure="sobol", points=16, repeats=2)["cov_f_f"]
    assert abs(found[name] - expected).max() < 1e-12


def column_of(model):
    return ds.compile_model(model, ds.Options(covariance=(str(model.tensors_of_test[0]),))).fluctuations.column.name


def renamed_mlp(
    names="mu nu", parameter="eta", order_parameter="f", data="Kx", size="P", activation="phi", site="unit", field="h"
):
    """x moves with the error f - y of its own average; every name can be chosen."""
    model = ds.Model("renamed")
    t, s = model.times("t s")
    mu, nu = model.indices(names, size=size, axis="sample")
    eta = model.parameters(parameter, default=0.4)
    Kx, y = model.data(data, mu, nu), model.data("y", mu)
    phi = model.activation(activation, "tanh")
    f = model.order_parameter(order_parameter, mu, t)
    unit = model.site(site)
    h = unit.field(field, mu, t)
    unit.equation(h[mu, t], eta * ds.past(s, nu)(Kx[mu, nu] * (y[nu] - f[nu, s]) * phi(h[nu, s])))
    unit.noise(h[mu, t], h[nu, s], Kx[mu, nu])
    unit.observe(f[mu, t], phi(h[mu, t]) ** 2)
    model.tensors_of_test = (f, Kx)
    return model


# --- printing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_programs_print(name):
    """Every statement as one or more lines, the same on every call."""
    found = case_or_skip(name).fluctuations.programs
    for program in (found.plain, found.tangent, found.direct, found.sketch, found.chain):
        if program is None:
            continue
        text = program_text(program)
        assert text == program_text(program) and "object at" not in text
        for buffer in program.sweep.buffers:
            assert f"  {buffer.tensor.name}[" in text
        for statement in program.sweep.step:
            if isinstance(statement, PathLoop):
                assert statement.name in text
                for update in statement.updates:
                    assert str(update.target) in text
            elif isinstance(statement, Sketch | Evaluate):
                assert str(statement.target) in text


def test_sketches_and_draws_print_what_they_do():
    found = compiled_case("recurrent").fluctuations.programs
    assert "change of <u_x[t] u_x[t']>: g**2*d_C[r, t, t']" in program_text(found.tangent)
    assert "random combinations of the observable of C[t, s]" in program_text(found.sketch)
    assert "d_x[r, t] = dt*d_x_rate[r, t - 1] + d_x[r, t - 1]" in program_text(found.tangent)


def test_the_direct_part_holds_no_change_of_a_path():
    """Under modes that change nothing that feeds back, paths stay where they are."""
    direct = compiled_case("mlp").fluctuations.programs.direct
    assert not any(b.role is Role.VARIATION and b.site for b in direct.sweep.buffers)
    module = interpreted(compiled_case("mlp").source.text)
    values, factors, normals, weights = prepared(module, CASES["mlp"].parameters, CASES["mlp"].data, 2, 8)
    flat = {"hidden": normals["u_z"][:1] * 0 + 1}
    changes, _, _ = module.direct_sweep(values | {"(columns)": 1}, factors, normals, weights, 2, 1.0, flat)
    plain, _, _ = module.sweep(values, factors, normals, weights, 2, 1.0, None)
    assert abs(changes["K"][:, :, 0] - plain["K"]).max() < 1e-12  # psi = 1 adds every average once more
