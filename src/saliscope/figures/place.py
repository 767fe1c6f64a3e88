"""A map put on the grid of its image, by millimetres: the only resampling of maps there is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import Geometry

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Indices that differ by less than this share of an element are the same place.
SAME_PLACE = 1e-6


def placed(values: npt.ArrayLike, geometry: Geometry, onto: Geometry, seen: Geometry) -> Map:
    """Return a map (*S') on `geometry` as float32 (*S) on the grid `onto`, linear between the centres of its cells.

    Within `seen`, the grid that the network saw, positions beyond the outermost centres take the nearest cell;
    outside it the map is exactly 0, because what was never seen has no influence. A map finer than `onto` is
    smoothed first (Gaussian of half the ratio less one), so that no cell falls between two elements.
    Raises GeometryError when the grids do not share a plane, a unit or a frame.
    """
    from scipy import ndimage

    matrix, offset = onto.index_map(geometry)
    source = np.asarray(values, dtype=np.float32)
    finer = np.maximum(0.0, (np.linalg.norm(matrix, axis=1) - 1) / 2)
    if (finer > SAME_PLACE).any():
        source = ndimage.gaussian_filter(source, finer, mode="nearest")
    diagonal = np.allclose(matrix, np.diag(np.diag(matrix)), rtol=0, atol=1e-12)
    result: Map = np.empty(onto.shape, dtype=np.float32)
    ndimage.affine_transform(
        source, np.diag(matrix).copy() if diagonal else matrix, offset, onto.shape, result, order=1, mode="nearest"
    )
    result[~within(onto, seen)] = 0
    return result


def within(grid: Geometry, box: Geometry, margin: float = 0.0) -> Mask:
    """Return (*S) of `grid`: whether the centre of each element lies inside `box`, edge to edge.

    `margin` narrows the box by this share of its extent on every side.
    """
    matrix, offset = grid.index_map(box)
    inside: Mask = np.ones(grid.shape, dtype=np.bool_)
    for axis, n in enumerate(box.shape):
        index = np.full((1,) * grid.ndim, offset[axis])
        for along, step in enumerate(matrix[axis]):
            if abs(step) > 1e-12:  # an axis that does not move it stays of length 1, which keeps volumes cheap
                shape = [-1 if i == along else 1 for i in range(grid.ndim)]
                index = index + step * np.arange(grid.shape[along]).reshape(shape)
        low, high = margin * n - 0.5 - SAME_PLACE, n - margin * n - 0.5 + SAME_PLACE
        inside &= (index >= low) & (index <= high)
    return inside
