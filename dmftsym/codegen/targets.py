"""The targets of generated code: their array namespace and how their elementwise kernels are printed."""

from collections.abc import Callable
from dataclasses import dataclass

from dmftsym.codegen.cuda_kernels import cuda_kernel_code
from dmftsym.codegen.kernels import KernelCode, kernel_code


@dataclass(frozen=True)
class Target:
    """`xp` is the name of the array namespace in generated code, `kernel` prints an elementwise kernel.

    `on_device`: arrays live where looking at a number costs a synchronisation.
    """

    name: str
    xp: str
    kernel: Callable[..., KernelCode]
    on_device: bool


TARGETS = {
    "numba": Target("numba", "np", kernel_code, False),
    "cupy": Target("cupy", "cp", cuda_kernel_code, True),
}
