"""Things of metal and plastic in or on the patient: pacemaker, venous line, drain, electrode."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from saliscope.core.region import Mask
from saliscope.phantom.element import Plant, Role, Site
from saliscope.phantom.scene import Floats

Points = npt.NDArray[np.float64]
Form = Literal["pacemaker", "line", "drain", "electrode"]

#: Points that its wire passes, (down, across) as shares of the box around the body; the reader's left comes first.
PATHS: dict[Form, tuple[tuple[float, float], ...]] = {
    "pacemaker": ((0.22, 0.79), (0.18, 0.72), (0.165, 0.62), (0.22, 0.50), (0.34, 0.455), (0.48, 0.46), (0.58, 0.58)),
    "line": ((-0.05, 0.36), (0.08, 0.37), (0.17, 0.42), (0.26, 0.455), (0.36, 0.455), (0.45, 0.45)),
    "drain": ((0.74, 1.05), (0.70, 0.93), (0.63, 0.84), (0.48, 0.80), (0.34, 0.76)),
    "electrode": ((0.15, 0.76), (0.19, 0.84), (0.32, 0.90), (0.55, 0.92), (0.80, 0.91), (1.05, 0.90)),
}
#: How deep it begins and ends in a volume, from front to back of the box around the body.
DEPTHS: dict[Form, tuple[float, float]] = {
    "pacemaker": (0.15, 0.44),
    "line": (0.48, 0.42),
    "drain": (0.55, 0.45),
    "electrode": (0.08, 0.10),
}
#: Half the thickness of its wire and half the size (down, across) of what it begins with, in millimetres.
HALF_MM: dict[Form, float] = {"pacemaker": 1.1, "line": 0.9, "drain": 2.4, "electrode": 0.7}
HEAD_MM: dict[Form, tuple[float, float]] = {"pacemaker": (21.0, 25.0), "electrode": (5.5, 5.5)}
#: Signal in parts of the scene's contrast: (wire, what it begins with).
HEIGHT: dict[Form, tuple[float, float]] = {
    "pacemaker": (1.8, 3.0),
    "line": (0.6, 0.0),
    "drain": (0.5, 0.0),
    "electrode": (0.35, 1.0),
}


@dataclass(frozen=True)
class Device:
    """A device along a smooth curve, by distance to it: brighter than what it lies on, by `contrast` times its own.

    Its path varies by `sway`, a share of the body. Planes run to the head, rows to the back.
    """

    kind: ClassVar[str] = "device"

    name: str = "device"
    role: Role = "shortcut"
    form: Form = "pacemaker"
    contrast: float = 1.0
    sway: float = 0.02

    def plant(self, site: Site) -> Plant:
        """Return the device in its place."""
        geometry = site.anatomy.geometry
        knots = self._knots(site)
        curve = smooth(knots)
        # No wire is thinner than a pixel can show.
        finest = min(geometry.spacing)
        half = max(HALF_MM[self.form], 0.6 * finest)
        wire, head = HEIGHT[self.form]
        distance = distance_to(curve * geometry.spacing, geometry.shape, geometry.spacing, half + finest)
        rise = wire * np.clip(0.5 + (half - distance) / finest, 0, 1).astype(np.float32)
        if self.form in HEAD_MM:
            rise = np.maximum(rise, head * self._head(site, knots[0]))
        rise = rise * np.float32(self.contrast * site.scene.contrast)
        mask: Mask = rise != 0

        def body(signal: Floats) -> Floats:
            found: Floats = np.where(mask, signal + rise, signal).astype(np.float32)
            return found

        return Plant(mask, body=body)

    def _knots(self, site: Site) -> Points:
        """Return the indices (points, S) that the curve passes."""
        body = np.argwhere(site.compartment("body"))
        low: Points = body.min(0).astype(float)
        extent: Points = np.ptp(body, axis=0).astype(float)
        path = np.array(PATHS[self.form])
        path = path + site.rng.normal(0, self.sway, (1, 2)) + site.rng.normal(0, self.sway / 4, path.shape)
        if len(low) == 2:
            return low + path * extent
        depth = np.linspace(*DEPTHS[self.form], len(path)) + site.rng.normal(0, self.sway)
        return low + np.stack([1 - path[:, 0], depth, path[:, 1]], 1) * extent

    def _head(self, site: Site, centre: Points) -> Floats:
        """Return how much of each element (*S) the can or the button covers, 0 to 1: a box with round corners."""
        spacing = site.anatomy.geometry.spacing
        down, across = HEAD_MM[self.form]
        half = np.array([down, across] if len(spacing) == 2 else [down, min(down, across) / 4, across])
        axes = np.ogrid[tuple(slice(n) for n in site.anatomy.geometry.shape)]
        # A power between an ellipse and a box: the outline of a can.
        power = 3.0 if self.form == "pacemaker" else 2.0
        far = sum((np.abs(a - c) * s / h) ** power for a, c, s, h in zip(axes, centre, spacing, half, strict=True)) ** (
            1 / power
        )
        covered: Floats = np.clip(0.5 + (1 - far) * half.min() / min(spacing), 0, 1).astype(np.float32)
        return covered


def smooth(knots: Points, points: int = 80) -> Points:
    """Return a smooth curve (points, S) through knots (n, S)."""
    from scipy.interpolate import CubicSpline

    way = np.r_[0, np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))]
    curve: Points = CubicSpline(way, knots)(np.linspace(0, way[-1], points))
    return curve


def distance_to(curve: Points, shape: tuple[int, ...], spacing: tuple[float, ...], reach: float) -> Floats:
    """Return how far every element (*S) lies from a polyline (points, S), all in mm; infinite beyond `reach`."""
    distance = np.full(shape, np.inf, np.float32)
    for start, stop in pairwise(curve):
        low = np.floor((np.minimum(start, stop) - reach) / spacing).astype(int).clip(0)
        high = np.ceil((np.maximum(start, stop) + reach) / spacing).astype(int) + 1
        box = tuple(slice(a, max(a, min(b, n))) for a, b, n in zip(low, high, shape, strict=True))
        grid = np.stack(
            np.meshgrid(*[np.arange(b.start, b.stop) * s for b, s in zip(box, spacing, strict=True)], indexing="ij"), -1
        )
        way = stop - start
        share = np.clip((grid - start) @ way / max(float(way @ way), 1e-12), 0, 1)
        near = np.linalg.norm(grid - start - share[..., None] * way, axis=-1)
        distance[box] = np.minimum(distance[box], near)
    return np.where(distance <= reach, distance, np.float32(np.inf))
