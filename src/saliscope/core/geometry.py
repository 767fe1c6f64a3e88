"""Where the elements of a grid lie in the patient: one class for images, volumes and coarse maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import GeometryError

Floats = npt.NDArray[np.float64]
Vector = tuple[float, float, float]

#: Letters of the ends of the patient axes, RAS+: (towards minus, towards plus).
ENDS = (("L", "R"), ("P", "A"), ("I", "S"))
#: How a picture of unknown orientation is laid down: rows run down, columns to the reader's right.
PICTURE: tuple[Vector, Vector] = ((0.0, -1.0, 0.0), (-1.0, 0.0, 0.0))


@dataclass(frozen=True)
class Geometry:
    """The grid of an image (row, column) or volume (plane, row, column) in space.

    `origin` is the world position of the centre of element 0; `direction` holds one unit vector per axis,
    patient RAS+ (x to the right, y to the front, z to the head); `spacing` is the step along each.
    `unit` is "px" where the spacing is unknown, so that nobody reads millimetres that nobody measured;
    `frame` is "image" where the orientation in the patient is unknown.
    Raises GeometryError for a grid that is empty, degenerate or not finite.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: Vector
    direction: tuple[Vector, ...]
    unit: Literal["mm", "px"] = "mm"
    frame: Literal["patient", "image"] = "patient"

    def __post_init__(self) -> None:
        n = len(self.shape)
        if n not in (2, 3) or len(self.spacing) != n or len(self.direction) != n:
            raise GeometryError(
                f"shape {self.shape} with {len(self.spacing)} spacings and {len(self.direction)} directions",
                expected="2 or 3 axes, each with a spacing and a direction",
                do="Give one of each per axis.",
            )
        if min(self.shape) < 1:
            raise GeometryError(
                f"a grid of shape {self.shape}", expected="at least one element", do="Check the crop or the file."
            )
        m = self._matrix()
        if not (np.isfinite(m).all() and np.isfinite(self.origin).all()) or min(self.spacing) <= 0:
            raise GeometryError(
                f"spacing {self.spacing}, origin {self.origin}", expected="finite, positive", do="Check the header."
            )
        if np.linalg.svd(m / np.linalg.norm(m, axis=0), compute_uv=False)[-1] < 1e-3:
            raise GeometryError(
                f"directions {self.direction}", expected="axes that do not lie in one line or plane", do="Check it."
            )

    @classmethod
    def of_picture(cls, shape: Sequence[int], spacing: Sequence[float] | None = None) -> Self:
        """Return the grid of a picture whose place in the patient is unknown; without spacing, in pixels."""
        n = len(shape)
        axes: tuple[Vector, ...] = PICTURE if n == 2 else ((0.0, 0.0, 1.0), *PICTURE)
        steps = tuple(float(s) for s in spacing) if spacing is not None else (1.0,) * n
        unit: Literal["mm", "px"] = "px" if spacing is None else "mm"
        return cls(tuple(int(s) for s in shape), steps, (0.0, 0.0, 0.0), axes, unit, "image")

    @classmethod
    def of_affine(cls, shape: Sequence[int], affine: npt.ArrayLike, unit: Literal["mm", "px"] = "mm") -> Self:
        """Return the grid whose axes, in array order, are the columns of a (3 or 4, S + 1) RAS+ affine."""
        a = np.asarray(affine, dtype=np.float64)[:3]
        n = len(shape)
        columns = a[:, :n]
        steps = np.linalg.norm(columns, axis=0)
        if not np.isfinite(a).all() or (steps <= 0).any():
            raise GeometryError(f"affine {a.tolist()}", expected="finite, invertible", do="Check the header.")
        axes = tuple(_vector(c) for c in (columns / steps).T)
        return cls(tuple(int(s) for s in shape), tuple(float(s) for s in steps), _vector(a[:, -1]), axes, unit)

    @property
    def ndim(self) -> int:
        """Return the number of axes S, 2 or 3."""
        return len(self.shape)

    @property
    def affine(self) -> Floats:
        """Return the (4, S + 1) matrix from array index to RAS+ position."""
        a = np.zeros((4, self.ndim + 1))
        a[:3, :-1], a[:3, -1], a[3, -1] = self._matrix(), self.origin, 1
        return a

    @property
    def normal(self) -> Vector:
        """Return the unit vector at right angles to the last two axes, right-handed with (column, row)."""
        row, column = (np.array(d) for d in self.direction[-2:])
        n = np.cross(column, row)
        return _vector(n / np.linalg.norm(n))

    @property
    def element(self) -> float:
        """Return the area (mm² or px²) or volume (mm³ or px³) of one element."""
        m = self._matrix()
        return float(np.sqrt(np.linalg.det(m.T @ m)))

    @property
    def extent(self) -> tuple[float, ...]:
        """Return the length of the grid along each axis, edge to edge, in `unit`."""
        return tuple(n * s for n, s in zip(self.shape, self.spacing, strict=True))

    @property
    def centre(self) -> Floats:
        """Return the world position of the middle of the grid."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    @property
    def letters(self) -> tuple[tuple[str, str], ...] | None:
        """Return, per axis, the patient letters at its low and high end, or None where unknown."""
        if self.frame == "image":
            return None
        return tuple(_ends(d) for d in self.direction)

    def to_world(self, index: npt.ArrayLike) -> Floats:
        """Return RAS+ positions (..., 3) of array indices (..., S), fractions allowed."""
        world: Floats = np.asarray(index, dtype=np.float64) @ self._matrix().T + np.array(self.origin)
        return world

    def to_index(self, position: npt.ArrayLike) -> Floats:
        """Return array indices (..., S), with fractions, of RAS+ positions (..., 3); 2D: the foot of the normal."""
        inverse = np.linalg.pinv(self._matrix())
        index: Floats = (np.asarray(position, dtype=np.float64) - np.array(self.origin)) @ inverse.T
        return index

    def index_map(self, other: Geometry) -> tuple[Floats, Floats]:
        """Return (matrix, offset) that take an index of this grid to an index of the other.

        Raises GeometryError when the grids differ in axes, unit or frame, or, in 2D, do not share a plane.
        """
        return _index_map(self, other)

    def on_grid(self, shape: Sequence[int]) -> Geometry:
        """Return a grid over the same extent, edge to edge, with another number of elements."""
        return self.cells([n / m for n, m in zip(self.shape, shape, strict=True)], None, shape)

    def cells(self, stride: Sequence[float], offset: Sequence[float] | None, shape: Sequence[int]) -> Geometry:
        """Return the grid of cells whose centres lie at index offset + stride * cell; without offset, edge to edge."""
        steps = np.asarray(stride, dtype=np.float64)
        start = (steps - 1) / 2 if offset is None else np.asarray(offset, dtype=np.float64)
        spacing = tuple(float(s * t) for s, t in zip(self.spacing, steps, strict=True))
        size = tuple(int(n) for n in shape)
        return replace(self, shape=size, spacing=spacing, origin=_vector(self.to_world(start)))

    def cropped(self, start: Sequence[int], shape: Sequence[int]) -> Geometry:
        """Return the grid of a box that begins at index `start`; a negative start or a larger shape pads."""
        return self.cells([1.0] * self.ndim, [float(s) for s in start], shape)

    def flipped(self, axis: int) -> Geometry:
        """Return the grid with one axis read from the other end."""
        start = np.zeros(self.ndim)
        start[axis] = self.shape[axis] - 1
        axes = list(self.direction)
        axes[axis] = _vector(-np.array(axes[axis]))
        return replace(self, origin=_vector(self.to_world(start)), direction=tuple(axes))

    def permuted(self, order: Sequence[int]) -> Geometry:
        """Return the grid with its axes in another order."""
        return replace(
            self,
            shape=tuple(self.shape[i] for i in order),
            spacing=tuple(self.spacing[i] for i in order),
            direction=tuple(self.direction[i] for i in order),
        )

    def _matrix(self) -> Floats:
        matrix: Floats = (np.array(self.direction) * np.array(self.spacing)[:, None]).T
        return matrix


@lru_cache(maxsize=256)
def _index_map(grid: Geometry, other: Geometry) -> tuple[Floats, Floats]:
    """Return the map between two grids: placing, reading and drawing one map ask for the same ones again."""
    if (grid.ndim, grid.unit, grid.frame) != (other.ndim, other.unit, other.frame):
        raise GeometryError(
            f"grids of {grid.ndim}D {grid.unit} {grid.frame} and {other.ndim}D {other.unit} {other.frame}",
            expected="two grids of one image",
            do="Put a map only on the image that it was made from.",
        )
    corners = np.stack([(np.array(grid.shape) - 1.0) * 0, *np.diag(np.array(grid.shape) - 0.0)])
    world = grid.to_world(corners)
    back = other.to_world(other.to_index(world))
    if np.abs(world - back).max() > 0.01 * min(grid.spacing):
        raise GeometryError("two pictures in different planes", expected="one plane", do="Compare like with like.")
    matrix = np.linalg.pinv(other.affine[:3, :-1]) @ grid.affine[:3, :-1]
    offset = other.to_index(grid.origin)
    matrix.setflags(write=False)
    offset.setflags(write=False)
    return matrix, offset


def _vector(v: npt.ArrayLike) -> Vector:
    x, y, z = (float(a) + 0.0 for a in np.asarray(v, dtype=np.float64))
    return x, y, z


def _ends(direction: Vector) -> tuple[str, str]:
    """Return the letters at the low and the high end of an axis, the strongest component first."""
    strength = np.abs(direction)
    order = [i for i in np.argsort(-strength, kind="stable") if strength[i] > 0.34]
    low = "".join(ENDS[i][0 if direction[i] > 0 else 1] for i in order)
    high = "".join(ENDS[i][1 if direction[i] > 0 else 0] for i in order)
    return low, high
