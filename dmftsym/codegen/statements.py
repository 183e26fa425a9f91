"""Statements of the intermediate representation as lines of array code, each with its equation above."""

from dataclasses import replace

from dmftsym.codegen import tree
from dmftsym.codegen.array_printer import ArrayPrinter, place_text, subscripts_of, total_text
from dmftsym.codegen.arrays import ArrayFormula, Arrays
from dmftsym.codegen.kernels import KernelCode, element, wrapped
from dmftsym.codegen.matrices import MatrixWriter
from dmftsym.codegen.pieces import Pieces
from dmftsym.codegen.places import place_of, size_code
from dmftsym.codegen.sources import SourceWriter
from dmftsym.codegen.storage import tuple_code
from dmftsym.codegen.tangent_kernels import TangentKernelCode, tangent_kernel_code
from dmftsym.codegen.targets import HOST, Target
from dmftsym.codegen.tree import Array
from dmftsym.codegen.whole_arrays import MadeFunction, evaluated, made_by, parts_of
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Before, entries_of
from dmftsym.program.axes import COLUMNS, PARTS
from dmftsym.program.buffers import Role
from dmftsym.program.operations import Elementwise, Formula, PathSum, Store
from dmftsym.program.program import Program
from dmftsym.program.statements import (
    Assign,
    Contract,
    Draw,
    DrawVariation,
    ExtendBasis,
    Learning,
    LearningChange,
    MatrixChange,
    MatrixProduct,
    PathLoop,
    RecallMemory,
    Sketch,
    Statement,
)
from dmftsym.program.storage import fleeting_of


class StatementWriter:
    """Writes the body of the time loop of one program; `kernels` collects the elementwise kernels on the way.

    Several programs can share `kernels`; one that differs from its namesake gets the `variant` as a suffix.
    """

    def __init__(
        self,
        program: Program,
        kernels: dict[str, KernelCode | TangentKernelCode] | None = None,
        variant: str = "",
        target: Target = HOST,
    ):
        self.program, self.now, self.variant, self.target = program, program.grid.now, variant, target
        self.xp, self.printer = target.xp, ArrayPrinter(target)
        self.formula = ArrayFormula(program.grid.now, target)
        self.arrays = self.formula.arrays
        self.later = Arrays(program.grid.now, lagged=False)  # formulas that wait for the second time
        self.pieces = Pieces(program, self.arrays)
        self.sources = SourceWriter(program.grid.now, self.formula, target, program.grid.passes, self.pieces.parts)
        self.matrices, self.fleeting = MatrixWriter(self.formula, self.pieces), fleeting_of(program)
        self.kernels = {} if kernels is None else kernels
        self.made: tuple[MadeFunction, ...] = ()

    def step(self, statements: tuple[Statement, ...]) -> list[list[str]]:
        """The source lines of statements that follow each other."""
        self.made = ()
        return [self.lines(statement) for statement in statements]

    def lines(self, statement: Statement) -> list[str]:
        """The source lines of one statement: those of the operations of which it consists."""
        return [line for operation in statement.operations() for line in self._operation(operation)]

    def _operation(self, operation) -> list[str]:
        match operation:
            case Elementwise():
                return self._loop(operation)
            case Store():
                return self._store(operation)
            case PathLoop():
                return self._tangent_kernel(operation)
            case Draw():
                return self.sources.draw(operation)
            case DrawVariation():
                return self.sources.draw_variation(operation)
            case ExtendBasis():
                return self._extend_basis(operation)
            case RecallMemory():
                return self._recall(operation)
            case MatrixProduct() | MatrixChange():
                return self.matrices.given(operation, operation.target.tensor not in self.fleeting)
            case Learning() | LearningChange():
                return self.matrices.learned(operation)
            case Sketch():
                return self._sketch(operation)
        raise TypeError(f"unknown operation {operation!r}")

    # --- elementwise ------------------------------------------------------------------------------

    def _loop(self, loop: Elementwise) -> list[str]:
        loops = parts_of(loop, self.now) if self.target.whole_arrays else [loop]
        return [line for part in loops for line in self._part(part)]

    def _part(self, loop: Elementwise) -> list[str]:
        """One kernel, or the line of a function of a whole array."""
        written = {a.target.tensor for a in loop.updates}
        made = [function for a in loop.updates if (function := made_by(a, self.now)) is not None]
        before, self.made = self.made, tuple(m for m in self.made if not written & m.tensors) + tuple(made)
        if self.target.whole_arrays and len(made) == len(loop.updates) == 1:
            return self._function(loop.updates[0], made[0])
        code = self._registered(self.target.kernel(loop, self.now, self.pieces.histories, before))
        starting = loop.updates[0].starts
        call = self._call(code, starting)
        if not starting:
            return call
        starts = [f"    {a.target.tensor.name}[...] = {self._start(a)}" for a in loop.updates]
        return [f"if {self.now.name} == 0:", *starts, "else:", *[f"    {line}" for line in call]]

    def _function(self, assign: Assign, made: MadeFunction) -> list[str]:
        """The line of an update that is a function of a whole array."""
        (entry,) = entries_of(made.function)
        value = evaluated(made.function, element(entry, self.now, self.pieces.histories).argument)
        call = self.printer.text(value).removesuffix(")")
        return [f"# {assign.equation}", f"{call}, out={assign.target.tensor.name})"]

    def _call(self, code: KernelCode | TangentKernelCode, starting: bool) -> list[str]:
        """The call of a kernel; one that does not wait for the second time takes zeros from before the first."""
        arguments = code.arguments if starting else [tree.before_start(a, self.now) for a in code.arguments]
        return wrapped(f"{code.name}(", tuple(map(self.printer.text, arguments)), ")")

    def _start(self, assign: Assign) -> str:
        """The value of a site array at the first step."""
        target, initial = assign.target.tensor, assign.initial
        if initial is not None:
            return f"{initial.tensor.name}_start"
        role = self.program.sweep.buffer(target.name).role
        return "0.0" if role in (Role.TANGENT, Role.VARIATION) else f"{target.name}_start"

    def _apart(self, kernel: PathLoop) -> list[str]:
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

    def _tangent_kernel(self, kernel: PathLoop) -> list[str]:
        if not self.target.fuses_changes:
            return self._apart(kernel)
        code = self._registered(tangent_kernel_code(kernel, self.now, self.pieces.histories))
        lines = [f"{name} = {self.xp}.zeros((blocks_{kernel.site}, {shape}))" for name, shape, _ in code.sums]
        call = self._call(code, kernel.starts)
        if kernel.starts:
            zeros = [f"    {u.target.tensor.name}[...] = 0.0" for u in kernel.updates]
            lines += [f"if {self.now.name} == 0:", *zeros, "else:", *[f"    {line}" for line in call]]
        else:
            lines += call
        for name, _, contract in code.sums:
            parts = [f"{name}.sum(axis=0)"]
            if contract.explicit:
                explicit = self.arrays.total(contract.explicit, self._free(contract.target), contract.constraints)
                parts.append(self.printer.text(explicit))
            sign = "+=" if contract.accumulate else "="
            update = f"{self._target(contract.target, contract.constraints)} {sign} {total_text(parts)}"
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
        value = self.printer.text(tree.Sum(free, tuple(self._value(value, free, store) for value in store.values)))
        target, head = self._target(store.target, store.constraints), f"# {store.equation}"
        if store.mirror:
            exchanged = self._exchanged(store.target)
            row = tree.lined_up(tree.Named(free, "row"), tuple(i for i in exchanged.indices if i in free))
            other = self._target(exchanged, store.constraints)
            return [head, f"{target} = row = {value}", f"{other} = {self.printer.text(row)}"]
        if store.first is not None:
            first = self.printer.text(self.arrays.total(store.first.terms, free))
            return [head, f"{target} = {value} if {self.now.name} > 0 else {first}"]
        return [head, *self._after_start(store.target, f"{target} {'+=' if store.accumulate else '='} {value}")]

    def closing(self, contract: Contract) -> list[str]:
        """The lines of an average over all pairs of times up to now."""
        (piece,), now, target = contract.pieces, self.now, contract.target
        (other,) = (t for t in target.times if t != now)
        first, second = sorted(piece.operands, key=lambda e: e.times != (now,))
        at_all = (first.tensor[tuple(other if i == now else i for i in first.indices)], second)
        one, two = (self.pieces.operand(entry, contract.constraints) for entry in at_all)
        subscripts = subscripts_of([(now, *one.indices[1:]), two.indices], target.indices)
        places = [f":{now.name} + 1" if i.is_time else ":" for i in target.tensor.indices]
        arrays = [self.printer.text(tree.before_start(array, now)) for array in (one, two)]
        parts, scale = PARTS.size if self.pieces.parts else "1", self.formula.expression(piece.scalar, ())
        items = (f"{target.tensor.name}[{', '.join(places)}]", f'"{subscripts}"', parts, *arrays)
        weights = f"weight_{piece.site}{'' if piece.scalar == 1 else f'*({scale})'}"
        return [f"# {contract.equation}", *wrapped("_over_times(", (*items, weights), ")")]

    def _value(self, value: Formula | PathSum, free: tuple[Index, ...], store: Store) -> Array:
        if isinstance(value, PathSum):
            return self.pieces.piece(value.piece, free, value.averaged, store.target.tensor.site)
        arrays = self.arrays if store.first is None else self.later
        return arrays.total(value.terms, free, store.constraints)

    def _after_start(self, target: Entry, line: str) -> list[str]:
        """What writes to the time before must not run at the first one."""
        if any(t == self.now - 1 for t in target.times):
            return [f"if {self.now.name} > 0:", f"    {line}"]
        return [line]

    def _free(self, target: Entry) -> tuple[Index, ...]:
        """The indices of a target that its slice keeps, in order."""
        return tuple(i for i in target.indices if isinstance(i, Index) and i != self.now)

    def _target(self, target: Entry, constraints: tuple[Before, ...]) -> str:
        if target.tensor.site:
            earlier = any(t == self.now - 1 for t in target.times)
            return f"{target.tensor.name}_history[{self.now.name} - 1]" if earlier else f"{target.tensor.name}[...]"
        slots = zip(target.tensor.indices, target.indices, strict=True)
        places = [place_of(s, a, self.now, constraints, str(target)) for s, a in slots]
        return f"{target.tensor.name}[{', '.join(map(place_text, places))}]" if places else target.tensor.name

    def _exchanged(self, target: Entry) -> Entry:
        """The entry with exchanged ends."""
        slots = target.indices
        column = [k for k, i in enumerate(slots) if isinstance(i, Index) and i.axis in (COLUMNS, PARTS)]
        ends = [i for k, i in enumerate(slots) if k not in column]
        half = len(ends) // 2
        exchanged = [*ends[half:], *ends[:half]]
        for k in column:
            exchanged.insert(k, slots[k])
        return target.tensor[tuple(exchanged)]

    # --- memory of random matrices -----------------------------------------------------------------

    def operand(self, entry: Entry) -> str:
        """Source of a site array at the time of an entry."""
        return self.printer.text(self.pieces.operand(entry))

    def _extend_basis(self, statement: ExtendBasis) -> list[str]:
        rows = [self.operand(entry) for entry in statement.values]
        if len(rows) > 1:
            rows = [f"{row}.reshape(-1, len(weight_{statement.site}))" for row in rows]
        values = rows[0] if len(rows) == 1 else f"{self.xp}.concatenate([{', '.join(rows)}])"
        return [f"noise_{statement.group.name}.whiten({values}, {self.now.name})  # {statement.equation}"]

    def _recall(self, statement: RecallMemory) -> list[str]:
        site, target = statement.observable.tensor.site, statement.target.tensor
        code = self.operand(statement.observable)
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
        free = (statement.target.indices[0],)
        rows = tree.Sum((), tuple(self.pieces.piece(piece, free, False) for piece in statement.pieces))
        drawn = self.target.from_host(f"path_generator.standard_normal({shape})")
        return [
            f"# {statement.equation}",
            f"path_chosen = path_generator.permutation(columns)[:16 + {'*'.join(sizes) or '1'}]",
            f"{omega.name} = {drawn}",
            f"path_rows = {self.printer.text(rows)}",
            f"{target.name}[path_chosen] += path_rows/_spread(path_rows)",
        ]
