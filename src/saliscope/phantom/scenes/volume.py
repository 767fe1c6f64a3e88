"""Bodies in millimetres painted on a grid of any spacing: the brush of the volume scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import Geometry
from saliscope.core.region import Mask
from saliscope.phantom.scene import Floats

AnyFloats = npt.NDArray[np.floating[Any]]
Point = tuple[float, float, float]
Bounds = tuple[Point, Point]


def axial(size: Sequence[int], spacing_mm: float) -> Geometry:
    """Return an axial grid (plane, row, column) around the origin of RAS+: planes run up, rows back, columns left."""
    steps = (spacing_mm,) * 3
    z, y, x = ((n - 1) / 2 * spacing_mm for n in size)
    axes = ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0))
    return Geometry(tuple(int(n) for n in size), steps, (x, y, -z), axes)


class Shape(Protocol):
    """A body in millimetres: its box, and how deep points lie in it."""

    @property
    def bounds(self) -> Bounds:
        """Return its lowest and its highest corner (x, y, z)."""

    def depth(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the depth below its surface in mm, negative outside, of points (*S)."""


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid of half axes `radii`, turned about z, y and x by `turn` in radians."""

    centre: Point
    radii: Point
    turn: Point = (0.0, 0.0, 0.0)

    @property
    def bounds(self) -> Bounds:
        """Return its lowest and its highest corner (x, y, z)."""
        reach = max(self.radii) if any(self.turn) else 0.0
        low, high = ([c + s * max(r, reach) for c, r in zip(self.centre, self.radii, strict=True)] for s in (-1, 1))
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def depth(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the depth below its surface in mm, negative outside, of points (*S)."""
        offsets = [x - self.centre[0], y - self.centre[1], z - self.centre[2]]
        if any(self.turn):
            matrix = _turned(self.turn)
            offsets = [r[0] * offsets[0] + r[1] * offsets[1] + r[2] * offsets[2] for r in matrix]
        squares = [(o / np.float32(r)) ** 2 for o, r in zip(offsets, self.radii, strict=True)]
        level = np.sqrt(squares[0] + squares[1] + squares[2]) + np.float32(1e-6)
        scaled = [s / np.float32(r * r) for s, r in zip(squares, self.radii, strict=True)]
        slope = np.sqrt(scaled[0] + scaled[1] + scaled[2]) + np.float32(1e-6)
        deep: Floats = level * (1 - level) / slope
        return deep


@dataclass(frozen=True)
class Tube:
    """A tube through `points`, of a radius in mm at each."""

    points: tuple[Point, ...]
    radii: tuple[float, ...]

    @property
    def bounds(self) -> Bounds:
        """Return its lowest and its highest corner (x, y, z)."""
        points, reach = np.array(self.points), np.array(self.radii)[:, None]
        low, high = (points - reach).min(0).tolist(), (points + reach).max(0).tolist()
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def depth(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the depth below its surface in mm, negative outside, of points (*S)."""
        ends = list(zip(self.points, self.radii, strict=True))
        return most(*(_segment(x, y, z, *a, *b) for a, b in pairwise(ends)))


def _segment(x: Floats, y: Floats, z: Floats, start: Point, wide: float, end: Point, narrow: float) -> Floats:
    a, b, c = (np.float32(q - p) for p, q in zip(start, end, strict=True))
    u, v, w = x - np.float32(start[0]), y - np.float32(start[1]), z - np.float32(start[2])
    along = np.clip((u * a + v * b + w * c) / max(a * a + b * b + c * c, np.float32(1e-6)), 0, 1)
    away = np.sqrt((u - along * a) ** 2 + (v - along * b) ** 2 + (w - along * c) ** 2)
    deep: Floats = (np.float32(wide) + along * np.float32(narrow - wide) - away).astype(np.float32)
    return deep


def _turned(turn: Point) -> npt.NDArray[np.float32]:
    (a, b, c), (p, q, r) = np.cos(turn), np.sin(turn)
    about_z, about_y, about_x = (
        np.array([[a, p, 0], [-p, a, 0], [0, 0, 1]]),
        np.array([[b, 0, q], [0, 1, 0], [-q, 0, b]]),
        np.array([[1, 0, 0], [0, c, r], [0, -r, c]]),
    )
    matrix: npt.NDArray[np.float32] = (about_x @ about_y @ about_z).astype(np.float32)
    return matrix


@dataclass(frozen=True, eq=False)
class Threads:
    """Many thin vessels at once: straight pieces from `start` to `end` (N, 3) in mm, of `radius` (N,) in mm."""

    start: npt.NDArray[np.float64] = field(repr=False)
    end: npt.NDArray[np.float64] = field(repr=False)
    radius: npt.NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, tubes: Sequence[Tube]) -> Threads:
        """Return the pieces of tubes."""
        ends = [list(zip(t.points, t.radii, strict=True)) for t in tubes]
        pieces = [(a, b, (p + q) / 2) for tube in ends for (a, p), (b, q) in pairwise(tube)]
        start, end, radius = (np.array(part, np.float64) for part in zip(*pieces, strict=True))
        return cls(start, end, radius)

    def samples(self, step_mm: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return volumes (M,) in mm3 and places (M, 3) that fill the vessels densely for a grid of this step."""
        run = self.end - self.start
        length = np.linalg.norm(run, axis=1)
        along = np.maximum(np.ceil(length / (0.6 * step_mm)).astype(int), 1)
        piece = np.repeat(np.arange(len(length)), along)
        share = (np.arange(len(piece)) - np.repeat(np.cumsum(along) - along, along) + 0.5) / along[piece]
        centre = self.start[piece] + share[:, None] * run[piece]
        spokes = 4 + int(np.ceil(6 * (self.radius.max() / step_mm) ** 2))
        # A sunflower's seeds fill a disc evenly.
        out, turn = np.sqrt((np.arange(spokes) + 0.5) / spokes), np.pi * (3 - 5**0.5) * np.arange(spokes)
        ahead = run / length[:, None]
        side = np.cross(ahead, np.where(np.abs(ahead[:, :1]) < 0.8, [1.0, 0, 0], [0, 1.0, 0]))
        side /= np.linalg.norm(side, axis=1, keepdims=True)
        other = np.cross(ahead, side)
        disc = (out * np.cos(turn))[:, None, None] * side + (out * np.sin(turn))[:, None, None] * other
        places = centre[None] + disc[:, piece] * self.radius[piece, None]
        volume = np.pi * self.radius[piece] ** 2 * (length / along)[piece] / spokes
        return np.tile(volume, spokes), places.reshape(-1, 3)


@dataclass(eq=False)
class Canvas:
    """A grid that is painted body by body: each covers what lies below it by the share of the element that it fills."""

    geometry: Geometry
    signal: Floats = field(repr=False)
    x: Floats = field(repr=False)
    y: Floats = field(repr=False)
    z: Floats = field(repr=False)
    owner: npt.NDArray[np.int16] = field(repr=False)
    names: list[str]

    @classmethod
    def blank(cls, geometry: Geometry, name: str, value: float) -> Canvas:
        """Return a grid full of one thing."""
        corner, steps, size = geometry.origin, geometry.spacing, geometry.shape
        z, y, x = (c + d * s * np.arange(n) for c, d, s, n in zip(corner[::-1], (1, -1, -1), steps, size, strict=True))
        signal = np.full(size, value, np.float32)
        x, y, z = (a.astype(np.float32) for a in (x[None, None, :], y[None, :, None], z[:, None, None]))
        return cls(geometry, signal, x, y, z, np.zeros(size, np.int16), [name])

    @property
    def step(self) -> np.float32:
        """Return the spacing in mm."""
        return np.float32(self.geometry.spacing[0])

    def filled(self, depth: Floats) -> Floats:
        """Return the share of each element (*S) that lies in a body of this depth."""
        share: Floats = np.clip(np.float32(0.5) + depth / self.step, 0, 1).astype(np.float32)
        return share

    def lay(self, name: str, depth: Floats, value: float | Floats, box: tuple[slice, ...] = ()) -> None:
        """Paint a body of depth (*S, or that of the box) in mm; without a name it keeps the owner below it."""
        share = self.filled(depth)
        signal, owner = self.signal[box], self.owner[box]
        signal += share * (value - signal)
        if name:
            if name not in self.names:
                self.names.append(name)
            owner[share >= 0.5] = self.names.index(name)

    def paint(self, name: str, shape: Shape, value: float | Floats, within: Floats | None = None) -> None:
        """Paint a shape, only as deep as `within` (*S) allows."""
        box = self.box(shape.bounds)
        depth = shape.depth(self.x[..., box[2]], self.y[:, box[1]], self.z[box[0]])
        if within is not None:
            depth = np.minimum(depth, within[box])
        self.lay(name, depth, value[box] if isinstance(value, np.ndarray) else value, box)

    def depth(self, shape: Shape) -> Floats:
        """Return the depth of every element (*S) in a shape; what is far outside is just outside."""
        far = 2 * max(float(self.step), 10.0)
        low, high = shape.bounds
        box = self.box(((low[0] - far, low[1] - far, low[2] - far), (high[0] + far, high[1] + far, high[2] + far)))
        found = np.full(self.geometry.shape, -far, np.float32)
        found[box] = shape.depth(self.x[..., box[2]], self.y[:, box[1]], self.z[box[0]])
        return found

    def covered(self, threads: Threads) -> Floats:
        """Return the share of each element (*S) that thin vessels fill: their volume, laid down where they run."""
        volume, places = threads.samples(float(self.step))
        size = np.array(self.geometry.shape)
        # A rim of one element takes what lies outside the grid.
        place = np.clip(self.geometry.to_index(places) + 1, 0, size + 0.999)
        base = place.astype(np.int64)
        part = (place - base).astype(np.float32)
        wide = tuple(int(n) for n in size + 3)
        first = np.ravel_multi_index(tuple(base.T), wide)
        share = np.zeros(int(np.prod(wide)))
        for bits in np.ndindex(2, 2, 2):
            weight = volume
            for axis, bit in enumerate(bits):
                weight = weight * (part[:, axis] if bit else 1 - part[:, axis])
            share += np.bincount(first + np.ravel_multi_index(bits, wide), weight, share.size)
        inner = share.reshape(wide)[1:-2, 1:-2, 1:-2]
        return np.minimum(inner / self.geometry.element, 1).astype(np.float32)

    def box(self, bounds: Bounds) -> tuple[slice, ...]:
        """Return the part of the grid that may touch a box in mm."""
        found = []
        for axis, low, high in zip((self.z, self.y, self.x), bounds[0][::-1], bounds[1][::-1], strict=True):
            first, step = float(axis.flat[0]), float(self.step) * (1 if axis is self.z else -1)
            near, far = sorted(((low - first) / step, (high - first) / step))
            found.append(slice(max(int(near) - 1, 0), max(int(far) + 3, 0)))
        return tuple(found)

    def masks(self) -> dict[str, Mask]:
        """Return what belongs to each name (*S)."""
        return {name: self.owner == number for number, name in enumerate(self.names)}


def least(*depths: AnyFloats) -> Floats:
    """Return the depth (*S) in what all bodies share."""
    found: Floats = reduce(np.minimum, depths).astype(np.float32, copy=False)
    return found


def most(*depths: AnyFloats) -> Floats:
    """Return the depth (*S) in what any of the bodies holds."""
    found: Floats = reduce(np.maximum, depths).astype(np.float32, copy=False)
    return found


def profile(places: Sequence[float], values: Sequence[float], at: Floats) -> Floats:
    """Return a smooth curve through values at places, read at other places (*S), level beyond its ends."""
    within = np.clip(at, places[0], places[-1])
    found: Floats = _curve(tuple(places), tuple(values))(within).astype(np.float32)
    return found


@lru_cache(maxsize=64)
def _curve(places: tuple[float, ...], values: tuple[float, ...]) -> Callable[[Floats], Floats]:
    from scipy.interpolate import PchipInterpolator

    curve: Callable[[Floats], Floats] = PchipInterpolator(places, values)
    return curve


def binned(values: Floats, factor: float) -> Floats:
    """Return the values (*S) as elements `factor` times larger would measure them, on the same grid."""
    if factor <= 1:
        return values
    for axis, size in enumerate(values.shape):
        group = np.floor(np.arange(size) / factor).astype(int)
        first = np.flatnonzero(np.diff(group, prepend=-1))
        length = np.diff(first, append=size)
        total = np.add.reduceat(values, first, axis=axis)
        mean = total / length.reshape([-1 if a == axis else 1 for a in range(values.ndim)]).astype(np.float32)
        values = np.repeat(mean, length, axis=axis)
    return values
