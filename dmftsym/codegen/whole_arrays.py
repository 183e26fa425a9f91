"""Functions of one site array, which NumPy evaluates for a whole array many times faster than a kernel path by path.

`math.tanh` of the C library takes more than ten times as long as a value of `numpy.tanh` of a whole array. So a kernel
for the host takes the array tanh(h) from its caller, and where an update of the same step has made it, that one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sympy import Add, Expr, Function, Mul, Pow, Symbol

from dmftsym.codegen import tree
from dmftsym.codegen.tree import Array
from dmftsym.language.symbols import Entry, Index, Parameter, Tensor
from dmftsym.language.terms import entries_of, substitute_activations
from dmftsym.program.operations import Elementwise
from dmftsym.program.statements import Assign

# measured: sin, cos and erf of NumPy and SciPy are not faster
FAST = frozenset(("exp", "log", "tanh", "sinh", "cosh", "asin", "acos", "atan", "asinh", "acosh", "atanh"))


@dataclass(frozen=True)
class MadeFunction:
    """A function of a site array that an update of this step stored: target = function, over the same indices."""

    target: Entry
    function: Expr

    @property
    def tensors(self) -> set[Tensor]:
        """The array that holds it, and that of which it is a function."""
        return {self.target.tensor, *(e.tensor for e in entries_of(self.function))}

    def at(self, function: Expr) -> Entry | None:
        """The entry that holds a function, if it is this one at other indices."""
        (own,), (other,) = entries_of(self.function), entries_of(function)
        if own.tensor != other.tensor:
            return None
        exchanged = dict(zip(own.indices, other.indices, strict=True))
        if self.function.xreplace(exchanged) != function:
            return None
        return self.target.tensor[tuple(exchanged[i] for i in self.target.indices)]


def functions_in(expr: Expr) -> tuple[Expr, ...]:
    """The largest parts of an expression that are such functions, in order."""
    return tuple(dict.fromkeys(_found(expr)))


def _found(expr: Expr) -> Iterator[Expr]:
    if isinstance(expr, Function) and _is_fast(expr) and len(entries_of(expr)) == 1:
        yield expr
    elif not isinstance(expr, Entry):
        for part in sorted(expr.args, key=str):
            yield from _found(part)


def _is_fast(expr: Expr) -> bool:
    """Whether nothing but fast functions, arithmetic, numbers and one site array stand in an expression."""
    if isinstance(expr, Entry):
        return bool(expr.tensor.site)
    if expr.is_Number or isinstance(expr, Parameter):
        return True
    return (expr.func in (Add, Mul, Pow) or type(expr).__name__ in FAST) and all(map(_is_fast, expr.args))


def name_of(function: Expr, array: str) -> str:
    """The name of a function of an array: tanh_h for tanh(h)."""
    return f"{type(function).__name__}_{array}"


def evaluated(function: Expr, argument: Array) -> Array:
    """The function of a whole array, where `argument` stands for its entry."""
    (entry,) = entries_of(function)
    value = Symbol("value", real=True)
    return tree.Formula(argument.indices, function.xreplace({entry: value}), ((value, argument),))


def made_by(assign: Assign, now: Index) -> MadeFunction | None:
    """What an update stores, if it is nothing but such a function at this time, over the indices of its target."""
    function = substitute_activations(assign.expression)
    if assign.starts or functions_in(function) != (function,):
        return None
    (entry,) = entries_of(function)
    indices = entry.indices
    plain = all(isinstance(i, Index) for i in indices) and len(set(indices)) == len(indices)
    alike = plain and indices == assign.target.indices and entry.times == assign.target.times
    return MadeFunction(assign.target, function) if alike and all(t == now for t in entry.times) else None


def parts_of(loop: Elementwise, now: Index) -> list[Elementwise]:
    """A loop cut where a function of a whole array is stored, or read of an array that the loop has just written."""
    groups: list[list[Assign]] = []
    for assign in loop.updates:
        read = {e.tensor for f in functions_in(substitute_activations(assign.expression)) for e in entries_of(f)}
        alone = made_by(assign, now) is not None
        last = groups[-1] if groups and not alone else []
        if last and made_by(last[-1], now) is None and not read & {a.target.tensor for a in last}:
            last.append(assign)
        else:
            groups.append([assign])
    if len(groups) == 1 or loop.updates[0].starts:
        return [loop]
    stem = loop.name.split("_")[0]
    names = ["_".join([stem, *(a.target.tensor.name for a in group)]) for group in groups]
    return [
        replace(loop, name=name if len(group) < 4 else f"{loop.name}_{k + 1}", updates=tuple(group))
        for k, (name, group) in enumerate(zip(names, groups, strict=True))
    ]
