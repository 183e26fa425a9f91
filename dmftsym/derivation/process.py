"""The effective process of a site, read off from its action: equations of motion, noise, observables."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from sympy import Add, Eq, Expr, Integer, KroneckerDelta, Mul, latex

from dmftsym.derivation.averages import source_name
from dmftsym.derivation.symmetry import ordered_ends, symmetric_tensors
from dmftsym.errors import DerivationError, LanguageError
from dmftsym.language.action import Action, Definition, SiteAction, Start
from dmftsym.language.display import Displayed
from dmftsym.language.symbols import Entry, Index, Kind, Tensor, TimeDerivative
from dmftsym.language.terms import Term, as_expression, avoid, entries_of, rename


class SourceKind(StrEnum):
    """How a Gaussian source depends on time."""

    STATIC = "static"  # one draw for all times
    WHITE = "white"  # independent at every time
    EVOLVING = "evolving"  # with a covariance over two times
    KICK = "kick"  # no source of the process, but unit impulses added to it


NOISE = {
    SourceKind.STATIC: "static noise, one draw for all times",
    SourceKind.WHITE: "white noise, independent at every time",
    SourceKind.EVOLVING: "evolving noise, correlated between times",
}


@dataclass(frozen=True)
class Source:
    """A Gaussian source u that enters the equation of `field`, times `amplitude` (a function of the fields at t)."""

    tensor: Tensor
    field: Tensor
    kind: SourceKind
    amplitude: Expr


@dataclass(frozen=True)
class Covariance:
    """⟨u_left u_right⟩ = Σ terms, for the entries `left` and `right` of two sources of the same kind."""

    left: Entry
    right: Entry
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class FieldEquation:
    """field = Σ terms + Σ amplitude·source; with `derivative`, the left side is the time derivative of the field."""

    field: Tensor
    derivative: bool
    terms: tuple[Term, ...]
    sources: tuple[Source, ...]

    def right_side(self) -> Expr:
        """Everything that drives the field, its noise included."""
        noise = [s.amplitude * s.tensor[s.tensor.indices] for s in self.sources]
        return as_expression(self.terms) + Add(*noise)

    def left_side(self) -> Expr:
        """The field, or its time derivative."""
        entry = self.field[self.field.indices]
        return TimeDerivative(entry) if self.derivative else entry


@dataclass(frozen=True)
class EffectiveProcess(Displayed):
    """The single-site process: x = drift + memory + noise, definitions, initial values and observables q̂·O."""

    title = "Effective process"

    site: str
    equations: tuple[FieldEquation, ...]
    covariances: tuple[Covariance, ...]
    definitions: tuple[Definition, ...]
    starts: tuple[Start, ...]
    observables: tuple[Term, ...]

    @property
    def sympy(self) -> tuple[Eq, ...]:
        """The equations of the fields as SymPy equalities, noise included."""
        return tuple(Eq(e.left_side(), e.right_side(), evaluate=False) for e in self.equations)

    def text(self) -> str:
        """One equation a line, in plain text, then what each noise is and the initial values."""
        observables = [f"{name} = {observable}" for name, observable in self._observables(str)]
        return "\n".join([*(line for _, line in self._equations()), *observables, *(line for _, line in self._rest())])

    def equation_lines(self) -> tuple[tuple[Tensor, str], ...]:
        """The lines of `text` but for observables, which stand in averages, each with the quantity that it is about."""
        return (*self._equations(), *self._rest())

    def _equations(self) -> list[tuple[Tensor, str]]:
        about = [*(e.field for e in self.equations), *(d.tensor for d in self.definitions)]
        about += [c.left.tensor for c in self.covariances]
        return [(q, f"{left} = {right}") for q, (left, right) in zip(about, self._lines(str), strict=True)]

    def _rest(self) -> list[tuple[Tensor, str]]:
        lines = [(source, f"{source}: {words}") for source, words in self._noise()]
        lines += [(s.field, f"{s.field}(0) ~ Normal(mean {s.mean}, variance {s.variance})") for s in self.starts]
        lines += [(field, f"{field}(0) = 0, no initial value is declared") for field in self._from_zero()]
        return lines + [(q, f"{q} = 0 before time 0") for q in self._before_start()]

    def latex_lines(self) -> list[str]:
        """One equation a line, as LaTeX."""
        lines = [f"{left} = {right}" for left, right in (*self._lines(latex), *self._observables(latex))]
        lines += [rf"{latex(name)}: \quad \text{{{words}}}" for name, words in self._noise()]
        for s in self.starts:
            moments = f"{latex(s.mean)}, {latex(s.variance)}"
            lines.append(rf"{latex(s.field)}(0) \sim \mathcal{{N}}\left({moments}\right)")
        undeclared = r"\quad \text{(no initial value is declared)}"
        lines += [f"{latex(field)}(0) = 0 {undeclared}" for field in self._from_zero()]
        return lines + [rf"{latex(q)} = 0 \quad \text{{before time 0}}" for q in self._before_start()]

    def _noise(self) -> list[tuple[Tensor, str]]:
        """What kind of noise each source is, in words."""
        return [(s.tensor, NOISE[s.kind]) for e in self.equations for s in e.sources if s.kind in NOISE]

    def _from_zero(self) -> list[Tensor]:
        """The fields with an equation of motion that start at 0 because nothing else is said."""
        given = {s.field for s in self.starts}
        return [e.field for e in self.equations if e.derivative and e.field not in given]

    def _before_start(self) -> list[Tensor]:
        """The quantities that are read at the previous time already at time 0, where they count as zero."""
        given = {s.field for s in self.starts}
        terms = [t for e in self.equations if e.derivative or e.field not in given for t in e.terms]
        terms += [t for d in self.definitions for t in d.terms] + list(self.observables)
        entries = [e for t in terms for e in entries_of(t.body) if e.tensor.kind != Kind.DATA]
        return list(dict.fromkeys(e.tensor for e in entries if any(isinstance(t, Add) for t in e.times)))

    def _lines(self, show) -> list[tuple[str, str]]:
        lines = [(show(e.left_side()), show(e.right_side())) for e in self.equations]
        lines += [(show(d.tensor[d.tensor.indices]), show(as_expression(d.terms))) for d in self.definitions]
        for c in self.covariances:
            pair = (f"<{c.left} {c.right}>", str(as_expression(c.terms)))
            if show is latex:
                brackets = rf"\left\langle {latex(c.left)} {latex(c.right)} \right\rangle"
                pair = (brackets, latex(as_expression(c.terms)))
            lines.append(pair)
        return lines

    def _observables(self, show) -> list[tuple[str, str]]:
        return [self._observable(term, show) for term in self.observables]

    def _observable(self, term: Term, show) -> tuple[str, str]:
        """What multiplies a conjugate: the observable whose average is the order parameter."""
        hat = entries_of(term.body, Kind.CONJUGATE)[0]
        rest = replace(term, body=term.body / hat, bound=tuple(i for i in term.bound if i not in hat.indices))
        name = f"O_{{{latex(hat)}}}" if show is latex else f"observable of {hat}"
        return name, show(as_expression((rest,)))


class Processes(Displayed, tuple):
    """The effective processes of all sites, in the order of their declaration."""

    title = "Effective processes"

    __slots__ = ()

    def text(self) -> str:
        """All processes in plain text."""
        return "\n\n".join(p.text() for p in self)

    def latex_lines(self) -> list[str]:
        """All processes as LaTeX."""
        return [line for p in self for line in p.latex_lines()]


def derive_processes(action: Action) -> Processes:
    """The effective process of every site (theory.md §1).

    Data that stand as a covariance are taken to be symmetric (the solver checks it).
    Raises `LanguageError` if a field has no equation or two, `DerivationError` if a term is of higher than second
    order in response fields or its noise is not symmetric in its two times.
    """
    symmetric = symmetric_tensors(action)
    return Processes(derive_process(site, symmetric) for site in action.sites)


def derive_process(site: SiteAction, symmetric: frozenset[Tensor]) -> EffectiveProcess:
    """Sort the terms of one site action by their response fields and read off the process."""
    by_degree: dict[int, list[Term]] = {0: [], 1: [], 2: []}
    for term in site.terms:
        responses = [f for f in term.factors if _is_response(f)]
        conjugates = entries_of(term.body, Kind.CONJUGATE)
        hidden = entries_of(Mul(*[f for f in term.factors if not _is_response(f)]), Kind.RESPONSE_FIELD)
        if hidden or (len(responses) > 2 and not conjugates):
            raise DerivationError(
                f"site {site.name}: the term {term.body} is not of first or second order in response fields"
            )
        if not conjugates and not responses:
            raise LanguageError(
                f"site {site.name}: the term {term.body} holds neither a response field nor a conjugate"
            )
        by_degree[0 if conjugates else len(responses)].append(term)
    sources, covariances = _read_noise(site, by_degree[2], symmetric)
    equations = tuple(_read_equation(site, field, by_degree[1], sources) for field in site.fields)
    return EffectiveProcess(
        site=site.name,
        equations=equations,
        covariances=covariances,
        definitions=site.definitions,
        starts=site.starts,
        observables=tuple(by_degree[0]),
    )


def _is_response(factor: Expr) -> bool:
    return isinstance(factor, Entry) and factor.tensor.kind == Kind.RESPONSE_FIELD


def _read_equation(site: SiteAction, field: Tensor, terms: list[Term], sources: tuple[Source, ...]) -> FieldEquation:
    own = field[field.indices]
    responses = [(t, next(f for f in t.factors if _is_response(f))) for t in terms]
    moved = [_move_to(t, response, field.indices) for t, response in responses if response.tensor == field.tilde]
    derivative = any(t.body.has(TimeDerivative) for t in moved)
    left, right = _take_left_side(TimeDerivative(own) if derivative else own, moved)
    here = f"site {site.name}: the term -{field.tilde[field.indices]}*{TimeDerivative(own) if derivative else own}"
    if left == 0:
        raise LanguageError(f"{here} is missing: field {field} has no equation")
    if left != 1:
        raise LanguageError(
            f"{here} must stand exactly once, found with factor {left}: two equations "
            f"for one field, or the field on both sides?"
        )
    if any(t.body.has(TimeDerivative) for t in right):
        raise LanguageError(f"{here} may be the only time derivative in the equation of {field}")
    return FieldEquation(field, derivative, tuple(right), tuple(s for s in sources if s.field == field))


def _take_left_side(own: Expr, terms: list[Term]) -> tuple[Expr, list[Term]]:
    """Take −x̃ x out of the terms; what remains is the right side of x = ..."""
    left, right = Integer(0), []
    for term in terms:
        coefficient = -term.body / own
        if not term.bound and coefficient.is_number:
            left += coefficient
        else:
            right.append(term)
    return left, right


def _move_to(term: Term, response: Entry, indices: tuple[Index, ...]) -> Term:
    """Divide out a response field and rename its (bound) indices to the declared ones of its field."""
    own = response.indices
    _check_plain_indices(response)
    term = replace(term, body=term.body / response, bound=tuple(i for i in term.bound if i not in own))
    foreign = [i for i in indices if i not in own]
    return rename(avoid(term, foreign), dict(zip(own, indices, strict=True)))


def _check_plain_indices(response: Entry) -> None:
    own = response.indices
    if any(not isinstance(i, Index) for i in own) or len(set(own)) != len(own):
        raise DerivationError(f"{response}: response fields carry distinct plain indices, found {list(own)}")


def _read_noise(
    site: SiteAction, terms: list[Term], symmetric: frozenset[Tensor]
) -> tuple[tuple[Source, ...], tuple[Covariance, ...]]:
    sources: dict[tuple, Source] = {}
    blocks: dict[tuple[Source, Source], list[Term]] = {}
    for term in terms:
        for one, other, kind, amplitudes, covariance in _noise_blocks(site, term, symmetric):
            pair = []
            for response, amplitude in zip((one, other), amplitudes, strict=True):
                key = (response.tensor.name, kind, amplitude)
                if key not in sources:
                    sources[key] = _make_source(site, response.tensor.name, kind, amplitude, sources.values())
                pair.append(sources[key])
            blocks.setdefault((pair[0], pair[1]), []).append(covariance)
    order = [f.name for f in site.fields]
    ranked = sorted(blocks, key=lambda pair: [order.index(source.field.name) for source in pair])
    covariances = tuple(Covariance(*_covariance_entries(*pair), tuple(blocks[pair])) for pair in ranked)
    ordered = sorted(sources.values(), key=lambda source: order.index(source.field.name))
    return tuple(ordered), covariances


def _make_source(site: SiteAction, field: str, kind: SourceKind, amplitude: Expr, existing: Iterable[Source]) -> Source:
    tensor = next(f for f in site.fields if f.name == field)
    rank = sum(s.field == tensor for s in existing)
    indices = tuple(i for i in tensor.indices if not i.is_time) if kind is SourceKind.STATIC else tensor.indices
    latex_name = f"u_{{{rank + 1}}}^{{{tensor.latex_name}}}" if rank else f"u^{{{tensor.latex_name}}}"
    source = Tensor(source_name(field, rank), Kind.SOURCE, indices, site.name, latex_name)
    return Source(source, tensor, kind, amplitude)


def _noise_blocks(site: SiteAction, term: Term, symmetric: frozenset[Tensor]):
    """The covariance that one term ½ x̃ C x̃ (or x̃ C ỹ) contributes, symmetrised for a single source."""
    one, other = (f for f in term.factors if _is_response(f))
    body = term.body / (one * other)
    if term.constraints:
        raise DerivationError(f"site {site.name}: the noise term {term.body} cannot stand under a sum over the past")
    for response in (one, other):
        _check_plain_indices(response)
    times = [r.times[0] for r in (one, other)]
    kind = _kind(body, times)
    inner, amplitudes = Integer(1), [Integer(1), Integer(1)]
    for factor in Term(body).factors:
        local = [e for e in factor.atoms(Entry) if e.tensor.site]
        if not local:
            inner *= factor
            continue
        at = {t for e in local for t in e.times}
        if len(at) != 1 or not at <= set(times):
            raise DerivationError(
                f"site {site.name}: the noise amplitude {factor} must stand at one of the times {times}"
            )
        end = times.index(at.pop())
        foreign = [i for e in local for i in e.atoms(Index) if i not in (one, other)[end].indices]
        if foreign:
            raise DerivationError(
                f"site {site.name}: the noise amplitude {factor} sums over {foreign[0]}; name the sum with site.define"
            )
        amplitudes[end] *= factor
    if kind is SourceKind.WHITE and amplitudes[0] != 1:
        raise DerivationError(f"site {site.name}: white noise with the amplitude {amplitudes[0]} needs a convention")
    if kind is SourceKind.EVOLVING and not any(inner.has(t) for t in times):
        kind = SourceKind.STATIC
    ends = ((one, amplitudes[0]), (other, amplitudes[1]))
    yield from _oriented(site, Term(inner, term.bound), kind, ends, symmetric)


def _kind(body: Expr, times: list[Expr]) -> SourceKind:
    """How noise with a covariance between two times depends on them."""
    if times[0] == times[1]:
        return SourceKind.WHITE
    return SourceKind.EVOLVING if any(body.has(t) for t in times) else SourceKind.STATIC


def _oriented(site: SiteAction, term: Term, kind: SourceKind, pair, symmetric):
    """One block for two different sources, in a fixed order; for one source both orientations, unless symmetric.

    `term` is their covariance; `pair` holds a response field and the amplitude of its source for each.
    """
    order = [f.name for f in site.fields]
    ends = []
    for response, amplitude in pair:
        declared = dict(zip(response.indices, _field_indices(site, response.tensor.name), strict=True))
        ends.append(
            (order.index(response.tensor.name), str(amplitude.xreplace(declared)), response, amplitude, declared)
        )
    ends.sort(key=lambda end: end[:2])
    same = ends[0][:2] == ends[1][:2]
    if same and _is_symmetric(term.body, tuple(response for response, _ in pair), symmetric):
        same, term = False, term.times(2)
    for (_, _, left, a, own), (_, _, right, b, declared) in (ends, ends[::-1]) if same else (ends,):
        targets = _field_indices(site, left.tensor.name), _second_indices(site, right.tensor.name, kind)
        bound = tuple(i for i in term.bound if i not in left.indices and i not in right.indices)
        moved = avoid(Term(term.body, bound), [*targets[0], *targets[1]])
        mapping = dict(zip(right.indices, targets[1], strict=True)) | dict(zip(left.indices, targets[0], strict=True))
        moved = rename(moved.times(_independent_components(left, right, targets)), mapping)
        moved = replace(moved, body=ordered_ends(moved.body, symmetric))
        yield left, right, kind, (a.xreplace(own), b.xreplace(declared)), moved


def _is_symmetric(inner: Expr, pair: tuple[Entry, Entry], symmetric: frozenset[Tensor]) -> bool:
    """Whether exchanging the two ends of a covariance leaves it unchanged, given the symmetric tensors."""
    one, other = (r.indices for r in pair)
    exchange = dict(zip(one, other, strict=True)) | dict(zip(other, one, strict=True))
    return ordered_ends(inner, symmetric) == ordered_ends(inner.xreplace(exchange), symmetric)


def _independent_components(left: Entry, right: Entry, ends) -> Expr:
    """Kronecker deltas for the indices that both response fields share: components with independent noise."""
    pairs = zip(left.indices, ends[0], strict=True)
    where = {i: k for k, i in enumerate(right.indices)}
    return Mul(*[KroneckerDelta(i, ends[1][where[own]]) for own, i in pairs if own in where and not i.is_time])


def _field_indices(site: SiteAction, name: str) -> tuple[Index, ...]:
    return next(f for f in site.fields if f.name == name).indices


def _second_indices(site: SiteAction, name: str, kind: SourceKind) -> tuple[Index, ...]:
    """Indices of the right-hand entry of a covariance: primed, the time too unless the noise is white."""
    white = kind is SourceKind.WHITE
    return tuple(i if i.is_time and white else i.primed for i in _field_indices(site, name))


def _covariance_entries(left: Source, right: Source) -> tuple[Entry, Entry]:
    white = right.kind is SourceKind.WHITE
    primed = [i if i.is_time and white else i.primed for i in right.tensor.indices]
    return left.tensor[left.tensor.indices], right.tensor[tuple(primed)]
