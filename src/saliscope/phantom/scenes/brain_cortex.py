"""The folded surface of the brain: gyri and sulci of the cerebrum, the leaves of the cerebellum."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from saliscope.phantom.scene import Floats
from saliscope.phantom.scenes.brain_head import FLUID, GREY, WHITE, Head
from saliscope.phantom.scenes.texture import waves
from saliscope.phantom.scenes.volume import Canvas, least, most, profile

#: How thick the cortex is, in mm.
THICK = 3.0
#: Deeper than this below the hull no sulcus reaches, in mm.
DEEPEST = 26.0
#: Periods of the folds in mm, and of how many waves they are made.
FOLDS, WAVES = (16.0, 26.0), 44


@dataclass(frozen=True, eq=False)
class Cortex:
    """The distance (*S) from the fluid outside and in the sulci, in mm: grey matter where it is small, then white."""

    inside: Floats = field(repr=False)

    @classmethod
    def drawn(cls, rng: np.random.Generator, canvas: Canvas, head: Head) -> Cortex:
        """Return the folds of a seed."""
        hull = head.hull
        bend = 1.5 * waves(rng, canvas.geometry, (50, 120), 0, count=30)
        middle = _fissure(canvas, head, bend)
        side = _sylvian(canvas, head, bend)
        shore = least(hull, middle, side)
        depths = 13 + 5 * waves(rng, canvas.geometry, (40, 90), 0, count=30)
        near = (hull > -2) & (shore < DEEPEST)
        sheets = np.full(hull.shape, 50, np.float32)
        sheets[near] = _sheets(rng, canvas, head, near, shore[near])
        reach = np.clip(depths, 6, DEEPEST - 4)
        # The medial sulci are short, and none cuts into the core, where the deep nuclei lie.
        reach = np.where(middle < hull, np.minimum(reach, 11), reach)
        core = canvas.depth(head.ellipsoid((0, -5, 0), (37, 46, 27)))
        sulci = np.hypot(sheets, np.maximum(np.maximum(shore - reach, core + 2), 0)) - np.float32(0.7)
        return cls(least(hull, middle - 0.8, side - 1.1, sulci))


def _fissure(canvas: Canvas, head: Head, bend: Floats) -> Floats:
    """Return the distance (*S) from the sheet between the hemispheres: it stops at the corpus callosum."""
    _, long, high = (np.float32(g) for g in head.grown)
    y, z = (canvas.y / long + 3) / 39, (canvas.z / high - 6) / np.where(canvas.z > 6 * high, 22, 34)
    level = np.sqrt(y**2 + z**2) + np.float32(1e-3)
    beyond = (level - 1) * 26
    away: Floats = np.hypot(canvas.x + bend * np.float32(0.6), np.maximum(-beyond, 0))
    return away


def _sylvian(canvas: Canvas, head: Head, bend: Floats) -> Floats:
    """Return the distance (*S) from the deep cleft above the temporal lobe, at whose floor the insula lies."""
    wide, long, high = (np.float32(g) for g in head.grown)
    x, y, z = np.abs(canvas.x) / wide + bend, canvas.y / long, canvas.z / high + bend
    height = profile((-50, -30, 0, 25, 45), (18, 8, -3, -10, -16), y)
    across = np.abs(z - height - 0.15 * (x - 45)) * np.float32(0.92)
    floor = np.maximum(np.float32(38) + 0.004 * (y - 2) ** 2 - x, 0)
    ends = np.maximum(np.abs(y + 2) - 34, 0)
    # The floor is the insula: a shell along which the cleft spreads up and down.
    spread = np.hypot(np.maximum(across - 7, 0), np.abs(x - 39.5 - 0.004 * (y - 2) ** 2))
    cleft = np.sqrt(across**2 + floor**2 + ends**2)
    away: Floats = np.minimum(cleft, np.hypot(spread, ends))
    return away


def _sheets(rng: np.random.Generator, canvas: Canvas, head: Head, near: npt.NDArray[np.bool_], depth: Floats) -> Floats:
    """Return the distance (N,) of elements from the sheets of the sulci, in mm.

    The sheets are where a sum of plane waves of like period is 0, read at the place of the surface that lies above an
    element, so that they run inwards; value by slope is the distance.
    """
    plane, row, column = np.nonzero(near)
    place = np.stack([canvas.x.ravel()[column], canvas.y.ravel()[row], canvas.z.ravel()[plane]], 1)
    middle = np.array(head.at(0, -3, 6), np.float32)
    shrunk = np.clip(1 - depth / 62, 0.45, 1.05)[:, None].astype(np.float32)
    place = middle + (place - middle) / shrunk
    towards = rng.standard_normal((WAVES, 3))
    towards *= 2 * np.pi / (np.linalg.norm(towards, axis=1, keepdims=True) * rng.uniform(*FOLDS, (WAVES, 1)))
    towards, turn = towards.astype(np.float32), (2 * np.pi * rng.random(WAVES)).astype(np.float32)
    # Not matrix products: those of a library may round in another way with another number of threads.
    phase = turn + sum(place[:, k, None] * towards[:, k] for k in range(3))
    value = np.cos(phase).sum(1)
    slope = np.sqrt(np.sum(np.einsum("nw,wk->nk", np.sin(phase), towards) ** 2, axis=1))
    away: Floats = np.abs(value) / (slope + np.float32(0.15)) * shrunk[:, 0]
    return away


def paint_cortex(canvas: Canvas, cortex: Cortex) -> None:
    """Paint grey and white matter."""
    canvas.lay("grey matter", cortex.inside, GREY)
    canvas.lay("white matter", cortex.inside - THICK, WHITE)


def paint_cerebellum(canvas: Canvas, head: Head, rng: np.random.Generator) -> None:
    """Paint the cerebellum: leaves of grey around a white tree, under the tent."""
    lobes = [canvas.depth(head.ellipsoid((s * 22, -54, -36), (31, 29, 23), (s * -0.2, 0, 0.2))) for s in (-1, 1)]
    worm = canvas.depth(head.ellipsoid((0, -54, -32), (14, 24, 26)))
    depth = least(most(*lobes, worm), -head.tent - 2.5, head.cavity - 3)
    canvas.lay("fluid", depth + 2.5, FLUID)
    canvas.lay("cerebellum", depth, GREY + 15)
    _, y, z = head.at(0, -34, -36)
    wave = waves(rng, canvas.geometry, (25, 60), 0, count=30)
    around = np.arctan2(canvas.z - np.float32(z), np.float32(y) - canvas.y)
    out = np.hypot(canvas.z - np.float32(z), canvas.y - np.float32(y))
    # The leaves fan out from the fourth ventricle; in each a white stem.
    stems = np.cos(13 * around + wave + 0 * canvas.x)
    stem = least((stems - 0.35) * 0.13 * out * 0.55, depth - 3.5)
    canvas.lay("cerebellum", stem, WHITE - 45)
    canvas.lay("cerebellum", depth - 13 + wave, WHITE - 15)
    leaf = np.cos(2 * np.pi * (depth + 0.3 * out) / 5.0)
    canvas.lay("cerebellum", least((-leaf - 0.8) * 3, depth, 8 - depth), 300)
