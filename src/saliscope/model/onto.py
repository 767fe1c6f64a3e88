"""Values of a layer on the elements of the input, linear between the centres of the layer's cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saliscope.model.cells import Cells


def onto(values: Tensor, cells: Cells | None, shape: Sequence[int]) -> Tensor:
    """Return values (N, K, *S') on a grid (N, K, *S) whose index i lies at cell (i - offset) / stride.

    Beyond the outermost centres the nearest cell holds. Without cells they lie edge to edge.
    """
    for axis, size in enumerate(shape):
        count = values.shape[2 + axis]
        stride = cells.stride[axis] if cells else size / count
        offset = cells.offset[axis] if cells else (stride - 1) / 2
        weights = _hats(count, size, stride, offset).to(values)
        values = (values.movedim(2 + axis, -1) @ weights).movedim(-1, 2 + axis)
    return values


def _hats(count: int, size: int, stride: float, offset: float) -> Tensor:
    """Return (count, size): how much each cell weighs at each element; every column sums to one."""
    at = ((torch.arange(size, dtype=torch.float64) - offset) / stride).clamp(0, count - 1)
    return (1 - (torch.arange(count, dtype=torch.float64)[:, None] - at).abs()).clamp(min=0)
