"""The head around the brain: its outline, scalp, skull, face and eyes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from saliscope.phantom.scene import Floats
from saliscope.phantom.scenes.texture import waves
from saliscope.phantom.scenes.volume import AnyFloats, Canvas, Ellipsoid, Point, Tube, least, most, profile

FLUID, GREY, WHITE, FAT, FLESH, BONE = 115.0, 425.0, 600.0, 740.0, 330.0, 45.0


@dataclass(frozen=True, eq=False)
class Head:
    """What all parts of one head go by: its size along each axis, and depths (*S) in mm.

    `hull` is the depth in the cerebrum, its sulci filled; `cavity` that in the skull; `tent` the height above the
    sheet between cerebrum and cerebellum.
    """

    grown: Point
    hull: Floats = field(repr=False)
    cavity: Floats = field(repr=False)
    tent: Floats = field(repr=False)

    @classmethod
    def drawn(cls, rng: np.random.Generator, canvas: Canvas) -> Head:
        """Return the measures of a head."""
        wide, long, high = (float(v) for v in rng.uniform((0.93, 0.94, 0.93), (1.0, 1.0, 0.99)))
        x, y, z = np.abs(canvas.x) / np.float32(wide), canvas.y / np.float32(long), canvas.z / np.float32(high)
        wave = waves(rng, canvas.geometry, (50, 160), 1, count=40)
        upper = _rounded(x, y + 3, z - 8, (63, 83, 55)) + wave
        # The floor: high over the eyes, low at the sides behind the ears; the tent falls to both sides.
        floor = profile((-85, -50, -34, -12, 10, 35, 60, 84), (-13, -6, 3, -8, -12, -17, -15, -8), y)
        sides = profile((-85, -45, -25, -8), (0.18, 0.38, 0.25, 0.0), y)
        floor = (floor - sides * x).astype(np.float32)
        temporal = _ball(x - 38, y - 2, z + 20, (24, 42, 23))
        # Towards the back the temporal lobe lies on the tent.
        temporal = least(temporal, 18 + z + 30 * np.clip((y + 40) / 30, 0, 1))
        tent = z - floor
        hull = most(least(upper, tent * np.float32(0.9)), temporal)
        cavity = most(_rounded(x, y + 3, z - 8, (66, 86, 58)) + wave, _ball(x, y + 42, z + 30, (58, 44, 36)))
        cavity = least(cavity, z + 22 + np.clip(30 - y, 0, 60))
        cavity = most(cavity, _ball(x - 36, y - 2, z + 20, (29, 47, 28)), hull + 3)
        return cls((wide, long, high), hull, cavity, tent)

    def at(self, x: float, y: float, z: float) -> Point:
        """Return a place of the average head in this one."""
        return x * self.grown[0], y * self.grown[1], z * self.grown[2]

    def ellipsoid(self, centre: Point, radii: Point, turn: Point = (0.0, 0.0, 0.0)) -> Ellipsoid:
        """Return an ellipsoid of the average head in this one."""
        return Ellipsoid(self.at(*centre), self.at(*radii), turn)

    def tube(self, points: tuple[Point, ...], radii: tuple[float, ...]) -> Tube:
        """Return a tube of the average head in this one."""
        return Tube(tuple(self.at(*p) for p in points), radii)


def _ball(x: AnyFloats, y: AnyFloats, z: AnyFloats, radii: Point) -> Floats:
    a, b, c = (np.float32(r) for r in radii)
    level = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2) + np.float32(1e-3)
    slope = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2 + (z / c**2) ** 2) + np.float32(1e-4)
    depth: Floats = (level * (1 - level) / slope).astype(np.float32)
    return depth


def _joined(first: Floats, second: Floats, width: float) -> Floats:
    """Return the depth (*S) in two bodies that run into each other without an edge."""
    near = np.maximum(1 - np.abs(first - second) / np.float32(width), 0)
    depth: Floats = most(first, second) + near**2 * np.float32(width / 4)
    return depth


def _rounded(x: AnyFloats, y: AnyFloats, z: AnyFloats, radii: Point) -> Floats:
    """Return the depth (*S) in an ellipsoid that is a little boxed, as skulls are."""
    power = np.float32(2.35)
    a, b, c = (np.float32(r) for r in radii)
    level = ((x / a) ** power + (np.abs(y) / b) ** power + (np.abs(z) / c) ** power) ** (1 / power)
    depth = (1 / np.maximum(level, np.float32(1e-2)) - 1) * np.sqrt(x**2 + y**2 + z**2)
    return np.minimum(depth, 80).astype(np.float32)


def paint_head(canvas: Canvas, head: Head, rng: np.random.Generator) -> None:
    """Paint scalp, face, skull and the fluid in it."""
    y, z = canvas.y, canvas.z
    face = most(
        canvas.depth(head.ellipsoid((0, 28, -48), (61, 66, 62))),
        canvas.depth(head.ellipsoid((0, -18, -70), (58, 62, 50))),
        canvas.depth(head.tube(((0, 84, -24), (0, 99, -50)), (7, 12))),
    )
    outline = _joined(head.cavity + 12.5, face, 22)
    thick = float(rng.uniform(3.5, 5.5))
    lumps = waves(rng, canvas.geometry, (14, 40), 0, count=60)
    canvas.lay("scalp", outline, 430)
    canvas.lay("scalp", outline - 1.8, FAT)
    below = least(outline - thick, -z - 8 + 0.25 * (y - 40))
    canvas.lay("face", below, FLESH + 20 + 90 * lumps)
    temple = least(canvas.depth(head.ellipsoid((62, 22, -18), (12, 34, 46))), outline - 4)
    temple = most(temple, least(canvas.depth(head.ellipsoid((-62, 22, -18), (12, 34, 46))), outline - 4))
    canvas.lay("face", temple, FLESH)
    skull = head.cavity + 7
    canvas.lay("skull", skull, BONE)
    marrow = least(2.2 - np.abs(skull - 3.4), (z + 5) * np.float32(0.1))
    canvas.lay("skull", marrow, 200)
    _paint_face(canvas, head)
    canvas.lay("fluid", head.cavity, FLUID)


def _paint_face(canvas: Canvas, head: Head) -> None:
    """Paint eyes in their fat, the air of nose and sinuses, jaw and ears."""
    for side in (-1, 1):
        canvas.paint("face", head.ellipsoid((side * 29, 54, -29), (18, 28, 16), (side * -0.25, 0, 0)), 640)
        canvas.paint("face", head.tube(((side * 12, 28, -24), (side * 30, 60, -29)), (2.2, 2.2)), 330)
        canvas.paint("face", head.tube(((side * 22, 36, -26), (side * 42, 62, -29)), (1.8, 2.4)), 340)
        canvas.paint("eyes", head.ellipsoid((side * 31, 71, -29), (12.6, 12.6, 12.6)), 360)
        canvas.paint("eyes", head.ellipsoid((side * 31, 71, -29), (11.2, 11.2, 11.2)), 130)
        canvas.paint("eyes", head.ellipsoid((side * 31, 80, -29), (4.5, 2.4, 4.5)), 330)
        canvas.paint("cavities", head.ellipsoid((side * 30, 56, -62), (14, 17, 16)), 15)
        canvas.paint("skull", head.ellipsoid((side * 54, -26, -44), (15, 17, 24)), 60)
    canvas.paint("cavities", head.ellipsoid((0, 64, -44), (10, 26, 28)), 15)
    canvas.paint("face", head.ellipsoid((0, 64, -46), (1.5, 26, 24)), 380)
    canvas.paint("face", head.ellipsoid((6, 60, -52), (3, 18, 7)), 420)
    canvas.paint("face", head.ellipsoid((-6, 60, -52), (3, 18, 7)), 420)
    canvas.paint("cavities", head.ellipsoid((0, 80, -6), (16, 5, 9)), 15)
    canvas.paint("skull", head.ellipsoid((0, 16, -44), (17, 22, 17)), 70)
    canvas.paint("cavities", head.ellipsoid((0, 26, -38), (12, 12, 9)), 15)
    canvas.paint("cavities", head.tube(((0, 20, -64), (0, 14, -90)), (9, 9)), 15)
