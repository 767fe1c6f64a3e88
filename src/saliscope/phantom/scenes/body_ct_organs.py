"""What lies below the diaphragm of the CT patient: liver, spleen, stomach, kidneys and bowel."""

from __future__ import annotations

import numpy as np

from saliscope.phantom.scene import Floats
from saliscope.phantom.scenes.body_ct_chest import BLOOD, above_diaphragm
from saliscope.phantom.scenes.body_ct_trunk import Course, Trunk, vessel
from saliscope.phantom.scenes.texture import waves
from saliscope.phantom.scenes.volume import Canvas, Ellipsoid, Threads, least

PORTAL: tuple[Course, ...] = (
    (((10, 2, -95), (38, 4, -72), (62, 12, -60)), (6, 5.5, 4)),
    (((62, 12, -60), (88, 0, -70), (108, -8, -88)), (4, 3, 2)),
    (((62, 12, -60), (80, 40, -58), (92, 55, -62)), (4, 3, 2)),
    (((26, -2, -30), (52, 8, -38), (84, 10, -46)), (5, 4, 2.5)),
    (((26, -2, -30), (40, 36, -44), (46, 56, -56)), (4.5, 3.5, 2)),
    (((26, -2, -30), (64, -28, -44), (92, -40, -60)), (4.5, 3.5, 2)),
)


def paint_organs(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Paint the organs of the upper abdomen, one before the other."""
    s = trunk.scale
    texture = 5 * waves(rng, canvas.geometry, (12, 40), 0, count=40)
    room = least(trunk.cage - 12, trunk.muscle - 14, -4 - above_diaphragm(canvas, trunk))
    _bowel(canvas, trunk, rng, room)
    _stomach(canvas, trunk, rng, room, texture)
    _liver(canvas, trunk, rng, room, texture)
    spleen = Ellipsoid((-98 * s, -36 * s, (-62 - trunk.breath_mm) * s), (26 * s, 50 * s, 44 * s), (0.25, 0.2, 0.2))
    canvas.paint("spleen", spleen, 118 + texture, room)
    for side, z in ((1, -128), (-1, -112)):
        _kidney(canvas, s, side, z - 0.5 * trunk.breath_mm, texture)


def _liver(canvas: Canvas, trunk: Trunk, rng: np.random.Generator, room: Floats, texture: Floats) -> None:
    s, low = trunk.scale, trunk.breath_mm
    large = float(rng.uniform(0.93, 1.08))
    right = Ellipsoid((66 * s, 2 * s, (-58 - low) * s), (78 * s, 92 * s, 78 * s * large), (0, -0.25, 0))
    left = Ellipsoid((2 * s, 42 * s, (-48 - low) * s), (74 * s, 36 * s, 40 * s * large), (0.1, 0.3, 0))
    both = np.maximum(canvas.depth(right), canvas.depth(left))
    # The gland is hollow where kidney, spine and stomach lie.
    hollow = Ellipsoid((18 * s, -48 * s, -100 * s), (54 * s, 44 * s, 90 * s), (0, 0, 0))
    depth = least(both, room, -canvas.depth(hollow))
    canvas.lay("liver", depth, 98 + texture)
    share = canvas.covered(Threads.of([vessel(course, s) for course in PORTAL])) * canvas.filled(depth - 3)
    canvas.signal += share * (np.float32(BLOOD + 5) - canvas.signal)
    bladder = Ellipsoid((48 * s, 44 * s, (-104 - low) * s), (14 * s, 26 * s, 17 * s), (0.2, 0, 0))
    canvas.paint("gallbladder", bladder, 12, room)


def _stomach(canvas: Canvas, trunk: Trunk, rng: np.random.Generator, room: Floats, texture: Floats) -> None:
    """Paint the stomach: fluid below, air above, as in someone who lies on his back."""
    s, low = trunk.scale, trunk.breath_mm
    depth = canvas.depth(Ellipsoid((-58 * s, 18 * s, (-62 - low) * s), (42 * s, 46 * s, 46 * s), (0.3, 0.2, 0)))
    depth = np.minimum(depth, room)
    canvas.lay("stomach", depth, 62)
    canvas.lay("stomach", depth - 5, 14 + texture)
    canvas.lay("stomach", np.minimum(depth - 5, canvas.y - np.float32(rng.uniform(22, 42) * s)), -950)


def _kidney(canvas: Canvas, s: float, side: int, z: float, texture: Floats) -> None:
    centre, turn = (side * 60 * s, -46 * s, z * s), (side * 0.5, side * 0.2, 0.2)
    outer = Ellipsoid(centre, (27 * s, 25 * s, 52 * s), turn)
    canvas.paint("kidneys", outer, 165 + texture)
    canvas.paint("kidneys", Ellipsoid(centre, (17 * s, 15 * s, 40 * s), turn), 118)
    inner = (centre[0] - side * 11 * s, centre[1] + 5 * s, centre[2])
    canvas.paint("kidneys", Ellipsoid(inner, (14 * s, 9 * s, 28 * s), turn), -60)


def _bowel(canvas: Canvas, trunk: Trunk, rng: np.random.Generator, room: Floats) -> None:
    """Paint loops of bowel with some gas, and the muscles beside the spine."""
    s = trunk.scale
    loops = waves(rng, canvas.geometry, (44, 60), 0, count=60)
    below = np.minimum(room, -104 * s - canvas.z + np.clip(-canvas.x, 0, 30) * 0.6)
    depth = least(below - 6, canvas.y + 16 * s + 0 * below, loops * 12 + 2)
    canvas.lay("bowel", depth, 42)
    canvas.lay("bowel", np.minimum(depth - 5, canvas.y - 30), -700)
    for side in (-1, 1):
        psoas = vessel((((side * 28, -42, -100), (side * 40, -34, -170)), (9, 19)), s)
        canvas.paint("muscle", psoas, 55)
