"""Entries as array source code: slices for indices and times, and axes lined up for broadcasting."""

import re
from dataclasses import dataclass

from sympy import Expr, KroneckerDelta, Mul, Symbol

from dmftsym.codegen.printers import FormulaPrinter
from dmftsym.errors import CodegenError
from dmftsym.language.matrices import LargestEigenvalue, LeadingProjector
from dmftsym.language.sums import Binding, IndexSum
from dmftsym.language.symbols import KICKS, PASSES, Axis, Entry, Index, Parameter, Size
from dmftsym.language.terms import Before, Term, entries_of, flatten, outermost, substitute_activations
from dmftsym.lowering.schemes import BACK
from dmftsym.program.times import When, when

PATH = "p"


@dataclass(frozen=True)
class View:
    """Source code of an array and the indices that its axes carry, in order.

    `name` and `subscript` are the parts of the code, where it is a plain slice.
    """

    code: str
    indices: tuple[Index, ...]
    name: str = ""
    subscript: tuple[str, ...] = ()


def size_code(axis: Axis) -> str:
    """The variable (or number) that holds the length of an axis; the time axis has ``steps``."""
    return "steps" if axis.is_time else axis.size


def slot_code(slot: Index, argument: Expr, now: Index, constraints: tuple[Before, ...], where: str) -> str:
    """What stands in one place of a subscript: a number, the current time, or a slice."""
    if not slot.is_time:
        if argument.is_Integer:
            return str(argument)
        return part_slice(slot.axis, argument.axis)
    if isinstance(argument, Index) and argument.axis in (KICKS, PASSES):
        return argument.name if argument.is_time else ":"
    moment = when(argument, now, constraints, where)
    return moment_code(moment, now)


def moment_code(moment: When, now: Index) -> str:
    """The current time as a subscript, or the slice of times before or after it."""
    codes = {
        When.NOW: now.name,
        When.LAG: f"{now.name} - 1",
        When.INITIAL: "0",
        When.PAST: f":{now.name}",
        When.UPTO: f":{now.name} + 1",
        When.FUTURE: f"{now.name} + 1:",
        When.FROM: f"{now.name}:",
    }
    return codes[moment]


def part_slice(whole: Axis, part: Axis) -> str:
    """The slice of a stacked axis that belongs to one of its parts."""
    if whole == part:
        return ":"
    position = whole.parts.index(part)
    start = " + ".join(size_code(a) for a in whole.parts[:position])
    if position == len(whole.parts) - 1:
        return f"{start}:"
    return f"{start}:{f'{start} + ' if start else ''}{size_code(part)}"


def before_start(code: str, now: Index) -> str:
    """Source of values at the previous time, which are zero before time 0."""
    return f"_before({code}, {now.name})"


def is_earlier(code: str, now: Index) -> bool:
    """Whether a subscript stands for the previous time, or the time of the pass before."""
    return code in (f"{now.name} - 1", BACK.name)


def view(entry: Entry, now: Index, constraints: tuple[Before, ...], xp: str = "np", lagged: bool = True) -> View:
    """An entry without sample paths as a sliced array; `lagged`: the previous time may be that before time 0."""
    where = str(entry)
    slots = zip(entry.tensor.indices, entry.indices, strict=True)
    codes = [slot_code(slot, argument, now, constraints, where) for slot, argument in slots]
    kept = tuple(a for a, code in zip(entry.indices, codes, strict=True) if ":" in code)
    whole = f"{entry.tensor.name}[{', '.join(codes)}]"
    before = lagged and any(is_earlier(code, now) for code in codes)
    if before:
        whole = before_start(whole, now)
    if len(set(kept)) < len(kept):
        return _diagonal(whole, kept, xp)
    if before:
        return View(whole, kept)
    subscript = "" if all(code == ":" for code in codes) else f"[{', '.join(codes)}]"
    return View(f"{entry.tensor.name}{subscript}", kept, entry.tensor.name, tuple(codes))


def _diagonal(code: str, kept: tuple[Index, ...], xp: str) -> View:
    letters = {index: chr(ord("a") + k) for k, index in enumerate(dict.fromkeys(kept))}
    source = "".join(letters[i] for i in kept)
    target = "".join(letters.values())
    return View(f'{xp}.einsum("{source}->{target}", {code})', tuple(letters))


def aligned(found: View, target: tuple[Index, ...]) -> str:
    """The view with its axes in the order of `target`, new axes where it has none."""
    order = [i for i in target if i in found.indices]
    if len(order) < len(found.indices):
        raise CodegenError(f"{found.code} has an index that {[str(i) for i in target]} lacks")
    if order != list(found.indices) or not found.name:
        return _transposed(found, order, target)
    codes: list[str] = []
    waiting = list(target)
    kept = iter(found.indices)
    for code in found.subscript:
        if ":" in code:
            index = next(kept)
            # leading new axes broadcast by themselves
            codes += ["None"] * waiting.index(index) if any(":" in c for c in codes) else []
            waiting = waiting[waiting.index(index) + 1 :]
        codes.append(code)
    if order:
        codes += ["None"] * len(waiting)
    return found.name if all(c == ":" for c in codes) else f"{found.name}[{', '.join(codes)}]"


def _transposed(found: View, order: list[Index], target: tuple[Index, ...]) -> str:
    code = found.code
    permutation = tuple(found.indices.index(i) for i in order)
    if permutation != tuple(range(len(order))):
        code = f"{code}.T" if permutation == (1, 0) else f"{code}.transpose{permutation}"
    pattern = ["None" if i not in found.indices else ":" for i in target]
    while pattern and pattern[0] == "None":
        pattern.pop(0)
    return code if "None" not in pattern else f"{code}[{', '.join(pattern)}]"


def _single_brackets(code: str) -> str:
    """Source in which the argument of a function is in no second brackets: cos((x)) is cos(x)."""
    for begin in reversed([m.end() - 1 for m in re.finditer(r"\w\(\(", code)]):
        depth, end, several = 1, begin, False
        while depth:
            end += 1
            depth += (code[end] in "([") - (code[end] in ")]")
            several = several or (depth == 1 and code[end] == ",")
        if code[end + 1 : end + 2] == ")" and not several:
            code = code[:begin] + code[begin + 1 : end] + code[end + 1 :]
    return code


def number_symbol(number: Parameter | Size) -> Symbol:
    """A plain symbol for a number given at run time, with what is known of its sign: Abs(b) of any b stays."""
    return Symbol(number.name, real=True, positive=True if number.is_positive else None)


class ArrayFormula:
    """Prints functions of order parameters, data and parameters as array expressions."""

    def __init__(self, now: Index, xp: str = "np", lagged: bool = True):
        """`lagged`: formulas that read the previous time are evaluated at time 0 too, where it counts as zero."""
        self.lagged = lagged
        self.now, self.xp, self.printer = now, xp, FormulaPrinter(array=True, xp=xp)

    def expression(self, body: Expr, target: tuple[Index, ...], constraints: tuple[Before, ...] = ()) -> str:
        """The formula with the axes of `target`."""
        body = substitute_activations(body)
        replaced: dict[Expr, Expr] = {}
        for node in outermost(body, IndexSum, LargestEigenvalue, LeadingProjector):
            replaced[node] = Symbol(aligned(self._nested(node, constraints), target), real=True)
        body = body.xreplace(replaced)
        for delta in sorted(body.atoms(KroneckerDelta), key=str):
            first, second = delta.args
            replaced[delta] = Symbol(aligned(View(f"{self.xp}.eye({size_code(first.axis)})", (first, second)), target))
        for entry in entries_of(body):
            replaced[entry] = Symbol(aligned(self._view(entry, constraints), target), real=True)
        for atom in body.atoms(Parameter, Size):
            replaced[atom] = number_symbol(atom)
        return _single_brackets(self.printer.formula(body.xreplace(replaced)))

    def _nested(self, node: Binding, constraints) -> View:
        """A sum or matrix function that stands inside a formula, for every value of its free indices."""
        free = [i for i in node.body.atoms(Index) if i not in node.bound and i != self.now]
        others = tuple(sorted(free, key=lambda i: (i.is_time, i.name)))
        if isinstance(node, IndexSum):
            return View(f"({self.sum_of_terms(flatten(node), others, constraints)})", others)
        matrix = self.expression(node.body, (*others, *node.bound), constraints)
        if isinstance(node, LeadingProjector):
            return View(f"_leading_projector({matrix})", (*others, *node.place))
        return View(f"_largest_eigenvalue({matrix})", others)

    def sum_of_terms(self, terms: tuple[Term, ...], target: tuple[Index, ...], constraints=()) -> str:
        """Σ terms with the axes of `target`; bound indices are summed over trailing axes."""
        parts = []
        for term in terms:
            if not term.bound:
                parts.append(self.expression(term.body, target, constraints))
                continue
            limits = (*constraints, *term.constraints)
            parts.append(self._einsum(term, target, limits) or self._broadcast_sum(term, target, limits))
        return " + ".join(parts).replace("+ -", "- ") or "0.0"

    def _view(self, entry: Entry, constraints) -> View:
        return view(entry, self.now, constraints, self.xp, self.lagged)

    def _operand(self, factor: Expr, constraints) -> View:
        if isinstance(factor, Entry):
            return self._view(factor, constraints)
        found = sorted(factor.atoms(Index) - {self.now}, key=lambda i: (i.is_time, i.name))
        return View(self.expression(factor, tuple(found), constraints), tuple(found))

    def _broadcast_sum(self, term: Term, target: tuple[Index, ...], constraints) -> str:
        code = self.expression(term.body, (*target, *term.bound), constraints)
        axes = tuple(range(-len(term.bound), 0))
        return f"{self.xp}.sum({code}, axis={axes if len(axes) > 1 else axes[0]})"

    def _einsum(self, term: Term, target: tuple[Index, ...], constraints) -> str | None:
        """The sum as one einsum if its factors with a bound index cover the target."""
        inner = [f for f in term.factors if any(f.has(i) for i in term.bound)]
        outer = Mul(*[f for f in term.factors if f not in inner])
        if any(f.has(Binding) for f in inner):
            return None
        views = [self._operand(f, constraints) for f in inner]
        covered = {i for v in views for i in v.indices}
        if not set(target) <= covered or not set(term.bound) <= covered:
            return None
        letters: dict[Index, str] = {}
        for index in (i for v in views for i in v.indices):
            if index not in letters:
                wanted = [c for c in index.name.lower() if c.isascii() and c.isalpha()] + list("abcdefghijklmnop")
                letters[index] = next(c for c in wanted if c not in letters.values())
        source = ",".join("".join(letters[i] for i in v.indices) for v in views)
        output = "".join(letters[i] for i in target)
        total = f'{self.xp}.einsum("{source}->{output}", {", ".join(v.code for v in views)}, optimize=True)'
        if outer == 1:
            return total
        front = self.expression(outer, target, constraints)
        return f"({front})*{total}"
