"""A mask brought onto the grid that the network saw, by millimetres."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from saliscope.figures.place import within

if TYPE_CHECKING:
    from saliscope.core.geometry import Geometry
    from saliscope.core.region import Mask


def onto(mask: Mask, geometry: Geometry, view: Geometry, *, whole: bool = False) -> Mask:
    """Return a mask (*S') on `geometry` as (*S) on the grid of a view, by the element nearest to each centre.

    With `whole` nothing thin falls between two elements: an element of the view is in where anything of the mask lies
    in it, as marks need it. What lies beyond the picture is out. Raises GeometryError for grids that do not belong
    together.
    """
    from scipy import ndimage

    matrix, offset = view.index_map(geometry)
    source = mask
    if whole:
        steps = np.abs(matrix).sum(axis=1)
        size = tuple(max(1, 2 * ceil((s - 1) / 2) + 1) for s in steps)
        source = ndimage.maximum_filter(mask, size=size)
    diagonal = np.allclose(matrix, np.diag(np.diag(matrix)), rtol=0, atol=1e-12)
    found = ndimage.affine_transform(
        source.astype(np.uint8),
        np.diag(matrix).copy() if diagonal else matrix,
        offset,
        view.shape,
        order=0,
        mode="nearest",
    )
    placed: Mask = (found > 0) & within(view, geometry)
    return placed
