"""What a map claims, as a reader takes it: the region it points at, and the spots of which that consists."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from saliscope.core.region import Mask
from saliscope.metrics.ranking import descending, finite

Floats = npt.NDArray[np.float64]

#: A map points at the smallest region that holds this part of its positive attribution ...
HALF = 0.5
#: ... and at no more of the image than this: beyond it nothing is pointed at any more.
MOST = 0.1
#: A spot is what holds so much of the region's attribution; less is speckle.
SPOT = 0.05
#: Pieces nearer than this part of the image's shorter side are one spot.
NEAR = 0.03
#: A spot is no larger than this part of the image: longer ones are cut where the map is lowest.
LARGE = 0.04


@dataclass(frozen=True, eq=False)
class Spot:
    """A place (*S) that the map points at, and its share of the attribution of the whole region."""

    mask: Mask = field(repr=False)
    share: float


@dataclass(frozen=True, eq=False)
class Claim:
    """The region (*S) that a map points at; `weight` is the positive attribution in it, zero elsewhere, adding up to 1.

    `held` is the region's part of all positive attribution; `spots` are ordered by their share; `speckle` is the part
    of the region's attribution in none of them.
    """

    mask: Mask = field(repr=False)
    weight: Floats = field(repr=False)
    held: float
    spots: tuple[Spot, ...]

    @property
    def speckle(self) -> float:
        """Return the part of the region's attribution that lies in pieces too small to be spots."""
        return max(0.0, 1 - sum(spot.share for spot in self.spots))


def claim(attribution: npt.NDArray[np.floating], seed: int = 0) -> Claim | None:
    """Return what a raw, signed map (*S) points at; None where it has nothing positive, or one value everywhere.

    Ties are drawn from `seed`, never taken by position. Raises MetricError for a map that is not finite.
    """
    values = finite(attribution)
    positive = np.clip(values, 0, None)
    total = float(positive.sum())
    if total <= 0 or float(values.min()) == float(values.max()):
        return None
    order = descending(values, seed)
    reached = np.cumsum(positive.ravel()[order])
    count = min(int(np.searchsorted(reached, HALF * total)) + 1, max(1, int(MOST * values.size + 0.5)))
    chosen = np.zeros(values.size, bool)
    chosen[order[:count]] = True
    mask: Mask = chosen.reshape(values.shape)
    weight: Floats = np.where(mask, positive, 0.0)
    inside = float(weight.sum())
    weight /= inside
    for array in (mask, weight):
        array.setflags(write=False)
    return Claim(mask, weight, inside / total, _spots(mask, weight))


def _spots(mask: Mask, weight: Floats) -> tuple[Spot, ...]:
    from scipy import ndimage

    near = max(1, round(NEAR * min(n for n in mask.shape if n > 1)))
    around = [(near, near)] * mask.ndim
    inner = tuple(slice(near, -near) for _ in mask.shape)
    closed = ndimage.binary_closing(np.pad(mask, around), iterations=near)[inner] | mask
    labels, _ = ndimage.label(closed, np.ones((3,) * mask.ndim))
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        piece = labels[box] == number
        if float(weight[box][piece].sum()) < SPOT:
            continue
        for part in _parted(piece, weight[box], LARGE * mask.size, near):
            share = float(weight[box][part].sum())
            if share >= SPOT:
                whole = np.zeros(mask.shape, bool)
                whole[box] = part
                whole.setflags(write=False)
                found.append(Spot(whole, share))
    return tuple(sorted(found, key=lambda spot: -spot.share))


def _parted(piece: Mask, weight: Floats, most: float, near: int) -> list[Mask]:
    """Return a piece whole, or cut along the valleys of the map between its peaks where it is too large for one."""
    if piece.sum() <= most:
        return [piece]
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    smooth = ndimage.gaussian_filter(weight, near)
    peaks = peak_local_max(smooth, min_distance=2 * near, labels=piece.astype(np.int32), exclude_border=False)
    markers = np.zeros(piece.shape, np.int32)
    for number, at in enumerate(peaks, start=1):
        markers[tuple(at)] = number
    if len(peaks) < 2:
        return [piece]
    basins = watershed(-smooth, markers, mask=piece)
    return [basins == number for number in range(1, len(peaks) + 1)]
