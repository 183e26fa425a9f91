"""Statements of the intermediate representation as lines of array code, each with its equation above."""

from sympy import Integer

from dmftsym.codegen.arrays import PATH, ArrayFormula, part_slice, size_code, slot_code
from dmftsym.codegen.kernels import KernelCode, kernel_code, wrapped
from dmftsym.derivation.process import Source
from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Before, Term
from dmftsym.lowering.ir import Contract, Draw, Evaluate, Kernel, Piece, Program, SourceGroup, Statement
from dmftsym.lowering.times import When, when


class StatementWriter:
    """Writes the body of the time loop of one program; `kernels` collects the elementwise kernels on the way."""

    def __init__(self, program: Program):
        self.program, self.now = program, program.now
        self.histories = frozenset(a.tensor.name for a in program.arrays if a.history)
        self.formula = ArrayFormula(program.now)
        self.kernels: list[KernelCode] = []

    def lines(self, statement: Statement) -> list[str]:
        """The source lines of one statement."""
        match statement:
            case Kernel():
                return self._kernel(statement)
            case Contract():
                return self._contract(statement)
            case Evaluate():
                return self._evaluate(statement)
            case Draw():
                return self._draw(statement)
        raise TypeError(f"unknown statement {statement!r}")

    # --- elementwise ------------------------------------------------------------------------------

    def _kernel(self, kernel: Kernel) -> list[str]:
        code = kernel_code(kernel, self.now, self.histories)
        self.kernels.append(code)
        lines = [f"# {a.equation}" for a in kernel.assignments]
        call = wrapped(f"{code.name}(", code.arguments, ")")
        if not kernel.assignments[0].starts:
            return [*lines, *call]
        starts = [f"    {a.target.tensor.name}[...] = {a.target.tensor.name}_start" for a in kernel.assignments]
        return [*lines, f"if {self.now.name} == 0:", *starts, "else:", *[f"    {line}" for line in call]]

    # --- averages and sums ------------------------------------------------------------------------

    def _contract(self, contract: Contract) -> list[str]:
        free = self._free(contract.target, contract.constraints)
        parts = [self._piece(piece, free, contract.averaged) for piece in contract.pieces]
        if contract.explicit:
            parts.append(self.formula.sum_of_terms(contract.explicit, free, contract.constraints))
        value = " + ".join(parts).replace("+ -", "- ") or "0.0"
        target = self._target(contract.target, contract.constraints)
        lines = [f"# {contract.equation}"]
        if contract.mirror:
            other, permutation = self._mirror(contract)
            transposed = "row" if permutation == tuple(range(len(free))) else f"row.transpose{permutation}"
            return [*lines, f"row = {value}", f"{target} = row", f"{other} = {transposed}"]
        return [*lines, f"{target} {'+=' if contract.accumulate else '='} {value}"]

    def _piece(self, piece: Piece, free: tuple[Index, ...], averaged: bool) -> str:
        letters: dict[Index, str] = {}
        weight = f"weight_{piece.operands[0].tensor.site}" if averaged else ""
        operands = [self._path_operand(o, piece.constraints, letters) for o in piece.operands]
        if weight:
            moments = [when(o.times[0], self.now, piece.constraints, str(o)) for o in piece.operands]
            small = moments.index(When.NOW) if When.NOW in moments else 0
            code, subscript = operands[small]
            if len(operands) == 1:
                operands.append((weight, PATH))
            else:
                operands[small] = (f"{code}*{weight}", subscript)
        if piece.coefficient != 1:
            indices = self._coefficient_indices(piece, free)
            code = self.formula.expression(piece.coefficient, indices, piece.constraints)
            operands.insert(0, (code, "".join(_letter(letters, i) for i in indices)))
        output = "".join(_letter(letters, i) for i in free if i in letters) + ("" if weight else PATH)
        source = ",".join(subscript for _, subscript in operands)
        arrays = ", ".join(code for code, _ in operands)
        total = f'np.einsum("{source}->{output}", {arrays}, optimize=True)'
        if len(operands) == 1 and operands[0][1] == output:
            total = arrays
        missing = [i for i in free if i not in letters]
        if missing and len(missing) < len(free):
            pattern = ", ".join("None" if i in missing else ":" for i in free)
            total = f"{total}[{pattern}]"
        if piece.scalar == 1:
            return total
        return f"{self._scalar(piece)}*{total}"

    def _scalar(self, piece: Piece) -> str:
        code = self.formula.expression(piece.scalar, (), piece.constraints)
        return f"({code})" if any(sign in code for sign in "+-/ ") else code

    def _coefficient_indices(self, piece: Piece, free: tuple[Index, ...]) -> tuple[Index, ...]:
        """The axes of a coefficient: those of the target first, then the summed ones."""
        found = [i for i in piece.coefficient.atoms(Index) if i != self.now]
        rank = {index: k for k, index in enumerate(free)}
        return tuple(sorted(found, key=lambda i: (rank.get(i, len(free)), i.is_time, i.name)))

    def _path_operand(self, entry: Entry, constraints, letters: dict[Index, str]) -> tuple[str, str]:
        """Source and einsum subscript of a site array; the path axis is last, the time axis (if any) first."""
        tensor = entry.tensor
        time = entry.times[0]
        moment = when(time, self.now, constraints, str(entry))
        code, subscript = tensor.name, ""
        if moment in (When.PAST, When.UPTO):
            code = f"{tensor.name}_history[:{self.now.name}{' + 1' if moment is When.UPTO else ''}]"
            subscript = _letter(letters, time)
        elif moment is When.INITIAL:
            code = f"{tensor.name}_history[0]"
        elif moment is When.LAG and tensor.name in self.histories:
            code = f"{tensor.name}_history[{self.now.name} - 1]"
        slots = [(s, a) for s, a in zip(tensor.indices, entry.indices, strict=True) if not s.is_time]
        cuts = []
        for slot, argument in slots:
            cuts.append(str(argument) if argument.is_Integer else part_slice(slot.axis, argument.axis))
            subscript += "" if argument.is_Integer else _letter(letters, argument)
        if any(c != ":" for c in cuts):
            leading = ":, " if moment in (When.PAST, When.UPTO) else ""
            code = f"{code}[{leading}{', '.join(cuts)}]"
        return code, subscript + PATH

    def _free(self, target: Entry, constraints: tuple[Before, ...]) -> tuple[Index, ...]:
        """The indices of a target that its slice keeps, in order."""
        return tuple(i for i in target.indices if not (isinstance(i, Index) and i == self.now) and i != Integer(0))

    def _target(self, target: Entry, constraints: tuple[Before, ...]) -> str:
        if target.tensor.site:
            return f"{target.tensor.name}[...]"
        slots = zip(target.tensor.indices, target.indices, strict=True)
        codes = [slot_code(s, a, self.now, constraints, str(target)) for s, a in slots]
        return f"{target.tensor.name}[{', '.join(codes)}]" if codes else target.tensor.name

    def _mirror(self, contract: Contract) -> tuple[str, tuple[int, ...]]:
        """The entry with exchanged ends, and the permutation of the row's axes that it needs."""
        half = len(contract.target.indices) // 2
        slots = contract.target.indices
        exchanged = (*slots[half:], *slots[:half])
        codes = [
            slot_code(s, a, self.now, contract.constraints, str(contract.target)) if s.is_time else ":"
            for s, a in zip(contract.target.tensor.indices, exchanged, strict=True)
        ]
        free = self._free(contract.target, contract.constraints)
        permutation = tuple(free.index(i) for i in exchanged if i in free)
        return f"{contract.target.tensor.name}[{', '.join(codes)}]", permutation

    # --- functions of order parameters ------------------------------------------------------------

    def _evaluate(self, statement: Evaluate) -> list[str]:
        free = self._free(statement.target, statement.constraints)
        value = self.formula.sum_of_terms(statement.terms, free, statement.constraints)
        return [f"# {statement.equation}", f"{self._target(statement.target, statement.constraints)} = {value}"]

    # --- sources ----------------------------------------------------------------------------------

    def covariance(self, group: SourceGroup) -> str:
        """The covariance of a group at one time, or its rows against all times up to now, as one matrix."""
        size = group_size(group)
        if len(group.members) == 1:
            return f"{self._block(group, *group.members * 2)}.reshape({size}, -1)"
        rows = []
        for left in group.members:
            shapes = [self._shape(group, left, right) for right in group.members]
            blocks = [
                f"{self._block(group, left, right)}.reshape({shape})"
                for right, shape in zip(group.members, shapes, strict=True)
            ]
            rows.append(f"np.concatenate([{', '.join(blocks)}], axis=-1)")
        return f"np.concatenate([{', '.join(rows)}], axis=0).reshape({size}, -1)"

    def _shape(self, group: SourceGroup, left: Source, right: Source) -> str:
        times = [f"{self.now.name} + 1"] if group.kind == "evolving" else []
        return ", ".join([_size(left), *times, _size(right)])

    def _block(self, group: SourceGroup, left: Source, right: Source) -> str:
        evolving = group.kind == "evolving"
        for block in group.blocks:
            if (block.left.tensor, block.right.tensor) == (left.tensor, right.tensor):
                return self._block_code(block.left, block.right, block.terms, evolving)
            if (block.left.tensor, block.right.tensor) == (right.tensor, left.tensor):
                if not evolving:
                    return self._block_code(block.right, block.left, block.terms, False)
                swap = {block.left.times[0]: block.right.times[0], block.right.times[0]: block.left.times[0]}
                terms = tuple(Term(t.body.xreplace(swap), t.bound, t.constraints) for t in block.terms)
                return self._block_code(block.right.xreplace(swap), block.left.xreplace(swap), terms, True)
        return f"np.zeros(({self._shape(group, left, right)}))"

    def _block_code(self, left: Entry, right: Entry, terms, evolving: bool) -> str:
        """One block with the axes of both ends (and the earlier time between them)."""
        constraints = (Before(right.times[0], self.now, True),) if evolving else ()
        time = (right.times[0],) if evolving else ()
        spatial = [[i for i in e.indices if not (isinstance(i, Index) and i.is_time)] for e in (left, right)]
        target = (*spatial[0], *time, *spatial[1])
        code = self.formula.sum_of_terms(terms, target, constraints)
        if not target:
            return f"np.array({code})"
        only = terms[0].body if len(terms) == 1 else None
        if isinstance(only, Entry) and len(only.atoms(Index) - {self.now}) == len(target):
            return code
        full = ", ".join(size_code(i.axis) if not i.is_time else f"{self.now.name} + 1" for i in target)
        return f"np.broadcast_to({code}, ({full}{',' if len(target) == 1 else ''}))"

    def _draw(self, statement: Draw) -> list[str]:
        group, now = statement.group, self.now.name
        name = group.name
        size = f"size_{name}"
        lines = [f"# {statement.equation}"]
        if group.kind == "evolving":
            lines += [
                f"row = {self.covariance(group)}",
                f"opened = _extend_factor(factor_{name}, active_{name}, rank_{name}, row, {now})",
                "if opened < 0:",
                f'    status = f"failed: the covariance of {name} is not positive at step {{{now}}}"',
                "    break",
                f"rank_{name}, null_directions = rank_{name} + opened, null_directions + {size} - opened",
                f"drawn = factor_{name}[{now}*{size} :][:{size}, :rank_{name}] @ normals_{name}[:rank_{name}]",
            ]
        else:
            lines += [
                f'factor_{name} = _factor({self.covariance(group)}, "{statement.equation}")',
                f"drawn = factor_{name} @ normals_{name}[{now}, :factor_{name}.shape[1]]",
            ]
        return lines + self.members(group)

    def members(self, group: SourceGroup) -> list[str]:
        """Split the drawn values of a group into its sources."""
        lines, start = [], ""
        for member in group.members:
            shape = ", ".join(size_code(i.axis) for i in member.tensor.indices if not i.is_time)
            stop = f"{start} + {_size(member)}" if start else _size(member)
            cut = "drawn" if len(group.members) == 1 else f"drawn[{start}:{stop}]"
            lines.append(f"{member.tensor.name} = {cut}.reshape({shape + ', ' if shape else ''}-1)")
            start = stop
        return lines


def _letter(letters: dict[Index, str], index: Index) -> str:
    if index not in letters:
        wanted = [c for c in index.name.lower() if c.isalpha() and c.isascii()] + list("abcdefghijklmnoqrstuvwxyz")
        letters[index] = next(c for c in wanted if c != PATH and c not in letters.values())
    return letters[index]


def _size(source) -> str:
    return "*".join(size_code(i.axis) for i in source.tensor.indices if not i.is_time) or "1"


def group_size(group: SourceGroup) -> str:
    """The number of jointly Gaussian values of a group at one time."""
    return " + ".join(_size(m) for m in group.members)


def times_size(count: str, size: str) -> str:
    """Source of count times a size, without superfluous brackets."""
    if size == "1":
        return count
    return f"{count}*{size}" if size.isidentifier() else f"{count}*({size})"
