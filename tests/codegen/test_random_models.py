"""Random models: their generated covariances are sums over the influence of every path, found by differences.

A model is drawn from a seed: one or two sites with up to three fields (with a drift in discrete or continuous time, or
given explicitly), averages at one and at two times, definitions, memory, couplings to averages of this step and
earlier ones, static, evolving and white noise. Models that the language or the schedule refuses are passed over.
"""

import numpy as np
import pytest
from as_averaged import as_averaged
from fluctuating_models import KX, interpreted, prepared
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from sympy import Rational, exp, log, sin, tanh
from test_fluctuation_code import covariances, covariances_by_influence, distance

import dmftsym as ds


class Drawn:
    """A random model, and the names of quantities whose covariances are asked for."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.continuous = self.chance()
        self.model = m = ds.Model("drawn")
        self.t, self.s = m.times("t s", continuous=True, dt=0.1) if self.continuous else m.times("t s")
        self.mu, self.nu = m.indices("mu nu", size="P", axis="sample")
        self.Kx, self.kick = m.data("Kx", self.mu, self.nu), m.data("kick", self.t)
        self.phi = m.activation("phi", self.pick("tanh", "sin", "erf"))
        self.fields = [field for k in range(1 + self.random.integers(2)) for field in self.site(m.site(f"site{k}"))]
        self.one, self.two = [], []
        for k in range(1 + self.random.integers(3)):
            self.average(k)
        self.functions = list(self.one)
        for k in range(self.random.integers(3)):
            self.definition(k)
        for field in self.fields:
            self.equation(*field)
        names = [q.name for q, *_ in (*self.functions, *self.two)]
        self.covariance = tuple(sorted({self.pick(*names) for _ in range(1 + self.random.integers(3))}))

    def pick(self, *choices):
        return choices[self.random.integers(len(choices))]

    def chance(self):
        return bool(self.random.integers(2))

    def number(self):
        return Rational(int(self.random.integers(1, 5)), 8)

    def site(self, site):
        for k in range(1 + self.random.integers(3)):
            wide, moving = self.chance(), self.chance()
            start = {"mean": self.pick(0, Rational(1, 2)), "variance": self.pick(1, Rational(1, 2))} if moving else {}
            indices = (self.mu, self.t) if wide else (self.t,)
            yield site, site.field(f"x{len(self.model.sites)}{k}", *indices, **start), wide, moving

    def at(self, tensor, wide, index, time):
        return tensor[index, time] if wide else tensor[time]

    def average(self, k):
        site, x, wide, _ = self.pick(*self.fields)
        _, y, also_wide, _ = self.pick(*[f for f in self.fields if f[0] is site])
        function = self.pick(self.phi, tanh, sin, lambda z: z, lambda z: z**2, self.phi.d(1))
        here = self.at(x, wide, self.mu, self.t)
        if self.chance():
            wide = wide or also_wide
            observable = function(here) * self.phi(self.at(y, also_wide, self.mu, self.t))
            q = self.model.order_parameter(f"q{k}", *((self.mu, self.t) if wide else (self.t,)))
            self.one.append((q, wide))
            site.observe(q[q.indices], observable)
            return
        positive = wide != also_wide or self.chance()
        there = self.at(*((x, wide) if positive else (y, also_wide)), self.nu, self.s)
        observable = self.phi(here) * (self.phi(there) if positive else function(there))
        C = self.model.order_parameter(f"C{k}", *((self.mu, self.t, self.nu, self.s) if wide else (self.t, self.s)))
        self.two.append((C, wide, positive))
        site.observe(C[C.indices], observable)

    def definition(self, k):
        if self.one and self.chance():
            q, wide = self.pick(*self.one)
            value = q[q.indices]
            formula = self.pick(tanh(value), self.kick[self.t] * value**2, 1 / (1 + value**2))
        elif self.two:
            C, wide, _ = self.pick(*self.two)
            at = lambda time: C[self.mu, self.t, self.mu, time] if wide else C[self.t, time]
            formula = self.pick(exp(-(at(self.t) ** 2)), ds.past(self.s)(log(1 + at(self.s) ** 2)))
        else:
            return
        indices = (self.mu, self.t) if wide else (self.t,)
        self.functions.append((self.model.define(f"D{k}", *indices, formula), wide))

    def equation(self, site, x, wide, moving):
        now = self.t if self.continuous else self.t - 1
        right = 0 if not moving else -x[x.indices] if self.continuous else self.at(x, wide, self.mu, now) / 2
        for _ in range(1 + self.random.integers(2)):
            right += self.number() * self.term(site, x, wide, moving, now)
        site.equation(x.dot[x.indices] if moving and self.continuous else x[x.indices], right)
        self.noise(site, x, wide)

    def term(self, site, x, wide, moving, now):
        """One term of a drift, or zero if what was drawn does not fit."""
        _, y, other_wide, other_moving = self.pick(*[f for f in self.fields if f[0] is site])
        fits = lambda is_wide: wide or not is_wide
        kind = self.pick("field", "function", "product", "past of a function", "past", "kernel")
        if kind == "field" and moving and fits(other_wide) and (other_moving or self.continuous):
            return self.phi(self.at(y, other_wide, self.mu, now)) * self.kick[self.t]
        if kind in ("function", "product") and moving and self.functions:
            q, q_wide = self.pick(*self.functions)
            if fits(q_wide):
                factor = tanh(self.at(x, wide, self.mu, now)) if kind == "product" else 1
                return factor * self.at(q, q_wide, self.mu, now)
        if kind == "past of a function" and self.functions:
            q, q_wide = self.pick(*self.functions)
            if q_wide and wide:
                inside = self.Kx[self.mu, self.nu] * q[self.nu, self.s] * self.phi(x[self.nu, self.s])
                return ds.past(self.s, self.nu)(inside)
            if not q_wide and fits(other_wide):
                return ds.past(self.s)(q[self.s] * self.phi(self.at(y, other_wide, self.mu, self.s)))
        if kind == "past" and fits(other_wide):
            return ds.past(self.s)(self.phi(self.at(y, other_wide, self.mu, self.s)))
        if kind == "kernel" and self.two:
            C, C_wide, _ = self.pick(*self.two)
            if C_wide and wide:
                return ds.past(self.s, self.nu)(C[C.indices] * self.phi(x[self.nu, self.s]))
            if not C_wide:
                return ds.past(self.s)(C[C.indices] * self.phi(self.at(x, wide, self.mu, self.s)))
        return 0

    def noise(self, site, x, wide):
        here, there = self.at(x, wide, self.mu, self.t), self.at(x, wide, self.nu, self.s)
        kind = self.pick("none", "static", "static", "evolving", "evolving", "white")
        kernels = [C for C, C_wide, positive in self.two if positive and C_wide == wide]
        numbers = [q for q, q_wide in self.one if not q_wide]
        if kind == "static":
            site.noise(here, there, self.Kx[self.mu, self.nu] if wide else Rational(1, 2))
        elif kind == "evolving" and kernels:
            C = self.pick(*kernels)[kernels[0].indices]
            site.noise(here, there, C + self.Kx[self.mu, self.nu] if wide else C**2 / 2 + Rational(1, 4))
        elif kind == "white" and numbers and not wide:
            site.noise(here, here, 1 + numbers[0][self.t] ** 2)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=20, phases=[Phase.generate])
@given(st.integers(0, 10**6))
def test_random_models(seed):
    try:
        drawn = Drawn(seed)
        with as_averaged():
            compiled = ds.compile_model(drawn.model, ds.Options(covariance=drawn.covariance))
    except (ds.LanguageError, ds.LoweringError):
        assume(False)
    module = interpreted(compiled.source.text)
    data = {"Kx": KX, "kick": np.array([1.0, -0.5, 0.7])}
    known = {name: array for name, array in data.items() if name in module.DATA}
    paths = {site: 7 + 2 * k for k, site in enumerate(module.SITES)}
    values, factors, normals, weights = prepared(module, {}, known, 3, paths, seed)
    arguments = (values | {"P": 2}, factors, normals, weights, 3)
    result, status, _ = module.sweep(*arguments[:4], 3, module.TIME_STEP, None)
    assume(status == "ok" and all(np.abs(v).max() < 1e3 for v in result.values()))
    found = covariances(module, arguments)
    assert distance(found, covariances_by_influence(module, arguments, list(drawn.covariance))) < 1e-5
