"""haufe2014: a suppressor, which says nothing of the label and yet helps to read what does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from saliscope.core.errors import InputError
from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.scene import Floats
from saliscope.phantom.shortcuts.film import Sheet


@dataclass(frozen=True)
class Wedge:
    """A step wedge beside the patient, of the same signal in every case: what changes in it is how it was exposed.

    `steps` rise evenly to `top`, in parts of the scene's contrast above its lowest signal. `length` and `width` are
    shares of the picture's sides, `inset` of its shorter side. In volumes it lies in every plane.
    """

    kind: ClassVar[str] = "wedge"

    name: str = "wedge"
    role: Role = "suppressor"
    steps: int = 6
    top: float = 1.5
    length: float = 0.4
    width: float = 0.05
    inset: Range = 0.015
    edge: Literal["left", "right"] = "left"

    def plant(self, site: Site) -> Plant:
        """Return the wedge in its place; raises InputError for fewer than one step."""
        if self.steps < 1:
            raise InputError(f"a wedge of {self.steps} steps", expected="one or more", do="Give it steps.")
        sheet = Sheet.of(site)
        rows, columns = sheet.shape
        inset = round(site.drawn(self.inset) * min(sheet.shape))
        high, wide = max(self.steps, round(self.length * rows)), max(1, round(self.width * columns))
        down = (rows - high) // 2
        across = inset if self.edge == "left" else columns - inset - wide
        place = (..., slice(down, down + high), slice(across, across + wide))
        mask = np.zeros(site.anatomy.geometry.shape, bool)
        mask[place] = True
        step = np.arange(high) * self.steps // high + 1
        lowest = float(site.anatomy.signal.min())
        levels = (lowest + self.top * site.scene.contrast * step / self.steps).astype(np.float32)

        def body(signal: Floats) -> Floats:
            found = signal.copy()
            found[place] = levels[:, None]
            return found

        return Plant(mask, body=body)
