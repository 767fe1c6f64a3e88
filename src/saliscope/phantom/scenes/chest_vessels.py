"""The vessels of drawn lungs: trees that branch from the hila and taper, and the air in trachea and bronchi."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saliscope.phantom.scene import Floats
from saliscope.phantom.scenes.chest_body import Patient

Doubles = npt.NDArray[np.float64]
#: Angles of the main branches of the right lung: 0 points sideways, positive to the feet.
FANS = (-1.35, -0.95, -0.55, -0.15, 0.3, 0.65, 0.95, 1.2, 1.42)
THINNEST_MM = 0.6
#: How wide spots may be, as deviations.
WIDTHS_MM = (0.45, 0.8, 1.4, 2.4, 5.5)
#: Spots along each branch, and the depth of a vessel in cm for each mm of its radius.
STEPS, DEPTH = 12, 0.55


def vessels(p: Patient, rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """Return the depth of vessels and hila in cm (*S) on columns x (1, W) and rows y (H, 1)."""
    sides = np.repeat([-1.0, 1.0], len(FANS))
    turn = np.tile(FANS, 2) + rng.normal(0, 0.1, sides.size)
    thick = np.where(turn > 0, 4.4, 3.5) * rng.uniform(0.8, 1.1, sides.size)
    at_x = p.shift + sides * (32 + rng.normal(0, 4, sides.size))
    at_y = p.apex + np.where(sides < 0, 116.0, 106.0) + 11 * turn + rng.normal(0, 4, sides.size)
    start = np.stack([at_x, at_y], axis=1)
    spots = [_hila(p, rng)]
    while sides.size:
        points, end, turn = _grown(rng, start, turn, thick, sides)
        spots.append(points)
        fork, way = rng.uniform(0.25, 0.55, sides.size), rng.choice([-1.0, 1.0], sides.size)
        share = rng.uniform(0.82, 0.96, sides.size)
        start, sides = np.concatenate([end, end]), np.concatenate([sides, sides])
        turn = np.concatenate([turn + 0.5 * way * fork, turn - way * fork])
        thick = 0.8 * np.concatenate([thick * share, thick * (1.55 - share)])
        keep = thick >= THINNEST_MM
        start, turn, thick, sides = start[keep], turn[keep], thick[keep], sides[keep]
    every = np.concatenate(spots)
    within = np.abs(every[:, 0] - p.midline(every[:, 1])) < p.wall(every[:, 1])
    return _spread(every[within & (every[:, 1] > p.apex) & (every[:, 1] < p.dome + 45)], x, y)


def airways(p: Patient, x: Floats, y: Floats) -> Floats:
    """Return the depth of air in cm (*S) in the trachea and the main bronchi."""
    carina = p.apex + 84
    down = np.arange(-220, carina, 5.0)
    points = [(float(p.midline(s)) - 2 + (s + 220) / 100, s, 6.4, 0.85) for s in down]
    for side, steep, length in ((-1, 1.15, 32), (1, 0.75, 44)):
        for s in np.arange(0, length, 4.0):
            at = p.shift + side * (3 + s * np.cos(steep)), carina + s * np.sin(steep)
            points.append((*at, 4.6, 0.42 * (1 - 0.6 * s / length)))
    return _spread(np.array(points), x, y)


def _hila(p: Patient, rng: np.random.Generator) -> Doubles:
    """Return spots (P, 4) that make the hila denser than the vessels alone."""
    side = np.repeat([-1.0, 1.0], 6)
    at_x = p.shift + side * 35 + rng.normal(2, 5, 12) * side
    at_y = p.apex + np.where(side < 0, 114.0, 105.0) + rng.normal(0, 15, 12)
    return np.stack([at_x, at_y, rng.uniform(4.5, 8, 12), rng.uniform(0.25, 0.6, 12)], axis=1)


def _grown(
    rng: np.random.Generator, start: Doubles, turn: Doubles, thick: Doubles, sides: Doubles
) -> tuple[Doubles, Doubles, Doubles]:
    """Return the spots (P, 4: x, y, deviation in mm, depth in cm) of branches (B,), their ends (B, 2), directions."""
    step = rng.uniform(14, 24, sides.size) * (0.5 + 0.17 * thick) / STEPS
    bend = rng.normal(0, 0.25, sides.size) / STEPS
    number = np.arange(1, STEPS + 1)
    along = turn[:, None] + bend[:, None] * number
    at_x = start[:, :1] + np.cumsum((sides * step)[:, None] * np.cos(along), axis=1)
    at_y = start[:, 1:] + np.cumsum(step[:, None] * np.sin(along), axis=1)
    radius = thick[:, None] * (1 - 0.2 * number / STEPS)
    deviation = 0.6 * radius
    depth = DEPTH * radius * step[:, None] / (np.sqrt(2 * np.pi) * deviation)
    spots = np.stack([at_x, at_y, deviation, depth], axis=-1).reshape(-1, 4)
    return spots, np.stack([at_x[:, -1], at_y[:, -1]], axis=1), along[:, -1]


def _spread(points: Doubles, x: Floats, y: Floats) -> Floats:
    """Return the sum (*S) of round Gaussian spots, each as wide as the nearest of WIDTHS_MM and as heavy as it is."""
    from scipy.ndimage import gaussian_filter

    pixel, shape = float(x[0, 1] - x[0, 0]), (y.size, x.size)
    at_x, at_y = (points[:, 0] - x[0, 0]) / pixel, (points[:, 1] - y[0, 0]) / pixel
    weight = points[:, 3] * 2 * np.pi * (points[:, 2] / pixel) ** 2
    kind = np.abs(np.log(points[:, 2:3]) - np.log(WIDTHS_MM)).argmin(axis=1)
    found = np.zeros(shape, np.float32)
    for number, width in enumerate(WIDTHS_MM):
        chosen = kind == number
        spots = _splatted(at_x[chosen], at_y[chosen], weight[chosen], shape)
        found += gaussian_filter(spots, width / pixel, mode="constant", truncate=3.0)
    return found


def _splatted(at_x: Doubles, at_y: Doubles, weight: Doubles, shape: tuple[int, int]) -> Floats:
    """Return weights set down on a grid (*S), each shared among the four elements around its place."""
    left, top = np.floor(at_x).astype(int), np.floor(at_y).astype(int)
    right, low = at_x - left, at_y - top
    found = np.zeros(shape[0] * shape[1])
    for row, part_y in ((top, 1 - low), (top + 1, low)):
        for column, part_x in ((left, 1 - right), (left + 1, right)):
            inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
            place = (row * shape[1] + column)[inside]
            found += np.bincount(place, (weight * part_y * part_x)[inside], found.size)
    return found.reshape(shape).astype(np.float32)
