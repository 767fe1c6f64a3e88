"""Many changed copies of one image through a network, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError
from saliscope.core.target import Target

if TYPE_CHECKING:
    from torch import Tensor

#: Bytes that a convolutional network holds at once for each byte of input, in a forward run and with a graph, rounded
#: up from peaks measured on a CPU: MONAI's DenseNet121 109 and 725 at 224 pixels in 2D, 25 and 162 at 64 in 3D, its
#: ResNet18 133 and 376 there.
FORWARD, GRAPH = 136, 768

#: Scores that differ by less than this share of their size do not differ: it is rounding, in float32.
ROUNDING = 1e-6


def batch_size(x: Tensor, memory_mb: float, growth: int) -> int:
    """Return how many copies of one image of x (N, C, *S) a network may hold within a memory budget; at least one."""
    if memory_mb <= 0:
        raise MethodError(f"memory_mb={memory_mb}", expected="a positive budget in megabytes", do="Raise it")
    return max(1, int(memory_mb * 2**20 / (x[0].numel() * x.element_size() * growth)))


def batches(count: int, size: int) -> Iterator[range]:
    """Give the indices 0 to count - 1 in consecutive ranges of at most `size`."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def scored(
    model: Callable[[Tensor], Tensor], target: Target, copies: Callable[[range], Tensor], count: int, size: int
) -> Iterator[tuple[range, Tensor]]:
    """Give the scores (m, K), in at least float32, of `count` changed copies, of which `size` are held at once.

    `copies` makes those (m, C, *S) of a range of indices, in ascending order, each range once.
    """
    import torch

    for some in batches(count, size):
        scores = target.scores(model(copies(some)))
        yield some, scores.to(torch.promote_types(scores.dtype, torch.float32))
