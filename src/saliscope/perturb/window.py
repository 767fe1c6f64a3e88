"""Windows that slide over an image, all of one size, until every element was covered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError

if TYPE_CHECKING:
    from torch import Tensor


def per_axis(name: str, value: int | tuple[int, ...] | None, default: Sequence[int], limit: Sequence[int]) -> list[int]:
    """Return one size for each axis from one number, one for each, or the default; none larger than the limit.

    Raises MethodError for another number of axes.
    """
    given = list(default) if value is None else [value] * len(limit) if isinstance(value, int) else list(value)
    if len(given) != len(limit):
        raise MethodError(
            f"{name}={value} for an image of {len(limit)} axes",
            expected="one number, or one for each axis",
            do=f"Give {len(limit)}",
        )
    return [min(g, n) for g, n in zip(given, limit, strict=True)]


def starts(size: int, window: int, stride: int) -> list[int]:
    """Return where windows begin along an axis; the last is moved back to end at the edge, with its full size."""
    last = size - window
    return [*range(0, last, stride), last]


def spread(values: Tensor, begins: Sequence[Sequence[int]], window: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return (K, *S): at every element the mean of the values (K, *windows) of the windows that cover it.

    The grid of windows is a product of axes, so the mean is one small matrix product for each axis, and the cost
    does not grow with the number of windows times the number of elements.
    """
    import torch

    for axis, (begin, width, size) in enumerate(zip(begins, window, shape, strict=True), start=1):
        at = torch.arange(size, device=values.device)
        first = torch.tensor(begin, device=values.device)[:, None]
        covers = ((first <= at) & (at < first + width)).to(values.dtype)
        values = (values.movedim(axis, -1) @ (covers / covers.sum(dim=0))).movedim(-1, axis)
    return values
