"""Two crosses joined by a dotted line: where somebody measured, and so where somebody saw something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from saliscope.core.region import Mask
from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.shortcuts.film import Sheet, burnt

if TYPE_CHECKING:
    from PIL import ImageDraw

Points = npt.NDArray[np.float64]
#: The crosses stand so far outside what they measure, in parts of its length.
CLEAR = 0.06
#: What is thinner than this share of the picture's shorter side, or than three pixels, is a line and is not measured.
THIN = 0.02


@dataclass(frozen=True)
class Calipers:
    """Calipers across what was planted in the compartment before them, or anywhere in it where nothing was.

    `length_mm` is used where there is nothing to measure; `arm` is half a cross, a share of the picture's shorter side.
    """

    kind: ClassVar[str] = "calipers"

    name: str = "calipers"
    role: Role = "shortcut"
    within: str = "home"
    length_mm: Range = (8.0, 16.0)
    arm: float = 0.014
    level: float = 1.0

    def plant(self, site: Site) -> Plant:
        """Return the calipers in their place."""
        sheet = Sheet.of(site)
        step = np.array(sheet.spacing)
        ends = self._ends(site)
        arm = np.maximum(self.arm * sheet.side_mm / step, 2.0)
        line = max(1.0, 0.22 * float(arm.min()))
        pitch = 4.0 * line
        dots = np.linspace(ends[0], ends[1], max(2, int(np.hypot(*(ends[1] - ends[0])) / pitch)))

        def paint(pen: ImageDraw.ImageDraw, fine: int) -> None:
            for row, column in (ends + 0.5) * fine:
                high, wide = arm * fine
                pen.line((column - wide, row, column + wide, row), fill=255, width=round(line * fine))
                pen.line((column, row - high, column, row + high), fill=255, width=round(line * fine))
            for row, column in (dots + 0.5) * fine:
                r = 0.55 * line * fine
                pen.ellipse((column - r, row - r, column + r, row + r), fill=255)

        return burnt(site, sheet.drawn(paint), self.level)

    def _ends(self, site: Site) -> Points:
        """Return the (row, column) of both crosses: the longest way across what was planted."""
        home, sheet = site.compartment(self.within), Sheet.of(site)
        planes = tuple(range(home.ndim - 2))
        taken: Mask = np.logical_or.reduce(site.taken & home, axis=planes)
        found = np.argwhere(thickest(taken, sheet)).astype(float)
        step = np.array(sheet.spacing)
        if not len(found):
            length = site.drawn(self.length_mm)
            centre, angle = np.array(site.spot(self.within, length / 2)[-2:]), site.rng.uniform(0, np.pi)
            reach = np.array([np.sin(angle), np.cos(angle)]) * length / 2 / step
            return np.stack([centre - reach, centre + reach])
        centre = found.mean(0)
        far = (found - centre) * step
        axis = np.linalg.eigh(far.T @ far)[1][:, -1]
        along = far @ axis
        reach = axis * np.ptp(along) * (0.5 + CLEAR) / step
        middle = centre + axis * (along.max() + along.min()) / 2 / step
        return np.stack([middle - reach, middle + reach])


def thickest(taken: Mask, sheet: Sheet) -> Mask:
    """Return the thickest of the things (rows, columns) that were planted; nothing where all are lines."""
    from scipy.ndimage import distance_transform_edt, label

    depth = distance_transform_edt(np.pad(taken, 1), sampling=sheet.spacing)[1:-1, 1:-1]
    if depth.max() < max(THIN * sheet.side_mm, 3 * max(sheet.spacing)) / 2:
        return np.zeros_like(taken)
    things: npt.NDArray[np.int32] = label(taken)[0]
    found: Mask = things == things[np.unravel_index(depth.argmax(), depth.shape)]
    return found
