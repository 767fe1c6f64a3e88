"""A mass that is round, lobulated or spiculated: where its shape decides, and not that it is there (oliveira2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import InputError
from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.findings.nodule import PROJECTIONS, SEEN, added, profile

Doubles = npt.NDArray[np.float64]
Shape = Literal["round", "lobulated", "spiculated"]

#: Per shape: how many bulges, between, and how far they stand out of the core at most, in radii of it.
BULGES: dict[str, tuple[int, int, float]] = {
    "round": (0, 0, 0.0),
    "lobulated": (4, 6, 0.6),
    "spiculated": (9, 13, 1.5),
}
#: Of a lobe, which is a ball of its own: radius in radii of the core. Of a spicule: 1 / angle squared of its taper.
LOBE, TAPER = 0.62, 70.0
#: How bright a bulge is beside the core: lobes are as deep as it is, spicules are thin strands.
STRENGTH = {"round": 1.0, "lobulated": 1.0, "spiculated": 0.55}


@dataclass(frozen=True)
class Mass:
    """A large lesion of a given shape; `diameter_mm` is that of the disc or ball that covers as much as its mask does.

    So all shapes of one diameter are equally large, and contrasts are drawn alike: what differs is the outline.
    The mask holds what it changes by more than a tenth of its peak. Raises InputError for an unknown shape.
    """

    kind: ClassVar[str] = "mass"

    name: str = "mass"
    role: Role = "finding"
    shape: Shape = "round"
    diameter_mm: Range = (30.0, 44.0)
    contrast: Range = (0.3, 0.5)
    edge: float = 0.25
    within: str = "home"

    def __post_init__(self) -> None:
        if self.shape not in BULGES:
            raise InputError(f"a mass of shape {self.shape!r}", expected=", ".join(BULGES), do="Name one of these.")

    def plant(self, site: Site) -> Plant:
        """Return the mass in its place."""
        ndim, projected = site.anatomy.geometry.ndim, site.scene.modality in PROJECTIONS
        radius = site.drawn(self.diameter_mm) / 2
        height = site.drawn(self.contrast) * site.scene.contrast
        bulges = self._bulges(site.rng, ndim)
        rim = self._rim(_directions(ndim), bulges, projected)
        core = radius / float(np.mean(rim**ndim) ** (1 / ndim))
        # One spicule may leave the compartment; that all of them fit would put every such mass in the middle.
        centre = site.spot(self.within, core * float(np.quantile(rim, 0.9)))
        effect = np.zeros(site.anatomy.geometry.shape, np.float32)
        window, offset = _window(site, centre, 1.6 * core * float(rim.max()))
        distance = np.sqrt(np.sum(offset**2, axis=-1))
        towards = offset / np.maximum(distance, 1e-6)[..., None]
        ratio = (distance / core).astype(np.float32)
        reach = self._reach(towards, bulges).astype(np.float32)
        strand = np.float32(STRENGTH[self.shape]) * profile(ratio / reach, self.edge, projected)
        effect[window] = np.maximum(profile(ratio, self.edge, projected), strand)
        return Plant(effect > SEEN, body=added(effect, height))

    def _bulges(self, rng: np.random.Generator, ndim: int) -> tuple[Doubles, Doubles]:
        """Return unit vectors (B, S) to the bulges, well apart from each other, and their lengths (B,)."""
        fewest, most, length = BULGES[self.shape]
        count = int(rng.integers(fewest, most + 1)) * (1 if ndim == 2 else 2)
        if ndim == 2:
            even = np.arange(count) + rng.uniform(-0.3, 0.3, count) + rng.uniform(0, count + 1)
            turn = even * (2 * np.pi / max(count, 1))
            towards = np.stack([np.sin(turn), np.cos(turn)], axis=1)
        else:
            towards = _directions(ndim, max(count, 1))[:count] + rng.normal(0, 0.25, (count, ndim))
            towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        return towards, length * rng.uniform(0.55, 1.0, count)

    def _reach(self, towards: Doubles, bulges: tuple[Doubles, Doubles]) -> Doubles:
        """Return how far the lesion reaches (...) in directions (..., S), in radii of its core."""
        if not len(bulges[1]):
            return np.ones(towards.shape[:-1])
        cosine = towards @ bulges[0].T
        if self.shape == "lobulated":
            middle = 1 + bulges[1] - LOBE
            inside = LOBE**2 - middle**2 * (1 - cosine**2)
            lobes = np.where((inside > 0) & (cosine > 0), middle * cosine + np.sqrt(np.maximum(inside, 0)), 0)
            lobulated: Doubles = np.maximum(1.0, lobes.max(axis=-1))
            return lobulated
        found: Doubles = 1 + np.max(bulges[1] * np.exp(TAPER * (cosine - 1)), axis=-1)
        return found

    def _rim(self, towards: Doubles, bulges: tuple[Doubles, Doubles], projected: bool) -> Doubles:
        """Return where the mask ends (...) in directions (..., S), in radii of the core."""
        at = np.linspace(0, 1, 501, dtype=np.float32)
        shown = STRENGTH[self.shape] * profile(at, self.edge, projected)
        ends = float(np.interp(-SEEN, -shown, at))
        found: Doubles = np.maximum(1.0, ends * self._reach(towards, bulges))
        return found


def _directions(ndim: int, count: int = 2000) -> Doubles:
    """Return unit vectors (count, S) spread evenly over the circle or the sphere."""
    step = np.arange(count) + 0.5
    if ndim == 2:
        turn = step * (2 * np.pi / count)
        return np.stack([np.sin(turn), np.cos(turn)], axis=1)
    height, turn = 1 - 2 * step / count, step * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - height**2)
    return np.stack([height, flat * np.sin(turn), flat * np.cos(turn)], axis=1)


def _window(site: Site, centre: tuple[float, ...], radius: float) -> tuple[tuple[slice, ...], Doubles]:
    """Return the part of the grid within a radius of an index, and its offsets (*S', S) from there in millimetres."""
    geometry = site.anatomy.geometry
    window = tuple(
        slice(max(int(c - radius / s), 0), min(int(c + radius / s) + 2, n))
        for c, s, n in zip(centre, geometry.spacing, geometry.shape, strict=True)
    )
    steps = [(np.arange(w.start, w.stop) - c) * s for w, c, s in zip(window, centre, geometry.spacing, strict=True)]
    return window, np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
