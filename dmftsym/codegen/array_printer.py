"""Array operations as text: one rule a node, and the target's word where targets differ."""

from typing import TYPE_CHECKING

from sympy import Expr, Mul, Rational, Symbol
from sympy.core.function import Application
from sympy.printing.precedence import PRECEDENCE, precedence

from dmftsym.codegen import tree
from dmftsym.codegen.places import All, Length, Moment, Number, Part, PassBefore, Place, size_code
from dmftsym.codegen.printers import FormulaPrinter, number_symbol
from dmftsym.codegen.tree import Array, is_part, lined_up
from dmftsym.language.symbols import Index, Parameter, Size
from dmftsym.program.axes import PARTS
from dmftsym.program.times import When

if TYPE_CHECKING:
    from dmftsym.codegen.targets import Target

Indices = tuple[Index, ...]
PATH, PART = "p", "a"  # the letters of the sample paths, and of their parts, in an einsum
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def place_text(place: Place) -> str:
    """What stands in one place of a subscript."""
    match place:
        case Moment(moment, now):
            return moment_text(moment, now)
        case PassBefore(index):
            return index.name
        case Number(value):
            return str(value)
        case Part():
            return part_text(place)
    return ":"


def moment_text(moment: When, now: Index) -> str:
    """The present time as a subscript, or the slice of times before or after it."""
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


def part_text(place: Part) -> str:
    """The slice of a stacked axis that belongs to one of its parts."""
    before = [size_code(axis) for axis in place.before]
    last = place.part == place.whole.parts[-1]
    return f"{' + '.join(before)}:{'' if last else ' + '.join([*before, size_code(place.part)])}"


def subscripted(name: str, places: list[str]) -> str:
    """A slice of an array, or the array where it is all of it."""
    return name if all(p == ":" for p in places) else f"{name}[{', '.join(places)}]"


def tuple_text(lengths: tuple[Length, ...]) -> str:
    """A shape."""
    return f"({', '.join(map(str, lengths))}{',' if len(lengths) == 1 else ''})"


def total_text(parts: list[str]) -> str:
    """The sum of the given texts, one without a sign first."""
    first = next((part for part in parts if not part.startswith("-")), parts[0] if parts else "0.0")
    rest = list(parts)
    if parts:
        rest.remove(first)
    return first + "".join(f" - {part[1:]}" if part.startswith("-") else f" + {part}" for part in rest)


class _Leaf(Symbol):
    """A symbol whose name is source that needs brackets in products."""

    __slots__ = ("precedence",)

    def __new__(cls, name: str, level: int):
        leaf = Symbol.__xnew__(cls, name, real=True)
        leaf.precedence = level
        return leaf

    @classmethod
    def class_key(cls):
        """That of all symbols, so that names alone decide the order."""
        return Symbol.class_key()


class ArrayPrinter:
    """Prints trees of array operations for a target."""

    def __init__(self, target: "Target"):
        self.target, self.xp = target, target.xp
        self.formulas = FormulaPrinter(array=True, xp=target.xp)

    def text(self, node: Array) -> str:
        """The source of an array."""
        if product := self._product(node):
            return " @ ".join(self._factor(part, "Atom") for part in product)
        match node:
            case tree.Named():
                return node.name
            case tree.Cut():
                return subscripted(node.of.name, [place_text(p) for p in node.places])
            case tree.BeforeStart():
                return f"_before({self.text(node.of)}, {node.now.name})"
            case tree.LinedUp():
                return self._lined_up(node)
            case tree.OverPaths() if node.over_parts():
                return f"_on_paths({self.text(node.of)}, {self.text(node.weights)})"
            case tree.OverPaths():
                return f"{self._factor(node.of, 'Atom')}[..., None]"
            case tree.OfMatrix():
                return f"_{node.function.value}({self.text(node.of)})"
            case tree.Formula():
                return self.formulas.formula(self._replaced(node, node.body))
            case tree.Sum():
                return total_text([self.text(part) for part in node.parts])
            case tree.Scaled():
                return self._scaled(node)
            case tree.Weighted():
                return f"{self._factor(node.of)}*{node.weights.name}"
            case tree.Einsum():
                return self._einsum(node)
            case tree.TensorDot():
                return self.target.tensordot(self.text(node.factor), self.text(node.of), node.count)
            case tree.Broadcast() if node.shape:
                return f"{self.xp}.broadcast_to({self.text(node.of)}, {tuple_text(node.shape)})"
            case tree.Broadcast():
                return f"{self.xp}.array({self.text(node.of)})"
            case tree.Shaped():
                return f"{self._factor(node.of, 'Atom')}.reshape({', '.join(map(str, node.shape))})"
        return f"{self.xp}.{self._call(node)}"

    def _call(self, node: Array) -> str:
        """Arrays that are calls of a function of the array namespace."""
        match node:
            case tree.Identity():
                return f"eye({size_code(node.axis)})" + (f"[{node.value}]" if node.value is not None else "")
            case tree.Zeros():
                return f"zeros({tuple_text(node.shape)})"
            case tree.Concatenated():
                return f"concatenate([{', '.join(map(self.text, node.parts))}], axis={node.axis})"
            case tree.Diagonal():
                letters = {index: chr(ord("a") + k) for k, index in enumerate(node.indices)}
                source = "".join(letters[i] for i in node.of.indices)
                return f'einsum("{source}->{"".join(letters.values())}", {self.text(node.of)})'
            case tree.Totalled():
                axes = tuple(range(len(node.indices) - len(node.of.indices), 0))
                whole = not node.indices and node.of.spans() == set(node.of.indices)
                over = "" if whole else f", axis={axes if len(axes) > 1 else axes[0]}"
                return f"sum({self.text(node.of)}{over})"
        raise TypeError(f"no rule prints {node!r}")

    def _lined_up(self, node: tree.LinedUp) -> str:
        found = node.of
        order = [i for i in node.indices if i in found.indices]
        if order == list(found.indices) and isinstance(found, tree.Named | tree.Cut):
            return self._with_new_axes(found, node.indices)
        moved = _moved(node)
        return f"{self._factor(found, 'Atom')}{moved}" if moved else self.text(found)

    def _with_new_axes(self, found: tree.Named | tree.Cut, target: tuple[Index, ...]) -> str:
        """A slice that makes its new axes itself; those in front come by themselves."""
        name, places = (found.of.name, found.places) if isinstance(found, tree.Cut) else (found.name, ())
        waiting, kept, codes = list(target), iter(found.indices), []
        for place in (*places, *[All()] * (len(found.indices) - sum(p.keeps for p in places))):
            if place.keeps:
                index = next(kept)
                codes += ["None"] * waiting.index(index) if index != found.indices[0] else []
                waiting = waiting[waiting.index(index) + 1 :]
            codes.append(place_text(place))
        return subscripted(name, codes + ["None"] * (len(waiting) if found.indices else 0))

    # --- sums and products ------------------------------------------------------------------------

    def _level(self, node: Array) -> int:
        """How tightly the text of an array binds, as in `sympy.printing.precedence`."""
        match node:
            case tree.Formula():
                return _level_of(self._replaced(node, node.body))
            case tree.Sum(_, parts) if len(parts) > 1:
                return PRECEDENCE["Add"]
            case tree.Sum(_, (part,)):
                return self._level(part)
            case tree.Scaled():
                return PRECEDENCE["Add" if node.factor.body.could_extract_minus_sign() else "Mul"]
            case tree.LinedUp() if not _moved(node):
                return self._level(node.of)
            case tree.Weighted():
                return PRECEDENCE["Mul"]
        return PRECEDENCE["Add"] if self._product(node) else PRECEDENCE["Atom"]

    def _factor(self, node: Array, level: str = "Mul") -> str:
        """The text of an array, in brackets where it binds less."""
        return self.text(node) if self._level(node) >= PRECEDENCE[level] else f"({self.text(node)})"

    def _replaced(self, node: tree.Formula, body: Expr) -> Expr:
        """A part of a formula with symbols that hold the texts of its arrays and numbers."""
        replaced: dict[Expr, Expr] = {part: self._leaf(leaf) for part, leaf in node.leaves}
        replaced |= {atom: number_symbol(atom) for atom in body.atoms(Parameter, Size) if atom not in replaced}
        return body.xreplace(replaced)

    def _leaf(self, leaf: Array) -> Symbol:
        code, level = self.text(leaf), self._level(leaf)
        return Symbol(code, real=True) if level == PRECEDENCE["Atom"] else _Leaf(code, level)

    def _scaled(self, node: tree.Scaled) -> str:
        factors = Mul.make_args(node.factor.body)
        below = [f for f in factors if f.is_Pow and f.exp.is_Rational and f.exp < 0]
        above, below = (
            self._replaced(node.factor, part)
            for part in (Mul(*[f for f in factors if f not in below]), Mul(*[1 / f for f in below]))
        )
        code = self._factor(node.of)
        if above == -1:
            code = f"-{code}"
        elif above != 1:
            code = f"{self.formulas.factor(above)}*{code}"
        if below == 1:
            return code
        under = self.formulas.formula(below)
        return f"{code}/({under})" if _level_of(below) <= PRECEDENCE["Mul"] else f"{code}/{under}"

    def _einsum(self, node: tree.Einsum) -> str:
        parts = self._parts(node)
        subscripts = subscripts_of([part.indices for part in parts], node.indices)
        arrays = ", ".join(map(self.text, parts))
        if node.over_parts():
            return f'_einsum_of_parts("{subscripts}", {PARTS.size}, {arrays})'
        if node.over_paths():
            return self.target.einsum(subscripts, arrays)
        return f'{self.xp}.einsum("{subscripts}", {arrays}, optimize=True)'

    def _parts(self, node: tree.Einsum) -> tuple[Array, ...]:
        """What is multiplied, with the weights of the paths if it is an average."""
        if not isinstance(node, tree.Average):
            return node.parts
        smallest = node.parts[node.smallest]
        alone = sum(part.over_paths() for part in node.parts) == 1
        if alone or not self.target.takes_weights(smallest):
            return (*node.parts, node.weights)
        weighted = tree.Weighted(smallest.indices, smallest, node.weights)
        return (*node.parts[: node.smallest], weighted, *node.parts[node.smallest + 1 :])

    def _product(self, node: Array) -> tuple[Array, Array] | None:
        """The two matrices (or a matrix and a vector) whose product an array is written as, if it is one."""
        if node.over_parts() or (node.over_paths() and not self.target.operators):
            return None
        match node:
            case tree.TensorDot(_, array, factor, 1) if len(array.indices) == 2 and len(factor.indices) <= 2:
                return factor, array
            case tree.Einsum() if len(parts := self._parts(node)) == 2:
                both = [_matrices(one, other, node.indices) for one, other in (parts, parts[::-1])]
                moved = lambda pair: sum(isinstance(part, tree.LinedUp) for part in pair)
                return min(filter(None, both), key=moved, default=None)
        return None


def _matrices(one: Array, other: Array, indices: Indices) -> tuple[Array, Array] | None:
    """Two arrays as matrices or vectors whose product has the given axes, if they are."""
    inner = tuple(i for i in one.indices if i in other.indices)
    row, column = (tuple(i for i in each.indices if i not in inner) for each in (one, other))
    large = any(len(each.indices) > 2 or len(set(each.indices)) < len(each.indices) for each in (one, other))
    if large or len(inner) != 1 or not indices or (*row, *column) != indices:
        return None
    return lined_up(one, (*row, *inner)), lined_up(other, (*inner, *column))


def subscripts_of(operands: list[Indices], output: Indices) -> str:
    """The subscripts of an einsum."""
    every = [i for indices in operands for i in indices] + list(output)
    letters: dict[Index, str] = {i: PATH if tree.is_path(i) else PART for i in every if tree.is_path(i) or is_part(i)}
    # the arrays over sample paths choose their letters first
    for indices in sorted(operands, key=lambda each: not any(map(tree.is_path, each))):
        for index in indices:
            letters[index] = _letter_of(letters, index)
    subscript = lambda indices: "".join(letters[i] for i in indices)
    return f"{','.join(map(subscript, operands))}->{subscript(output)}"


def _letter_of(letters: dict[Index, str], index: Index) -> str:
    """The letter of an index in an einsum: one of its name if there is one that is free."""
    wanted = [c for c in index.name.lower() if c.isascii() and c.isalpha()] + list(_LETTERS)
    return letters.get(index) or next(c for c in wanted if c not in letters.values())


def _level_of(expr: Expr) -> int:
    """How tightly the text of an array formula binds: functions are calls, positive rationals literals."""
    if expr.is_Pow and expr.exp.is_Rational and expr.exp < 0:
        return PRECEDENCE["Mul"]  # one over the power
    root = expr.is_Pow and expr.exp == Rational(1, 2)
    literal = expr.is_Number and expr >= 0
    return PRECEDENCE["Atom"] if isinstance(expr, Application) or root or literal else precedence(expr)


def _moved(node: tree.LinedUp) -> str:
    """What brings the axes of an array in another order and adds new ones; those in front come by themselves."""
    found = node.of.indices
    order = tuple(found.index(i) for i in node.indices if i in found)
    code = "" if order == tuple(range(len(order))) else ".T" if order == (1, 0) else f".transpose{order}"
    pattern = ["None" if i not in found else ":" for i in node.indices]
    while pattern and pattern[0] == "None":
        pattern.pop(0)
    return f"{code}[{', '.join(pattern)}]" if "None" in pattern else code
