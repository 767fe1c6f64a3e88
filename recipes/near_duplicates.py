"""Groups of near-duplicate pictures, so that no lesion stands on both sides of a split.

Two pictures belong together when their fine structure correlates somewhere within a small shift. The slow brightness,
which all ultrasound pictures share, is taken out first: without that, a third of all pairs correlate above 0.6.
Groups are connected components, coarse on purpose: joining two strangers costs nothing, parting twins does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SIDE, MARGIN = 64, 12  # the thumbnail, and the largest shift looked at, in its pixels

Floats = npt.NDArray[np.float32]


def thumbnail(picture: npt.NDArray[np.uint8]) -> Floats:
    """Return the fine structure (64, 64) of a picture (row, column), of mean 0 and length 1."""
    from scipy.ndimage import gaussian_filter
    from skimage.transform import resize

    small = resize(picture.astype(np.float32), (SIDE, SIDE), order=1, anti_aliasing=True)
    fine = gaussian_filter(small - gaussian_filter(small, 8), 1)
    fine -= fine.mean()
    unit: Floats = (fine / max(float(np.linalg.norm(fine)), 1e-6)).astype(np.float32)
    return unit


def similarity(pictures: Sequence[npt.NDArray[np.uint8]]) -> Floats:
    """Return (n, n) the largest correlation of each pair within the shift."""
    from scipy.fft import irfft2, rfft2

    stack = np.stack([thumbnail(p) for p in pictures])
    size = (SIDE + 2 * MARGIN + 8,) * 2
    spectra = rfft2(stack, s=size)
    near = np.r_[-MARGIN : MARGIN + 1]
    found = np.zeros((len(stack), len(stack)), np.float32)
    for i, spectrum in enumerate(spectra):
        shifted = irfft2(spectrum.conj() * spectra[i:], s=size, workers=2)
        found[i, i:] = shifted[:, near[:, None], near[None]].max((1, 2))
    return np.maximum(found, found.T)


def groups(pictures: Sequence[npt.NDArray[np.uint8]], limit: float) -> npt.NDArray[np.int64]:
    """Return the number (n,) of each picture's group: joined above `limit`, directly or through others."""
    from scipy.sparse.csgraph import connected_components

    _, number = connected_components(similarity(pictures) > limit, directed=False)
    return np.asarray(number, np.int64)
