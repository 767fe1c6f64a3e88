"""What lies in the chest of the CT patient: lungs with vessels, heart, great vessels and airways."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from saliscope.core.region import Mask
from saliscope.phantom.scene import Floats
from saliscope.phantom.scenes.body_ct_trunk import Course, Trunk, vessel
from saliscope.phantom.scenes.texture import waves
from saliscope.phantom.scenes.volume import Canvas, Ellipsoid, Threads, Tube, least, profile

BLOOD = 150.0
#: How many times a vessel of the lung forks.
FORKS = 5
AORTA: Course = (
    ((4, 14, 22), (10, 20, 45), (8, 16, 72), (-2, -2, 86), (-14, -24, 82), (-20, -40, 66), (-10, -28, -160)),
    (13, 14.5, 13.5, 12.5, 12, 11.5, 9.5),
)
CAVA: tuple[Course, ...] = (
    (((27, 14, 150), (26, 13, 90), (24, 8, 30)), (8, 9.5, 10)),
    (((24, 2, 10), (26, -8, -30), (20, -22, -160)), (11, 12, 11)),
)
PULMONARY: tuple[Course, ...] = (
    (((-18, 34, 32), (-16, 22, 52), (-8, 4, 54)), (13, 13, 12)),
    (((-8, 4, 54), (14, -4, 50), (38, -10, 40)), (11, 10, 8)),
    (((-10, 6, 54), (-24, -10, 54), (-40, -16, 44)), (11, 10, 8)),
)
AIRWAYS: tuple[Course, ...] = (
    (((0, -6, 170), (1, -14, 110), (1, -20, 68)), (8.5, 8.5, 8.5)),
    (((1, -20, 68), (22, -20, 48), (42, -20, 34)), (7.5, 6.5, 4.5)),
    (((1, -20, 68), (-24, -22, 46), (-46, -24, 32)), (7, 6, 4.5)),
)


def paint_chest(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> Mapping[str, Mask]:
    """Paint the chest; returns what is told apart within the lungs (*S): each side, and the vessels."""
    s = trunk.scale
    heart = _heart(trunk, rng)
    room = np.minimum(trunk.cage - 10, trunk.muscle - 14)
    lungs = least(room, above_diaphragm(canvas, trunk), _beside(canvas, trunk), -3 - canvas.depth(heart))
    texture = waves(rng, canvas.geometry, (18, 60), 1, count=60)
    # The lung of someone who lies is denser below, where it carries the weight of what is above.
    tissue = -852 - np.float32(0.35) * canvas.y + 14 * texture
    canvas.lay("lungs", lungs, tissue)
    lung = canvas.filled(lungs)
    share = canvas.covered(_tree(rng, s)) * lung
    canvas.signal += share * (np.float32(45) - canvas.signal)
    _fissures(canvas, trunk, lungs)
    _paint_heart(canvas, trunk, heart)
    for name, courses, value in (("aorta", (AORTA,), BLOOD), ("great vessels", CAVA + PULMONARY, BLOOD - 15)):
        for course in courses:
            canvas.paint(name, vessel(course, s), value)
    for course in AIRWAYS:
        tube = vessel(course, s)
        canvas.paint("airways", Tube(tube.points, tuple(r + 2 for r in tube.radii)), 20)
        canvas.paint("airways", tube, -990)
    oesophagus = vessel((((-4, -32, 170), (-4, -36, 60), (-8, -30, -20), (-20, -10, -45)), (6, 6, 7, 8)), s)
    canvas.paint("mediastinum", oesophagus, 40)
    right = canvas.x > 0
    everywhere = np.ones(canvas.geometry.shape, bool)
    return {"right lung": everywhere & right, "left lung": everywhere & ~right, "lung vessels": share >= 0.3}


def above_diaphragm(canvas: Canvas, trunk: Trunk) -> Floats:
    """Return the height (*S) above the diaphragm: two domes, that of the right side higher."""
    s, low = np.float32(trunk.scale), np.float32(trunk.breath_mm)
    y = canvas.y - 8
    sag = np.where(y > 0, np.float32(0.0045), np.float32(0.0062)) * y**2
    domes = [top - low - 0.0085 * (canvas.x - side * 66 * s) ** 2 for top, side in ((-8, 1), (-20, -1))]
    depth: Floats = (canvas.z - (np.maximum(*domes) * s - sag)).astype(np.float32)
    return depth * np.float32(0.8)


def _beside(canvas: Canvas, trunk: Trunk) -> Floats:
    """Return how far (*S) beside the mediastinum: wide at the hilum, narrow before and behind the heart."""
    s = np.float32(trunk.scale)
    wide = profile((-90, -30, 20, 60, 95, 130, 165), (44, 40, 36, 32, 31, 33, 36), canvas.z / s)
    waist = profile((-95, -70, -45, -15, 20, 55, 85), (30, 25, 24, 30, 30, 16, 7), canvas.y / s)
    half = np.minimum(wide, 48) * waist / np.float32(30)
    beside: Floats = np.abs(canvas.x + 2) - half * s
    return beside


def _heart(trunk: Trunk, rng: np.random.Generator) -> Ellipsoid:
    s, large = trunk.scale, float(rng.uniform(0.92, 1.1))
    radii = (60 * s * large, 42 * s * large, 44 * s * large)
    return Ellipsoid((-20 * s, 24 * s, (4 - 0.6 * trunk.breath_mm) * s), radii, (-0.55, 0.45, 0.0))


def _paint_heart(canvas: Canvas, trunk: Trunk, heart: Ellipsoid) -> None:
    s = trunk.scale
    inside = np.minimum(canvas.depth(heart), trunk.cage - 12)
    canvas.lay("mediastinum", inside, -85)
    canvas.lay("heart", inside - 4, 95)
    x, y, z = heart.centre
    room = inside - 8
    for (a, b, c), radii in (
        ((-22, 4, -8), (30, 19, 19)),
        ((6, 20, -4), (34, 14, 22)),
        ((34, 6, 4), (20, 20, 24)),
        ((14, -20, 14), (26, 17, 18)),
    ):
        middle = (x + a * s, y + b * s, z + c * s)
        canvas.paint("heart", Ellipsoid(middle, tuple(r * s for r in radii), heart.turn), BLOOD, room)  # type: ignore[arg-type]


def _fissures(canvas: Canvas, trunk: Trunk, lungs: Floats) -> None:
    """Paint the thin sheets between the lobes."""
    s = np.float32(trunk.scale)
    major = canvas.z - 0.95 * (-canvas.y) * 1.0 - 18 * s + 0.04 * np.abs(canvas.x)
    sheet = canvas.filled(np.minimum(0.7 - np.abs(major) * 0.7, lungs - 1)) * np.float32(0.12)
    canvas.signal += sheet * (0 - canvas.signal)


def _tree(rng: np.random.Generator, scale: float) -> Threads:
    """Return the vessels of both lungs: from each hilum they run out, fork and thin."""
    up = np.tile([1.2, 0.9, 0.6, 0.3, 0.0, -0.3, -0.55, -0.8, -1.05, -1.3], 2)
    side = np.repeat([-1.0, 1.0], up.size // 2)
    turn = rng.uniform(-1.2, 1.2, up.size) + 0.45 * (up < -0.8)
    ahead = np.stack([side * np.cos(up) * np.cos(turn), -np.cos(up) * np.sin(turn), np.sin(up)], 1)
    start = np.stack([side * 36, np.full(up.size, -14.0), np.full(up.size, 40.0) + 6 * np.sign(up)], 1)
    length, radius, pieces = rng.uniform(22, 34, up.size), np.full(up.size, 4.8), []
    for _ in range(FORKS):
        end = start + length[:, None] * ahead
        pieces.append((start, end, 0.93 * radius))
        bend = np.cross(ahead, rng.standard_normal(ahead.shape))
        bend /= np.linalg.norm(bend, axis=1, keepdims=True)
        ahead = np.concatenate([ahead + 0.28 * bend, ahead - 0.75 * bend])
        ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
        start, radius = np.tile(end, (2, 1)), np.concatenate([0.88 * radius, 0.64 * radius])
        length = np.tile(length, 2) * rng.uniform(0.7, 0.98, 2 * len(length))
    first, last, wide = (np.concatenate(part) * scale for part in zip(*pieces, strict=True))
    return Threads(first, last, wide)
