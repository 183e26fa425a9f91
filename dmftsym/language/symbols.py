"""Axes, indices and indexed symbols: the vocabulary in which actions are written.

An `Entry` such as ``h[mu, t]`` is a SymPy expression whose head is a `Tensor` (data, order parameter, conjugate,
field, response field, definition) and whose arguments are indices. Time is an axis like the others, but it alone
carries causality.
"""

from dataclasses import dataclass
from enum import StrEnum

from sympy import Add, Dummy, Expr, Integer, latex
from sympy.core.expr import AtomicExpr
from sympy.core.symbol import Symbol

from dmftsym.errors import LanguageError
from dmftsym.language.arithmetic import Symbolic


class Kind(StrEnum):
    """What an indexed symbol stands for."""

    DATA = "data"
    ORDER_PARAMETER = "order parameter"
    CONJUGATE = "conjugate"
    FIELD = "field"
    RESPONSE_FIELD = "response field"
    DEFINITION = "definition"  # a function of others with a name of its own, of the user or of the compiler
    OBSERVABLE = "observable"
    SOURCE = "source"


@dataclass(frozen=True)
class Axis:
    """One direction of the arrays of a model.

    `name` labels the dimension in results, `size` is the symbol of its length ("P", or a number), `is_time` marks
    the time axis, `continuous` says whether time derivatives and integrals (rather than steps and sums) live on it.
    `parts` lists the axes that are stacked to form this one (training points and test points, say).
    """

    name: str
    size: str
    is_time: bool = False
    continuous: bool = False
    parts: tuple["Axis", ...] = ()

    def key(self) -> str:
        """All that distinguishes this axis from others, as text."""
        parts = "+".join(p.key() for p in self.parts)
        return f"{self.name}:{self.size}:{self.is_time}:{self.continuous}:{parts}"

    def accepts(self, other: "Axis") -> bool:
        """Whether an index that runs over `other` may stand where this axis is declared.

        A time place also takes an index that runs over all times at once, or the time of the pass before.
        """
        return other == self or other in self.parts or (self.is_time and other in (KICKS, PASSES))


_DERIVATIVES = "the time derivative of a field is x.dot[t]"
KICKS = Axis("kick", "steps")  # all times at which a source is perturbed, for response functions
PASSES = Axis("pass", "steps", is_time=True)  # where a step has several passes: the time of the pass before


class _Named(Symbolic, AtomicExpr):
    """An atom that is equal to another exactly if everything about it agrees.

    SymPy caches results by equality across the whole process, so atoms of different models must differ if any of
    their attributes does.
    """

    __slots__ = ("latex_name", "name")
    is_real = True

    def _hashable_content(self):
        return (type(self).__name__, self.name, self.latex_name, *self._details())

    def _details(self) -> tuple[str, ...]:
        return ()

    def _sympystr(self, printer):
        return self.name

    def _latex(self, printer, exp=None):
        text = self.latex_name
        return text if exp is None else f"{text}^{{{exp}}}"


def _latex_of(name: str) -> str:
    stem = name.rstrip("'")
    text = latex(Symbol(stem))
    if len(text) > 1 and text.isalpha():
        text = rf"\mathrm{{{text}}}"
    return text + name[len(stem) :]


def stem_of(name: str) -> str:
    """The name of an index without the primes and numbers of those that are made of it."""
    return name.rstrip("0123456789'") or name


class Index(_Named):
    """An index symbol that runs over an axis; `t - 1` is the previous time."""

    __slots__ = ("axis",)
    _diff_wrt = True  # SymPy may build sums and derivatives over it, which are then refused in the user's words

    def __new__(cls, name: str, axis: Axis):
        obj = AtomicExpr.__new__(cls)
        obj.name, obj.axis, obj.latex_name = name, axis, _latex_of(name)
        return obj

    def __getnewargs__(self):
        return self.name, self.axis

    def _details(self):
        return (self.axis.key(),)

    def _eval_is_integer(self):
        return None if self.axis.continuous else True  # sin(pi*t) is 0 at steps, not at times

    def _eval_is_nonnegative(self):
        return True

    @property
    def size(self) -> "Size":
        """The length of the axis, as a symbol for formulas such as ``X[mu, d]*X[nu, d]/d.size``."""
        return Size(self.axis)

    @property
    def is_time(self) -> bool:
        """Whether the index is a time."""
        return self.axis.is_time

    @property
    def primed(self) -> "Index":
        """Another index of the axis: t' for t."""
        return Index(f"{self.name}'", self.axis)

    def numbered(self, count: int) -> "Index":
        """One more: t1, t2, ... for t and for those that were made of it."""
        return Index(f"{stem_of(self.name)}{count}", self.axis)


class Size(_Named):
    """The length of an axis."""

    __slots__ = ("axis",)
    is_positive = True
    is_integer = True

    def __new__(cls, axis: Axis):
        obj = AtomicExpr.__new__(cls)
        obj.name, obj.axis, obj.latex_name = axis.size, axis, _latex_of(axis.size)
        return obj

    def __getnewargs__(self):
        return (self.axis,)

    def _details(self):
        return (self.axis.key(),)


class Parameter(_Named):
    """A number that the user gives at run time.

    `default` is used when it is missing, `lower` bounds it from below (strictly if `strict`), `upper` from above,
    `only` is the single value that this model supports, with `reason` saying why.
    """

    __slots__ = ("default", "lower", "only", "reason", "strict", "upper")
    _diff_wrt = True

    def __new__(cls, name: str, default=None, lower=None, strict=False, only=None, reason="", upper=None):
        obj = AtomicExpr.__new__(cls)
        obj.name, obj.latex_name = name, _latex_of(name)
        obj.default, obj.lower, obj.strict, obj.only, obj.reason = default, lower, strict, only, reason
        obj.upper = upper
        return obj

    def __getnewargs__(self):
        return self.name, self.default, self.lower, self.strict, self.only, self.reason, self.upper

    def _details(self):
        return (str((self.default, self.lower, self.strict, self.upper, self.only, self.reason)),)

    def _eval_is_positive(self):
        return True if self.lower == 0 and self.strict else None

    def _eval_is_nonnegative(self):
        return True if self.lower == 0 else None


class Tensor(_Named):
    """The head of an indexed symbol: what it is (`kind`), its declared indices and, for fields, its site."""

    __slots__ = ("indices", "kind", "site")

    def __new__(cls, name: str, kind: Kind, indices: tuple[Index, ...], site: str = "", latex_name: str = ""):
        obj = AtomicExpr.__new__(cls)
        obj.name, obj.kind, obj.indices, obj.site = name, kind, tuple(indices), site
        obj.latex_name = latex_name or _latex_of(name)
        return obj

    def __getnewargs__(self):
        return self.name, self.kind, self.indices, self.site, self.latex_name

    def _details(self):
        return (self.kind, self.site, *(f"{i.name}:{i.axis.key()}" for i in self.indices))

    def _sympystr(self, printer):
        return self.name + {Kind.CONJUGATE: ".hat", Kind.RESPONSE_FIELD: ".tilde"}.get(self.kind, "")

    def _latex(self, printer, exp=None):
        wrap = {Kind.CONJUGATE: r"\hat{%s}", Kind.RESPONSE_FIELD: r"\tilde{%s}"}.get(self.kind, "%s")
        base, caret, superscript = self.latex_name.partition("^")
        text = wrap % base + caret + superscript
        return text if exp is None else f"{{{text}}}^{{{exp}}}"

    __iter__ = None  # h[mu, t] is an entry, not an invitation to iterate

    def __getitem__(self, indices) -> "Entry":
        indices = indices if isinstance(indices, tuple) else (indices,)
        return Entry(self, *indices)

    @property
    def time_slots(self) -> tuple[int, ...]:
        """Positions of the time indices among the declared indices."""
        return tuple(k for k, i in enumerate(self.indices) if i.is_time)

    @property
    def hat(self) -> "Tensor":
        """The conjugate of an order parameter."""
        if self.kind != Kind.ORDER_PARAMETER:
            raise LanguageError(
                f"{self.name}.hat: only order parameters have a conjugate, {self.name} is a {self.kind}"
            )
        return Tensor(self.name, Kind.CONJUGATE, self.indices, latex_name=self.latex_name)

    @property
    def tilde(self) -> "Tensor":
        """The response field of a field."""
        self._require_field("tilde", "a response field")
        return Tensor(self.name, Kind.RESPONSE_FIELD, self.indices, self.site, self.latex_name)

    @property
    def dot(self) -> "_Dot":
        """The time derivative of a field: ``x.dot[t]`` is dx/dt."""
        self._require_field("dot", "an equation of motion")
        return _Dot(self)

    def _require_field(self, attribute: str, what: str) -> None:
        if self.kind != Kind.FIELD:
            raise LanguageError(f"{self.name}.{attribute}: only fields have {what}, {self.name} is a {self.kind}")


class Entry(Symbolic, Expr):
    """An indexed symbol, ``h[mu, t]``; arguments are indices, whole numbers or lagged times ``t - 1``."""

    is_real = True
    is_commutative = True

    def __new__(cls, tensor: Tensor, *indices):
        if len(indices) != len(tensor.indices):
            expected = ", ".join(i.name for i in tensor.indices)
            given = ", ".join(str(i) for i in indices)
            raise LanguageError(
                f"{tensor}[{given}]: {tensor.kind} {tensor.name} is declared with {len(tensor.indices)} "
                f"indices [{expected}], {len(indices)} given"
            )
        indices = tuple(Integer(i) if isinstance(i, int) and not isinstance(i, bool) else i for i in indices)
        for slot, index in zip(tensor.indices, indices, strict=True):
            _check_argument(tensor, slot, index)
        return Expr.__new__(cls, tensor, *indices)

    @property
    def tensor(self) -> Tensor:
        """The head."""
        return self.args[0]

    @property
    def indices(self) -> tuple[Expr, ...]:
        """The arguments."""
        return self.args[1:]

    @property
    def times(self) -> tuple[Expr, ...]:
        """The arguments in the time slots."""
        return tuple(self.indices[k] for k in self.tensor.time_slots)

    def _sympystr(self, printer):
        inside = ", ".join(printer._print(i) for i in self.indices)
        return f"{printer._print(self.tensor)}[{inside}]" if inside else printer._print(self.tensor)

    def _latex(self, printer, exp=None):
        slots = self.tensor.indices
        times = [printer._print(i) for s, i in zip(slots, self.indices, strict=True) if s.is_time]
        others = [printer._print(i) for s, i in zip(slots, self.indices, strict=True) if not s.is_time]
        text = printer._print(self.tensor)
        if others:
            text = (f"{{{text}}}" if "_" in text else text) + f"_{{{' '.join(others)}}}"
        if exp is not None:
            text = f"{{{text}}}^{{{exp}}}" if others or "^" in text else f"{text}^{{{exp}}}"
        return text + (f"({','.join(times)})" if times else "")

    _diff_wrt = True

    def _eval_derivative(self, symbol):
        return Integer(1) if self == symbol else Integer(0)


class _Dot:
    """Makes ``x.dot[t]`` build a `TimeDerivative`."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def __getitem__(self, indices):
        entry = self.tensor[indices]
        if not self.tensor.indices[self.tensor.time_slots[0]].axis.continuous:
            raise LanguageError(
                f"{self.tensor.name}.dot needs continuous time: declare it with times(..., continuous=True)"
            )
        return TimeDerivative(entry)


class TimeDerivative(Symbolic, Expr):
    """The derivative of a field with respect to time, ``x.dot[t]``."""

    precedence = 55  # between products and powers
    is_real = True
    is_commutative = True

    @property
    def entry(self) -> Entry:
        """The field whose derivative it is."""
        return self.args[0]

    def _sympystr(self, printer):
        inside = ", ".join(printer._print(i) for i in self.entry.indices)
        return f"{self.entry.tensor.name}.dot[{inside}]"

    def _latex(self, printer, exp=None):
        text = rf"\partial_{{{printer._print(self.entry.times[0])}}} {printer._print(self.entry)}"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"

    def _eval_derivative(self, symbol):
        return Integer(0)


def split_index(argument: Expr) -> tuple[Index | None, int]:
    """Write an argument as (index, shift): ``t - 1`` is (t, -1), ``0`` is (None, 0)."""
    if isinstance(argument, Index):
        return argument, 0
    if argument.is_Integer:
        return None, int(argument)
    if isinstance(argument, Add):
        index = [a for a in argument.args if isinstance(a, Index)]
        shift = argument - Add(*index)
        if len(index) == 1 and shift.is_Integer:
            return index[0], int(shift)
    raise LanguageError(f"{argument} cannot be an index: use an index symbol, a whole number or a lagged time t - 1")


def _check_argument(tensor: Tensor, slot: Index, argument) -> None:
    if not isinstance(argument, Expr):
        raise LanguageError(f"{tensor}: {argument!r} cannot be an index of {tensor.name}")
    if isinstance(argument, Dummy):  # SymPy differentiates with respect to an index
        raise LanguageError(f"{tensor} cannot be differentiated with respect to an index: {_DERIVATIVES}")
    index, shift = split_index(argument)
    if index is None:
        if shift < 0:
            raise LanguageError(f"{tensor}[{argument}]: a fixed index counts from 0")
        return
    if not slot.axis.accepts(index.axis):
        raise LanguageError(
            f"{tensor.name}: index {index} runs over axis '{index.axis.name}', but this place of {tensor.name} "
            f"belongs to axis '{slot.axis.name}'"
        )
    if shift and not slot.is_time:
        raise LanguageError(f"{tensor.name}[{argument}]: only times can be shifted")
