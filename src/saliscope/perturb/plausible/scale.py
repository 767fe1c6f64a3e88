"""An image on its own scale: the view may be normalised in any way, so magnitudes are shares of the image's range.

Each channel runs from 0, its least value, to 1, its greatest; nothing leaves that range, as nothing leaves a display
window or a detector's. Noise and offsets are shares of the range between the 1st and the 99th percentile, so that one
hot element does not shrink or blow them up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Percentiles between which most of an image lies: a convention.
BULK = (1.0, 99.0)
#: Channels that differ by no more than this share of their range are one grey image repeated.
SAME = 1e-3


def on_own_scale(x: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return x (1, C, *S) after a change of it on its own scale, clipped to 0 and 1.

    `change` gets the image (1, C, *S) between 0 and 1, and the share of that range (1, C, 1...) in which most of it
    lies. A channel with one value everywhere stays as it is.
    """
    axes = tuple(range(2, x.ndim))
    low, high = x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)
    span = high - low
    unit = (x - low) / span.where(span > 0, span.new_ones(()))
    changed = change(unit, _bulk(unit)).clamp(0, 1)
    return low + changed * span


def one_grey_image(unit: Tensor) -> bool:
    """Return whether the channels of an image (1, C, *S) on its own scale repeat one of them."""
    return bool((unit - unit[:, :1]).abs().max() <= SAME)


def _bulk(unit: Tensor) -> Tensor:
    import numpy as np

    channels = unit[0].detach().cpu().double().numpy().reshape(unit.shape[1], -1)
    low, high = np.percentile(channels, BULK, axis=1)
    # A picture that is nearly all background has no bulk: then its whole range stands in.
    shares = np.where(high > low, high - low, 1.0)
    return unit.new_tensor(shares).reshape(1, -1, *[1] * (unit.ndim - 2))
