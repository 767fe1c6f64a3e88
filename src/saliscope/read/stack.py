"""Planes that together make a volume: put in order, checked to be even, and placed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saliscope.core.errors import GeometryError, MixedSeries
from saliscope.core.geometry import Geometry
from saliscope.read.placement import Floats, Plane

#: How far a slice may lie from its place on the even grid, as a part of the smallest spacing.
EVENNESS = 0.1
#: Largest difference of a direction cosine between slices that count as parallel.
PARALLEL = 1e-3
#: Slices closer than this part of the median step are at one position.
SAME_PLACE = 0.01


def ordered(planes: Sequence[Plane], label: str) -> list[list[int]]:
    """Return the indices of the planes in order along the normal (column x row), those at one position together.

    Raises MixedSeries if they are not parallel.
    """
    first = planes[0]
    for plane in planes[1:]:
        if max(np.abs(plane.row - first.row).max(), np.abs(plane.column - first.column).max()) > PARALLEL:
            raise MixedSeries(
                f"{label}: slices of several orientations", expected="parallel slices", do="Give one stack at a time"
            )
    depth = np.array([p.position @ first.normal for p in planes])
    order = np.argsort(depth, kind="stable")
    steps = np.diff(depth[order])
    tolerance = max(1e-4, SAME_PLACE * float(np.median(steps[steps > 1e-4]))) if (steps > 1e-4).any() else 1e-4
    groups: list[list[int]] = [[int(order[0])]]
    for index, step in zip(order[1:], steps, strict=True):
        if step > tolerance:
            groups.append([])
        groups[-1].append(int(index))
    return groups


def volume_grid(
    planes: Sequence[Plane], shape: tuple[int, int], spacing: tuple[float, float] | None, label: str
) -> tuple[Geometry, list[str]]:
    """Return the grid (plane, row, column) of sorted planes, one for each position, and what is to be said.

    Raises MixedSeries for a gap, uneven steps or slices that drift sideways.
    """
    positions = np.stack([p.position for p in planes])
    depth = positions @ planes[0].normal
    _refuse_gap(np.diff(depth), depth, label)
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    off = np.linalg.norm(positions - (positions[0] + np.arange(len(planes))[:, None] * step), axis=1)
    smallest = min(float(np.linalg.norm(step)), *(spacing or ()))
    if off.max() > EVENNESS * smallest:
        raise MixedSeries(
            f"{label}: slices up to {off.max():.2f} mm from an even stack",
            expected=f"within {EVENNESS:.0%} of the smallest spacing, {smallest:.2f} mm",
            do="Resample the series with a tool that knows uneven slices, then give the result",
        )
    return _placed(planes[0], step, (len(planes), *shape), spacing, float(off.max()), label)


def _placed(
    first: Plane, step: Floats, shape: tuple[int, int, int], spacing: tuple[float, float] | None, off: float, label: str
) -> tuple[Geometry, list[str]]:
    notes = []
    tilt = np.degrees(np.arccos(np.clip(step @ first.normal / np.linalg.norm(step), -1, 1)))
    if tilt > 0.1:
        notes.append(f"slices are sheared by {tilt:.1f} degrees (gantry tilt); the grid is kept as it was scanned")
    if off > 1e-3 * np.linalg.norm(step):
        notes.append(f"slice positions vary by up to {off:.3f} mm from the even grid that was assumed")
    if spacing is None:
        notes.append("pixel spacing unknown; the volume's lengths are in pixels")
        return Geometry.of_picture(shape), notes
    rows, columns = first.row * spacing[0], first.column * spacing[1]
    try:
        return Geometry.of_affine(shape, np.column_stack([step, rows, columns, first.position])), notes
    except GeometryError:
        raise MixedSeries(f"{label}: slices that lie in one plane", expected="a stack", do="Give a volume") from None


def _refuse_gap(steps: Floats, depth: Floats, label: str) -> None:
    usual = float(np.median(steps))
    wide = np.flatnonzero(steps > 1.5 * usual)
    if wide.size:
        at = int(wide[0])
        raise MixedSeries(
            f"{label}: a gap of {steps[at]:.2f} mm after slice {at + 1} of {len(depth)}, "
            f"{depth[at] - depth[0]:.2f} mm into the stack, where slices lie {usual:.2f} mm apart",
            expected="no missing slice",
            do="Fetch the missing slice, or give the part before or after the gap",
        )
