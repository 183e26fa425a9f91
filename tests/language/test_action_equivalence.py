"""One model, several ways to write it: equations and noise, the action, defaults; and the sketch of the design."""

from pathlib import Path

import pytest

import dmftsym as ds
from dmftsym.compiler import hash_of
from dmftsym.language.reading import read_action
from dmftsym.models.loading import build_model, find_model

EXAMPLES = Path(__file__).parents[2] / "examples"

SKETCH = '''
"""Two-layer network in mean-field parameterisation (arXiv:2304.03408)."""
import dmftsym as ds
from sympy import tanh

m = ds.Model("two_layer")
t, s = m.times("t s");  mu, nu = m.indices("mu nu", size="P")
gamma, eta = m.parameters("gamma eta", positive=True)
Kx, y = m.data("Kx", mu, nu), m.data("y", mu)
phi = m.activation("phi", tanh)                      # phi.d(1), phi.d(2) are its derivatives

f = m.order_parameter("f", mu, t)
Delta = m.define("Delta", y[mu] - f[mu, t])

site = m.site("hidden")
h, z = site.field("h", mu, t), site.field("z", t)
site.action(                                         # MSRDJ, x.tilde is the response field of x
    -h.tilde[mu, t] * (h[mu, t] - eta*gamma*ds.past(s, nu)(Delta[nu, s]*Kx[mu, nu]*phi.d(1)(h[nu, s])*z[s]))
    - z.tilde[t]    * (z[t]     - eta*gamma*ds.past(s, nu)(Delta[nu, s]*phi(h[nu, s])))
    + h.tilde[mu, t]*Kx[mu, nu]*h.tilde[nu, s]/2 + z.tilde[t]*z.tilde[s]/2
    + f.hat[mu, t]*z[t]*phi(h[mu, t])/gamma)
m.action = -f.hat[mu, t]*f[mu, t] + ds.log_Z(site)   # repeated indices are contracted
'''


def two_layers(form):
    """The sketch, its site written as "equations" or as an "action", the action of the model set or left to default."""
    m = ds.Model("two_layer")
    t, s = m.times("t s")
    mu, nu = m.indices("mu nu", size="P")
    gamma, eta = m.parameters("gamma eta", positive=True)
    Kx, y = m.data("Kx", mu, nu), m.data("y", mu)
    phi = m.activation("phi", "tanh")
    f = m.order_parameter("f", mu, t)
    Delta = m.define("Delta", mu, t, y[mu] - f[mu, t])
    site = m.site("hidden")
    h, z = site.field("h", mu, t), site.field("z", t)
    site.equation(h[mu, t], eta * gamma * ds.past(s, nu)(Delta[nu, s] * Kx[mu, nu] * phi.d(1)(h[nu, s]) * z[s]))
    site.equation(z[t], eta * gamma * ds.past(s, nu)(Delta[nu, s] * phi(h[nu, s])))
    site.noise(h[mu, t], h[nu, s], Kx[mu, nu])
    site.noise(z[t], z[s], 1)
    site.observe(f[mu, t], z[t] * phi(h[mu, t]) / gamma)
    if form == "action set":
        m.action = -f.hat[mu, t] * f[mu, t] + ds.log_Z(site)
    return m


def sketch(text=SKETCH):
    names = {}
    exec(compile(text, "sketch", "exec"), names)
    return names["m"]


def same(one, other):
    one, other = read_action(one), read_action(other)
    return one.text() == other.text() and hash_of(one) == hash_of(other)


@pytest.mark.parametrize("form", ["action set", "default"])
def test_equations_and_noise_build_the_sketch(form):
    model = two_layers(form)
    assert same(model, sketch())
    derived, expected = ds.derive(model), ds.derive(sketch())
    assert str(derived) == str(expected) and derived._repr_latex_() == expected._repr_latex_()


CHANGES = {
    "sign": ("- eta*gamma*ds.past(s, nu)(Delta[nu, s]*phi(", "+ eta*gamma*ds.past(s, nu)(Delta[nu, s]*phi("),
    "factor": ("z.tilde[t]*z.tilde[s]/2", "z.tilde[t]*z.tilde[s]"),
    "boundary": ("ds.past(s, nu)(Delta[nu, s]*phi(", "ds.past(s, nu, inclusive=True)(Delta[nu, s]*phi("),
    "kernel": ("Delta[nu, s]*Kx[mu, nu]*phi.d(1)", "Delta[nu, s]*Kx[mu, nu]**2*phi.d(1)"),
    "derivative": ("phi.d(1)(h", "phi.d(2)(h"),
    "activation": ("tanh)", "lambda h: tanh(h/2))"),
    "definition": ("y[mu] - f[mu, t]", "y[mu] - 2*f[mu, t]"),
    "lag": ("y[mu] - f[mu, t]", "y[mu] - f[mu, t - 1]"),
    "condition": ("positive=True", "nonnegative=True"),
    "size": ('size="P"', 'size="Q"'),
    "time": ('m.times("t s")', 'm.times("t s", continuous=True)'),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_mathematics_has_another_hash(change):
    old, new = CHANGES[change]
    assert SKETCH.count(old) == 1
    assert not same(sketch(SKETCH.replace(old, new)), sketch())


def test_the_hash_does_not_depend_on_layout():
    spaced = SKETCH.replace("*Kx", " * Kx").replace("ds.past(s, nu)(Delta[nu, s]*", "ds.past(s, nu)(1*Delta[nu, s]*")
    assert spaced != SKETCH and same(sketch(spaced), sketch())


def test_the_hash_knows_which_axis_an_index_runs_over():
    # Regression: the hash holds the names of the indices and the axes, but not which belongs to which.
    def model(size):
        m = ds.Model("axes")
        t, _ = m.times("t s")
        m.indices("i", size="P")
        m.indices("j", size="Q")
        mu = m.indices("mu", size=size)
        y, site = m.data("y", mu), m.site("A")
        m.data("both", m.index_symbols["i"], m.index_symbols["j"])
        x = site.field("x", t)
        site.equation(x[t], ds.sum_over(mu)(y[mu]))
        return m

    assert same(model("P"), model("P"))
    assert not same(model("P"), model("Q"))


def test_library_and_sketch_are_the_same_two_layer_network():
    ours, library = ds.derive(sketch()), ds.derive(build_model("mlp"))
    shared = [line for line in str(ours.process).splitlines() if not line.startswith("h[")]
    assert len(shared) == 6 and set(shared) < set(str(library.process).splitlines())
    assert str(ours.saddle_point).splitlines()[0] == str(library.saddle_point).splitlines()[0]


def lotka_volterra():
    """The example, written as an action."""
    m = ds.Model("lotka_volterra", "Generalised Lotka-Volterra community (J. Phys. A 52, 484001).")
    t, s = m.times("t s", continuous=True, dt=0.05)
    mu = m.parameters("mu")
    sigma, immigration = m.parameters("sigma", nonnegative=True), m.parameters("immigration", default=0.01)
    M, C = m.order_parameter("M", t), m.order_parameter("C", t, s)
    species = m.site("species")
    n, growth = species.field("n", t, mean=0.5, variance=0.01), species.field("growth", t)
    species.action(
        -growth.tilde[t] * (growth[t] - (1 - n[t] - mu * M[t]))
        + sigma**2 * growth.tilde[t] * C[t, s] * growth.tilde[s] / 2
        - n.tilde[t] * (n.dot[t] - (n[t] * growth[t] + immigration))
        + M.hat[t] * n[t]
        + C.hat[t, s] * n[t] * n[s]
    )
    m.action = -M.hat[t] * M[t] - C.hat[t, s] * C[t, s] + ds.log_Z(species)
    return m


def test_the_example_in_equations_is_the_example_as_an_action():
    assert same(lotka_volterra(), find_model(str(EXAMPLES / "lotka_volterra.py")).build({}))


def test_white_and_shared_noise_as_an_action():
    """noise(x, x, c) adds c/2, noise(x, v, c) adds c: the second derivatives of the action are the covariances."""
    models = []
    for form in ("noise", "action"):
        m = ds.Model("noise")
        t, s = m.times("t s")
        temperature, c = m.parameters("temperature c")
        site = m.site("A")
        x, v = site.field("x", t), site.field("v", t)
        site.equation(x[t], 0)
        site.equation(v[t], 0)
        if form == "noise":
            site.noise(x[t], x[t], 2 * temperature)
            site.noise(x[t], v[s], c)
        else:
            site.action(temperature * x.tilde[t] ** 2 + c * x.tilde[t] * v.tilde[s])
        models.append(m)
    assert same(*models)


def test_models_in_one_process_do_not_mix():
    """SymPy shares equal expressions between models: equal names of other meaning must stay apart."""
    before = ds.derive(build_model("recurrent")).saddle_point.text()
    discrete = ds.Model("discrete")
    t, s = discrete.times("t s")
    C, g = discrete.order_parameter("C", t, s), discrete.parameters("g", default=3)
    site = discrete.site("neuron")
    x = site.field("x", t)
    site.equation(x[t], g * C[t, t - 1])
    site.observe(C[t, s], x[t] * x[s - 1])
    derived = ds.derive(discrete)
    assert not derived.action.is_continuous and derived.action.declared.parameters[0].default == 3
    again = ds.derive(build_model("recurrent"))
    assert again.saddle_point.text() == before and again.action.is_continuous
    assert again.action.declared.parameters[0].lower == 0
