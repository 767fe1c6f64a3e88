"""Values of a layer on the elements of the input: between the centres of the layer's cells, or given out to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saliscope.core.protocols import Steps


def onto(values: Tensor, cells: Steps | None, shape: Sequence[int]) -> Tensor:
    """Return values (N, K, *S') on a grid (N, K, *S) whose index i lies at cell (i - offset) / stride.

    Beyond the outermost centres the nearest cell holds. Without cells they lie edge to edge.
    """
    for axis, size in enumerate(shape):
        weights = _hats(*_axis(values, cells, axis, size)).to(values)
        values = (values.movedim(2 + axis, -1) @ weights).movedim(-1, 2 + axis)
    return values


def spread(values: Tensor, cells: Steps | None, shape: Sequence[int]) -> Tensor:
    """Return values (N, K, *S') given out to the elements (N, K, *S) for which their cells stand: every sum is kept.

    The transpose of an interpolation: a cell gives to each element in the measure in which `onto` would ask it there.
    One that lies between elements or beyond the edge, and would be asked nowhere, gives to the nearest ones.
    """
    for axis, size in enumerate(shape):
        weights = _shares(*_axis(values, cells, axis, size)).to(values)
        values = (values.movedim(2 + axis, -1) @ weights).movedim(-1, 2 + axis)
    return values


def _axis(values: Tensor, cells: Steps | None, axis: int, size: int) -> tuple[int, int, float, float]:
    """Return the number of cells along an axis, of elements, the stride and the offset."""
    count = values.shape[2 + axis]
    stride = cells.stride[axis] if cells else size / count
    offset = cells.offset[axis] if cells else (stride - 1) / 2
    return count, size, stride, offset


def _hats(count: int, size: int, stride: float, offset: float) -> Tensor:
    """Return (count, size): how much each cell weighs at each element; every column sums to one."""
    at = ((torch.arange(size, dtype=torch.float64) - offset) / stride).clamp(0, count - 1)
    return (1 - (torch.arange(count, dtype=torch.float64)[:, None] - at).abs()).clamp(min=0)


def _shares(count: int, size: int, stride: float, offset: float) -> Tensor:
    """Return (count, size): which share of each cell goes to each element; every row sums to one."""
    centres = (offset + stride * torch.arange(count, dtype=torch.float64)).clamp(0, size - 1)
    near = (1 - (torch.arange(size, dtype=torch.float64) - centres[:, None]).abs()).relu()
    if stride < 1:
        return near
    wide = _hats(count, size, stride, offset)
    total = wide.sum(dim=1, keepdim=True)
    return (wide / total.masked_fill(total == 0, 1)).where(total > 0, near)
