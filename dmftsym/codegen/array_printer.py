"""Array operations as text: one rule a node, and the target's word where targets differ."""

import re
from functools import singledispatchmethod
from typing import TYPE_CHECKING

from sympy import Expr, Symbol

from dmftsym.codegen import tree
from dmftsym.codegen.places import All, Length, Moment, Number, Part, PassBefore, Place, size_code
from dmftsym.codegen.printers import FormulaPrinter, number_symbol
from dmftsym.codegen.tree import Array
from dmftsym.language.symbols import Index, Parameter, Size
from dmftsym.program.times import When

if TYPE_CHECKING:
    from dmftsym.codegen.targets import Target

PATH = "p"  # the letter of the sample paths in an einsum
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
    """The sum of the given texts."""
    return " + ".join(parts).replace("+ -", "- ") or "0.0"


class ArrayPrinter:
    """Prints trees of array operations for a target."""

    def __init__(self, target: "Target"):
        self.target, self.xp = target, target.xp
        self.formulas = FormulaPrinter(array=True, xp=target.xp)

    @singledispatchmethod
    def text(self, node: Array) -> str:
        """The source of a node."""
        raise TypeError(f"no rule prints {node!r}")

    @text.register
    def _(self, node: tree.Named) -> str:
        return node.name

    @text.register
    def _(self, node: tree.Cut) -> str:
        return subscripted(node.of.name, [place_text(p) for p in node.places])

    @text.register
    def _(self, node: tree.BeforeStart) -> str:
        return f"_before({self.text(node.of)}, {node.now.name})"

    @text.register
    def _(self, node: tree.Diagonal) -> str:
        letters = {index: chr(ord("a") + k) for k, index in enumerate(node.indices)}
        source = "".join(letters[i] for i in node.of.indices)
        return f'{self.xp}.einsum("{source}->{"".join(letters.values())}", {self.text(node.of)})'

    @text.register
    def _(self, node: tree.LinedUp) -> str:
        found, target = node.of, node.indices
        order = [i for i in target if i in found.indices]
        if order == list(found.indices) and isinstance(found, tree.Named | tree.Cut):
            return self._with_new_axes(found, target)
        code = f"({self.text(found)})" if isinstance(found, tree.Sum) else self.text(found)
        permutation = tuple(found.indices.index(i) for i in order)
        if permutation != tuple(range(len(order))):
            code = f"{code}.T" if permutation == (1, 0) else f"{code}.transpose{permutation}"
        pattern = ["None" if i not in found.indices else ":" for i in target]
        while pattern and pattern[0] == "None" and not found.over_paths():
            pattern.pop(0)
        return code if "None" not in pattern or not order else f"{code}[{', '.join(pattern)}]"

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

    @text.register
    def _(self, node: tree.OverPaths) -> str:
        return f"({self.text(node.of)})[..., None]"

    @text.register
    def _(self, node: tree.Identity) -> str:
        return f"{self.xp}.eye({size_code(node.axis)})"

    @text.register
    def _(self, node: tree.OfMatrix) -> str:
        return f"_{node.function.value.replace(' ', '_')}({self.text(node.of)})"

    # --- sums and products ------------------------------------------------------------------------

    @text.register
    def _(self, node: tree.Formula) -> str:
        replaced: dict[Expr, Expr] = {part: self._leaf(leaf) for part, leaf in node.leaves}
        replaced |= {atom: number_symbol(atom) for atom in node.body.atoms(Parameter, Size) if atom not in replaced}
        return _single_brackets(self.formulas.formula(node.body.xreplace(replaced)))

    def _leaf(self, leaf: Array) -> Symbol:
        code = self.text(leaf)
        return Symbol(f"({code})" if isinstance(leaf, tree.Sum) else code, real=True)

    @text.register
    def _(self, node: tree.Sum) -> str:
        return total_text([self.text(part) for part in node.parts])

    @text.register
    def _(self, node: tree.Totalled) -> str:
        axes = tuple(range(len(node.indices) - len(node.of.indices), 0))
        return f"{self.xp}.sum({self.text(node.of)}, axis={axes if len(axes) > 1 else axes[0]})"

    @text.register
    def _(self, node: tree.Scaled) -> str:
        factor = self.text(node.factor)
        if not node.of.over_paths() or any(sign in factor for sign in "+-/ "):
            factor = f"({factor})"
        return f"{factor}*{self.text(node.of)}"

    @text.register
    def _(self, node: tree.Einsum) -> str:
        return self._einsum([(part.indices, self.text(part)) for part in node.parts], node.indices)

    @text.register
    def _(self, node: tree.Average) -> str:
        parts = [(part.indices, self.text(part)) for part in node.parts]
        weights, smallest = node.weights, node.parts[node.smallest]
        alone = sum(part.over_paths() for part in node.parts) == 1
        if alone or not self.target.takes_weights(smallest):
            parts.append((weights.indices, weights.name))
        else:
            parts[node.smallest] = smallest.indices, f"{self.text(smallest)}*{weights.name}"
        return self._einsum(parts, node.indices)

    def _einsum(self, operands: list[tuple[tuple[Index, ...], str]], output: tuple[Index, ...]) -> str:
        letters: dict[Index, str] = {i: PATH for indices, _ in operands for i in indices if tree.is_path(i)}
        # the arrays over sample paths choose their letters first
        for indices, _ in sorted(operands, key=lambda o: not any(map(tree.is_path, o[0]))):
            for index in indices:
                letters[index] = _letter_of(letters, index)
        subscript = lambda indices: "".join(letters[i] for i in indices)
        subscripts = f"{','.join(subscript(indices) for indices, _ in operands)}->{subscript(output)}"
        arrays = ", ".join(code for _, code in operands)
        if any(map(tree.is_path, letters)):
            return self.target.einsum(subscripts, arrays)
        return f'{self.xp}.einsum("{subscripts}", {arrays}, optimize=True)'

    @text.register
    def _(self, node: tree.TensorDot) -> str:
        return self.target.tensordot(self.text(node.factor), self.text(node.of), node.count)

    # --- blocks of matrices -----------------------------------------------------------------------

    @text.register
    def _(self, node: tree.Shaped) -> str:
        return f"{self.text(node.of)}.reshape({', '.join(map(str, node.shape))})"

    @text.register
    def _(self, node: tree.Broadcast) -> str:
        if not node.shape:
            return f"{self.xp}.array({self.text(node.of)})"
        return f"{self.xp}.broadcast_to({self.text(node.of)}, {tuple_text(node.shape)})"

    @text.register
    def _(self, node: tree.Zeros) -> str:
        return f"{self.xp}.zeros({tuple_text(node.shape)})"

    @text.register
    def _(self, node: tree.Concatenated) -> str:
        return f"{self.xp}.concatenate([{', '.join(map(self.text, node.parts))}], axis={node.axis})"


def _letter_of(letters: dict[Index, str], index: Index) -> str:
    """The letter of an index in an einsum: one of its name if there is one that is free."""
    wanted = [c for c in index.name.lower() if c.isascii() and c.isalpha()] + list(_LETTERS)
    return letters.get(index) or next(c for c in wanted if c not in letters.values())


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
