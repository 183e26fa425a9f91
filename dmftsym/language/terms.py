"""Sums of products with named bound indices: the normal form in which actions are read and differentiated.

`flatten` turns a user's expression with nested sums into a tuple of `Term`; `as_expression` turns terms back into an
expression that prints like the paper.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, count, product

from sympy import Add, Expr, Heaviside, Integer, KroneckerDelta, Mul, Pow, Tuple, powsimp

from dmftsym.errors import LanguageError
from dmftsym.language.activations import ActivationValue
from dmftsym.language.matrices import LargestEigenvalue, LeadingProjector
from dmftsym.language.sums import UNRESOLVED, FutureSum, IndexSum, LogZ, PastSum
from dmftsym.language.symbols import Entry, Index, Kind, TimeDerivative

_EXPANDED_KINDS = (Kind.CONJUGATE, Kind.RESPONSE_FIELD, Kind.FIELD)


@dataclass(frozen=True)
class Before:
    """The constraint `time` < `upper` (or ≤ if `inclusive`) that a sum over the past puts on its bound time."""

    time: Index
    upper: Expr
    inclusive: bool = False

    def __str__(self):
        return f"{self.time} {'<=' if self.inclusive else '<'} {self.upper}"


@dataclass(frozen=True)
class Term:
    """Σ over `bound` indices, under the `constraints`, of the product `body` (which holds no sum over time)."""

    body: Expr
    bound: tuple[Index, ...] = ()
    constraints: tuple[Before, ...] = ()

    @property
    def factors(self) -> tuple[Expr, ...]:
        """The factors of the body, whole powers written out."""
        result = []
        for factor in Mul.make_args(self.body):
            base, power = factor.as_base_exp()
            whole = power.is_Integer and 1 < power <= 8
            result += [base] * int(power) if whole else [factor]
        return tuple(result)

    def times(self, factor: Expr) -> "Term":
        """The same sum with one more factor."""
        return replace(self, body=self.body * factor)

    def __str__(self):
        return str(as_expression((self,)))


def indices_of(expr: Expr) -> list[Index]:
    """All index symbols in an expression, without repetition, sorted by name."""
    return sorted(expr.atoms(Index), key=lambda i: i.name)


def outermost(expr: Expr, *kinds: type[Expr]) -> list[Expr]:
    """The parts of an expression of the given kinds that stand in no other such part, in a fixed order."""
    found = expr.atoms(*kinds)
    return sorted((n for n in found if not any(other != n and other.has(n) for other in found)), key=str)


def gather_powers(expr: Expr) -> Expr:
    """Powers of one base with symbolic exponents as one: C**(p - 1)/C is C**(p - 2), also where C = 0."""
    symbolic = any(power.exp.free_symbols for power in expr.atoms(Pow))
    return powsimp(expr, combine="exp") if symbolic else expr


def entries_of(expr: Expr, *kinds: Kind) -> list[Entry]:
    """All entries (of the given kinds) in an expression, in a fixed order."""
    found = (e for e in expr.atoms(Entry) if not kinds or e.tensor.kind in kinds)
    return sorted(found, key=str)


def rename(term: Term, mapping: Mapping[Index, Expr]) -> Term:
    """Substitute indices simultaneously, in the body, the bound indices and the constraints."""
    if not mapping:
        return term
    targets = {i for value in mapping.values() for i in value.atoms(Index)}
    body = keep_inner_sums_apart(term.body, targets | set(mapping))
    sub: Callable = lambda e: e.xreplace(dict(mapping))
    return Term(
        sub(body),
        tuple(mapping.get(i, i) for i in term.bound),
        tuple(Before(mapping.get(c.time, c.time), sub(c.upper), c.inclusive) for c in term.constraints),
    )


def keep_inner_sums_apart(body: Expr, taken: set[Index]) -> Expr:
    """Give new names to the indices that sums inside functions bind, where they collide with `taken`."""
    for node in sorted(body.atoms(IndexSum, LargestEigenvalue, LeadingProjector), key=str):
        clashes = [i for i in node.bound if i in taken]
        if clashes:
            fresh = fresh_indices(clashes, [*taken, *indices_of(body)])
            body = body.xreplace({node: node.xreplace(fresh)})
    return body


def fresh_index(index: Index, taken, declared: Iterable[Index] = ()) -> Index:
    """An index of the same axis whose name is not taken: s, then those of `declared`, then s1, s2, ..."""
    names = {i.name for i in taken}
    others = (i for i in declared if i.axis == index.axis)
    candidates = chain((index,), others, (index.numbered(k) for k in count(1)))
    return next(i for i in candidates if i.name not in names)


def fresh_indices(indices: Iterable[Index], taken, declared: Iterable[Index] = ()) -> dict[Index, Index]:
    """For each of some indices one whose name is not taken, nor given to another one of them; see `fresh_index`."""
    used, found = list(taken), {}
    for index in indices:
        found[index] = fresh_index(index, used, declared)
        used.append(found[index])
    return found


def avoid(term: Term, taken) -> Term:
    """Rename the bound indices of a term that collide with `taken`."""
    clashes = [i for i in term.bound if i in taken]
    return rename(term, fresh_indices(clashes, [*taken, *all_indices(term)]))


def all_indices(term: Term) -> list[Index]:
    """Every index of a term: in its body, bound, and in its constraints."""
    limits = [i for c in term.constraints for i in (c.time, *indices_of(c.upper))]
    return list(dict.fromkeys([*indices_of(term.body), *term.bound, *limits]))


def multiply(terms: tuple[Term, ...]) -> Term:
    """The product of sums as one sum, bound indices kept apart."""
    result = Term(Integer(1))
    for term in terms:
        free = [i for i in indices_of(result.body) if i not in result.bound]
        term = avoid(term, [*result.bound, *free])
        result = avoid(result, [i for i in indices_of(term.body) if i not in term.bound])
        result = Term(result.body * term.body, result.bound + term.bound, result.constraints + term.constraints)
    return result


def flatten(expr: Expr, upper: Expr | None = None) -> tuple[Term, ...]:
    """Expand an expression into terms; sums over the past get their upper time.

    The upper time of a sum over the past is its own `before`, else the time of the response field or conjugate that
    multiplies it, else the time of the enclosing sum, else `upper`. Raises `LanguageError` if there is none, or if a
    summed index is used outside its sum.
    """
    terms = []
    for factors in expand(expr):
        sums = [f for f in factors if isinstance(f, PastSum | IndexSum)]
        plain = Mul(*[f for f in factors if not isinstance(f, PastSum | IndexSum)])
        _check_no_time_sum_inside(plain)
        outer = _time_of_responses(plain) or upper
        parts: list[tuple[Term, ...]] = [(Term(plain),)]
        for node in sums:
            clash = [i for i in node.bound if count_indices(plain)[i]]
            if clash:
                raise LanguageError(f"index {clash[0]} is summed in {node} and also used outside it, in {plain}*(...)")
            parts.append(_flatten_sum(node, outer))
        terms += [multiply(combination) for combination in product(*parts)]
    return tuple(t for t in terms if t.body != 0)


def _flatten_sum(node: PastSum | IndexSum, outer: Expr | None) -> tuple[Term, ...]:
    constraints: tuple[Before, ...] = ()
    inner = outer
    if isinstance(node, PastSum):
        upper = outer if node.upper == UNRESOLVED else node.upper
        if upper is None:
            raise LanguageError(f"{node}: before which time? Say past({node.bound[0]}, ..., before=t)")
        if upper == node.bound[0]:
            raise LanguageError(f"{node}: index {upper} is summed here and also is the time before which the sum runs")
        inner = node.bound[0]
        constraints = (Before(inner, upper, node.inclusive),)
    terms = []
    for term in flatten(node.body, inner):
        term = avoid(term, node.bound)
        terms.append(Term(term.body, node.bound + term.bound, constraints + term.constraints))
    return tuple(terms)


def expand(expr: Expr) -> list[list[Expr]]:
    """The products of an expression as lists of factors, brackets with fields, responses or sums multiplied out."""
    if isinstance(expr, Add) and _needs_expansion(expr):
        return [factors for a in expr.args for factors in expand(a)]
    if isinstance(expr, Mul):
        constrains = any(isinstance(a, Entry) and a.tensor.kind == Kind.CONJUGATE for a in expr.args)
        parts = [_expand_bracket(a) if constrains else expand(a) for a in expr.args]
        return [[f for part in combination for f in part] for combination in product(*parts)]
    if isinstance(expr, Pow) and expr.exp.is_Integer and 1 < expr.exp <= 8 and _needs_expansion(expr.base):
        if isinstance(expr.base, Add | PastSum | IndexSum | Mul):
            return [[f for part in parts for f in part] for parts in product(*[expand(expr.base)] * int(expr.exp))]
    return [[expr]]


def _expand_bracket(expr: Expr) -> list[list[Expr]]:
    """Expand a bracket that a conjugate multiplies: a constraint q.hat*(q - ...) is a sum of explicit terms."""
    if isinstance(expr, Add) and entries_of(expr, Kind.ORDER_PARAMETER):
        return [factors for a in expr.args for factors in expand(a)]
    return expand(expr)


def _needs_expansion(expr: Expr) -> bool:
    return expr.has(PastSum, IndexSum, TimeDerivative, LogZ) or bool(entries_of(expr, *_EXPANDED_KINDS))


def _check_no_time_sum_inside(plain: Expr) -> None:
    inside = sorted(plain.atoms(PastSum), key=str)
    if inside:
        raise LanguageError(
            f"{inside[0]} stands inside a function in {plain}: "
            "give the sum a name with site.define or a field of its own"
        )


def _time_of_responses(plain: Expr) -> Expr | None:
    for kind in (Kind.RESPONSE_FIELD, Kind.CONJUGATE):
        times = sorted({t for e in entries_of(plain, kind) for t in e.times}, key=str)
        if len(times) == 1:
            return times[0]
    return None


def count_indices(expr: Expr) -> Counter:
    """How often each index stands in a product; powers count as often as their exponent says, inner sums not at all."""
    counts: Counter = Counter()
    if isinstance(expr, Index):
        counts[expr] += 1
    elif isinstance(expr, PastSum | IndexSum | LargestEigenvalue):
        inner = count_indices(expr.body)
        counts.update({i: n for i, n in inner.items() if i not in expr.bound})
    elif isinstance(expr, Pow) and expr.exp.is_Integer and expr.exp > 0:
        counts.update({i: n * int(expr.exp) for i, n in count_indices(expr.base).items()})
    elif isinstance(expr, Add):
        for argument in expr.args:
            counts |= count_indices(argument)
    else:
        for argument in expr.args:
            counts.update(count_indices(argument))
    return counts


def contract(terms: tuple[Term, ...], free: tuple[Index, ...], where: str) -> tuple[Term, ...]:
    """Sum repeated indices that are not free (Einstein's convention).

    Raises `LanguageError` naming the term if an index other than time stands alone and is neither free nor summed.
    """
    result = []
    for term in terms:
        summed = [i for i in term.bound if i in free]
        if summed:
            raise LanguageError(f"{where}: index {summed[0]} is declared as its own and also summed, in {term}")
        counts = count_indices(term.body)
        loose = [i for i in sorted(counts, key=lambda i: i.name) if i not in free and i not in term.bound]
        lonely = [i for i in loose if counts[i] == 1 and not i.is_time]
        if lonely:
            raise LanguageError(
                f"{where}: index {lonely[0]} is not contracted in the term {term.body}; it stands there once. "
                f"Repeat it, or sum it explicitly with sum_over({lonely[0]})(...)"
            )
        result.append(replace(term, bound=term.bound + tuple(loose)))
    return tuple(result)


def as_expression(terms: tuple[Term, ...]) -> Expr:
    """Terms as an expression with explicit sums, for printing and for the derived equations."""
    grouped: dict[tuple, list[Expr]] = {}
    for term in terms:
        grouped.setdefault((term.bound, term.constraints), []).append(term.body)
    total = Integer(0)
    for (bound, constraints), bodies in grouped.items():
        total += _with_sums(Add(*bodies), bound, constraints)
    return total


def _with_sums(body: Expr, bound: tuple[Index, ...], constraints: tuple[Before, ...]) -> Expr:
    """Put the sums in front of a body; a time is summed inside the sums over the times that limit it."""
    left = [i for i in bound if i.is_time]
    spatial = [i for i in bound if not i.is_time]
    limits = list(constraints)
    while left:
        inner = [i for i in left if not any(c.time in left and c.time != i and c.upper.has(i) for c in limits)]
        time = inner[0] if inner else left[0]
        left.remove(time)
        past = [c for c in limits if c.time == time]
        future = [c for c in limits if c.upper.has(time) and c.time not in left and c.time != time]
        limits = [c for c in limits if c not in past and c not in future]
        together = (time, *spatial)
        if past:
            body *= Mul(*[_step(c) for c in (*past[1:], *future)])
            body = _sum_out(PastSum, body, together, past[0].upper, Integer(1 if past[0].inclusive else 0))
        elif future and future[0].upper == time:
            body *= Mul(*[_step(c) for c in future[1:]])
            body = _sum_out(FutureSum, body, together, future[0].time, Integer(1 if future[0].inclusive else 0))
        else:
            body = _sum_out(IndexSum, body * Mul(*[_step(c) for c in future]), together)
        spatial = []
    body *= Mul(*[_step(c) for c in limits])
    return _sum_out(IndexSum, body, tuple(spatial)) if spatial else body


def _step(constraint: Before) -> Expr:
    """A constraint as a factor: 1 where it holds, else 0."""
    return Heaviside(constraint.upper - constraint.time, Integer(1 if constraint.inclusive else 0))


def _sum_out(kind, body: Expr, bound: tuple[Index, ...], *limits) -> Expr:
    """Build a sum with the factors that it does not bind in front of it."""
    outside: list[Expr] = []
    inside: list[Expr] = []
    for factor in Mul.make_args(body):
        (inside if any(factor.has(i) for i in bound) else outside).append(factor)
    return Mul(*outside) * kind(Mul(*inside), Tuple(*bound), *limits)


def substitute_activations(expr: Expr) -> Expr:
    """Replace activation values by their formulas."""
    while expr.has(ActivationValue):
        expr = expr.replace(lambda e: isinstance(e, ActivationValue), lambda e: e.expanded())
    return expr


def collapse_deltas(term: Term) -> Term:
    """Carry out the sums over bound indices that a Kronecker delta fixes."""
    for delta in (f for f in term.factors if isinstance(f, KroneckerDelta)):
        for index, value in (delta.args, delta.args[::-1]):
            if index in term.bound:
                rest = replace(term, body=term.body / delta, bound=tuple(i for i in term.bound if i != index))
                return collapse_deltas(substitute(rest, index, value))
    return term


def substitute(term: Term, index: Index, value: Expr) -> Term:
    """Replace a free index by an expression, in the body and in the constraints."""
    sub = {index: value}
    constraints = tuple(Before(c.time.xreplace(sub), c.upper.xreplace(sub), c.inclusive) for c in term.constraints)
    body = keep_inner_sums_apart(term.body, {index} | value.atoms(Index))
    return Term(body.xreplace(sub), term.bound, constraints)
