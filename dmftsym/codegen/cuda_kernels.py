"""Elementwise kernels as CUDA C: one thread a sample path, loops over the other indices inside."""

from sympy import Expr, KroneckerDelta, Symbol

from dmftsym.codegen.cuda_printer import CudaPrinter
from dmftsym.codegen.kernels import KernelCode, Loop, element, listed, loops_of, number, repeated_functions, wrapped
from dmftsym.codegen.places import size_code
from dmftsym.codegen.printers import number_symbol
from dmftsym.codegen.tree import Node
from dmftsym.language.symbols import Entry, Index, Parameter, Size
from dmftsym.language.terms import entries_of, substitute_activations
from dmftsym.lowering.schemes import BLEND, REACH
from dmftsym.program.axes import TIME_STEP
from dmftsym.program.operations import Elementwise
from dmftsym.program.statements import Assign


def cuda_kernel_code(kernel: Elementwise, now: Index, histories: frozenset[str]) -> KernelCode:
    """Print the updates of a kernel; arrays become pointers to double, cut to the time at which they are read."""
    writer = _Writer(kernel, now, histories)
    printed = tuple(writer.loop(indices, group) for indices, group in loops_of(kernel))
    declared = tuple(f"{kind} {name}" for name, (kind, _) in writer.parameters.items())
    first = kernel.updates[0].target.tensor.name
    arguments = tuple(argument for _, argument in writer.parameters.values())
    lines = wrapped("(", ("long long paths", *declared), ") {")
    lines[-2:-1] = [line.rstrip(",") for line in lines[-2:-1]]  # C takes no comma after the last parameter
    updates = listed([a.target.tensor.name for a in kernel.updates])
    return KernelCode(kernel.name, tuple(lines), arguments, first, printed, updates)


class _Writer:
    """Prints loops and notes what the caller must pass: name: (C type, argument)."""

    def __init__(self, kernel: Elementwise, now: Index, histories: frozenset[str]):
        self.now, self.histories, self.printer = now, histories, CudaPrinter()
        self.written = {a.target.tensor.name for a in kernel.updates}
        self.parameters: dict[str, tuple[str, Node]] = {}
        for assign in kernel.updates:
            self.element(assign.target)

    def loop(self, indices: tuple[Index, ...], group: list[Assign]) -> Loop:
        """Loops over `indices` with the updates of a group inside."""
        bodies = [self._with_source_names(a.expression) for a in group]
        taken = {*self.parameters, *self.written}
        common = repeated_functions(bodies, taken)
        lines: list[str] = []
        done: set[Expr] = set()
        for assign, body in zip(group, bodies, strict=True):
            for function, name in common.items():
                if function not in done and body.has(function):
                    lines.append(f"const double {name} = {self.printer.formula(function)};")
                    done.add(function)
            lines.append(f"// {assign.equation}")
            value = self.printer.formula(body.xreplace({f: Symbol(n, real=True) for f, n in common.items()}))
            lines.append(f"{self.element(assign.target)} = {value};")
        return Loop(tuple((i.name, self._size(i)) for i in indices), tuple(lines))

    def _size(self, index: Index) -> str:
        size = size_code(index.axis)
        if not size.isdigit():
            self.parameters.setdefault(size, ("long long", number(size)))
        return size

    def _with_source_names(self, expr: Expr) -> Expr:
        expr = substitute_activations(expr)
        replaced: dict[Expr, Expr] = {e: Symbol(self.element(e), real=True) for e in entries_of(expr)}
        for delta in sorted(expr.atoms(KroneckerDelta), key=str):
            replaced[delta] = Symbol(f"({delta.args[0]} == {delta.args[1]} ? 1.0 : 0.0)", real=True)
        for atom in sorted(expr.atoms(Parameter, Size), key=str):
            kind = "double" if isinstance(atom, Parameter) else "long long"
            self.parameters.setdefault(atom.name, (kind, number(atom.name)))
            replaced[atom] = number_symbol(atom)
        for of_pass in (n for n in (TIME_STEP, REACH, BLEND) if expr.has(n)):
            self.parameters.setdefault(of_pass.name, ("double", number(of_pass.name)))
        return expr.xreplace(replaced)

    def element(self, entry: Entry) -> str:
        """Source of one element of an array in row-major order; a pointer for its array among the parameters."""
        found, tensor = element(entry, self.now, self.histories), entry.tensor
        own = found.name == tensor.name and found.name in self.written
        self.parameters.setdefault(found.name, ("double*" if own else "const double*", found.argument))
        sizes = [self._size(i) for i in tensor.indices if not i.is_time] + (["paths"] if tensor.site else [])
        return f"{found.name}[{_flat(found.places, sizes)}]"


def _flat(places: tuple[str, ...], sizes: list[str]) -> str:
    """The place in memory of an element: ((i)*size + j)*size + path."""
    result = ""
    for place, size in zip(places, sizes, strict=True):
        single = place if place.isidentifier() or place.isdigit() else f"({place})"
        result = f"{f'({result})' if ' ' in result else result}*{size} + {place}" if result else single
    return result or "0"
