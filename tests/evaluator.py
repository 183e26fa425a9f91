"""Evaluates a model as the user wrote it: entry by entry, on demand, on given sample paths; with no compiler behind it.

Only the reading of the language is shared (`read_action`: terms with their sums written out). Fields are functions of
the sample paths of their site, order parameters averages over them, everything else a number; sums are loops over the
values of their indices. A value is computed when something asks for it, once; a value that needs itself, or a later
step than the last, makes the model one that cannot be ordered (`NotOrdered`).

Conventions: a step of an equation of motion is one of Euler's; an integral over the past is a sum times dt, white noise
has its covariance over dt; a time that stands as a number is the number of the step in discrete time, the time in
continuous time; what is before time 0 is 0.
Normals are those of the generated module, by name: F n with F F^T = covariance for static sources, rows of a Cholesky
factor in causal order for evolving ones (relative jitter 1e-10, dependent rows opening no column), the symmetric
square root at each step for white ones, mean + standard deviation·n for initial values.
"""

import math
import re
from functools import cache, reduce
from itertools import product

import numpy as np
import scipy.special
from sympy import Add, Heaviside, KroneckerDelta, Symbol

from dmftsym.averaging.average import average_disorder
from dmftsym.language.activations import ARGUMENT, ActivationValue
from dmftsym.language.reading import read_action
from dmftsym.language.sums import FutureSum, IndexSum, PastSum
from dmftsym.language.symbols import Entry, Index, Parameter, Size, TimeDerivative, split_index
from dmftsym.language.terms import Term, entries_of

JITTER = 1e-10
BUMP = 1e-30  # size of a complex step: exact, as it is squared away
FUNCTIONS = {
    "exp": np.exp, "log": np.log, "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh,
    "cosh": np.cosh, "atan": np.arctan, "asinh": np.arcsinh, "erf": scipy.special.erf, "erfc": scipy.special.erfc,
    "erfinv": scipy.special.erfinv, "floor": np.floor, "ceiling": np.ceil,
    "logistic": lambda x: 1 / (1 + np.exp(-x)), "softplus": lambda x: np.log1p(np.exp(x)),
    "Abs": lambda x: np.where(np.real(x) < 0, -x, x), "sign": lambda x: np.sign(np.real(x)),
    "sinc": lambda x: np.where(x == 0, 1.0, np.sin(x) / np.where(x == 0, 1.0, x)),
}  # fmt: skip


class NotOrdered(Exception):
    """A value needs itself, or a step after the last."""


class Evaluator:
    """The values of a model on sample paths.

    `values`: parameters and data by name, sizes by symbol; `normals`, `factors`: as a generated module takes them;
    `weights`: by site. `array(name)` is an order parameter or a definition. `unread`: sources without normals are 0
    (those of fields that nothing asked for reads).
    """

    def __init__(self, model, values, factors, normals, weights, steps, dt=1.0, unread=False):
        self.action = read_action(average_disorder(model).model)
        self.numbers, self.factors, self.normals, self.weights = values, factors, normals, weights
        self.unread = unread
        self.steps, self.dt = steps, dt if self.action.is_continuous else 1.0
        size_of = lambda axis: int(axis.size) if axis.size.isdigit() else values.get(axis.size)
        self.sizes = {a.name: steps if a.is_time else size_of(a) for a in self.action.declared.axes}
        self.sites = {site.name: _SiteTerms(site) for site in self.action.sites}
        self.known, self.pending, self.bumps, self.written = {}, set(), {}, {}
        self.noises = {name: _Noise(self, site) for name, site in self.sites.items()}
        self.definitions = {d.tensor.name: d for d in self.action.definitions}
        self.local = {d.tensor.name: d for site in self.action.sites for d in site.definitions}
        self.responses = {q.name for q in self.action.order_parameters if self._responds(q)}
        self.lagged = {name: _lags(terms) for s in self.sites.values() for name, terms in s.drifts.items()}

    def array(self, name):
        """All entries of an order parameter or a definition, computed step after step."""
        tensor = next(t for t in self._quantities() if t.name == name)
        result = np.full([self.sizes[i.axis.name] for i in tensor.indices], np.nan)
        late = lambda place: max([place[k] for k in tensor.time_slots], default=0)
        for place in sorted(np.ndindex(*result.shape), key=late):
            result[place] = self.entry(tensor, place, ())
        return result

    def all(self):
        """Ask for everything, fields too: `NotOrdered` if something has no place in the order of a step."""
        fields = [f for site in self.action.sites for f in site.fields]
        for tensor in (*self._quantities(), *fields, *(d.tensor for d in self.local.values())):
            for place in np.ndindex(*[self.sizes[i.axis.name] for i in tensor.indices]):
                self.entry(tensor, place, ())

    def _quantities(self):
        return (*self.action.order_parameters, *(d.tensor for d in self.action.definitions))

    def _responds(self, q):
        terms = [t for site in self.action.sites for t in site.terms]
        found = [rest for _, _, rest in _derivatives(terms, self.action.conjugate(q).tensor)]
        return any(_is_response(f) for rest in found for f in rest.factors)

    # --- entries --------------------------------------------------------------------------------------------------

    def entry(self, tensor, place, bumps):
        """One entry; over the paths of its site if it has one. `bumps` name complex steps of sources of that site."""
        if tensor.kind == "conjugate" or any(place[k] < 0 for k in tensor.time_slots):
            return 0.0  # conjugates vanish at the saddle point
        if any(place[k] >= self.steps for k in tensor.time_slots):
            raise NotOrdered(f"{tensor}{list(place)} is after the last step")
        if tensor.kind == "data":
            return self.numbers[tensor.name][place]
        time = max((place[k] for k in tensor.time_slots), default=0)
        felt = time - (tensor.kind == "field" and tensor.name in self.sites[tensor.site].moving)
        key = (tensor.kind, tensor.name, place, tuple(b for b in bumps if self.bumps[b][0] <= felt))
        if key not in self.known:
            if key in self.pending:
                raise NotOrdered(f"{tensor}{list(place)} needs itself")
            self.pending.add(key)
            self.known[key] = self._computed(tensor, place, key[-1])
            self.pending.remove(key)
        return self.known[key]

    def _computed(self, tensor, place, bumps):
        if tensor.kind == "field":
            return self._field(tensor, place, bumps)
        if tensor.kind == "order parameter":
            return self._order_parameter(tensor, place)
        definition = self.local[tensor.name] if tensor.site else self.definitions[tensor.name]
        at = dict(zip(definition.tensor.indices, place, strict=True))
        return sum(self.total(t, at, bumps) for t in definition.terms)

    def _field(self, tensor, place, bumps):
        site, time = self.sites[tensor.site], place[tensor.time_slots[0]]
        moving = tensor.name in site.moving
        started = any(s.field == tensor for s in site.action.starts)
        if time == 0 and (moving or (started and self.lagged[tensor.name])):
            return self._start(site, tensor, place)
        before = tuple(p - (moving and k in tensor.time_slots) for k, p in enumerate(place))
        value = self._right_side(tensor, before, bumps)
        return self.entry(tensor, before, bumps) + self.dt * value if moving else value

    def _start(self, site, tensor, place):
        zero = np.zeros(len(self.weights[tensor.site]))
        found = [s for s in site.action.starts if s.field == tensor]
        if not found:
            return zero
        spatial = [k for k in range(len(place)) if k not in tensor.time_slots]
        at = {tensor.indices[k]: place[k] for k in spatial}
        mean, variance = (self.value(e, at, ()) for e in (found[0].mean, found[0].variance))
        row = 0
        for k in spatial:
            row = row * self.sizes[tensor.indices[k].axis.name] + place[k]
        normals = self.normals.get(f"{tensor.name}_start")
        return zero + mean + (math.sqrt(variance) * normals.reshape(-1, len(zero))[row] if normals is not None else 0)

    def _right_side(self, tensor, place, bumps):
        site = self.sites[tensor.site]
        value = np.zeros(len(self.weights[tensor.site]))
        for response, term in site.drifts[tensor.name]:
            at = matched(response.indices, place, {})
            value = value + self.total(term, at, bumps)
        value = value + self.noises[tensor.site].value(tensor, place, bumps)
        return value + sum(1j * BUMP * self.bumps[b][1].get((tensor.name, place), 0.0) for b in bumps)

    def bump(self, name, place, size):
        """A complex step of the right-hand side of one field at one place, to be named in `bumps`."""
        key, slot = (name, place, size), next(f for s in self.sites.values() for f in s.action.fields if f.name == name)
        self.bumps[key] = place[slot.time_slots[0]], {(name, place): size}
        return key

    def _order_parameter(self, q, place):
        """From dS/dp = 0 for the conjugate p of q: coefficient·q + explicit terms + Σ weight·average = 0."""
        conjugate = self.action.conjugate(q)
        there = tuple(self.index(i, dict(zip(q.indices, place, strict=True))) for i in conjugate.indices)
        coefficient, rest = 0.0, 0.0
        for _, factor, term in _derivatives(self.action.pair_terms, conjugate.tensor):
            if entries_of(term.body, "conjugate"):
                continue  # vanishes at the saddle point, whatever it multiplies
            at = matched(factor.indices, there, {})
            own = next((f for f in term.factors if isinstance(f, Entry) and f.tensor == q), None)
            if at is not None and own is not None and matched(own.indices, place, at) == at:
                coefficient += self.total(_without(term, own), at, ())
            elif at is not None:
                rest += self.total(term, at, ())
        for name, site in self.sites.items():
            weight = self.value(site.action.weight, {}, ())
            for _, factor, term in _derivatives(site.action.terms, conjugate.tensor):
                at = matched(factor.indices, there, {})
                if at is not None:
                    rest += weight * self.average(term, at, name)
        return -rest / coefficient

    def average(self, term, at, site):
        """⟨term⟩; a response field in it is a derivative with respect to the source of its field."""
        responses = [f for f in term.factors if _is_response(f)]
        if not responses:
            return float(np.sum(self.weights[site] * self.total(term, at, ())))
        (response,) = responses
        total, inner = 0.0, _without(term, response)
        for where in self.ranges([i for i in term.bound if i not in at], at):
            place = tuple(self.index(i, where) for i in response.indices)
            bump = self.bump(response.tensor.name, place, 1 / self.dt)
            value = self.total(Term(inner.body, (), term.constraints), where, (bump,))
            total += float(np.sum(self.weights[site] * np.imag(value))) / BUMP
        return total

    # --- terms and expressions --------------------------------------------------------------------------------------

    def ranges(self, bound, at):
        """All values of bound indices."""
        for where in product(*[range(self.sizes[i.axis.name]) for i in bound]):
            yield {**at, **dict(zip(bound, where, strict=True))}

    def total(self, term, at, bumps):
        """Σ of a term over its bound indices that `at` leaves open; an integral for every time among them."""
        bound = [i for i in term.bound if i not in at]
        weight = self.dt ** sum(i.is_time for i in bound)
        result = 0.0
        for inner in self.ranges(bound, at):
            gaps = [(self.index(c.upper, inner) - self.index(c.time, inner), c.inclusive) for c in term.constraints]
            if all(gap > 0 or (gap == 0 and inclusive) for gap, inclusive in gaps):
                result = result + weight * self.value(term.body, inner, bumps)
        return result

    def index(self, argument, at):
        """An index, a lagged time or a whole number as a place."""
        index, shift = _split(argument)
        return shift if index is None else at[index] + shift

    def value(self, expr, at, bumps):
        """An expression with all its indices given."""
        if expr not in self.written:
            self.written[expr] = self._write(expr)
        return self.written[expr](at, bumps)

    def _write(self, expr):
        """The expression as a function of the values of its indices, and of the complex steps."""
        if expr.is_Number or expr.is_NumberSymbol:
            number = float(expr)
            return lambda at, bumps: number
        match expr:
            case Entry():
                return self._write_entry(expr)
            case Index():
                unit = self.dt if expr.is_time else 1
                return lambda at, bumps: at[expr] * unit
            case Parameter():
                return lambda at, bumps: self.numbers[expr.name]
            case Size():
                return lambda at, bumps: self.sizes[expr.axis.name]
            case ActivationValue():
                formula = expr.activation.body(expr.order)
                return lambda at, bumps: self.value(formula, {ARGUMENT: self.value(expr.argument, at, bumps)}, ())
            case Symbol():
                return lambda at, bumps: at[expr]
            case IndexSum():
                return lambda at, bumps: sum(self.value(expr.body, i, bumps) for i in self.ranges(expr.bound, at))
            case PastSum() | FutureSum():
                raise AssertionError(f"{expr} was not written out as a term")
        if expr.is_Add:
            parts = [self._write(a) for a in expr.args]
            return lambda at, bumps: sum(part(at, bumps) for part in parts)
        if expr.is_Mul:
            return self._write_product(expr)
        parts, rule = [self._write(a) for a in expr.args], _rule(expr)
        return lambda at, bumps: rule(*[part(at, bumps) for part in parts])

    def _write_entry(self, entry):
        tensor, places = entry.tensor, [_split(i) for i in entry.indices]

        def value(at, bumps):
            return self.entry(tensor, tuple(k if i is None else at[i] + k for i, k in places), bumps)

        return value

    def _write_product(self, expr):
        """Response functions first: where causality makes one zero, nothing is asked of what it multiplies."""
        first = [a for a in expr.args if isinstance(a, Entry) and a.tensor.name in self.responses]
        early, late = [self._write(a) for a in first], [self._write(a) for a in expr.args if a not in first]

        def value(at, bumps):
            total = 1.0
            for factor in early:
                total = total * factor(at, bumps)
            if early and total == 0:
                return 0.0
            for factor in late:
                total = total * factor(at, bumps)
            return total

        return value


def _rule(expr):
    """The function of NumPy for the head of an expression."""
    if expr.is_Pow and expr.exp.is_Integer:
        power = int(expr.exp)
        return lambda base, exponent: base**power
    if expr.is_Pow:
        return lambda base, exponent: base**exponent
    match expr:
        case KroneckerDelta():
            return lambda one, other: float(one == other)
        case Heaviside():
            return lambda argument, middle: np.heaviside(np.real(argument), middle)
    name = expr.func.__name__
    if name in ("Max", "Min"):
        above = (lambda a, b: np.real(a) >= np.real(b)) if name == "Max" else (lambda a, b: np.real(a) <= np.real(b))
        return lambda *parts: reduce(lambda a, b: np.where(above(a, b), a, b), parts)
    return FUNCTIONS[name]


@cache
def _split(argument):
    return split_index(argument)


def matched(indices, place, at):
    """The values of indices for which an entry stands at a place, or None if it never does."""
    found = dict(at)
    for argument, value in zip(indices, place, strict=True):
        index, shift = _split(argument)
        if (shift if index is None else found.setdefault(index, value - shift) + shift) != value:
            return None
    return found


# --- what a site says -----------------------------------------------------------------------------------------------


def _derivatives(terms, tensor):
    """(term, factor, rest of the term) for every factor that is an entry of a tensor."""
    for term in terms:
        for factor in term.factors:
            if isinstance(factor, Entry) and factor.tensor == tensor:
                yield term, factor, _without(term, factor)


class _SiteTerms:
    """The terms of a site action by what they are: drifts and noise; and the fields that move."""

    def __init__(self, action):
        self.action, self.noise = action, []
        self.moving = {d.entry.tensor.name for term in action.terms for d in term.body.atoms(TimeDerivative)}
        self.drifts = {f.name: [] for f in action.fields}
        for term in action.terms:
            responses = [f for f in term.factors if _is_response(f)]
            if entries_of(term.body, "conjugate"):
                continue
            if len(responses) == 2:
                self.noise.append((responses, _without(term, *responses)))
            else:
                self._add_drift(responses[0], _without(term, responses[0]))

    def _add_drift(self, response, term):
        """What stands on the right-hand side; the field itself, or its derivative, stands on the left."""
        name = response.tensor.name
        field = next(f for f in self.action.fields if f.name == name)
        left = field[response.indices] if name not in self.moving else TimeDerivative(field[response.indices])
        if term.body != -left:
            self.drifts[name].append((response, term))


def _is_response(factor):
    return isinstance(factor, Entry) and factor.tensor.kind == "response field"


def _without(term, *factors):
    body = term.body
    for factor in factors:
        body = body / factor
    return Term(body, term.bound, term.constraints)


def _lags(drifts):
    """Whether an equation reads the previous time, so that it starts from an initial value."""
    return any(
        time == response.times[0] - 1 for response, term in drifts for e in entries_of(term.body) for time in e.times
    )


class _Noise:
    """The Gaussian sources of a site: their covariances from the terms x̃ C x̃, and their values on the paths."""

    def __init__(self, evaluator, site):
        self.evaluator, self.site, self.sources, self.rows, self.factors = evaluator, site, {}, {}, {}
        for (one, other), term in site.noise:
            kind, amplitudes, inner = _parts_of_noise(one, other, term)
            ends = []
            for response, amplitude in zip((one, other), amplitudes, strict=True):
                field = next(f for f in site.action.fields if f.name == response.tensor.name)
                key = (field, kind, amplitude.xreplace(dict(zip(response.indices, field.indices, strict=True))))
                ends.append(key)
                self.sources.setdefault(key, [])
            self.sources[ends[0]].append((ends[1], one, other, inner))
            if ends[0] == ends[1]:
                self.sources[ends[0]].append((ends[0], other, one, inner))
            else:
                self.sources[ends[1]].append((ends[0], other, one, inner))

    def value(self, tensor, place, bumps):
        """All noise on the right-hand side of a field."""
        total = 0.0
        mine = [key for key in self.sources if key[0] == tensor]
        for key in mine:
            at = dict(zip(tensor.indices, place, strict=True))
            amplitude = self.evaluator.value(key[2], at, bumps)
            total = total + amplitude * self._drawn(key, place)
        return total

    def _name_of(self, key):
        mine = [k for k in self.sources if k[0] == key[0]]
        rank = mine.index(key)
        return f"u{rank + 1 if rank else ''}_{key[0].name}"

    def is_unread(self, key):
        """Whether a source has no normals, and needs none."""
        drawn = any(self._name_of(key) in _names_in(g) for g in self.evaluator.normals)
        return self.evaluator.unread and not drawn

    def group_of(self, key):
        """The group of a source, under whose name the normals are given, and its members."""
        name = self._name_of(key)
        group = next((g for g in self.evaluator.normals if name in _names_in(g)), None)
        assert group is not None, f"no normals for {name}"
        names = _names_in(group)
        members = [next(k for k in self.sources if self._name_of(k) == n) for n in names]
        self._check_group(names, members)
        return group, members

    def _drawn(self, key, place):
        """The value of one source."""
        if self.is_unread(key):
            return 0.0
        group, members = self.group_of(key)
        places = [(k, p) for k in members for p in self._places(k)]
        spatial = tuple(p for p, i in zip(place, key[0].indices, strict=True) if not i.is_time)
        row = places.index((key, spatial))
        time = place[key[0].time_slots[0]]
        return getattr(self, f"_{key[1]}")(group, places, time)[row]

    def groups(self):
        """The names of sources that are jointly Gaussian and of one kind, with their number of values at one time."""
        result = []
        for key in sorted(self.sources, key=lambda k: self.site.action.fields.index(k[0])):
            linked = [g for g in result if any(other in g for other, *_ in self.sources[key])]
            result = [g for g in result if g not in linked] + [[*(k for g in linked for k in g), key]]
        return [
            ("_".join(map(self._name_of, g)), g[0][1], sum(len(self._places(k)) for k in g))
            for g in ([k for k in self.sources if k in g] for g in result)
        ]

    def _check_group(self, names, members):
        """No source of the group is correlated with one that is drawn elsewhere."""
        drawn = [n for g in self.evaluator.normals for n in _names_in(g)]
        for key in members:
            for other, *_ in self.sources[key]:
                assert other in members or self._name_of(other) not in drawn, f"{names} and {other} are correlated"

    def _places(self, key):
        spatial = [i for i in key[0].indices if not i.is_time]
        return list(np.ndindex(*[self.evaluator.sizes[i.axis.name] for i in spatial]))

    def covariance(self, left, right, times):
        """⟨u_left u_right⟩ for two (source, place), from all terms in which their response fields stand."""
        total = 0.0
        for other, one, two, inner in self.sources[left[0]]:
            if other != right[0]:
                continue
            ends = [_with_time(key[0], place, t) for (key, place), t in zip((left, right), times, strict=True)]
            at = matched(one.indices, ends[0], {})
            at = at if at is None else matched(two.indices, ends[1], at)
            if at is not None:
                total += self.evaluator.total(inner, at, ())
        return total

    def _static(self, group, places, time):
        if group not in self.rows:
            matrix = np.array([[self.covariance(a, b, (0, 0)) for b in places] for a in places])
            factor = self.evaluator.factors.get(group)
            if factor is None:
                values, vectors = np.linalg.eigh(matrix)
                factor = vectors * np.sqrt(np.maximum(values, 0))
            assert np.abs(factor @ factor.T - matrix).max() < 1e-10 * max(1e-300, np.abs(matrix).max()), group
            self.rows[group] = factor @ self.evaluator.normals[group]
        return self.rows[group]

    def _white(self, group, places, time):
        if (group, time) not in self.rows:
            matrix = np.array([[self.covariance(a, b, (time, time)) for b in places] for a in places])
            values, vectors = np.linalg.eigh(matrix / self.evaluator.dt)
            root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
            self.rows[group, time] = root @ self.evaluator.normals[group][time]
        return self.rows[group, time]

    def _evolving(self, group, places, time):
        """Values of the sources of a group at a time, one row of the Cholesky factor after the other, on demand."""
        return _Rows(lambda place: self._row(group, places, time * len(places) + place))

    def _row(self, group, places, k):
        factor, opened = self.factors.setdefault(group, ([], []))
        normals = self.evaluator.normals[group]
        while len(factor) <= k:
            time, own = divmod(len(factor), len(places))
            variance = self.covariance(places[own], places[own], (time, time))
            row = np.zeros(len(normals))
            for j, other in enumerate(opened):
                then, whose = divmod(other, len(places))
                mixed = self.covariance(places[own], places[whose], (time, then))
                row[j] = (mixed - row[:j] @ factor[other][:j]) / factor[other][j]
            left = variance * (1 + JITTER) - row @ row
            if left > 10 * JITTER * variance:
                row[len(opened)] = math.sqrt(left)
                opened.append(len(factor))
            factor.append(row)
        return factor[k] @ normals


def _names_in(group):
    """The sources of a group, from its name."""
    return re.split(r"_(?=u\d*_)", group)


class _Rows:
    """Rows that are computed when they are asked for."""

    def __init__(self, row):
        self.row = row

    def __getitem__(self, place):
        return self.row(place)


def _with_time(field, place, time):
    spatial = iter(place)
    return tuple(time if i.is_time else next(spatial) for i in field.indices)


def _parts_of_noise(one, other, term):
    """The kind of a noise term, the functions of fields at either end, and the rest: its covariance."""
    times = [r.times[0] for r in (one, other)]
    amplitudes, inner = [Add(1), Add(1)], Add(1)
    for factor in term.factors:
        at = {t for e in factor.atoms(Entry) if e.tensor.site for t in e.times}
        if at:
            amplitudes[times.index(at.pop())] *= factor
        else:
            inner *= factor
    kind = "white" if times[0] == times[1] else "evolving" if any(inner.has(t) for t in times) else "static"
    return kind, amplitudes, Term(inner, term.bound, term.constraints)


def own_paths(model, values, steps, paths, seed=0, dt=1.0):
    """An evaluator on paths drawn for it alone: no generated module is needed. `paths`: as many a site."""
    action = read_action(average_disorder(model).model)
    found = Evaluator(model, values, {}, {}, {s.name: np.full(paths, 1 / paths) for s in action.sites}, steps, dt)
    rng = np.random.default_rng(seed)
    for site in action.sites:
        for start in site.starts:
            sizes = [found.sizes[i.axis.name] for i in start.field.indices if not i.is_time]
            found.normals[f"{start.field.name}_start"] = rng.standard_normal((math.prod(sizes), paths))
        for name, kind, size in found.noises[site.name].groups():
            shape = {"static": (size,), "white": (steps, size), "evolving": (steps * size,)}[kind]
            found.normals[name] = rng.standard_normal((*shape, paths))
    return found


def agreement(model, module, steps, prepared):
    """The largest difference between a generated module and the evaluator, relative to the scale of each output.

    `prepared`: (values, factors, normals, weights) of `fluctuating_models.prepared`. Returns (error, results of both).
    """
    values, factors, normals, weights = prepared
    found, status, _ = module.sweep(values, factors, normals, weights, steps, module.TIME_STEP, None)
    assert status == "ok", status
    by_hand = Evaluator(model, values, factors, normals, weights, steps, module.TIME_STEP)
    expected = {name: by_hand.array(name) for name in module.OUTPUTS}
    worst = 0.0
    for name, array in expected.items():
        scale = max(1.0, np.abs(array).max(initial=0.0))
        worst = max(worst, float(np.abs(found[name] - array).max(initial=0.0)) / scale)
    return worst, found, expected
