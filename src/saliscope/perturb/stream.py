"""Many changed copies of one image through a network, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError

if TYPE_CHECKING:
    from torch import Tensor

#: Bytes that a convolutional network holds at once for each byte of input, in a forward run and with a graph, rounded
#: up from peaks measured on a CPU: MONAI's DenseNet121 109 and 725 at 224 pixels in 2D, 25 and 162 at 64 in 3D, its
#: ResNet18 133 and 376 there.
FORWARD, GRAPH = 136, 768


def batch_size(x: Tensor, memory_mb: float, growth: int) -> int:
    """Return how many copies of one image of x (N, C, *S) a network may hold within a memory budget; at least one."""
    if memory_mb <= 0:
        raise MethodError(f"memory_mb={memory_mb}", expected="a positive budget in megabytes", do="Raise it")
    return max(1, int(memory_mb * 2**20 / (x[0].numel() * x.element_size() * growth)))


def batches(count: int, size: int) -> Iterator[range]:
    """Give the indices 0 to count - 1 in consecutive ranges of at most `size`."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
