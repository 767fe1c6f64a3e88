"""The ranks of values over an image, equal values sharing theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Values nearer than this share of the largest magnitude are one: rounding must not put an order where there is none.
ALIKE = 2.0**-16


def ranked(values: Tensor) -> Tensor:
    """Return, for each map of values (N, K, *S), the mean rank of every element from 0 to 1; all equal give 0.5."""
    import torch

    maps = [_of_one(one) for one in values.flatten(2).flatten(0, 1)]
    return torch.stack(maps).reshape(values.shape)


def _of_one(values: Tensor) -> Tensor:
    import torch

    found = values.float() if values.element_size() < 4 else values
    most = found.abs().max()
    steps = (found / (most * ALIKE)).round() if most > 0 else found
    _, place, counts = torch.unique(steps, return_inverse=True, return_counts=True)
    ends = counts.cumsum(0)
    middle = (2 * ends - counts - 1).to(found.dtype) / 2
    return middle[place] / max(1, len(values) - 1) if len(values) > 1 else found.new_full((1,), 0.5)
