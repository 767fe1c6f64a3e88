"""The lines around the listed regions on every plane of an image, for viewers that draw them themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saliscope.core.image import MedicalImage
from saliscope.figures import panes
from saliscope.figures.reading import Reading

Line = npt.NDArray[np.float64]

#: How far a line may leave the outline that the pictures show, in elements.
TOLERANCE = 0.25
#: A line of more points is made coarser: viewers and files have limits (PS3.5 6.2, FL in explicit VR: 8191 points).
MOST_POINTS = 800


def outlines(image: MedicalImage, reading: Reading) -> tuple[tuple[int, int, Line], ...]:
    """Return (plane, region, closed line (n, 2) of row and column indices) around each listed region on each plane.

    Fractions are allowed: element i reaches from i - 0.5 to i + 0.5, and no line leaves the image. A picture has the
    plane 0.
    """
    focus = reading.focus
    if focus is None:
        return ()
    found: list[tuple[int, int, Line]] = []
    shape = image.geometry.shape[-2:]
    planes = zip(reading.values.reshape(-1, *shape), focus.labels.reshape(-1, *shape), strict=True)
    for plane, (values, labels) in enumerate(planes):
        for number in np.unique(labels[labels > 0]):
            found += [(plane, int(number), line) for line in _around(values, labels == number, focus.level)]
    return tuple(found)


def _around(values: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_], level: float) -> list[Line]:
    """Return the lines around one region of a plane, found in the box around it."""
    box, start = [], []
    for axis, n in enumerate(inside.shape):
        held = np.flatnonzero(inside.any(axis=1 - axis))
        start.append(max(0, int(held[0]) - 1))
        box.append(slice(start[-1], min(n, int(held[-1]) + 2)))
    lines = panes.outlines(values[tuple(box)], inside[tuple(box)].astype(np.uint8), level)
    edge = np.array(inside.shape) - 0.5
    return [_simpler(np.clip(line + np.array(start), -0.5, edge)) for line in lines]


def _simpler(line: Line) -> Line:
    """Return a closed line with fewer points, within `TOLERANCE` unless it would still have too many."""
    from skimage.measure import approximate_polygon

    tolerance, fewer = TOLERANCE, line
    while True:
        # The two halves meet at the points farthest apart from the start, so that neither has an end on its beginning.
        far = int(np.linalg.norm(line - line[0], axis=1).argmax())
        if far == 0:
            return line
        halves = [approximate_polygon(half, tolerance) for half in (line[: far + 1], line[far:])]
        fewer = np.concatenate([halves[0], halves[1][1:]])
        if len(fewer) <= MOST_POINTS:
            # What is too small to be simplified keeps its shape.
            return fewer if len(fewer) > 3 else line
        tolerance *= 2
