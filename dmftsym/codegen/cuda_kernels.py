"""Elementwise kernels as CUDA C: one thread a sample path, loops over the other indices inside."""

from dmftsym.codegen.cuda_printer import CudaPrinter
from dmftsym.codegen.kernels import KernelCode, KernelWriter, element, number, wrapped
from dmftsym.codegen.places import size_code
from dmftsym.codegen.tree import Array
from dmftsym.codegen.whole_arrays import MadeFunction
from dmftsym.language.symbols import Entry, Index
from dmftsym.program.axes import PARTS
from dmftsym.program.operations import Elementwise


def cuda_kernel_code(
    kernel: Elementwise, now: Index, histories: frozenset[str], made: tuple[MadeFunction, ...] = ()
) -> KernelCode:
    """Print the updates of a kernel; arrays become pointers to double, cut to the time at which they are read.

    What updates before it `made` is made once more: reading costs a device more than a function.
    """
    writer = _Writer(kernel, now, histories, CudaPrinter())
    declared = tuple(f"{kind} {name}" for name, kind in writer.kinds.items())
    lines = wrapped("(", ("long long paths", *declared), ") {")
    lines[-2:-1] = [line.rstrip(",") for line in lines[-2:-1]]  # C takes no comma after the last parameter
    return writer.kernel(tuple(lines))


class _Writer(KernelWriter):
    """Prints loops in C; arrays lie in row-major order."""

    kronecker, comment, whole_arrays = "({} == {} ? 1.0 : 0.0)", "// ", False
    assignment, local = "{} = {};", "const double {} = {};"

    def __init__(self, kernel: Elementwise, now: Index, histories: frozenset[str], printer: CudaPrinter):
        self.kinds: dict[str, str] = {}  # C type of every parameter
        super().__init__(kernel, now, histories, printer)

    def take(self, name: str, argument: Array, whole: bool = False) -> None:
        """Note a parameter, its type and what is passed for it."""
        super().take(name, argument)
        self.kinds.setdefault(name, "long long" if whole else "double")

    def limit(self, index: Index, target: Entry) -> str:
        """The upper limit of a loop over an index."""
        return self._size(index)

    def _size(self, index: Index) -> str:
        size = size_code(index.axis)
        if not size.isdigit():
            self.take(size, number(size), True)
        return size

    def element(self, entry: Entry) -> str:
        """One value of an array; a pointer to it is passed."""
        found, tensor = element(entry, self.now, self.histories), entry.tensor
        own = found.name == tensor.name and found.name in self.written
        self.kinds.setdefault(found.name, "double*" if own else "const double*")
        self.take(found.name, found.argument)
        sizes = [self._size(i) for i in tensor.indices if not i.is_time] + (["paths"] if tensor.site else [])
        if any(i.axis == PARTS for i in tensor.indices):
            self.part = f"const long long {entry.indices[0]} = path*{PARTS.size}/paths;"
        return f"{found.name}[{_flat(found.places, sizes)}]"


def _flat(places: tuple[str, ...], sizes: list[str]) -> str:
    """The place in memory of an element: ((i)*size + j)*size + path."""
    result = ""
    for place, size in zip(places, sizes, strict=True):
        single = place if place.isidentifier() or place.isdigit() else f"({place})"
        result = f"{f'({result})' if ' ' in result else result}*{size} + {place}" if result else single
    return result or "0"
