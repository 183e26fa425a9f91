"""Random models from a seed: what a user may combine, in any order and with any indices.

Two axes of equal size, several sites, fields with none, one or two indices (two over one axis too), given explicitly,
by a recursion or by a differential equation; static, evolving and white noise, correlated between fields and between
exchanged indices, with amplitudes; averages at one and two times, response functions, definitions of definitions, site
definitions with inner sums; memories with kernels, sums over the past (strict or not), lags inside and outside of sums,
ratios, kinks, data in time, functions of time, explicit terms and weights. What is read at the same step mostly has its
place before; where it has not, the model may be one that cannot be ordered.
"""

from dataclasses import dataclass, field

import numpy as np
from sympy import Integer, Rational, cos, exp, expand_mul, sin, sqrt, tanh

import dmftsym as ds

SIZE = 2


@dataclass(frozen=True)
class Thing:
    """What can be read at one time: a field, a site definition, an average or a definition, and at which site."""

    tensor: object
    shape: tuple[str, ...]
    site: object = None
    moving: bool = False


@dataclass
class Drawn:
    """A random model with its data and parameters.

    `broadcast`: terms may lack indices of what they add to; `clock`: functions of time stand in it; `fluctuating`: one
    whose derived Hessian can be evaluated on sample paths (see `derived_covariances.py`) with explicit terms between
    conjugates, small, in discrete time or without sums over the past.
    """

    seed: int
    broadcast: bool = True
    clock: bool = True
    fluctuating: bool = False
    data: dict = field(default_factory=dict)
    parameters: dict = field(default_factory=dict)

    def __post_init__(self):
        self.random = np.random.default_rng(self.seed)
        self.continuous = self.chance(0.3)
        self.model = m = ds.Model(f"drawn{self.seed}")
        self.t, self.s = m.times("t s", continuous=True, dt=0.125) if self.continuous else m.times("t s")
        self.index = {
            "token": m.indices("i j k", size=SIZE, axis="token"),
            "place": m.indices("a b c", size="P", axis="place"),
        }
        self.declare_data()
        self.phi = m.activation("phi", self.pick("tanh", "sin", "erf", "relu", "hard_tanh", "tanh(2*h)/2", "gelu"))
        self.things, self.kernels, self.noisy = [], [], []
        self.wide = self.chance(0.5) and not self.fluctuating  # mostly fields and averages on pairs
        self.sites = [m.site(f"site{n}") for n in range(self.pick(1, 1, 2))]
        for n in range(int(self.random.integers(4, 7 if self.fluctuating else 9))):
            self.add_thing(n)
        self.add_late_terms()
        self.finish()

    # --- dice -----------------------------------------------------------------------------------------------------

    def pick(self, *choices):
        return choices[self.random.integers(len(choices))]

    def chance(self, probability):
        return bool(self.random.random() < probability)

    def shape(self):
        if self.wide and self.chance(0.7):
            return self.pick(("token", "token"), ("token", "token"), ("token", "place"), ("place", "place"))
        return self.pick((), (), ("token",), ("token",), ("place",), ("token", "token"), ("token", "place"))

    def number(self):
        return Rational(int(self.random.integers(1, 5)), 8) * self.pick(1, 1, -1)

    # --- declarations ---------------------------------------------------------------------------------------------

    def declare_data(self):
        m, (i, j, _), (a, b, _) = self.model, self.index["token"], self.index["place"]
        draw = lambda *shape: self.random.uniform(-1, 1, shape).round(3)
        self.W, self.V, self.U = m.data("W", i, j), m.data("V", i, a), m.data("U", a, b)
        self.y, self.z, self.kick = m.data("y", i), m.data("z", a), m.data("kick", self.t)
        self.K = {"token": m.data("Ki", i, j), "place": m.data("Ka", a, b)}
        self.beta = m.parameters("beta")
        self.data = {"W": draw(2, 2), "V": draw(2, 2), "U": draw(2, 2), "y": draw(2), "z": draw(2), "kick": draw(3)}
        self.data |= {"Ki": np.array([[1.0, 0.4], [0.4, 0.7]]), "Ka": np.array([[0.8, -0.3], [-0.3, 1.1]])}
        self.parameters = {"beta": 0.6}

    def own(self, shape):
        """The declared indices of a shape: the first ones of each axis."""
        used = {"token": 0, "place": 0}
        result = []
        for axis in shape:
            result.append(self.index[axis][used[axis]])
            used[axis] += 1
        return tuple(result)

    def other(self, shape):
        """Indices of a second end."""
        return tuple(self.index[axis][1] for axis in shape)

    # --- things in order ------------------------------------------------------------------------------------------

    def add_thing(self, n):
        site = self.pick(*self.sites)
        local = [x for x in self.things if x.site is site]
        kinds = ("field", "field", "average", "average", "two times", "site definition", "definition")
        kind = self.pick(*kinds, *(() if self.fluctuating else ("response", "matrix")))
        if kind == "field" or not local:
            return self.add_field(n, site)
        if kind == "average":
            return self.add_average(n, site, local)
        if kind == "two times":
            return self.add_two_times(n, site, local)
        if kind == "site definition":
            return self.add_site_definition(n, site, local)
        if kind == "response":
            return self.pick(self.add_response, self.add_response_of_components)(n, site, local)
        if kind == "matrix":
            return self.add_uses_of_a_matrix(n, site, local)
        return self.add_definition(n)

    def add_field(self, n, site):
        shape = self.shape()
        moving = self.chance(0.4)
        start = {"mean": self.pick(0, Rational(1, 2)), "variance": self.pick(1, Rational(1, 2))} if moving else {}
        own = self.own(shape)
        x = site.field(f"x{n}", *own, self.t, **start)
        thing = Thing(x, shape, site, moving)
        left = x[(*own, self.t)]
        right = Integer(0) if not moving else -left if self.continuous else x[(*own, self.t - 1)] / 2
        for _ in range(self.random.integers(0, 3)):
            right += self.number() * self.term(own, site, self.things)
        if self.chance(0.05):
            right += self.number() * self.term(own, site, [*self.things, thing])  # may need itself
        site.equation(x.dot[(*own, self.t)] if moving and self.continuous else left, right)
        self.add_noise(thing)
        self.things.append(thing)

    def add_average(self, n, site, local):
        shape = self.shape()
        own = self.own(shape)
        q = self.model.order_parameter(f"q{n}", *own, self.t)
        observable = self.covered(self.path_factor(own, local, self.t), own)
        if self.chance(0.5):
            observable *= self.path_factor(own, local, self.t)
        if self.chance(0.3):
            observable = observable + self.number() * self.covered(self.path_factor(own, local, self.t), own)
        site.observe(q[(*own, self.t)], observable)
        self.things.append(Thing(q, shape))

    def add_two_times(self, n, site, local):
        """C[.., t, .., s] of one thing with itself (positive), or of two."""
        plain = [x for x in local if len(x.shape) < (1 if self.fluctuating else 2)]
        if not plain:
            return None
        x = self.pick(*plain)
        one, two = self.own(x.shape), self.other(x.shape)
        C = self.model.order_parameter(f"C{n}", *one, self.t, *two, self.s)
        function = self.function()
        here, there = function(x.tensor[(*one, self.t)]), function(x.tensor[(*two, self.s)])
        same = [y for y in plain if y.shape == x.shape and y != x]
        positive = not same or self.chance(0.6)
        if not positive:
            there = self.function()(self.pick(*same).tensor[(*two, self.s)])
        site.observe(C[(*one, self.t, *two, self.s)], here * there)
        self.kernels.append((C, x.shape, positive, site, len(self.things) - 1))
        return None

    def add_site_definition(self, n, site, local):
        shape = self.shape()
        own = self.own(shape)
        g = site.define(f"g{n}", *own, self.t, self.covered(self.path_factor(own, local, self.t), own))
        self.things.append(Thing(g, shape, site))

    def add_definition(self, n):
        """A function of averages and earlier definitions at one time, or a sum over the past of a kernel."""
        known = [x for x in self.things if x.site is None]
        if not known:
            return
        shape = self.pick((), ("token",), ("token", "token"))
        own = self.own(shape)
        value = self.read(self.pick(*known), own, self.t)
        formula = self.pick(tanh(value), value**2 / 2, 1 / (1 + value**2), exp(-(value**2)), value * self.beta)
        if self.chance(0.3):
            formula = formula + self.number() * cos(self.read(self.pick(*known), own, self.lag()))
        if self.chance(0.2):
            formula = formula - self.read(self.pick(*known), own, Integer(0)) / 2
        if self.kernels and self.chance(0.4) and not (self.fluctuating and self.continuous):
            C, shape_C, *_ = self.pick(*self.kernels)
            kernel = self.kernel(C, shape_C, own)
            formula = formula + self.number() * ds.past(self.s, inclusive=self.chance(0.5))(tanh(kernel))
        formula = self.covered(formula, own, always=True)
        if self.chance(0.3):
            self.model.observable(f"D{n}", *own, self.t, formula)
        else:
            self.things.append(Thing(self.model.define(f"D{n}", *own, self.t, formula), shape))
            self.model.outputs.append(f"D{n}")

    def add_response(self, n, site, local):
        """R[t, s]: how a function of a scalar thing responds to the source of a scalar field."""
        scalar = [x for x in local if not x.shape]
        fields = [x for x in scalar if x.tensor.kind == "field"]
        if not fields:
            return
        R = self.model.order_parameter(f"R{n}", self.t, self.s)
        observable = self.phi(self.pick(*scalar).tensor[self.t])
        observable *= self.pick(1, 1, 1, self.kick[self.t], self.kick[self.s])
        site.observe(R[self.t, self.s], observable * self.pick(*fields).tensor.tilde[self.s])
        self.kernels.append((R, (), False, site, len(self.things) - 1))

    def add_response_of_components(self, n, site, local):
        """Of every component to its own source, summed with weights or not, or of one component to another's source."""
        fields = [x for x in local if x.tensor.kind == "field" and len(x.shape) == 1]
        if not fields:
            return
        x = self.pick(*fields)
        one, two = self.own(x.shape), self.other(x.shape)
        here, weight = self.function()(x.tensor[(*one, self.t)]), self.y if x.shape == ("token",) else self.z
        kind = self.pick("sum", "each", "both")
        indices = {"sum": (self.t, self.s), "each": (*one, self.t, self.s), "both": (*one, self.t, *two, self.s)}[kind]
        R = self.model.order_parameter(f"R{n}", *indices)
        observable = here * x.tensor.tilde[(*(two if kind == "both" else one), self.s)]
        if kind == "sum":
            observable = ds.sum_over(*one)(weight[one] * observable)
        site.observe(R[indices], observable)
        if kind == "sum":
            self.kernels.append((R, (), False, site, len(self.things) - 1))
        elif kind == "both":
            self.kernels.append((R, x.shape, False, site, len(self.things) - 1))

    def add_uses_of_a_matrix(self, n, site, local):
        """u = W f(a), v = W f(b) with the same random matrix W: correlated noise; b may be u itself."""
        scalar = [x for x in local if not x.shape]
        if not scalar:
            return
        a, f, (t, s) = self.pick(*scalar), self.phi, (self.t, self.s)
        u, v = (Thing(site.field(f"{name}{n}", t), (), site) for name in "wv")
        b = self.pick(u, *scalar)
        for x in (u, v):
            site.equation(x.tensor[t], self.number() * self.term((), site, self.things))
        ends = {"aa": (u, u, a, a), "ab": (u, v, a, b), "bb": (v, v, b, b)}
        for name, (x, y, left, right) in ends.items():
            C = self.model.order_parameter(f"{name}{n}", t, s)
            site.observe(C[t, s], f(left.tensor[t]) * f(right.tensor[s]))
            site.noise(x.tensor[t], y.tensor[s], C[t, s])
        self.things += [u, v]

    # --- expressions ----------------------------------------------------------------------------------------------

    def function(self):
        return self.pick(
            self.phi, self.phi, tanh, sin, lambda h: h / 2, lambda h: h**2 / 4, lambda h: exp(-(h**2)),
            lambda h: sqrt(1 + h**2) / 2, lambda h: cos(2 * h), self.phi.d(1) if self.smooth() else tanh,
        )  # fmt: skip

    def smooth(self):
        return self.phi.is_smooth

    def lag(self):
        return self.pick(self.t, self.t - 1)

    def place_in(self, shape, own):
        """Indices with which something of a shape is read from a target with indices `own`, and those to sum over."""
        result, loose = [], []
        for axis in shape:
            mine = [i for i in own if i in self.index[axis]]
            free = [i for i in self.index[axis] if i not in own]
            if mine and (not free or self.chance(0.8)):
                result.append(self.pick(*mine))
            else:
                fresh = [i for i in free if i not in loose] or free
                chosen = self.pick(*loose) if loose and self.chance(0.2) and loose[0] in free else fresh[0]
                result.append(chosen)
                loose += [chosen] if chosen not in loose else []
        return tuple(result), tuple(loose)

    def read(self, thing, own, time, function=None):
        """A function of something at a time; indices that the target has not are summed, with weights."""
        place, loose = self.place_in(thing.shape, own)
        value = (function or (lambda h: h))(thing.tensor[(*place, time)])
        if not loose:
            return value
        if self.chance(0.5):
            value *= self.weight(loose[0], own)
        return ds.sum_over(*loose)(value)

    def weight(self, index, own):
        """Data that hold an index, and one of the target's if it can be."""
        if index in self.index["token"]:
            mine = [i for i in own if i in self.index["token"]]
            return self.pick(self.W[mine[0], index], self.W[index, mine[0]]) if mine else self.y[index]
        mine = [i for i in own if i in self.index["token"]]
        return self.V[mine[0], index] if mine else self.z[index]

    def covered(self, expression, own, always=False):
        """The expression times data for the indices that it lacks: without them it would be read as a sum."""
        expression = expand_mul(expression, deep=False)
        if expression.is_Add:
            return sum((self.covered(part, own, always) for part in expression.args), Integer(0))
        for index in own:
            held = expression.has(index)
            if not held and (always or not self.broadcast or self.chance(0.5)):
                expression *= self.y[index] if index in self.index["token"] else self.z[index]
        return expression

    def path_factor(self, own, local, time):
        x = self.pick(*local)
        pairs = [y for y in local if len(y.shape) == 2 and y.shape[0] == y.shape[1]]
        if pairs and self.chance(0.5):
            return self.exchanged(self.pick(*pairs), own, time)
        kind = self.pick("one", "one", "one", "two", "ratio")
        if kind == "two":
            return self.read(x, own, time, self.function()) * self.read(self.pick(*local), own, time, self.function())
        wide = [y for y in local if y.shape]
        if kind == "ratio" and wide:
            return self.ratio(self.pick(*wide), own, time)
        return self.read(x, own, time, self.function())

    def exchanged(self, x, own, time):
        """One thing read in both orders of its indices, on its diagonal, or along a sum."""
        (one, *rest), free = [i for i in self.index[x.shape[0]] if i in own] or self.index[x.shape[0]][:1], None
        if not rest:
            free = next(i for i in self.index[x.shape[0]] if i != one and i not in own)
        two = rest[0] if rest else free
        f, g = self.function(), self.function()
        at = lambda *place: x.tensor[(*place, time)]
        value = self.pick(
            f(at(one, two) - at(two, one) / 2), f(at(two, one)), f(at(two, one)) * g(at(one, two)),
            f(at(one, one)) * g(at(two, one)), f(at(two, one)) * g(at(two, two)),
        )  # fmt: skip
        free = [free] if free is not None else []
        free += [one] if one not in own else []
        return ds.sum_over(*free)(value) if free else value

    def ratio(self, x, own, time):
        """exp(x_i)/Σ_k exp(x_k) along one of its indices, or a gate."""
        place, loose = self.place_in(x.shape, own)
        slot = self.random.integers(len(place))
        spare = [i for i in self.index[x.shape[slot]] if i not in own and i not in loose]
        if not spare:
            return tanh(x.tensor[(*place, time)]) if not loose else ds.sum_over(*loose)(tanh(x.tensor[(*place, time)]))
        summed = (*place[:slot], spare[0], *place[slot + 1 :])
        total = ds.sum_over(spare[0])(exp(x.tensor[(*summed, time)] / 2))
        value = exp(x.tensor[(*place, time)] / 2) / total
        return ds.sum_over(*loose)(value) if loose else value

    def kernel(self, C, shape, own):
        """A two-time average at (t, s) with the indices of a target, or summed."""
        both = self.place_in((*shape, *shape), own)
        half, loose = len(shape), both[1]
        entry = C[(*both[0][:half], self.t, *both[0][half:], self.s)]
        return ds.sum_over(*loose)(entry) if loose else entry

    def term(self, own, site, things):
        """One term of an equation at time t, from what is known at that time."""
        local = [x for x in things if x.site is site]
        shared = [x for x in things if x.site is None]
        kinds = ["constant"] + ["field", "product"] * bool(local) + ["average", "modulated"] * bool(shared)
        kinds += ["up to now"] * bool(local and not (self.fluctuating and self.continuous))
        kind = self.pick(*kinds, *kinds[1:])
        if kind == "field":
            found = self.path_factor(own, local, self.t)
        elif kind == "product":
            found = self.path_factor(own, local, self.t) * self.path_factor(own, local, self.t)
        elif kind == "up to now":
            found = ds.past(self.s, before=self.t, inclusive=True)(self.past_factor(local, own))
        elif kind == "average":
            found = self.read(self.pick(*shared), own, self.t, self.pick(tanh, lambda h: h))
        elif kind == "modulated" and local:
            found = self.read(self.pick(*shared), own, self.t) * self.path_factor(own, local, self.t)
        else:
            clock = self.kick[self.t]
            found = self.pick(clock, cos(2 * self.t), self.beta) if self.clock else self.pick(clock, self.beta)
        return self.covered(found, own)

    # --- terms that read earlier times ----------------------------------------------------------------------------

    def add_late_terms(self):
        """Memories and lags: they may read everything, whatever its place in the order of a step."""
        if self.fluctuating and self.continuous:
            return  # the derivative of an integral of an order parameter is a density
        for x in [y for y in self.things if y.tensor.kind == "field"]:
            own = self.own(x.shape)
            for _ in range(self.pick(1, 1, 2) if self.fluctuating else self.pick(0, 1, 1, 2)):
                extra = self.number() * self.covered(self.late_term(x, own), own, always=True)  # in an action
                x.site.action(x.tensor.tilde[(*own, self.t)] * extra)

    def late_term(self, x, own):
        local = [y for y in self.things if y.site is x.site]
        shared = [y for y in self.things if y.site is None]
        kind = self.pick("past", "past", "kernel", "kernel", "lag", "lagged average")
        earlier = [k for k in self.kernels if k[4] < self.things.index(x) or x.moving]
        if kind == "kernel" and (earlier or (self.kernels and self.chance(0.1))):
            return self.memory(self.pick(*(earlier or self.kernels)), local, own)
        if kind == "lagged average" and shared and not self.continuous:
            found = self.pick(cos, lambda h: h)(self.read(self.pick(*shared), own, self.t - 1))
            return found * self.path_factor(own, local, self.t - 1) if x.moving and self.chance(0.5) else found
        if kind == "lag" and x.moving and not self.continuous:
            return self.path_factor(own, local, self.t - 1)
        inside = self.past_factor(local, own)
        if shared and self.chance(0.8 if self.fluctuating else 0.4):
            inside *= self.read(self.pick(*shared), own, self.s)
        if self.clock and self.chance(0.1):
            inside *= self.pick(self.beta ** (self.t - self.s), exp(-((self.t - self.s) ** 2)), cos(self.s))
        return ds.past(self.s)(inside)

    def past_factor(self, local, own):
        narrow = self.pick(*local)
        place, loose = self.place_in(narrow.shape, own)
        value = self.function()(narrow.tensor[(*place, self.s)])
        return ds.sum_over(*loose)(value) if loose else value

    def memory(self, kernel, local, own):
        C, shape, *_ = kernel
        same = [y for y in local if y.shape == shape]
        if same and shape:
            axis = shape[0]
            first = next((i for i in own if i in self.index[axis]), None)
            summed = next(i for i in self.index[axis] if i not in own)
            y = self.pick(*same)
            if first is not None:
                return ds.past(self.s, summed)(
                    C[first, self.t, summed, self.s] * self.function()(y.tensor[summed, self.s])
                )
        return ds.past(self.s)(self.kernel(C, shape, own) * self.past_factor(local, own))

    # --- noise ----------------------------------------------------------------------------------------------------

    def add_noise(self, x):
        own, tensor, site = self.own(x.shape), x.tensor, x.site
        kind = self.pick("none", "static", "static", "evolving", "evolving", "white", "amplitude", "exchanged", "cross")
        here, late = tensor[(*own, self.t)], tensor[(*own, self.s)]
        averages = [q for q in self.things if q.site is None]
        wide = len(x.shape) == 1
        two = self.other(x.shape) if len(x.shape) < 2 else own
        there = tensor[(*two, self.s)]
        K = self.K[x.shape[0]][own[0], two[0]] if wide else Rational(3, 4)
        kernels = [C for C, shape, positive, *_ in self.kernels if positive and shape == x.shape]
        if kind == "exchanged" and x.shape == ("token", "token"):
            site.noise(here, late, 1)
            site.noise(here, tensor[own[1], own[0], self.pick(self.s, self.s)], Rational(1, 2))
        elif kind == "amplitude" and len(x.shape) < 2 and not x.moving and not self.fluctuating:
            self.add_amplitude(x, K)
        elif kind == "cross":
            self.add_cross(x, own, two, K)
        elif kind == "evolving" and kernels:
            C = self.pick(*kernels)[(*own, self.t, *two, self.s)]
            site.noise(here, there, self.pick(C + K, C * K, C**2 / 2 + K, C))
        elif kind == "white":
            variance = 1 + self.pick(*self.scalars(averages)).tensor[self.t] ** 2 if self.scalars(averages) else 1
            again = tensor[(*two, self.t)] if wide and self.chance(0.5) else here
            site.noise(here, again, variance if again == here else K * variance)
        elif kind != "none":
            if wide and self.chance(0.6):
                site.noise(here, there, K)
            else:
                site.noise(here, late, Rational(3, 4))

    def scalars(self, things):
        return [x for x in things if not x.shape]

    def add_amplitude(self, x, K):
        """Static noise times a function of another field of the same shape, at each of its times."""
        own, two = self.own(x.shape), self.other(x.shape)
        others = [y for y in self.things if y.site is x.site and y.shape == x.shape]
        if not others:
            return
        y = self.pick(*others).tensor
        a, b = (1 + tanh(y[(*ends, time)]) / 2 for ends, time in ((own, self.t), (two, self.s)))
        tilde = x.tensor.tilde
        x.site.action(a * tilde[(*own, self.t)] * K * b * tilde[(*two, self.s)] / 2)

    def add_cross(self, x, own, two, K):
        """Static or white noise of its own, correlated with that of an earlier field of the same shape."""
        here = x.tensor[(*own, self.t)]
        white = self.chance(0.4)
        again = x.tensor[(*two, self.t if white else self.s)]
        x.site.noise(here, again, K)
        partners = [y for y in self.things if y.site is x.site and y.shape == x.shape and (y, white) in self.noisy]
        if partners:
            y = self.pick(*partners).tensor[(*two, self.t if white else self.s)]
            x.site.noise(here, y, self.number() * (1 if len(x.shape) != 1 else K))
        elif len(x.shape) < 2:
            self.noisy.append((x, white))

    # --- the action -------------------------------------------------------------------------------------------------

    def finish(self):
        """A random part gets an action written out: weights of sites, explicit terms."""
        m = self.model
        pairs = [q for q in m.tensors.values() if q.kind == "order parameter"]
        for site in self.sites:
            if not site.terms:
                x = site.field(f"rest_{site.name}", self.t)
                site.equation(x[self.t], 0)
        if not self.chance(0.7 if self.fluctuating else 0.3):
            return
        home = {q: s for s in self.sites for q in pairs if any(term.has(q.hat) for term in s.terms)}
        share = {s: Rational(1, 3) if n else Rational(2, 3) for n, s in enumerate(self.sites)}
        total = sum((share[s] * ds.log_Z(s) for s in self.sites), Integer(0))
        for q in pairs:
            extra = Integer(0)
            earlier = [p for p in pairs[: pairs.index(q)] if p.indices == q.indices and len(q.time_slots) == 1]
            if earlier and self.chance(0.6):
                extra = self.number() * tanh(self.pick(*earlier)[q.indices])
            total += -share[home[q]] * q.hat[q.indices] * q[q.indices] + q.hat[q.indices] * extra
            total += self.between_conjugates(q, pairs)
        m.action = total

    def between_conjugates(self, q, pairs):
        """Fluctuations of their own: terms of second order in conjugates, which leave the means alone."""
        if not self.fluctuating or not self.chance(0.4) or len(q.time_slots) > 1:
            return Integer(0)  # two times: refused, in words
        p = self.pick(*[p for p in pairs if p.indices == q.indices])
        amount = self.pick(Rational(1, 2), Rational(1, 3), 1 + q[q.indices] ** 2)
        return amount * q.hat[q.indices] * p.hat[p.indices]
