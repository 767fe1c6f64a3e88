"""Fluid at the bottom of one lung: it blunts the angle beside the diaphragm and climbs the chest wall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from saliscope.core.errors import InputError
from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.findings.nodule import SEEN, added
from saliscope.phantom.scene import Floats

#: How high the fluid stands beside the heart, as a share of its height at the chest wall.
LEVEL = 0.4
#: How far from the wall it has come down to a third of the difference, as a share of the lung's width.
CURVE = 0.3


@dataclass(frozen=True)
class Effusion:
    """Fluid below a meniscus, in a picture with the compartments "left lung" and "right lung".

    `height_mm` is how far it climbs the wall above the lowest point of the lung, `contrast` in parts of the scene's.
    The mask holds what it changes by more than a tenth of its peak, and lies in the lung.
    Raises InputError for a volume, and for a scene without lungs.
    """

    kind: ClassVar[str] = "effusion"

    name: str = "effusion"
    role: Role = "finding"
    side: Literal["left", "right", "either"] = "either"
    height_mm: Range = (45.0, 110.0)
    contrast: Range = (0.6, 0.9)
    edge_mm: float = 14.0

    def plant(self, site: Site) -> Plant:
        """Return the fluid in its place."""
        geometry = site.anatomy.geometry
        if geometry.ndim != 2:
            raise InputError("an effusion in a volume", expected="a frontal picture", do="Plant it in a chest scene.")
        drawn = "left" if site.rng.random() < 0.5 else "right"
        side = drawn if self.side == "either" else self.side
        other = "right" if side == "left" else "left"
        lung = site.compartment(f"{side} lung")
        height, contrast = site.drawn(self.height_mm), site.drawn(self.contrast)
        columns = np.flatnonzero(lung.any(axis=0))
        lowest = np.flatnonzero(lung.any(axis=1)).max()
        beyond = columns.mean() > np.flatnonzero(site.compartment(f"{other} lung").any(axis=0)).mean()
        wall = columns.max() if beyond else columns.min()
        away = np.abs(np.arange(geometry.shape[1]) - wall) / (CURVE * len(columns))
        level = height * (LEVEL + (1 - LEVEL) * np.exp(-away))
        above = (lowest - np.arange(geometry.shape[0]))[:, None] * geometry.spacing[0]
        t = np.clip((level[None, :] - above) / self.edge_mm, 0, 1)
        effect: Floats = np.where(lung, t * t * (3 - 2 * t), 0).astype(np.float32)
        return Plant(effect > SEEN, body=added(effect, contrast * site.scene.contrast))
