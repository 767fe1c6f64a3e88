"""A round lesion, in two or three dimensions: from below one cell of a CAM to a mass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.scene import Floats


@dataclass(frozen=True)
class Nodule:
    """A disc or ball with a soft rim; `contrast` in parts of the scene's own (chest: 1 is soft tissue in air).

    `edge` is the width of its rim as a share of its radius. Where it lies is drawn within a compartment.
    """

    kind: ClassVar[str] = "nodule"

    name: str = "nodule"
    role: Role = "finding"
    diameter_mm: Range = (16.0, 28.0)
    contrast: Range = (0.25, 0.45)
    edge: float = 0.35
    within: str = "home"

    def plant(self, site: Site) -> Plant:
        """Return the nodule in its place."""
        radius = site.drawn(self.diameter_mm) / 2
        height = site.drawn(self.contrast) * site.scene.contrast
        distance = site.distance_mm(site.spot(self.within, radius))
        soft = 0.5 - 0.5 * np.tanh((distance - radius) / max(self.edge * radius / 2, 1e-3))
        mask = distance <= max(radius, min(site.anatomy.geometry.spacing) * 0.71)

        def body(signal: Floats) -> Floats:
            found: Floats = (signal + np.float32(height) * soft).astype(np.float32)
            return found

        return Plant(mask, body=body)
