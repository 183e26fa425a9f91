"""The order parameters of an average over matrices: averages of two functions of the units of a site.

Where the user observes the same average, at one site and with the plain pair -ν q̂ q, that order parameter is taken;
otherwise one is declared, named after the matrix: C for functions that it acts on, G for those its transpose acts on, A
and B for the responses that the two have to each other, R for a response of its own, m for a mean.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from sympy import Expr, Mul

from dmftsym.averaging.matching import Rank, declared_order, matched
from dmftsym.language.model import Model
from dmftsym.language.site import Site
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Term, contract, entries_of, flatten, indices_of


@dataclass(frozen=True)
class Average:
    """An order parameter q[indices] = <body> over the units of a site; `term` is what the user wrote for it, if any."""

    tensor: Tensor
    site: str
    body: Expr
    term: Expr | None = None

    @property
    def responds(self) -> bool:
        """Whether it is a response function."""
        return bool(entries_of(self.body, Kind.RESPONSE_FIELD))

    def at(self, body: Expr, rank: Rank) -> Entry | None:
        """Its entry that is the average of `body`, if one is; `rank` sorts indices that may stand either way."""
        mapping = matched(self.body, body, self.tensor.indices, rank)
        return None if mapping is None else self.tensor[tuple(mapping[i] for i in self.tensor.indices)]


@dataclass
class Averages:
    """The order parameters known so far; `of` gives the entry that is an average, declaring an order parameter.

    `sizes` are the relative sizes of the sites.
    """

    model: Model
    sizes: Mapping[str, Expr]
    known: list[Average] = field(default_factory=list)
    added: list[Average] = field(default_factory=list)
    paired: set[Tensor] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rank = declared_order(self.model)
        self.known += _observed(self.model, self.sizes)

    def of(self, body: Expr, site: Site, stem: str, matrix: str) -> Entry:
        """The entry that is the average of `body` over the units of `site`; `stem` begins the name of a new one.

        Response functions belong to one matrix: their conjugates are those of this matrix.
        """
        for average in self.known:
            mine = not average.responds or average.tensor not in self.paired or average.tensor in self._of(matrix)
            if average.site == site.name and mine and (found := average.at(body, self.rank)) is not None:
                return found
        average = self._declared(body, site, stem, matrix)
        self.known.append(average)
        self.added.append(average)
        found = average.at(body, self.rank)
        assert found is not None, f"{body} is not itself"
        return found

    def partner(self, response: Entry, matrix: str) -> Entry:
        """An order parameter that is the conjugate of a response function, its two ends exchanged."""
        first, *rest = self._ends(response.tensor)
        indices = (*[i for end in rest for i in end], *first)
        name = self._name("B", matrix)
        q = self.model.order_parameter(name, *indices, on_request=True, latex=_latex("B", matrix))
        given = dict(zip(response.tensor.indices, response.indices, strict=True))
        return q[tuple(given[i] for i in indices)]

    @staticmethod
    def _ends(tensor: Tensor) -> list[tuple[Index, ...]]:
        """The indices of each end of a two-time quantity, which its time closes."""
        ends: list[list[Index]] = [[]]
        for index in tensor.indices:
            ends[-1].append(index)
            if index.is_time:
                ends.append([])
        last = ends.pop()
        ends[-1] += last
        return [tuple(end) for end in ends]

    def _name(self, stem: str, matrix: str) -> str:
        taken = {*self.model.tensors, *(n for s in self.model.sites.values() for n in s.tensors)}
        names = (f"{stem}_{matrix}{'' if k == 1 else f'_{k}'}" for k in count(1))
        return next(n for n in names if n not in taken)

    def claim(self, tensor: Tensor, matrix: str) -> None:
        """Note that the conjugate of a response function is another one, of the same matrix."""
        self.paired.add(tensor)
        self._owners.setdefault(matrix, set()).add(tensor)

    _owners: dict[str, set[Tensor]] = field(default_factory=dict)

    def _of(self, matrix: str) -> set[Tensor]:
        return self._owners.get(matrix, set())

    def _declared(self, body: Expr, site: Site, stem: str, matrix: str) -> Average:
        name, indices = self._name(stem, matrix), _in_order(body, self.rank)
        q = self.model.order_parameter(name, *indices, on_request=True, latex=_latex(stem, matrix))
        return Average(q, site.name, body)


def _latex(stem: str, matrix: str) -> str:
    return f"{stem}^{{{matrix}}}" if "_" not in matrix else ""


def _in_order(body: Expr, rank: Rank) -> list[Index]:
    """The indices of a product of functions at several times: those of the first time and the time, and so on."""
    ends: dict[Index, list[Index]] = {}
    for factor in Mul.make_args(body):
        times = [i for i in indices_of(factor) if i.is_time]
        if times:
            ends.setdefault(min(times, key=rank), []).extend(i for i in indices_of(factor) if not i.is_time)
    result: list[Index] = []
    for time in sorted(ends, key=rank):
        result += [i for i in sorted(set(ends[time]), key=rank) if i not in result] + [time]
    return result + [i for i in sorted(indices_of(body), key=rank) if i not in result]


def _observed(model: Model, sizes: Mapping[str, Expr]) -> Iterator[Average]:
    """The averages that one site observes with one term ν q.hat[i...]·(O - q), over all values of the indices of q."""
    found: dict[Tensor, list[tuple[Site, Term]]] = {}
    for site in model.sites.values():
        for expression in site.terms:
            for term in contract(flatten(expression), (), f"the action of site {site.name}"):
                for hat in _hats(term):
                    found.setdefault(hat.tensor, []).append((site, term))
    pairs = [term for term in contract(flatten(model.action), (), "the action") if _hats(term)]
    for tensor, terms in found.items():
        (site, term), *others = terms
        (hat, *more), q = _hats(term), model.tensors[tensor.name]
        whole = not term.constraints and len(set(hat.indices)) == len(hat.indices) == len(term.bound)
        if others or more or not whole or set(term.bound) != set(hat.indices):
            continue
        own = [pair for pair in pairs if any(h.tensor == tensor for h in _hats(pair))]
        if len(own) == 1 and _is_pair(own[0], q, sizes[site.name]):
            plain = (term.body / hat).xreplace(dict(zip(hat.indices, q.indices, strict=True)))
            yield Average(q, site.name, plain, term.body)


def _hats(term: Term) -> list[Entry]:
    return entries_of(term.body, Kind.CONJUGATE)


def _is_pair(term: Term, q: Tensor, size: Expr) -> bool:
    """Whether a term of the action is -ν q.hat[i...] q[i...]."""
    (hat, *_) = _hats(term)
    whole = not term.constraints and len(set(hat.indices)) == len(hat.indices)
    return whole and term.body == -size * hat * q[hat.indices]
