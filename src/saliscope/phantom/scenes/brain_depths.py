"""What lies deep in the brain: ventricles, deep grey matter, hippocampus and brainstem."""

from __future__ import annotations

import numpy as np

from saliscope.phantom.scenes.brain_head import FLUID, GREY, WHITE, Head
from saliscope.phantom.scenes.volume import Canvas

#: The lateral ventricle of the average head: from the front horn over the body to the atrium.
BODY = ((9, 34, 8), (8, 20, 16), (9, 0, 21), (13, -20, 19), (20, -33, 11))
BODY_MM = (3.4, 6.0, 5.2, 5.4, 7.0)
BACK_HORN = ((20, -33, 11), (24, -50, 6), (22, -66, 4))
LOWER_HORN = ((20, -33, 11), (30, -28, -8), (33, -12, -19), (30, 6, -23))
HIPPOCAMPUS = ((21, -30, 2), (27, -24, -12), (28, -8, -21), (24, 4, -23))


def paint_depths(canvas: Canvas, head: Head, rng: np.random.Generator) -> None:
    """Paint what lies deep: the two sides are alike but for a few percent."""
    large = float(rng.uniform(0.75, 1.5))
    _brainstem(canvas, head)
    for side in (-1, 1):
        sway = [float(v) for v in rng.uniform(0.9, 1.1, 2)]
        _nuclei(canvas, head, side, sway[0])
        _ventricle(canvas, head, side, large * sway[1])
    canvas.paint("ventricles", head.ellipsoid((0, -6, 0), (1.6 + 1.2 * large, 15, 10)), FLUID)
    canvas.paint("ventricles", head.ellipsoid((0, 10, 13), (4.5, 22, 6.5)), FLUID)
    canvas.paint("ventricles", head.ellipsoid((0, -37, -34), (6, 5, 10)), FLUID)


def _nuclei(canvas: Canvas, head: Head, side: int, grown: float) -> None:
    for centre, radii, turn, value in (
        ((12, -13, 5), (10.5, 15, 9.5), (0.35, 0, 0), GREY + 60),
        ((25, 6, 3), (7, 19, 12), (0.22, 0.1, 0), GREY + 15),
        ((19.5, 1, 2), (4.5, 10, 7), (0.25, 0, 0), GREY + 95),
        ((13, 24, 9), (7, 10, 10), (0, 0, 0), GREY + 10),
        ((22, 5, -21), (9, 9, 8), (0, 0, 0), GREY),
    ):
        x, y, z = centre
        a, b, c = (r * grown for r in radii)
        shape = head.ellipsoid((side * x, y, z), (a, b, c), (side * turn[0], side * turn[1], 0.0))
        canvas.paint("deep grey", shape, value)
    tail = tuple((side * x, float(y), float(z)) for x, y, z in ((15, 20, 16), (17, 0, 21), (21, -18, 19)))
    canvas.paint("deep grey", head.tube(tail, (5, 3.4, 2)), GREY + 10)
    hippocampus = tuple((side * float(x), float(y), float(z)) for x, y, z in HIPPOCAMPUS)
    canvas.paint("deep grey", head.tube(hippocampus, (3, 4, 5, 5.5)), GREY)


def _ventricle(canvas: Canvas, head: Head, side: int, grown: float) -> None:
    wide = np.sqrt(grown)
    for points, radii in (
        (BODY, BODY_MM),
        (BACK_HORN, (6.0, 4.0, 1.5)),
        (LOWER_HORN, (5.5, 3.2, 2.4, 1.6)),
    ):
        course = tuple((side * float(x), float(y), float(z)) for x, y, z in points)
        canvas.paint("ventricles", head.tube(course, tuple(float(r * wide) for r in radii)), FLUID)


def _brainstem(canvas: Canvas, head: Head) -> None:
    """Paint midbrain, pons, medulla and cord in the fluid around them."""
    stem = head.tube(((0, -20, -4), (0, -21, -20), (0, -22, -34), (0, -30, -60), (0, -36, -95)), (13, 13, 13, 9, 7))
    wider = head.tube(((0, -24, -14), (0, -26, -40), (0, -34, -95)), (17, 19, 11))
    canvas.paint("fluid", wider, FLUID, -1 - np.maximum(canvas.depth(head.ellipsoid((0, -58, -36), (50, 26, 24))), -60))
    canvas.paint("brainstem", stem, WHITE - 30)
    canvas.paint("brainstem", head.ellipsoid((0, -13, -32), (16, 13, 13)), WHITE - 45)
    for side in (-1, 1):
        canvas.paint("brainstem", head.tube(((side * 6, -10, -12), (side * 16, -4, 0)), (6, 6)), WHITE - 10)
