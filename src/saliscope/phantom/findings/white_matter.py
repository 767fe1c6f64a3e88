"""Lesions of the white matter, of one shape or another: where the shape decides, and not that they are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from saliscope.core.errors import InputError
from saliscope.core.region import Mask
from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.scene import Floats

#: How many arms an irregular lesion has, and the half width of an arm as a share of its length.
ARMS, SLENDER = 4, 0.33
#: No star reaches so many radii of its ball, and no two centres lie closer than this many.
REACH, APART = 3.0, 1.7
#: Directions over which a lesion's volume is averaged, so that both shapes have the same.
DIRECTIONS = 2000


@dataclass(frozen=True)
class WhiteMatterLesion:
    """`count` lesions in the white matter, all "regular" (balls) or all "irregular" (stars with thick arms).

    Both classes of oliveira2024 have lesions, and only their shape tells them apart: an irregular lesion has the volume
    of a ball of its `diameter_mm`. `contrast` is in parts of the scene's own, below 0 for dark ones; `edge_mm` is the
    width of the rim. Raises InputError for another shape and for less than one lesion.
    """

    kind: ClassVar[str] = "white-matter-lesion"

    name: str = "lesion"
    role: Role = "finding"
    shape: Literal["regular", "irregular"] = "regular"
    count: int = 3
    diameter_mm: Range = (14.0, 20.0)
    contrast: Range = (-0.55, -0.4)
    edge_mm: float = 1.5
    within: str = "home"

    def __post_init__(self) -> None:
        if self.shape not in ("regular", "irregular") or self.count < 1:
            raise InputError(
                f"{self.count} lesions of shape {self.shape!r}",
                expected='one or more, "regular" or "irregular"',
                do="Name one of the two shapes and how many.",
            )

    def plant(self, site: Site) -> Plant:
        """Return the lesions: the same seed gives both shapes the same places and volumes."""
        room = Site(site.scene, site.anatomy, site.taken.copy(), site.rng)
        effect = np.zeros(site.anatomy.geometry.shape, np.float32)
        mask = np.zeros(site.anatomy.geometry.shape, bool)
        for _ in range(self.count):
            radius = site.drawn(self.diameter_mm) / 2
            height = np.float32(site.drawn(self.contrast) * site.scene.contrast)
            centre = room.spot(self.within, radius)
            star = site.rng.standard_normal((ARMS, site.anatomy.geometry.ndim), np.float32)
            distance = site.distance_mm(centre)
            reach = np.full(distance.shape, radius, np.float32)
            if self.shape == "irregular":
                near = distance < REACH * radius
                reach[near] = radius * _reach(_directions(site, centre, near), star)
            share = np.clip(np.float32(0.5) + (reach - distance) / np.float32(self._rim(site)), 0, 1)
            found = share > 0.5
            found[tuple(int(c) for c in centre)] = True
            effect = np.where(np.abs(height * share) > np.abs(effect), height * share, effect).astype(np.float32)
            mask |= found
            # A ball for both shapes, so that the same seed puts both in the same places.
            room.taken[distance < APART * radius] = True

        def body(signal: Floats) -> Floats:
            lesions: Floats = signal + effect
            return lesions

        return Plant(mask, body=body)

    def _rim(self, site: Site) -> float:
        """Return the width of the rim in mm: no narrower than an element, as partial volumes make it."""
        return max(self.edge_mm, min(site.anatomy.geometry.spacing))


def _directions(site: Site, centre: tuple[float, ...], near: Mask) -> Floats:
    """Return the unit vectors (N, ndim) from a centre to the elements of a mask (*S)."""
    away = (np.argwhere(near) - np.array(centre)) * np.array(site.anatomy.geometry.spacing)
    found: Floats = (away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)).astype(np.float32)
    return found


def _reach(directions: Floats, arms: Floats) -> Floats:
    """Return how far a star reaches (N,) in directions (N, ndim), for the volume of a ball of radius 1."""
    arms = _apart(arms)

    def star(towards: Floats) -> Floats:
        nearest = np.max(np.einsum("nk,ak->na", towards, arms), axis=-1)
        reach: Floats = (0.42 + np.exp((nearest - 1) / np.float32(SLENDER**2))).astype(np.float32)
        return reach

    ndim = arms.shape[1]
    even = np.random.default_rng(0).standard_normal((DIRECTIONS, ndim)).astype(np.float32)
    even /= np.linalg.norm(even, axis=1, keepdims=True)
    size = float(np.mean(star(even) ** ndim) ** (1 / ndim))
    return star(directions) / np.float32(size)


def _apart(arms: Floats) -> Floats:
    """Return directions (ARMS, ndim) pushed away from each other, so that no two arms are one."""
    arms = arms / np.linalg.norm(arms, axis=1, keepdims=True)
    for _ in range(20):
        apart = arms[:, None] - arms[None]
        square = (apart**2).sum(-1) + np.eye(len(arms))
        push = (apart / square[..., None] ** 1.5).sum(1)
        arms = arms + 0.1 * push
        arms = arms / np.linalg.norm(arms, axis=1, keepdims=True)
    return arms
