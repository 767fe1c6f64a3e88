"""An affine map between two grids, fitted to pairs of places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: A map along the axes is taken where it fits worse by no more than this, in source elements.
ALONG = 0.05
#: Where both edges of a view come to lie so near to edges of source elements, they are taken to lie there.
EDGE = 0.1


@dataclass(frozen=True, eq=False)
class Affine:
    """The source index (S,) of an output index: matrix (S, S) times it, plus offset (S,)."""

    matrix: Floats
    offset: Floats

    def __call__(self, output: Floats) -> Floats:
        """Return source places (..., S) of output places."""
        source: Floats = output @ self.matrix.T + self.offset
        return source

    def inverse(self, source: Floats) -> Floats:
        """Return output places (..., S) of source places."""
        output: Floats = (source - self.offset) @ np.linalg.inv(self.matrix).T
        return output


def fitted(source: Floats, output: Floats, source_shape: Sequence[int], output_shape: Sequence[int]) -> Affine | None:
    """Return the map from output to source places (M, S) by least squares; None where they do not determine one.

    A map along the axes is taken where it fits as well, and edges of the view that lie near edges of source elements
    are put there: a crop, a flip and a resized box are then exact.
    """
    ndim = len(source_shape)
    if len(source) <= ndim or not _spread(source) or not _spread(output):
        return None
    columns = np.concatenate([output, np.ones((len(output), 1))], axis=1)
    solution = np.linalg.lstsq(columns, source, rcond=None)[0]
    full = Affine(solution[:ndim].T, solution[ndim])
    scaled = full.matrix * np.array(output_shape) / np.array(source_shape)[:, None]
    if np.linalg.svd(scaled, compute_uv=False)[-1] < 1e-3:
        return None
    order = np.abs(full.matrix * np.array(output_shape)).argmax(axis=1)
    if len(set(order.tolist())) < ndim:
        return full
    straight = _along(source, output, order, output_shape)
    worse = _rms(straight, source, output) > _rms(full, source, output) + ALONG
    return full if worse.any() else straight


def _along(source: Floats, output: Floats, order: npt.NDArray[np.intp], output_shape: Sequence[int]) -> Affine:
    """Return the map whose source axis a follows output axis order[a] only."""
    ndim = len(order)
    matrix, offset = np.zeros((ndim, ndim)), np.zeros(ndim)
    for a, b in enumerate(order):
        slope, start = np.polyfit(output[:, b], source[:, a], 1)
        size = output_shape[b]
        edges = np.array([start - slope / 2, start + slope * (size - 0.5)])
        near = np.rint(edges - 0.5) + 0.5
        if np.abs(edges - near).max() < EDGE:
            slope = (near[1] - near[0]) / size
            start = near[0] + slope / 2
        matrix[a, b], offset[a] = slope, start
    return Affine(matrix, offset)


def _rms(affine: Affine, source: Floats, output: Floats) -> Floats:
    found: Floats = np.sqrt(((affine(output) - source) ** 2).mean(axis=0))
    return found


def _spread(places: Floats) -> bool:
    """Return whether places span all axes."""
    centred = places - places.mean(axis=0)
    size = np.abs(centred).max(axis=0)
    return bool((size > 0).all() and np.linalg.svd(centred / size, compute_uv=False)[-1] > 0.1)
