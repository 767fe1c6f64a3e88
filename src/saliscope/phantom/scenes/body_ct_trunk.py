"""The trunk of the CT patient: skin, fat, muscle, cage and spine, and the table below."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from saliscope.phantom.scene import Floats
from saliscope.phantom.scenes.texture import waves
from saliscope.phantom.scenes.volume import Canvas, Ellipsoid, Point, Tube, least, most, profile

#: The points of a vessel and its radius at each, in mm.
Course = tuple[tuple[Point, ...], tuple[float, ...]]
#: Heights (z) in mm at which the trunk's half axes are given; 0 is about the tenth rib's, 150 the apex of the lung.
LEVELS = (-160, -110, -60, 0, 50, 100, 135, 165)
MUSCLE_X = (136, 138, 142, 148, 150, 142, 118, 92)
MUSCLE_Y = (94, 96, 100, 101, 96, 86, 74, 62)
CAGE_X = (122, 127, 131, 131, 124, 103, 74, 40)
CAGE_Y = (80, 84, 89, 89, 82, 66, 49, 32)
#: The spine's centre (y) bends with the height.
SPINE_Y = (-44, -47, -53, -60, -64, -59, -45, -30)
BACK = -118.0


@dataclass(frozen=True, eq=False)
class Trunk:
    """What all parts of one patient go by: size, fat, breath, and the depth (*S) below skin, muscle and cage in mm."""

    scale: float
    fat_mm: float
    breath_mm: float
    rib_mm: float
    skin: Floats = field(repr=False)
    muscle: Floats = field(repr=False)
    cage: Floats = field(repr=False)
    spine_y: Floats = field(repr=False)

    @classmethod
    def drawn(cls, rng: np.random.Generator, canvas: Canvas) -> Trunk:
        """Return a patient's measures."""
        scale, fat, breath, rib = (
            float(rng.uniform(*between)) for between in ((0.94, 1.04), (5, 20), (-12, 14), (23, 26))
        )
        wave = waves(rng, canvas.geometry, (90, 260), 2, count=40)
        z = canvas.z / np.float32(scale)
        muscle = _ring(canvas, z, MUSCLE_X, MUSCLE_Y, scale, 2.5, -6) + 2 * wave
        front = np.clip(0.65 + canvas.y / 250, 0.35, 1.1) + np.clip(-z / 500, 0, 0.4)
        skin = muscle + np.float32(fat) * front.astype(np.float32)
        # The back of someone who lies on a table is flat.
        skin = np.minimum(skin, canvas.y - np.float32(BACK + 3))
        cage = _ring(canvas, z, CAGE_X, CAGE_Y, scale, 2.3, -4) + wave
        return cls(scale, fat, breath, rib, skin, muscle, cage, profile(LEVELS, SPINE_Y, z) * np.float32(scale))


def _ring(
    canvas: Canvas, z: Floats, wide: tuple[int, ...], deep: tuple[int, ...], scale: float, power: float, middle: float
) -> Floats:
    """Return the depth (*S) in a rounded box whose half axes change with the height."""
    x, y = np.abs(canvas.x), canvas.y - np.float32(middle)
    a, b = (profile(LEVELS, half, z) * np.float32(scale) for half in (wide, deep))
    level = ((x / a) ** np.float32(power) + (np.abs(y) / b) ** np.float32(power)) ** np.float32(1 / power)
    depth: Floats = (1 / np.maximum(level, 1e-3) - 1) * np.sqrt(x**2 + y**2)
    return np.minimum(depth, 150).astype(np.float32)


def paint_trunk(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Paint the table, fat, muscle and what fills the trunk."""
    bed = canvas.y - np.float32(BACK) - (canvas.x / np.float32(150)) ** 2 * 18 + 0 * canvas.z
    table = np.minimum(-bed, bed + 24)
    canvas.lay("table", table, -880)
    canvas.lay("table", np.minimum(table, 3 - table), -250)
    canvas.lay("fat", trunk.skin, 20)
    canvas.lay("fat", trunk.skin - 2.5, -100)
    streaks = 12 * waves(rng, canvas.geometry, (14, 50), 0, count=40)
    canvas.lay("muscle", trunk.muscle, 52 + np.float32(0.4) * streaks)
    # Planes of fat between the muscles of the back and the side.
    depth = trunk.muscle
    layer = np.minimum(1.6 - np.abs(depth - 9 - streaks / 6), trunk.skin - 6)
    canvas.lay("fat", layer, -90)
    inner = np.minimum(trunk.cage - 9, trunk.muscle - 12)
    canvas.lay("inner fat", inner, -98 + streaks)


def paint_bones(canvas: Canvas, trunk: Trunk) -> None:
    """Paint spine, ribs, breastbone and shoulder blades over all else."""
    _spine(canvas, trunk)
    _ribs(canvas, trunk)
    s = trunk.scale
    front = -4 + profile(LEVELS, CAGE_Y, canvas.z / np.float32(s)) * np.float32(s) - 4
    bone = least(17 - np.abs(canvas.x) + 0 * canvas.y, 5.5 - np.abs(canvas.y - front))
    bone = np.minimum(bone, 62 * s - np.abs(canvas.z - 52 * s))
    canvas.lay("sternum", bone, 420)
    canvas.lay("sternum", bone - 3, 190)
    for side in (-1, 1):
        blade = Ellipsoid((side * 88 * s, -77 * s, 92 * s), (36 * s, 4.2, 54 * s), (side * 0.55, 0, 0.2))
        canvas.paint("scapulae", blade, 350)


def _spine(canvas: Canvas, trunk: Trunk) -> None:
    """Paint vertebrae with a hard rim, discs, canal and processes: they repeat with the height."""
    s, y = trunk.scale, trunk.spine_y
    pitch = np.float32(27 * s)
    turn = (canvas.z / pitch) % 1 - np.float32(0.5)
    level = 0.5 * pitch - np.abs(turn) * pitch
    lower = np.clip(1.12 - canvas.z / 900, 0.9, 1.3)
    x, back = canvas.x, canvas.y - y
    held, deep = level - 5, trunk.muscle - 5
    round_ = (np.float32(1) - np.sqrt((x / (20 * s * lower)) ** 2 + (back / (16 * s * lower)) ** 2)) * 17 * s
    body = np.minimum(round_, level - 3)
    canvas.lay("spine", round_, 75)
    canvas.lay("spine", body, 620)
    canvas.lay("spine", np.minimum(round_ - 2.6, level - 5), 190)
    arch = back + np.float32(27 * s)
    ring = 15 - np.sqrt(x**2 + arch**2)
    # The arch and the process behind it, and one to each side, at half the height of every vertebra.
    spike = least(3.6 - np.abs(x) - 0 * arch, -arch - 8, 26 + arch)
    wing = least(4.5 - np.abs(arch + 4 + np.abs(x) * 0.25), 34 * s - np.abs(x) + 0 * arch)
    canvas.lay("spine", least(most(ring, spike), level - 2.5, deep), 430)
    canvas.lay("spine", least(wing, held, deep), 430)
    canvas.lay("canal", least(ring - 5.5, deep), 25)


def _ribs(canvas: Canvas, trunk: Trunk) -> None:
    """Paint the ribs: each leaves the spine, runs out, forward and down on the cage, and ends in cartilage."""
    s = trunk.scale
    x, y, z = np.abs(canvas.x), canvas.y + 10, canvas.z / np.float32(s)
    around = np.arctan2(x, -y)
    drop = 26 * (1 - np.cos(np.minimum(around, 2.2))) + 42 * np.clip(around - 0.9, 0, 1.3)
    rib = (np.float32(152) - z - drop) / np.float32(trunk.rib_mm)
    number = np.clip(np.rint(rib), 0, 10)
    height = np.abs(rib - number) * np.float32(trunk.rib_mm)
    reach = np.interp(np.arange(11), (0, 5, 6, 8, 9, 10), (2.85, 2.85, 2.7, 2.1, 1.5, 1.2)).astype(np.float32)
    ends = reach[number.astype(np.int16)]
    wall = 3.6 - np.abs(trunk.cage - 4.5)
    depth = least(wall, 5.6 - height, x - 16 * s)
    cartilage = np.minimum(depth, (ends - around) * 70)
    bone = np.minimum(depth, (np.minimum(ends, 2.25) - around) * 70)
    canvas.lay("ribs", cartilage, 110)
    canvas.lay("ribs", bone, 520)
    canvas.lay("ribs", bone - 2.2, 240)


def vessel(course: Course, scale: float) -> Tube:
    """Return a tube in a patient of this size."""
    points, radii = course
    return Tube(tuple((x * scale, y * scale, z * scale) for x, y, z in points), tuple(r * scale for r in radii))
