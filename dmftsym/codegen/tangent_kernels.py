"""Kernels of a tangent sweep: loops over blocks of paths, columns, indices, and the paths of a block innermost."""

from dataclasses import dataclass

from sympy import Expr, Mul, Symbol

from dmftsym.codegen.kernels import Element, ElementPrinter, element, listed, number, wrapped
from dmftsym.codegen.places import size_code
from dmftsym.codegen.printers import FormulaPrinter
from dmftsym.codegen.tree import Array
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import entries_of
from dmftsym.program.axes import COLUMNS
from dmftsym.program.statements import Assign, Contract, PathLoop, Piece


@dataclass(frozen=True)
class TangentKernelCode:
    """A kernel as source: signature, what the caller passes, the lines inside the loops over blocks and columns.

    `sums` are the partial sums of averages: array, shape of one block's part, and the average that they belong to;
    `updates` names what the kernel computes.
    """

    name: str
    signature: tuple[str, ...]
    arguments: tuple[Array, ...]
    column: str
    paths_of: str
    lines: tuple[str, ...]
    sums: tuple[tuple[str, str, Contract], ...]
    updates: str


def tangent_kernel_code(kernel: PathLoop, now: Index, histories: frozenset[str]) -> TangentKernelCode:
    """Print the changes of a kernel; arrays become parameters, cut to the time at which they are read."""
    writer = _Writer(kernel, now, histories)
    lines = [line for update in kernel.updates for line in writer.lines(update)]
    arguments = {name: number(name) for name in ("columns", f"weight_{kernel.site}")} | writer.parameters
    return TangentKernelCode(
        kernel.name,
        tuple(wrapped("(", tuple(arguments), "):")),
        tuple(arguments.values()),
        writer.column,
        f"weight_{kernel.site}",
        tuple(lines),
        tuple(writer.sums),
        listed([u.target.tensor.name for u in kernel.updates]),
    )


class _Writer(ElementPrinter):
    """Prints updates one by one and notes what the caller must pass."""

    def __init__(self, kernel: PathLoop, now: Index, histories: frozenset[str]):
        super().__init__(now, histories, FormulaPrinter(array=False), kernel.updates)
        self.site = kernel.site
        self.sums: list[tuple[str, str, Contract]] = []
        self.column = next(i.name for u in kernel.updates for i in u.target.indices if i in _columns(u.target))

    def lines(self, update: Assign | Contract) -> list[str]:
        """Loops over the indices of the target and what it sums over; above them the equation, if all of it is here."""
        comment = f"# {update.equation}"
        if isinstance(update, Assign):
            rows: dict[str, str] = {}
            target = self._row_element(update.target, rows)
            value = self.printer.formula(self._hidden(update.expression, rows))
            return [comment, *self._loops(_spatial(update.target), _over_paths(rows, f"{target} = {value}"))]
        return self._average(update) if update.averaged else [comment, *self._sum(update)]

    def _sum(self, contract: Contract) -> list[str]:
        own = _spatial(contract.target)
        inner: list[str] = []
        if not contract.accumulate:
            zero: dict[str, str] = {}
            inner += _over_paths(zero, f"{self._row_element(contract.target, zero)} = 0.0")
        for piece in contract.pieces:
            rows: dict[str, str] = {}
            target = self._row_element(contract.target, rows)
            value = "*".join(self._row_element(o, rows) for o in piece.factors)
            factor = piece.scalar * piece.coefficient
            before = [] if factor == 1 else [f"path_factor = {self.printer.formula(self._hidden(factor, {}))}"]
            update = f"{target} += {'*'.join([*['path_factor'] * len(before), *[value] * bool(value)])}"
            inner += self._loops(_bound(piece, own), [*before, *_over_paths(rows, update)])
        return self._loops(own, inner)

    def _average(self, contract: Contract) -> list[str]:
        own = _spatial(contract.target)
        name = f"sum_{contract.target.tensor.name}"
        free = [i for i in contract.target.indices if i != self.now]
        self.take(name, number(name))
        self.sums.append((name, ", ".join(size_code(i.axis) for i in free), contract))
        part = f"{name}[path_block, {', '.join(str(i) for i in free)}]"
        inner: list[str] = []
        for piece in contract.pieces:
            rows = {"path_weight": f"weight_{self.site}[path_from:path_to]"}
            value = "*".join(["path_weight[path]", *[self._row_element(o, rows) for o in piece.factors]])
            factor = piece.scalar * piece.coefficient
            body = ["path_sum = 0.0", *_over_paths(rows, f"path_sum += {value}")]
            front = "" if factor == 1 else f"{self.printer.factor(self._hidden(factor, {}))}*"
            body.append(f"{part} += {front}path_sum")
            inner += self._loops(_bound(piece, own), body)
        return self._loops(own, inner)

    def _hidden(self, expression: Expr, rows: dict[str, str]) -> Expr:
        """A formula whose symbols are source."""
        expression = self.with_functions(expression, lambda found, entry: self._row(found, entry, rows))
        local = [e for e in entries_of(expression) if e.tensor.site]
        symbols = {e: Symbol(self._row_element(e, rows), real=True) for e in local}
        return self.with_source_names(expression.xreplace(symbols))

    def _row_element(self, entry: Entry, rows: dict[str, str]) -> str:
        """One value of a site array, taken from a row: the slice of this column and block, noted in `rows`."""
        found = element(entry, self.now, self.histories)
        self.take(found.name, found.argument)
        return self._row(found, entry, rows)

    def _row(self, found: Element, entry: Entry, rows: dict[str, str]) -> str:
        """The same, of an array that stands for the entry."""
        place = [str(i) for i in _spatial(entry)] + [str(i) for i in entry.indices if i.is_Integer]
        row = "_".join(["row", found.name, *place])
        rows[row] = f"{found.name}[{', '.join([*found.places[:-1], 'path_from:path_to'])}]"
        return f"{row}[path]"

    def _loops(self, indices: list[Index], inner: list[str]) -> list[str]:
        """The lines inside loops over the given indices."""
        result = []
        for depth, index in enumerate(indices):
            size = size_code(index.axis)
            if not size.isdigit():
                self.take(size, number(size))
            result.append(f"{'    ' * depth}for {index} in range({size}):")
        return result + [f"{'    ' * len(indices)}{line}" for line in inner]


def _over_paths(rows: dict[str, str], line: str) -> list[str]:
    """A loop over the paths of a block, on rows cut out beforehand (which lets compilers vectorise it)."""
    cuts = wrapped(f"{', '.join(rows)} = ", tuple(rows.values()), "", width=100)
    if len(cuts) > 1:
        cuts = [f"{row} = {code}" for row, code in rows.items()]
    return [*cuts, "for path in range(path_to - path_from):", f"    {line}"]


def _columns(entry: Entry) -> list[Index]:
    return [i for i in entry.indices if isinstance(i, Index) and i.axis == COLUMNS]


def _spatial(entry: Entry) -> list[Index]:
    """The indices of an entry over which its update loops: all but times and the column."""
    return [i for i in entry.indices if isinstance(i, Index) and not i.is_time and i.axis != COLUMNS]


def _bound(piece: Piece, own: list[Index]) -> list[Index]:
    """The indices over which a piece is summed."""
    found: list[Index] = []
    for factor in (Mul(piece.scalar, piece.coefficient), *piece.factors):
        for entry in entries_of(factor):
            found += [i for i in dict.fromkeys(_spatial(entry)) if i not in own and i not in found]
    return found
