"""The targets of generated code: their array namespace, their kernels, and what they write in another way than others.

Everything that one target has and another lacks is a method of `Target`, or stands in the target's folder of templates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dmftsym.codegen.cuda_kernels import cuda_kernel_code
from dmftsym.codegen.kernels import KernelCode, kernel_code
from dmftsym.codegen.tree import Array


@dataclass(frozen=True)
class Target:
    """Code for NumPy on the host; a subclass says what another target writes instead.

    `xp` is the name of the array namespace in generated code, `kernel` prints an elementwise kernel, `folders` are
    where its templates are: a path, or the name of a target; without any, its own name.
    """

    name: str
    xp: str
    kernel: Callable[..., KernelCode]
    folders: tuple[str | Path, ...] = ()
    fuses_changes: ClassVar[bool] = True  # first-order changes of a site share a kernel with their averages
    whole_arrays: ClassVar[bool] = True  # functions of one array are evaluated outside kernels
    defers: ClassVar[bool] = True  # averages over pairs of times that no step needs are made after the last one
    operators: ClassVar[bool] = True  # products of matrices with arrays over sample paths are written with @

    # --- sums over arrays over sample paths -------------------------------------------------------

    def einsum(self, subscripts: str, arrays: str) -> str:
        """A sum of products in which arrays over sample paths take part."""
        return f'{self.xp}.einsum("{subscripts}", {arrays}, optimize=True)'

    def tensordot(self, factor: str, array: str, axes: int) -> str:
        """`factor` times an array over sample paths, summed over its leading axes."""
        return f"{self.xp}.tensordot({factor}, {array}, {axes})"

    def product(self, matrix: str, array: str) -> str:
        """A matrix times an array over sample paths."""
        return f"{matrix} @ {array}"

    def overlap(self, one: str, other: str) -> str:
        """The sums over sample paths of products of two arrays."""
        return f"{one} @ {other}.T"

    def grouped(self, product: str) -> str:
        """A `product` as one factor."""
        return f"({product})"

    def takes_weights(self, array: Array) -> bool:
        """Whether the weights of the paths can be multiplied to an array before a sum."""
        return True

    # --- arrays -----------------------------------------------------------------------------------

    def zeros(self, shape: str, site: str, kept: bool = False) -> str:
        """Zeros over the sample paths of a site; `kept`: for all times."""
        return f"{self.xp}.zeros({shape})"

    def row(self, history: str, now: str) -> str:
        """The slice of this step of an array with all times, to be written to."""
        return f"{history}[{now}]"

    def on_host(self, array: str) -> str:
        """An array as one of NumPy."""
        return array

    def from_host(self, array: str) -> str:
        """An array of NumPy as one of the target."""
        return array

    def blocks(self, site: str) -> list[str]:
        """Lines with the number of blocks of sample paths that kernels with columns work on."""
        return [f"blocks_{site} = (paths_{site} + BLOCK - 1)//BLOCK"]


@dataclass(frozen=True)
class DeviceTarget(Target):
    """Code for arrays on a device, where looking at a number costs a synchronisation.

    Arrays over sample paths may have single precision or be kept on the host there, so sums and products with them go
    through functions of the module. How many columns a factor has is not known on the host, where its rows bound it.
    """

    fuses_changes: ClassVar[bool] = False
    whole_arrays: ClassVar[bool] = False
    defers: ClassVar[bool] = False
    operators: ClassVar[bool] = False

    def einsum(self, subscripts: str, arrays: str) -> str:
        """A sum of products in which arrays over sample paths take part."""
        return f'_einsum("{subscripts}", {arrays})'

    def tensordot(self, factor: str, array: str, axes: int) -> str:
        """`factor` times an array over sample paths, summed over its leading axes."""
        return f"_tensordot({factor}, {array}, {axes})"

    def product(self, matrix: str, array: str) -> str:
        """A matrix times an array over sample paths."""
        return f"_product({matrix}, {array})"

    def overlap(self, one: str, other: str) -> str:
        """The sums over sample paths of products of two arrays."""
        return f"_overlap({one}, {other})"

    def grouped(self, product: str) -> str:
        """A call is one factor."""
        return product

    def takes_weights(self, array: Array) -> bool:
        """Not a history, which may wait on the host."""
        return not array.reads_history()

    def zeros(self, shape: str, site: str, kept: bool = False) -> str:
        """Zeros over the sample paths of a site; `kept`: for all times."""
        like = f"{shape}, weight_{site}.dtype"
        return f"_kept({like}, at_once)" if kept else f"{self.xp}.zeros({like})"

    def row(self, history: str, now: str) -> str:
        """The slice of this step of an array with all times, to be written to."""
        return f"_row({history}, {now})"

    def on_host(self, array: str) -> str:
        """An array as one of NumPy."""
        return f"{self.xp}.asnumpy({array})"

    def from_host(self, array: str) -> str:
        """An array of NumPy as one of the target."""
        return f"{self.xp}.asarray({array})"

    def blocks(self, site: str) -> list[str]:
        """Nothing: kernels do not work on blocks of sample paths."""
        return []


HOST = Target("numba", "np", kernel_code)  # whose words are those of NumPy
TARGETS = {target.name: target for target in (HOST, DeviceTarget("cupy", "cp", cuda_kernel_code))}
