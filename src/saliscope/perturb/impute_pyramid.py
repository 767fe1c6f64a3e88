"""rong2022's imputation nearly, in a small part of its time: gortler1996's pyramid of averages, then some smoothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Smoothing steps of the finest level; twice as many for each coarser one, which costs a quarter, up to a limit.
STEPS, MOST = 4, 64


def pyramid(image: Tensor, gone: Tensor) -> Tensor:
    """Return copies (m, C, *S) of an image (1, C, *S) with what is `gone` (m, *S) filled from coarser averages.

    Down: every coarser element is the mean of what is known below it, until all is one element. Up: what is unknown
    is read from the coarser level linearly, then smoothed under the weights of rong2022's system a few times, the
    known being held. All masks go together; each axis may have any length. Where all is gone it is zero.
    """
    import torch

    known = (~gone)[:, None].to(image)
    # Not a product: what is gone must not be seen, not even where it is not finite.
    levels = [(torch.where(gone[:, None], 0, image), known)]
    while max(levels[-1][0].shape[2:]) > 1:
        values, weight = levels[-1]
        for axis in range(2, image.ndim):
            values, weight = _halved(values, axis), _halved(weight, axis)
        levels.append((values / weight.clamp(min=1), (weight > 0).to(image)))
    found = levels[-1][0]
    for depth in reversed(range(len(levels) - 1)):
        values, known = levels[depth]
        for axis in range(2, image.ndim):
            found = _doubled(found, axis, values.shape[axis])
        found = found.lerp(values, known)
        for _ in range(min(STEPS * 2**depth, MOST)):
            for axis in range(2, image.ndim):
                found = _smoothed(found, axis)
            found = found.lerp(values, known)
    return found


def _halved(values: Tensor, axis: int) -> Tensor:
    """Return the sums of neighbours two and two along an axis; an odd last one stays alone."""
    import torch

    size = values.shape[axis]
    if size == 1:
        return values
    at = torch.arange(0, size, 2, device=values.device)
    total = values.index_select(axis, at)
    total.narrow(axis, 0, size // 2).add_(values.index_select(axis, at[: size // 2] + 1))
    return total


def _doubled(values: Tensor, axis: int, size: int) -> Tensor:
    """Return each element of an axis as two, a quarter of the way to its neighbours, cut to `size`."""
    import torch

    if size == 1:
        return values
    before, after = _beside(values, axis)
    pairs = torch.stack([values.lerp(before, 0.25), values.lerp(after, 0.25)], dim=axis + 1)
    return pairs.flatten(axis, axis + 1).narrow(axis, 0, size)


def _smoothed(values: Tensor, axis: int) -> Tensor:
    """Return the means of neighbours under the weights 1/4, 1/2, 1/4; over all axes a damped step of the system."""
    before, after = _beside(values, axis)
    return (before + after).mul_(0.5).add_(values).mul_(0.5)


def _beside(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return the elements before and after each along an axis, those at the ends being themselves."""
    import torch

    size = values.shape[axis]
    first, last = values.narrow(axis, 0, 1), values.narrow(axis, size - 1, 1)
    inner_before, inner_after = values.narrow(axis, 0, size - 1), values.narrow(axis, 1, size - 1)
    return torch.cat([first, inner_before], axis), torch.cat([inner_after, last], axis)
