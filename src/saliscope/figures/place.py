"""A map put on the grid of its image, by millimetres: the only resampling of maps there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import Geometry

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Indices that differ by less than this share of an element are the same place.
SAME_PLACE = 1e-6
#: A step along an axis smaller than this is none.
STRAIGHT = 1e-12


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
    box = box_within(onto, seen)
    along = _aligned(matrix)
    if along is None or box is None:
        result: Map = np.empty(onto.shape, dtype=np.float32)
        ndimage.affine_transform(source, matrix, offset, onto.shape, result, order=1, mode="nearest")
        result[~within(onto, seen)] = 0
        return result
    axes = [along.index(a) for a in range(onto.ndim)]
    lines = [_Line.of(onto.shape[a], matrix[s, a], offset[s], source.shape[s], box[a]) for a, s in enumerate(axes)]
    return _by_axes(source.transpose(axes), lines, onto.shape, box)


@dataclass(frozen=True)
class _Line:
    """Where the elements of a line lie between the cells of another: after which cell, and how far to the next."""

    after: npt.NDArray[np.intp]
    share: npt.NDArray[np.float64]

    @classmethod
    def of(cls, n: int, step: float, start: float, cells: int, kept: slice) -> Self:
        """Return it for the kept ones of n elements; beyond the outermost cells all lie at these."""
        at = np.clip(start + step * np.arange(n)[kept], 0, cells - 1)
        after = np.minimum(at.astype(np.intp), max(0, cells - 2))
        return cls(after, at - after)

    def __call__(self, values: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
        """Return values put on the line along an axis."""
        low: npt.NDArray[np.float64] = values.take(self.after, axis)
        if not self.share.any():
            return low
        high: npt.NDArray[np.float64] = values.take(np.minimum(self.after + 1, values.shape[axis] - 1), axis)
        # In this form equal neighbours give exactly their value, so that a plateau stays one.
        high -= low
        high *= self.share.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        high += low
        return high


def _by_axes(source: Map, lines: Sequence[_Line], shape: tuple[int, ...], box: tuple[slice, ...]) -> Map:
    """Return the map put on each axis by itself: of a volume the planes of the source first, one after another."""
    covers = all(s == slice(0, n) for s, n in zip(box, shape, strict=True))
    result: Map = (np.empty if covers else np.zeros)(shape, dtype=np.float32)
    if len(shape) == 2:
        result[box] = lines[1](lines[0](source.astype(np.float64), 0), 1)
        return result
    planes: dict[int, npt.NDArray[np.float64]] = {}

    def plane(i: int) -> npt.NDArray[np.float64]:
        if i not in planes:
            for other in [k for k in planes if abs(k - i) > 1]:
                del planes[other]
            planes[i] = lines[2](lines[1](source[i].astype(np.float64), 0), 1)
        return planes[i]

    inside = result[box]
    for into, i, share in zip(inside, lines[0].after.tolist(), lines[0].share.tolist(), strict=True):
        low = plane(i)
        if share == 0:
            into[...] = low
        else:
            high = plane(i + 1)
            into[...] = low + share * (high - low)
    return result


def _aligned(matrix: npt.NDArray[np.float64]) -> list[int] | None:
    """Return which axis of the one grid moves along each of the other, or None where an axis is oblique."""
    some = np.abs(matrix) > STRAIGHT
    if (some.sum(0) != 1).any() or (some.sum(1) != 1).any():
        return None
    return [int(a) for a in some.argmax(1)]


def within(grid: Geometry, box: Geometry, margin: float = 0.0) -> Mask:
    """Return (*S) of `grid`: whether the centre of each element lies inside `box`, edge to edge.

    `margin` narrows the box by this share of its extent on every side.
    """
    matrix, offset = grid.index_map(box)
    inside: Mask = np.ones(grid.shape, dtype=np.bool_)
    for axis, n in enumerate(box.shape):
        index = np.full((1,) * grid.ndim, offset[axis])
        for along, step in enumerate(matrix[axis]):
            if abs(step) > STRAIGHT:  # an axis that does not move it stays of length 1, which keeps volumes cheap
                shape = [-1 if i == along else 1 for i in range(grid.ndim)]
                index = index + step * np.arange(grid.shape[along]).reshape(shape)
        inside &= _between(index, n, margin)
    return inside


def box_within(grid: Geometry, box: Geometry, margin: float = 0.0) -> tuple[slice, ...] | None:
    """Return the elements of `grid` inside `box`, as `within` does, as one slice for each axis; None if oblique."""
    matrix, offset = grid.index_map(box)
    along = _aligned(matrix)
    if along is None:
        return None
    found = [slice(0, n) for n in grid.shape]
    for axis, a in enumerate(along):
        index = offset[axis] + matrix[axis, a] * np.arange(grid.shape[a])
        inside = np.flatnonzero(_between(index, box.shape[axis], margin))
        found[a] = slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)
    return tuple(found)


def _between(index: npt.NDArray[np.float64], n: int, margin: float) -> Mask:
    low, high = margin * n - 0.5 - SAME_PLACE, n - margin * n - 0.5 + SAME_PLACE
    inside: Mask = (index >= low) & (index <= high)
    return inside
