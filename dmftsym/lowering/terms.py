"""Small questions about terms that the lowering asks: which site, which indices, which name."""

from dataclasses import replace

from sympy import Add, Expr, Mul, expand_mul

from dmftsym.language.activations import ActivationValue
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Term, avoid, entries_of, rename


def exchange(term: Term, mapping: dict) -> Term:
    """Rename the time indices of a term that stand for the times of its target."""
    if not mapping or all(k == v for k, v in mapping.items()):
        return term
    return rename(avoid(term, [*mapping, *mapping.values()]), mapping)


def on_site(factor: Expr, site: str) -> bool:
    """Whether a factor holds fields of a site."""
    return any(e.tensor.site == site for e in entries_of(factor))


def mixes_times(factor: Expr) -> bool:
    """Whether a factor with fields of a site holds quantities of several times, so that it is no function of one."""
    times = {i for e in entries_of(factor) for t in e.times for i in t.atoms(Index)}
    return len(times) > 1 and any(e.tensor.site for e in entries_of(factor))


def times_apart(term: Term) -> tuple[Term, ...]:
    """The term with brackets multiplied out in which a field at one time stands with a quantity of another time.

    A sum over earlier times s of (a φ(h(s)) + b(t, s)) x(s) is one of products of functions of s and coefficients.
    """
    if not any(factor.is_Add and mixes_times(factor) for factor in term.factors):
        return (term,)
    return tuple(replace(term, body=body) for body in Add.make_args(expand_mul(term.body)))


def indices_in_order(expr: Expr) -> list[Index]:
    """Indices in the order in which the printed expression shows them."""
    text = str(expr)
    return sorted(expr.atoms(Index), key=lambda i: (i.is_time, text.find(i.name), i.name))


def readable(expr: Expr) -> str | None:
    """A name that says what an expression is: phi_h, dphi_h_z."""
    if isinstance(expr, Entry):
        return expr.tensor.name
    if isinstance(expr, ActivationValue):
        inner = readable(expr.argument)
        return f"{'d' * expr.order}{expr.activation.name}_{inner}" if inner else None
    if isinstance(expr, Mul):
        parts = [part for part in map(readable, expr.args) if part]
        return "_".join(parts) if len(parts) == len(expr.args) < 4 else None
    if expr.is_Pow and expr.exp.is_Integer and expr.exp > 0:
        inner = readable(expr.base)
        return f"{inner}_power_{expr.exp}" if inner else None
    if expr.is_Function and len(expr.args) == 1:
        inner = readable(expr.args[0])
        return f"{type(expr).__name__}_{inner}" if inner else None
    return None
