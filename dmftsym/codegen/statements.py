"""Statements of the intermediate representation as lines of array code, each with its equation above."""

import re
from dataclasses import replace

from dmftsym.codegen.arrays import PATH, ArrayFormula, before_start, moment_code, part_slice, size_code, slot_code
from dmftsym.codegen.kernels import KernelCode, wrapped
from dmftsym.codegen.sources import SourceWriter
from dmftsym.codegen.storage import tuple_code
from dmftsym.codegen.tangent_kernels import TangentKernelCode, tangent_kernel_code
from dmftsym.codegen.targets import TARGETS, Target
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Before
from dmftsym.lowering.schemes import BACK
from dmftsym.program.axes import COLUMNS
from dmftsym.program.buffers import Role
from dmftsym.program.operations import Elementwise, Formula, PathSum, Store
from dmftsym.program.program import Program
from dmftsym.program.statements import (
    Assign,
    Draw,
    DrawVariation,
    ExtendBasis,
    Piece,
    RecallMemory,
    Sketch,
    Statement,
    TangentKernel,
)
from dmftsym.program.times import When, when


class StatementWriter:
    """Writes the body of the time loop of one program; `kernels` collects the elementwise kernels on the way.

    Several programs can share `kernels`; one that differs from its namesake gets the `variant` as a suffix.
    """

    def __init__(
        self,
        program: Program,
        kernels: dict[str, KernelCode | TangentKernelCode] | None = None,
        variant: str = "",
        target: Target = TARGETS["numba"],
    ):
        self.program, self.now, self.variant, self.target = program, program.grid.now, variant, target
        self.xp = target.xp
        self.histories = frozenset(a.tensor.name for a in program.sweep.buffers if a.history)
        self.formula = ArrayFormula(program.grid.now, target.xp)
        self.later = ArrayFormula(program.grid.now, target.xp, lagged=False)  # formulas that wait for the second time
        self.sources = SourceWriter(program.grid.now, self.formula, target, program.grid.passes)
        self.kernels = {} if kernels is None else kernels

    def lines(self, statement: Statement) -> list[str]:
        """The source lines of one statement: those of the operations of which it consists."""
        return [line for operation in statement.operations() for line in self._operation(operation)]

    def _operation(self, operation) -> list[str]:
        match operation:
            case Elementwise():
                return self._loop(operation)
            case Store():
                return self._store(operation)
            case TangentKernel():
                return self._tangent_kernel(operation)
            case Draw():
                return self.sources.draw(operation)
            case DrawVariation():
                return self.sources.draw_variation(operation)
            case ExtendBasis():
                return self._extend_basis(operation)
            case RecallMemory():
                return self._recall(operation)
            case Sketch():
                return self._sketch(operation)
        raise TypeError(f"unknown operation {operation!r}")

    # --- elementwise ------------------------------------------------------------------------------

    def _loop(self, loop: Elementwise) -> list[str]:
        code = self._registered(self.target.kernel(loop, self.now, self.histories))
        starting = loop.updates[0].starts
        call = wrapped(f"{code.name}(", code.arguments if starting else self._lagged(code.arguments), ")")
        if not starting:
            return call
        starts = [f"    {a.target.tensor.name}[...] = {self._start(a)}" for a in loop.updates]
        return [f"if {self.now.name} == 0:", *starts, "else:", *[f"    {line}" for line in call]]

    def _lagged(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """What a kernel takes that runs at the first time as well."""
        earlier = f"{self.now.name} - 1" + (rf"|\b{BACK.name}\b" if self.program.grid.passes > 1 else "")
        return tuple(before_start(a, self.now) if re.search(earlier, a) else a for a in arguments)

    def _start(self, assign: Assign) -> str:
        """The value of a site array at the first step."""
        target, initial = assign.target.tensor, assign.initial
        if initial is not None:
            return f"{initial.tensor.name}_start"
        role = self.program.sweep.buffer(target.name).role
        return "0.0" if role in (Role.TANGENT, Role.VARIATION) else f"{target.name}_start"

    def _apart(self, kernel: TangentKernel) -> list[str]:
        """The updates of a tangent kernel one after the other: elementwise ones as kernels, sums as array code."""
        lines: list[str] = []
        waiting: list[Assign] = []
        count = 0
        for update in (*kernel.updates, None):
            if isinstance(update, Assign):
                waiting.append(replace(update, starts=kernel.starts))
                continue
            if waiting:
                name = f"{kernel.name}_{chr(ord('a') + count)}" if count else kernel.name
                lines += self._loop(Elementwise(name, kernel.site, tuple(waiting)))
                waiting, count = [], count + 1
            if update is not None:
                lines += self.lines(update)
        return lines

    def _tangent_kernel(self, kernel: TangentKernel) -> list[str]:
        if not self.target.fuses_changes:
            return self._apart(kernel)
        code = self._registered(tangent_kernel_code(kernel, self.now, self.histories))
        lines = [f"{name} = {self.xp}.zeros((blocks_{kernel.site}, {shape}))" for name, shape, _ in code.sums]
        call = wrapped(f"{code.name}(", code.arguments if kernel.starts else self._lagged(code.arguments), ")")
        if kernel.starts:
            zeros = [f"    {u.target.tensor.name}[...] = 0.0" for u in kernel.updates]
            lines += [f"if {self.now.name} == 0:", *zeros, "else:", *[f"    {line}" for line in call]]
        else:
            lines += call
        for name, _, contract in code.sums:
            value = f"{name}.sum(axis=0)"
            if contract.explicit:
                free = self._free(contract.target)
                value += f" + {self.formula.sum_of_terms(contract.explicit, free, contract.constraints)}"
            sign = "+=" if contract.accumulate else "="
            update = f"{self._target(contract.target, contract.constraints)} {sign} {value}".replace("+ -", "- ")
            lines += [f"# {contract.equation}", update]
        return lines

    def _registered(self, code):
        if self.kernels.get(code.name, code) != code:
            code = replace(code, name=f"{code.name}_{self.variant}")
        self.kernels[code.name] = code
        return code

    # --- averages and sums ------------------------------------------------------------------------

    def _store(self, store: Store) -> list[str]:
        free = self._free(store.target)
        parts = [self._value(value, free, store) for value in store.values]
        value = " + ".join(parts).replace("+ -", "- ") or "0.0"
        target, head = self._target(store.target, store.constraints), f"# {store.equation}"
        if store.mirror:
            other, permutation = self._mirror(store)
            transposed = "row" if permutation == tuple(range(len(free))) else f"row.transpose{permutation}"
            return [head, f"{target} = row = {value}", f"{other} = {transposed}"]
        if store.first is not None:
            first = self.formula.sum_of_terms(store.first.terms, free)
            return [head, f"{target} = {value} if {self.now.name} > 0 else {first}"]
        return [head, *self._after_start(store.target, f"{target} {'+=' if store.accumulate else '='} {value}")]

    def _value(self, value: Formula | PathSum, free: tuple[Index, ...], store: Store) -> str:
        if isinstance(value, PathSum):
            return self.piece_code(value.piece, free, value.averaged)
        formula = self.formula if store.first is None else self.later
        return formula.sum_of_terms(value.terms, free, store.constraints)

    def _after_start(self, target: Entry, line: str) -> list[str]:
        """What writes to the time before must not run at the first one."""
        if any(t == self.now - 1 for t in target.times):
            return [f"if {self.now.name} > 0:", f"    {line}"]
        return [line]

    def piece_code(self, piece: Piece, free: tuple[Index, ...], averaged: bool) -> str:
        """Source of one piece of a contraction, with the axes `free` (and the paths, unless it is averaged)."""
        product = None if averaged else self._matrix_product(piece, free)
        if product:
            return product if piece.scalar == 1 else f"{self.scalar_code(piece)}*{product}"
        letters: dict[Index, str] = {}
        weight = f"weight_{piece.site}" if averaged and piece.operands else ""
        operands = [self.path_operand(o, piece.constraints, letters) for o in piece.factors]
        if weight:
            here = lambda o: when(o.times[0], self.now, piece.constraints, str(o)) if o.times else When.NOW
            moments = [here(o) for o in piece.factors]
            # the weights go to the smallest factor
            present = [k for k, m in enumerate(moments) if m is When.NOW] or [0]
            small = min(present, key=lambda k: len(operands[k][1]))
            code, subscript = operands[small]
            if len(operands) == 1 or not self.target.takes_weights(code):
                operands.append((weight, PATH))
            else:
                operands[small] = (f"{code}*{weight}", subscript)
        if piece.coefficient != 1:
            indices = self.coefficient_indices(piece, free)
            code = self.formula.expression(piece.coefficient, indices, piece.constraints)
            operands.insert(0, (code, "".join(letter_of(letters, i) for i in indices)))
        output = "".join(letter_of(letters, i) for i in free if i in letters) + ("" if weight else PATH)
        if not piece.operands:
            return f"{self.scalar_code(piece)}*({operands[0][0]})[..., None]"  # the same on every path
        source = ",".join(subscript for _, subscript in operands)
        arrays = ", ".join(code for code, _ in operands)
        total = self.target.einsum(f"{source}->{output}", arrays)
        if len(operands) == 1 and operands[0][1] == output:
            total = arrays
        missing = [i for i in free if i not in letters]
        if missing and len(missing) < len(free):
            pattern = ", ".join("None" if i in missing else ":" for i in free)
            total = f"{total}[{pattern}]"
        if piece.scalar == 1:
            return total
        return f"{self.scalar_code(piece)}*{total}"

    def _matrix_product(self, piece: Piece, free: tuple[Index, ...]) -> str | None:
        """A coefficient times one site array, summed over the leading axes of the array: one matrix product."""
        if len(piece.operands) != 1 or piece.coefficient == 1:
            return None
        letters: dict[Index, str] = {}
        (operand,) = piece.operands
        code, subscript = self.path_operand(operand, piece.constraints, letters)
        names = {letter: index for index, letter in letters.items()}
        axes = [names[letter] for letter in subscript.removesuffix(PATH)]
        if len(set(axes)) < len(axes):
            return None  # a diagonal
        summed = [i for i in axes if i not in free]
        own = self.coefficient_indices(piece, free)
        kept = [i for i in own if i not in summed]
        rest = axes[len(summed) :]
        if not summed or axes[: len(summed)] != summed or not set(summed) <= set(own) or [*kept, *rest] != list(free):
            return None
        factor = self.formula.expression(piece.coefficient, (*kept, *summed), piece.constraints)
        return self.target.tensordot(factor, code, len(summed))

    def scalar_code(self, piece: Piece) -> str:
        """Source of the number in front of a piece."""
        code = self.formula.expression(piece.scalar, (), piece.constraints)
        return f"({code})" if any(sign in code for sign in "+-/ ") else code

    def coefficient_indices(self, piece: Piece, free: tuple[Index, ...]) -> tuple[Index, ...]:
        """The axes of a coefficient: those of the target first, then the summed ones."""
        found = [i for i in piece.coefficient.atoms(Index) if i != self.now]
        rank = {index: k for k, index in enumerate(free)}
        return tuple(sorted(found, key=lambda i: (rank.get(i, len(free)), i.is_time, i.name)))

    def path_operand(self, entry: Entry, constraints, letters: dict[Index, str]) -> tuple[str, str]:
        """Source and einsum subscript of a site array; the path axis is last, the time axis (if any) first."""
        tensor = entry.tensor
        time = entry.times[0] if entry.times else None
        moment = when(time, self.now, constraints, str(entry)) if time is not None else When.NOW
        code, subscript = tensor.name, ""
        several = (When.PAST, When.UPTO, When.FUTURE, When.FROM)
        if time is not None and moment in several:
            code = f"{tensor.name}_history[{moment_code(moment, self.now)}]"
            subscript = letter_of(letters, time)
        elif moment is When.INITIAL:
            code = f"{tensor.name}_history[0]"
        elif moment is When.LAG and tensor.name in self.histories:
            earlier = f"{tensor.name}_history[{time}]"
            code = earlier if self.program.grid.passes > 1 else before_start(earlier, self.now)
        slots = [(s, a) for s, a in zip(tensor.indices, entry.indices, strict=True) if not s.is_time]
        cuts = []
        for slot, argument in slots:
            cuts.append(str(argument) if argument.is_Integer else part_slice(slot.axis, argument.axis))
            subscript += "" if argument.is_Integer else letter_of(letters, argument)
        if any(c != ":" for c in cuts):
            leading = ":, " if moment in several else ""
            code = f"{code}[{leading}{', '.join(cuts)}]"
        return code, subscript + PATH

    def _free(self, target: Entry) -> tuple[Index, ...]:
        """The indices of a target that its slice keeps, in order."""
        return tuple(i for i in target.indices if isinstance(i, Index) and i != self.now)

    def _target(self, target: Entry, constraints: tuple[Before, ...]) -> str:
        if target.tensor.site:
            earlier = any(t == self.now - 1 for t in target.times)
            return f"{target.tensor.name}_history[{self.now.name} - 1]" if earlier else f"{target.tensor.name}[...]"
        slots = zip(target.tensor.indices, target.indices, strict=True)
        codes = [slot_code(s, a, self.now, constraints, str(target)) for s, a in slots]
        return f"{target.tensor.name}[{', '.join(codes)}]" if codes else target.tensor.name

    def _mirror(self, store: Store) -> tuple[str, tuple[int, ...]]:
        """The entry with exchanged ends, and the permutation of the row's axes that it needs."""
        slots = store.target.indices
        column = [k for k, i in enumerate(slots) if isinstance(i, Index) and i.axis == COLUMNS]
        ends = [i for k, i in enumerate(slots) if k not in column]
        half = len(ends) // 2
        exchanged = [*ends[half:], *ends[:half]]
        for k in column:
            exchanged.insert(k, slots[k])
        codes = [
            slot_code(s, a, self.now, store.constraints, str(store.target)) if s.is_time else ":"
            for s, a in zip(store.target.tensor.indices, exchanged, strict=True)
        ]
        free = self._free(store.target)
        permutation = tuple(free.index(i) for i in exchanged if i in free)
        return f"{store.target.tensor.name}[{', '.join(codes)}]", permutation

    # --- memory of random matrices -----------------------------------------------------------------

    def _extend_basis(self, statement: ExtendBasis) -> list[str]:
        rows = [self.path_operand(entry, (), {})[0] for entry in statement.values]
        if len(rows) > 1:
            rows = [f"{row}.reshape(-1, len(weight_{statement.site}))" for row in rows]
        values = rows[0] if len(rows) == 1 else f"{self.xp}.concatenate([{', '.join(rows)}])"
        return [f"noise_{statement.group.name}.whiten({values}, {self.now.name})  # {statement.equation}"]

    def _recall(self, statement: RecallMemory) -> list[str]:
        site, target = statement.observable.tensor.site, statement.target.tensor
        code, _ = self.path_operand(statement.observable, (), {})
        shape = "".join(f"{size_code(i.axis)}, " for i in target.indices if not i.is_time)
        front = "" if statement.coefficient == 1 else f"({self.formula.expression(statement.coefficient, ())})*"
        before = f"{self.now.name}{' + 1' if statement.instant else ''}"
        recalled = f"noise_{statement.group.name}.recall({code}*weight_{site}, {before}).reshape({shape}-1)"
        return [f"# {statement.equation}", f"{target.name}[...] = {front}{recalled}"]

    # --- random combinations of observables --------------------------------------------------------

    def _sketch(self, statement: Sketch) -> list[str]:
        omega, target = statement.omega, statement.target.tensor
        sizes = [size_code(i.axis) for i in omega.indices[:-1]]
        shape = tuple_code([*sizes, "len(path_chosen)"])
        parts = [self.piece_code(piece, (statement.target.indices[0],), False) for piece in statement.pieces]
        drawn = self.target.from_host(f"path_generator.standard_normal({shape})")
        return [
            f"# {statement.equation}",
            f"path_chosen = path_generator.permutation(columns)[:16 + {'*'.join(sizes) or '1'}]",
            f"{omega.name} = {drawn}",
            f"path_rows = {' + '.join(parts)}",
            f"{target.name}[path_chosen] += path_rows/_spread(path_rows)",
        ]


def letter_of(letters: dict[Index, str], index: Index) -> str:
    """The letter of an index in an einsum, chosen when it is first asked for."""
    if index not in letters:
        wanted = [c for c in index.name.lower() if c.isalpha() and c.isascii()] + list("abcdefghijklmnoqrstuvwxyz")
        letters[index] = next(c for c in wanted if c != PATH and c not in letters.values())
    return letters[index]
