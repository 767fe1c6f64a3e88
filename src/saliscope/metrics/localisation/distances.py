"""How far the elements of a grid lie from a region, in millimetres, also where the axes are not at right angles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.score import Undefined

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from saliscope.core.geometry import Geometry
    from saliscope.core.metric import Mask

    Floats = npt.NDArray[np.float64]


def unmeasured(geometry: Geometry | None, shape: tuple[int, ...]) -> Undefined | None:
    """Return why there are no millimetres, None where there are; raises MetricError for the grid of another image."""
    if geometry is not None and geometry.shape != shape:
        raise MetricError(
            f"a geometry of {geometry.shape} for a map of {shape}", expected="the map's own grid", do="Give that."
        )
    return Undefined("the spacing of the image is unknown") if geometry is None or geometry.unit != "mm" else None


def to_region(mask: Mask, geometry: Geometry) -> Floats:
    """Return for every element (*S) the distance in mm from its centre to that of the nearest of a region, 0 inside."""
    import numpy as np
    from scipy.ndimage import distance_transform_edt

    axes = np.array(geometry.direction)
    if np.abs(axes @ axes.T - np.eye(len(axes))).max() < 1e-6:
        found: Floats = distance_transform_edt(~mask, sampling=geometry.spacing)
        return found
    every = np.argwhere(np.ones(mask.shape, bool))
    return from_points(every, mask, geometry).reshape(mask.shape)


def from_points(index: npt.ArrayLike, mask: Mask, geometry: Geometry) -> Floats:
    """Return the distance in mm of points (k, S), in array indices with fractions, to the nearest element of a region.

    A point that lies on an element of the region is inside: 0.
    """
    import numpy as np
    from scipy.spatial import cKDTree

    points = np.asarray(index, np.float64)
    away, _ = cKDTree(geometry.to_world(np.argwhere(mask))).query(geometry.to_world(points))
    nearest = np.clip(np.floor(points + 0.5).astype(np.int64), 0, np.array(mask.shape) - 1)
    found: Floats = np.where(mask[tuple(nearest.T)], 0.0, away)
    return found
