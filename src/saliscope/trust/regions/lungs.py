"""The lungs on a frontal chest radiograph, by brightness and by where lungs lie: no network, and no promise.

Dense disease, devices and turned patients break it: a lung full of fluid is not dark. Where two dark parts of the right
size cannot be found, nothing is returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from saliscope.figures.body import body_mask, luminance

if TYPE_CHECKING:
    from saliscope.core.image import MedicalImage
    from saliscope.core.region import Mask

Floats = npt.NDArray[np.float64]

#: The search is made on this many rows and columns over the same picture.
SIDE = 128
#: Where the middle of each lung lies in the box around the body (down, across), and how far it may reach from there, as
#: shares of the box: drawn so by eye from radiographs and used as a soft limit only.
MIDDLES, REACH = ((0.44, 0.30), (0.44, 0.70)), (0.36, 0.20)
#: The power of that limit, 2 for an ellipse and more for a box; and how far from the skin a lung begins at least.
ROUND, SKIN = 2.5, 0.09
#: The least and the largest share of the picture that one lung may have.
LEAST, MOST = 0.03, 0.24
#: Levels between lung and the rest that are tried, as percentiles of the brightness where it may lie.
LEVELS = tuple(range(24, 91, 6))
#: What is narrower than twice this many elements sticks out of a lung and is cut off: arms and shoulders.
STICKS = 6
#: A lung is compact: its area is at least this share of that of its convex hull.
COMPACT = 0.72


def lungs(image: MedicalImage) -> tuple[Mask | None, str]:
    """Return both lungs (*S) of a frontal chest radiograph or None, and how they were found or why not."""
    from skimage.transform import resize

    rows, columns = (*image.geometry.shape, 0)[:2]
    if image.geometry.ndim != 2 or image.modality not in {"CR", "DX"}:
        return None, "lungs are looked for in radiographs only (modality CR or DX)"
    if not 0.6 <= rows / columns <= 1.6:
        return None, "the picture has not the proportions of a frontal chest radiograph"
    grey = resize(luminance(image).astype(np.float64), (SIDE, SIDE), anti_aliasing=True, preserve_range=True)
    body, _ = body_mask(image)
    if body is None:
        inside = np.ones((SIDE, SIDE), np.bool_)
    else:
        inside = resize(body.astype(np.float64), (SIDE, SIDE), order=1, anti_aliasing=False) > 0.5
    pair = [_lung(grey, inside, middle) for middle in MIDDLES]
    if pair[0] is None or pair[1] is None:
        return None, "no two dark and compact parts where lungs lie"
    sizes = [float(one.mean()) for one in pair if one is not None]
    if max(sizes) > 3.5 * min(sizes):
        return None, "the two dark parts differ too much in size to be lungs"
    both = _mirrored(pair[0] | pair[1]).astype(np.float64)
    found: Mask = resize(both, (rows, columns), order=1, anti_aliasing=False) > 0.5
    return found, "two dark and compact parts where lungs lie, by brightness alone, each with the other's mirror image"


def _lung(grey: Floats, inside: Mask, middle: tuple[float, float]) -> Mask | None:
    """Return the most lung-like dark part around where one lung lies, or None."""
    from scipy import ndimage

    down, across = np.nonzero(inside)
    top, left = float(down.min()), float(across.min())
    high, wide = float(np.ptp(down)) + 1, float(np.ptp(across)) + 1
    at = ((np.arange(SIDE) - top) / high)[:, None], ((np.arange(SIDE) - left) / wide)[None]
    far = (np.abs(at[0] - middle[0]) / REACH[0]) ** ROUND + (np.abs(at[1] - middle[1]) / REACH[1]) ** ROUND
    # Beside the skin the body is thin and looks as dark as lung.
    deep = ndimage.distance_transform_edt(inside) > SKIN * wide
    allowed = deep & (far < 1)
    if not allowed.any():
        return None
    smooth = ndimage.gaussian_filter(grey, 1.5)
    best: tuple[float, Mask] | None = None
    for percent in LEVELS:
        dark = (smooth < np.percentile(smooth[allowed], percent)) & allowed
        labels, count = ndimage.label(ndimage.binary_opening(dark, iterations=2))
        if not count:
            continue
        sizes = np.bincount(labels.ravel())[1:]
        part = _smoothed(labels == int(sizes.argmax()) + 1) & allowed
        share = float(part.mean())
        if LEAST <= share <= MOST and (worth := _worth(part, smooth)) > (best[0] if best else 0.0):
            best = (worth, part)
    return None if best is None else best[1]


def _mirrored(pair: Mask) -> Mask:
    """Return both lungs with the mirror image of each added: dense disease of one side is not dark, and is inside then.

    It takes in a part of the heart.
    """
    columns = np.flatnonzero(pair.any(axis=0))
    other = columns.min() + columns.max() - np.arange(pair.shape[1])
    there = (other >= 0) & (other < pair.shape[1])
    found = pair.copy()
    found[:, there] |= pair[:, other[there]]
    return found


def _smoothed(part: Mask) -> Mask:
    """Return a part with ribs and vessels closed, its holes filled, and without what sticks out of it."""
    from scipy import ndimage
    from skimage.morphology import disk

    padded = np.pad(part, 12)
    filled = ndimage.binary_fill_holes(ndimage.binary_closing(padded, disk(4)))
    opened: Mask = ndimage.binary_opening(filled, disk(STICKS))[12:-12, 12:-12]
    labels, count = ndimage.label(opened)
    if count < 2:
        return opened
    largest: Mask = labels == int(np.bincount(labels.ravel())[1:].argmax()) + 1
    return largest


def _worth(part: Mask, smooth: Floats) -> float:
    """Return how well a part's rim follows an edge from dark to bright; 0 for one that is not compact."""
    from scipy import ndimage
    from skimage.morphology import convex_hull_image

    if part.sum() < COMPACT * convex_hull_image(part).sum():
        return 0.0
    rim = ndimage.binary_dilation(part, iterations=3) & ~ndimage.binary_dilation(part, iterations=1)
    # The square root of its size: of two parts with like edges, the larger is the lung and the smaller a part of it.
    return float(np.median(smooth[rim]) - np.median(smooth[part])) * float(np.sqrt(part.mean()))
