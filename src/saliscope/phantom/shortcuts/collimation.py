"""The border of the beam: shutters on four sides, dark, with a soft edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.shortcuts.film import Sheet, burnt


@dataclass(frozen=True)
class Collimation:
    """Dark shutters: `width` of each and `soft`, the width of their edge, are shares of each side of the picture."""

    kind: ClassVar[str] = "collimation"

    name: str = "collimation"
    role: Role = "shortcut"
    width: Range = (0.03, 0.08)
    soft: float = 0.012
    level: float = 0.02

    def plant(self, site: Site) -> Plant:
        """Return the shutters in their place."""
        sheet = Sheet.of(site)
        widths = np.array([site.drawn(self.width) for _ in range(4)]).reshape(2, 2)
        open_ = np.ones(sheet.shape, np.float32)
        for axis, size in enumerate(sheet.shape):
            places = (np.arange(size) + 0.5) / size
            inside = np.minimum(places - widths[axis, 0], 1 - places - widths[axis, 1])
            edge = np.clip(0.5 + inside / max(self.soft, 1e-6), 0, 1)
            open_ *= np.expand_dims(edge.astype(np.float32), 1 - axis)
        return burnt(site, 1 - open_, self.level)
