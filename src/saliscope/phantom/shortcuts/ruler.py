"""A scale of millimetres along an edge of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.shortcuts.film import Sheet, burnt

if TYPE_CHECKING:
    from PIL import ImageDraw

#: A tick every so many millimetres: the smallest that leaves `ROOM` pixels between two.
STEPS = (1, 2, 5, 10, 20, 50, 100)
ROOM = 6.0


@dataclass(frozen=True)
class Ruler:
    """Ticks along an edge, every fifth longer; `inset` and `tick` are shares of the picture's shorter side."""

    kind: ClassVar[str] = "ruler"

    name: str = "ruler"
    role: Role = "shortcut"
    edge: Literal["left", "right", "bottom"] = "right"
    inset: Range = 0.02
    tick: float = 0.018
    level: float = 0.85

    def plant(self, site: Site) -> Plant:
        """Return the ruler in its place."""
        sheet = Sheet.of(site)
        along = 1 if self.edge == "bottom" else 0
        across = 1 - along
        step = next((s for s in STEPS if s >= ROOM * sheet.spacing[along]), STEPS[-1]) / sheet.spacing[along]
        tick = max(2.0, self.tick * sheet.side_mm / sheet.spacing[across])
        start = site.drawn(self.inset) * sheet.side_mm / sheet.spacing[across]
        length = sheet.shape[across]
        line = max(1.0, min(sheet.shape) / 400)

        def paint(pen: ImageDraw.ImageDraw, fine: int) -> None:
            for number, place in enumerate(np.arange(step / 2, sheet.shape[along], step)):
                reach = tick * (2 if number % 5 == 0 else 1)
                near, far = (start, start + reach) if self.edge == "left" else (length - start - reach, length - start)
                middle = (round(place) + 0.5 * line) * fine
                ends = (near * fine, middle, far * fine, middle)
                pen.line(ends if along == 0 else (middle, ends[0], middle, ends[2]), fill=255, width=round(line * fine))

        return burnt(site, sheet.drawn(paint), self.level)
