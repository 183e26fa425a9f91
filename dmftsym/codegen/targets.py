"""The targets of generated code: their array namespace and how their elementwise kernels are printed."""

from collections.abc import Callable
from dataclasses import dataclass

from dmftsym.codegen.cuda_kernels import cuda_kernel_code
from dmftsym.codegen.kernels import KernelCode, kernel_code


@dataclass(frozen=True)
class Target:
    """`xp` is the name of the array namespace in generated code, `kernel` prints an elementwise kernel.

    `on_device`: arrays live where looking at a number costs a synchronisation; arrays over sample paths may have single
    precision or be kept on the host there, so sums and products with them go through functions of the module.
    """

    name: str
    xp: str
    kernel: Callable[..., KernelCode]
    on_device: bool

    def einsum(self, subscripts: str, arrays: str) -> str:
        """A sum of products in which arrays over sample paths take part."""
        if self.on_device:
            return f'_einsum("{subscripts}", {arrays})'
        return f'{self.xp}.einsum("{subscripts}", {arrays}, optimize=True)'

    def tensordot(self, factor: str, array: str, axes: int) -> str:
        """`factor` times an array over sample paths, summed over its leading axes."""
        function = "_tensordot" if self.on_device else f"{self.xp}.tensordot"
        return f"{function}({factor}, {array}, {axes})"

    def product(self, matrix: str, array: str) -> str:
        """A matrix times an array over sample paths."""
        return f"_product({matrix}, {array})" if self.on_device else f"{matrix} @ {array}"

    def overlap(self, one: str, other: str) -> str:
        """The sums over sample paths of products of two arrays."""
        return f"_overlap({one}, {other})" if self.on_device else f"{one} @ {other}.T"


TARGETS = {
    "numba": Target("numba", "np", kernel_code, False),
    "cupy": Target("cupy", "cp", cuda_kernel_code, True),
}
