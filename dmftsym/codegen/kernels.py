"""Elementwise kernels: what one sample path does, with loops over the other indices."""

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Expr, Function, KroneckerDelta, Symbol

from dmftsym.codegen import tree
from dmftsym.codegen.places import All, Part, place_of, size_code
from dmftsym.codegen.printers import FormulaPrinter, number_symbol
from dmftsym.codegen.tree import Array
from dmftsym.codegen.whole_arrays import MadeFunction, evaluated, functions_in, name_of
from dmftsym.language.symbols import Entry, Index, Parameter, Size
from dmftsym.language.terms import entries_of, substitute_activations
from dmftsym.lowering.schemes import BLEND, REACH
from dmftsym.program.axes import PARTS, TIME_STEP
from dmftsym.program.operations import Elementwise
from dmftsym.program.statements import Assign, Statement
from dmftsym.program.times import When, when


@dataclass(frozen=True)
class Loop:
    """Assignments that share loops over the same indices: (index, upper limit) pairs and source lines."""

    ranges: tuple[tuple[str, str], ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class KernelCode:
    """A kernel as source: its name, the lines of its signature, what the caller passes, its loops, what it updates."""

    name: str
    signature: tuple[str, ...]
    arguments: tuple[Array, ...]
    paths_of: str
    loops: tuple[Loop, ...]
    updates: str
    part: str = ""  # the line that tells which part of the paths a path belongs to, if that is asked


@dataclass(frozen=True)
class Element:
    """One value of an array inside a kernel: the parameter that holds the array, its places, and what is passed."""

    name: str
    places: tuple[str, ...]
    argument: Array

    @property
    def code(self) -> str:
        """Its source."""
        return f"{self.name}[{', '.join(self.places)}]" if self.places else self.name


def number(name: str) -> Array:
    """A number that is passed under its own name."""
    return tree.Named((), name)


def wrapped(head: str, items: tuple[str, ...], tail: str, width: int = 108) -> list[str]:
    """``head item, item, ... tail`` on one line, or the items on indented lines of their own."""
    line = f"{head}{', '.join(items)}{tail}"
    if len(line) <= width:
        return [line]
    lines, current = [], ""
    for item in items:
        if current and len(current) + len(item) + 2 > width - 4:
            lines.append(f"    {current}")
            current = ""
        current += f"{' ' if current else ''}{item},"
    return [head, *lines, f"    {current}", tail]


def listed(names: list[str], most: int = 60) -> str:
    """Names one after the other, the last ones left out where they are many."""
    text, names = "", list(dict.fromkeys(names))
    for k, name in enumerate(names):
        if text and len(text) + len(name) > most:
            return f"{text} and {len(names) - k} more"
        text += f"{', ' if text else ''}{name}"
    return text


def kernel_code(
    kernel: Elementwise,
    now: Index,
    histories: frozenset[str],
    made: tuple[MadeFunction, ...] = (),
    printer: FormulaPrinter | None = None,
) -> KernelCode:
    """Print the updates of a kernel; arrays become parameters, cut to the time at which they are read.

    `made`: functions of site arrays that updates before it stored; `printer`: of other formulas than those of numbers.
    """
    writer = KernelWriter(kernel, now, histories, printer or FormulaPrinter(array=False), made)
    return writer.kernel(tuple(wrapped("(", tuple(writer.parameters), "):")))


class ElementPrinter:
    """Prints single values of arrays and notes what the caller must pass: parameter: argument."""

    kronecker = "(1.0 if {} == {} else 0.0)"
    whole_arrays = True  # functions of one array are evaluated by the caller

    def __init__(
        self, now: Index, histories: frozenset[str], printer: FormulaPrinter, updates: tuple[Statement, ...]
    ):
        self.now, self.histories, self.printer = now, histories, printer
        self.parameters: dict[str, Array] = {}
        self.made: tuple[MadeFunction, ...] = ()
        self.written = {t.name for update in updates for t in update.writes}
        self.taken = {e.tensor.name for u in updates for body, _ in u.reads(now) for e in entries_of(body)}

    def take(self, name: str, argument: Array, whole: bool = False) -> None:
        """Note a parameter and what is passed for it; `whole`: a whole number."""
        self.parameters.setdefault(name, argument)

    def element(self, entry: Entry) -> str:
        """One value of an array."""
        found = element(entry, self.now, self.histories)
        self.take(found.name, found.argument)
        return found.code

    def with_functions(self, expr: Expr, code: Callable[[Element, Entry], str]) -> Expr:
        """Functions of one array replaced by the source of an element of an array that the caller evaluates."""
        expr = substitute_activations(expr)
        replaced: dict[Expr, Expr] = {}
        for function in functions_in(expr) if self.whole_arrays else ():
            (entry,) = entries_of(function)
            if entry.tensor.name in self.written:
                continue
            stored = next((held for each in self.made if (held := each.at(function)) is not None), None)
            entry = stored or entry
            found = element(entry, self.now, self.histories)
            if stored is None:
                found = self._own(name_of(function, found.name), found.places, evaluated(function, found.argument))
            self.take(found.name, found.argument)
            replaced[function] = Symbol(code(found, entry), real=True)
        return expr.xreplace(replaced)

    def _own(self, base: str, places: tuple[str, ...], argument: Array) -> Element:
        """An element of an array that has no name yet."""
        name, k = base, 1
        while name in self.taken | self.written or self.parameters.get(name, argument) != argument:
            name, k = f"{base}_{k + 1}", k + 1
        return Element(name, places, argument)

    def with_source_names(self, expr: Expr) -> Expr:
        """Entries and parameters replaced by symbols that carry their source code."""
        expr = self.with_functions(expr, lambda found, _: found.code)
        replaced: dict[Expr, Expr] = {e: Symbol(self.element(e), real=True) for e in entries_of(expr)}
        for delta in sorted(expr.atoms(KroneckerDelta), key=str):
            replaced[delta] = Symbol(self.kronecker.format(*delta.args), real=True)
        for atom in sorted(expr.atoms(Parameter, Size), key=str):
            self.take(atom.name, number(atom.name), isinstance(atom, Size))
            replaced[atom] = number_symbol(atom)
        for of_pass in (n for n in (TIME_STEP, REACH, BLEND) if expr.has(n)):
            self.take(of_pass.name, number(of_pass.name))
        return expr.xreplace(replaced)


class KernelWriter(ElementPrinter):
    """Prints the loops of a kernel."""

    comment, assignment, local = "# ", "{} = {}", "{} = {}"
    part = ""

    def __init__(
        self,
        kernel: Elementwise,
        now: Index,
        histories: frozenset[str],
        printer: FormulaPrinter,
        made: tuple[MadeFunction, ...] = (),
    ):
        super().__init__(now, histories, printer, kernel.updates)
        self.of, self.made = kernel, made
        for assign in kernel.updates:
            self.element(assign.target)
        self.loops = tuple(self._loop(indices, group) for indices, group in loops_of(kernel))

    def kernel(self, signature: tuple[str, ...]) -> KernelCode:
        """The kernel with the lines of its signature."""
        names = [a.target.tensor.name for a in self.of.updates]
        arguments, listing = tuple(self.parameters.values()), listed(names)
        return KernelCode(self.of.name, signature, arguments, names[0], self.loops, listing, self.part)

    def element(self, entry: Entry) -> str:
        """One value of an array; which part of the paths it is of, the path tells."""
        code = super().element(entry)
        parts = [k for k, i in enumerate(s for s in entry.tensor.indices if not s.is_time) if i.axis == PARTS]
        if parts and not self.part:
            array, paths = code.split("[")[0], self.of.updates[0].target.tensor.name
            self.part = f"{entry.indices[0]} = path*{array}.shape[{parts[0]}]//{paths}.shape[-1]"
        return code

    def _loop(self, indices: tuple[Index, ...], group: list[Assign]) -> Loop:
        """Loops over `indices` with the updates of a group inside."""
        bodies = [self.with_source_names(a.expression) for a in group]
        common = repeated_functions(bodies, {*self.parameters, *self.written})
        lines: list[str] = []
        done: set[Expr] = set()
        for assign, body in zip(group, bodies, strict=True):
            for function, name in common.items():
                if function not in done and body.has(function):
                    lines.append(self.local.format(name, self.printer.formula(function)))
                    done.add(function)
            lines.append(f"{self.comment}{assign.equation}")
            value = self.printer.formula(body.xreplace({f: Symbol(n, real=True) for f, n in common.items()}))
            lines.append(self.assignment.format(self.element(assign.target), value))
        return Loop(tuple((i.name, self.limit(i, group[0].target)) for i in indices), tuple(lines))

    def limit(self, index: Index, target: Entry) -> str:
        """The upper limit of a loop over an index of what is updated."""
        others = [i for i in target.indices if not i.is_time]
        return f"{target.tensor.name}.shape[{others.index(index)}]"


def loops_of(kernel: Elementwise) -> list[tuple[tuple[Index, ...], list[Assign]]]:
    """The updates of a kernel in order, neighbours over the same indices together where they read element by element.

    An update that reads another one's target at exchanged, repeated or fixed indices needs a loop of its own: the
    element that it reads is written at another turn of the loop.
    """
    groups: list[tuple[tuple[Index, ...], list[Assign]]] = []
    for assign in kernel.updates:
        over = tuple(i for i in assign.target.indices if not i.is_time)
        if groups and groups[-1][0] == over and not any(assign.crosses(other) for other in groups[-1][1]):
            groups[-1][1].append(assign)
        else:
            groups.append((over, [assign]))
    return groups


def element(entry: Entry, now: Index, histories=frozenset()) -> Element:
    """An entry inside a kernel, where the array that holds it is cut to the time at which it is read."""
    tensor = entry.tensor
    moments = {when(t, now, (), str(entry)) for t in entry.times}
    suffix = {When.LAG: "_previous", When.INITIAL: "_initial"}
    name = tensor.name + "".join(suffix.get(m, "") for m in sorted(moments, key=lambda m: m.value))
    slots = list(zip(tensor.indices, entry.indices, strict=True))
    inside = [_offset(slot, argument) for slot, argument in slots if not slot.is_time]
    place = lambda slot, a: place_of(slot, a, now, (), str(entry)) if slot.is_time else All()
    whole = tuple(slot for slot, _ in slots if not slot.is_time)
    if not tensor.site:
        places = tuple(place(slot, a) for slot, a in slots)
        return Element(name, tuple(inside), tree.Cut(whole, tree.Named(tensor.indices, tensor.name), places))
    kept = (*whole, tree.path_index(tensor.site))
    argument: Array = tree.Named(kept, tensor.name)
    if moments == {When.INITIAL} or (moments == {When.LAG} and tensor.name in histories):
        (time,) = ((slot, a) for slot, a in slots if slot.is_time)
        history = tree.Named((time[0], *kept), tree.history_of(tensor), True)
        argument = tree.Cut(kept, history, (place(*time),))
    return Element(name, (*inside, "path"), argument)


def _offset(slot: Index, argument: Expr) -> str:
    """An index inside a kernel; parts of a stacked axis start where the parts before them end."""
    if argument.is_Integer:
        return str(argument)
    if slot.axis == argument.axis:
        return argument.name
    return " + ".join([*map(size_code, Part(slot.axis, argument.axis).before), argument.name])


def repeated_functions(bodies: list[Expr], taken: set[str]) -> dict[Expr, str]:
    """Functions that several updates share, with a readable name each: tanh_h for tanh(h[mu, path])."""
    counts: dict[Expr, int] = {}
    for body in bodies:
        for function in sorted(body.atoms(Function), key=str):
            counts[function] = counts.get(function, 0) + body.count(function)
    names: dict[Expr, str] = {}
    for function in sorted((f for f, n in counts.items() if n > 1), key=lambda f: (f.count_ops(), str(f))):
        arguments = sorted({s.name.split("[")[0] for s in function.free_symbols})
        label = "_".join(arguments) if len(arguments) < 4 else "common"
        name, k = f"{type(function).__name__.lower()}_{label}", 2
        while name in names.values() or name in taken:
            name, k = f"{type(function).__name__.lower()}_{label}_{k}", k + 1
        names[function] = name
    return names
