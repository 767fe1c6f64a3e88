"""A patchy shadow without a clear border, as of consolidated lung or oedema, in two or three dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.findings.nodule import SEEN, added
from saliscope.phantom.scene import Floats
from saliscope.phantom.scenes.texture import waves


@dataclass(frozen=True)
class Opacity:
    """An irregular blob that fades out and ends at the border of its compartment, as consolidation does at a fissure.

    `diameter_mm` is that of a disc or ball about as large as its mask where nothing cuts it; `patchy` (0 to 1) says
    how uneven it is. The mask holds what it changes by more than a tenth of its peak.
    """

    kind: ClassVar[str] = "opacity"

    name: str = "opacity"
    role: Role = "finding"
    diameter_mm: Range = (50.0, 90.0)
    contrast: Range = (0.3, 0.5)
    patchy: float = 0.6
    within: str = "home"

    def plant(self, site: Site) -> Plant:
        """Return the opacity in its place."""
        geometry = site.anatomy.geometry
        radius = site.drawn(self.diameter_mm) / 2
        height = site.drawn(self.contrast) * site.scene.contrast
        centre = site.spot(self.within, radius / 2)
        border = waves(site.rng, geometry, (0.5 * radius, 2 * radius), 2.0, centre, 40)
        patches = waves(site.rng, geometry, (0.2 * radius, 0.7 * radius), 2.0, centre, 60)
        ratio = site.distance_mm(centre) / np.float32(radius) + np.float32(0.25 * self.patchy) * border
        fading = 1 / (1 + np.exp(np.minimum(7 * (ratio - 0.7), 30)))
        effect: Floats = fading * np.clip(1 + self.patchy * (0.45 * patches - 0.35), 0, None)
        effect = np.where(site.compartment(self.within), effect, 0).astype(np.float32)
        effect /= max(float(effect.max()), 1e-6)
        return Plant(effect > SEEN, body=added(effect, height))
