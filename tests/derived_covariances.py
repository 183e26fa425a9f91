"""N·Cov of order parameters from the *derived* Hessian, its terms evaluated on sample paths: Σ = −H^{-1}, dense.

Everything stands in the blocks of `ds.derive(model).hessian`: own and explicit terms, vertices, weights of sites. They
are evaluated by `evaluator.py` on the paths of a run of generated code, and must agree with its covariances up to
rounding. A finite sample of paths is itself a system, and there

* averages without response fields are averages over its paths;
* ⟨Ψ x̃(s)⟩ = ⟨δΨ/δu(s)⟩ is exact: a derivative along every path, taken by a complex step;
* ⟨Ψ x̃(t) x̃(s)⟩ c, with c a part of a covariance, equals the second derivative (Price) only for infinitely many
  paths. What the sample does when its covariance changes by dC (c at (t,s) and at (s,t)) is u → u + dL n, with dL the
  change of the factor; so that is what such a term is taken to mean: ⟨δΨ/δu · dL n⟩.

Discrete time, or continuous time without integrals of order parameters over the past (their derivative is a density).
"""

from itertools import product

import numpy as np
from evaluator import BUMP, JITTER
from sympy import Add, Integer

from dmftsym.derivation.hessian import primed
from dmftsym.language.symbols import Entry
from dmftsym.language.terms import Term, entries_of


class DerivedCovariances:
    """Σ = −H^{-1} over all conjugates and order parameters of a derivation, on the paths of an evaluator."""

    def __init__(self, derivation, evaluator):
        self.derivation, self.paths = derivation, evaluator
        action = self.derivation.action
        self.variables = [q.hat for q in action.order_parameters] + list(action.order_parameters)
        self.starts, self.size = {}, 0
        for v in self.variables:
            self.starts[v.kind, v.name] = self.size
            self.size += len(self._places(v))

    def _places(self, tensor):
        return list(np.ndindex(*[self.paths.sizes[i.axis.name] for i in tensor.indices]))

    def hessian(self):
        """H as a matrix."""
        matrix = np.zeros((self.size, self.size))
        for block in self.derivation.hessian.blocks:
            row, column = block.row.tensor, block.column.tensor
            first, second = self.starts[row.kind, row.name], self.starts[column.kind, column.name]
            values = self.block(block)
            rows, columns = slice(first, first + len(values)), slice(second, second + values.shape[1])
            matrix[rows, columns], matrix[columns, rows] = values, values.T
        return matrix

    def block(self, block):
        """One block of H, rows and columns in the order of the entries."""
        row, column = block.row.tensor, block.column.tensor
        ends = self._places(row), self._places(column)
        result = np.zeros((len(ends[0]), len(ends[1])))
        if block.vanishes:
            return result
        for (i, a), (j, b) in product(enumerate(ends[0]), enumerate(ends[1])):
            at = dict(zip(row.indices, a, strict=True)) | dict(zip(primed(column), b, strict=True))
            result[i, j] = self._entry(block, at)
        return result

    def _entry(self, block, at):
        value = self.paths.value(block.own, at, ())
        value += sum(self.paths.total(t, _free(at, t), ()) for t in block.explicit)
        for site in block.sites:
            total = sum(self.average(t, at, site.site) for t in site.joint)
            total -= sum(self.average(a, at, site.site) * self.average(b, at, site.site) for a, b in site.apart)
            value += self.paths.value(site.weight, at, ()) * total
        return float(value)

    def cost(self):
        """How many products are evaluated: entries of blocks times the values of the indices that their terms sum."""
        total = 0
        for block in self.derivation.hessian.blocks:
            terms = [*block.explicit, *(t for s in block.sites for t in (*s.joint, *(t for a in s.apart for t in a)))]
            sums = sum(np.prod([self.paths.sizes[i.axis.name] for i in t.bound], dtype=int) for t in terms)
            total += len(self._places(block.row.tensor)) * len(self._places(block.column.tensor)) * sums
        return int(total)

    def covariances(self, names):
        """cov_a_b for all pairs of names, as the generated code calls them."""
        sigma, result = -np.linalg.inv(self.hessian()), {}
        tensors = {q.name: q for q in self.derivation.action.order_parameters}
        for k, a in enumerate(names):
            for b in names[k:]:
                rows, columns = (
                    slice(start, start + len(self._places(tensors[n])))
                    for n, start in ((n, self.starts["order parameter", n]) for n in (a, b))
                )
                shape = [self.paths.sizes[i.axis.name] for n in (a, b) for i in tensors[n].indices]
                result[f"cov_{a}_{b}"] = sigma[rows, columns].reshape(shape)
        return result

    # --- averages with response fields --------------------------------------------------------------------------------

    def average(self, term, at, site):
        """⟨term⟩ over a site, its response fields as what they do to the sample."""
        if any(entries_of(f, "response field") and not isinstance(f, Entry) for f in term.factors):
            parts = Add.make_args(term.body.expand())
            return sum(self.average(Term(p, term.bound, term.constraints), at, site) for p in parts)
        responses = [f for f in term.factors if isinstance(f, Entry) and f.tensor.kind == "response field"]
        body = term.body
        for response in responses:
            body = body / response
        if responses and not [e for e in entries_of(body) if e.tensor.site]:
            return 0.0
        weights, total, at = self.paths.weights[site], 0.0, _free(at, term)
        if not responses:
            return float(np.sum(weights * self.paths.total(term, at, ())))
        for inner in self.paths.ranges(term.bound, at):
            ends = [(r.tensor, tuple(self.paths.index(i, inner) for i in r.indices)) for r in responses]
            bump = self._bump(site, ends)
            value = self.paths.total(Term(body, (), term.constraints), inner, (bump,)) if bump else 0.0
            total += float(np.sum(weights * np.imag(value))) / BUMP
        return total

    def _bump(self, site, ends):
        if any(place[tensor.time_slots[0]] >= self.paths.steps for tensor, place in ends):
            return None
        if len(ends) == 1:
            (tensor, place) = ends[0]
            return self.paths.bump(tensor.name, place, 1.0)
        assert len(ends) == 2, "more than two response fields"
        key = ("covariance", site, *((tensor.name, place) for tensor, place in ends))
        if key not in self.paths.bumps:
            moved = self._moved_sources(self.paths.noises[site], ends)
            self.paths.bumps[key] = min(place[t.time_slots[0]] for t, place in ends), moved
        return key

    def _moved_sources(self, noise, ends):
        """{(field, place): dL n} for a covariance that grows by one at the two ends."""
        keys = [next(k for k in noise.sources if k[0].name == tensor.name and k[1] != "static") for tensor, _ in ends]
        assert all(k[2] == Integer(1) for k in keys), "noise with an amplitude"
        if any(noise.is_unread(key) for key in keys):
            return {}
        group, members = noise.group_of(keys[0])
        places = [(k, p) for k in members for p in noise._places(k)]
        rows = []
        for key, (tensor, place) in zip(keys, ends, strict=True):
            slot = tensor.time_slots[0]
            spatial = tuple(p for k, p in enumerate(place) if k != slot)
            rows.append((places.index((key, spatial)), place[slot]))
        kind = keys[0][1]
        values = (_white if kind == "white" else _evolving)(noise, group, places, rows)
        result = {}
        for (time, k), value in values.items():
            (field, *_), spatial = places[k]
            spatial = iter(spatial)
            result[field.name, tuple(time if i.is_time else next(spatial) for i in field.indices)] = value
        return result


def _free(at, term):
    """The values of the free indices of a term, whose bound ones may have the name of an index of the other end."""
    return {index: value for index, value in at.items() if index not in term.bound}


def _unit(size, one, other):
    change = np.zeros((size, size))
    change[one, other] += 1.0
    change[other, one] += 1.0
    return change


def _white(noise, group, places, rows):
    """dF n at one time for F F^T = C/dt: dF = dC F^{-T}/2."""
    (one, time), (other, also) = rows
    assert time == also
    dt = noise.evaluator.dt
    matrix = np.array([[noise.covariance(a, b, (time, time)) for b in places] for a in places]) / dt
    values, vectors = np.linalg.eigh(matrix)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    moved = _unit(len(places), one, other) / dt @ np.linalg.pinv(root, 1e-6).T / 2
    return {(time, k): value for k, value in enumerate(moved @ noise.evaluator.normals[group][time])}


def _evolving(noise, group, places, rows):
    """dL n at all times, L the Cholesky factor with its jitter and its dependent rows."""
    steps, n = noise.evaluator.steps, len(places)
    noise._row(group, places, steps * n - 1)
    factor, opened = noise.factors[group]
    one, other = (time * n + k for k, time in rows)
    change, moved = _unit(steps * n, one, other), np.zeros((steps * n, len(opened)))
    for k in range(steps * n):
        for j, row in enumerate(opened):
            if row > k:
                break
            if row == k:
                left = change[k, k] * (1 + JITTER) - 2 * factor[k][:j] @ moved[k, :j]
                moved[k, j] = left / (2 * factor[k][j])
                break
            total = change[k, row] - factor[k][:j] @ moved[row, :j] - moved[k, :j] @ factor[row][:j]
            moved[k, j] = (total - factor[k][j] * moved[row, j]) / factor[row][j]
    values = moved @ noise.evaluator.normals[group][: len(opened)]
    return {divmod(k, n): value for k, value in enumerate(values) if np.any(moved[k])}
