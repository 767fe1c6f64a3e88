"""Lead letters and printed words in a corner of the picture, such as zech2018 found networks to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from saliscope.phantom.element import Plant, Range, Role, Site
from saliscope.phantom.scene import Floats
from saliscope.phantom.shortcuts.film import Sheet, burnt, strength

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
Frame = Literal["none", "circle", "box"]
#: Letters are drawn at least so many pixels high and averaged down.
LETTER = 96


@dataclass(frozen=True)
class Marker:
    """A laterality marker: lead letters, framed or not, laid in a corner by hand.

    `height` is that of the letters as a share of the picture's shorter side, `margin` the distance from the edges as
    a share of each, `tilt` in degrees; `level` 1 is the highest value of the scene, 0 the lowest.
    """

    kind: ClassVar[str] = "marker"

    name: str = "marker"
    role: Role = "shortcut"
    text: str = "R"
    frame: Frame = "circle"
    corner: Corner = "top-left"
    height: Range = (0.055, 0.065)
    margin: Range = (0.02, 0.06)
    tilt: Range = (-9.0, 9.0)
    level: float = 0.97

    def plant(self, site: Site) -> Plant:
        """Return the marker in its place."""
        sheet = Sheet.of(site)
        high = site.drawn(self.height) * sheet.side_mm
        down, across, tilt = site.drawn(self.margin), site.drawn(self.margin), site.drawn(self.tilt)
        patch = lettered(self.text, self.frame, high, tilt, sheet.spacing)
        rows, columns = sheet.shape
        row, column = round(down * rows), round(across * columns)
        if self.corner.startswith("bottom"):
            row = rows - row - patch.shape[0]
        if self.corner.endswith("right"):
            column = columns - column - patch.shape[1]
        return burnt(site, sheet.laid(patch, row, column), self.level)


@dataclass(frozen=True)
class Words(Marker):
    """A printed remark, such as that a radiograph was taken at the bedside: straight, without a frame."""

    kind: ClassVar[str] = "text"

    name: str = "text"
    text: str = "PORTABLE"
    frame: Frame = "none"
    height: Range = 0.038
    margin: Range = (0.02, 0.05)
    tilt: Range = 0.0
    level: float = 1.0


def lettered(text: str, frame: Frame, height_mm: float, tilt: float, spacing: tuple[float, float]) -> Floats:
    """Return ink (rows, columns), 0 to 1, just around a text whose letters have a height, on a grid of a spacing."""
    from PIL import Image, ImageDraw, ImageFont

    size = float(max(LETTER, 4 * height_mm / min(spacing)))
    font, heavy = ImageFont.load_default(size), size / 26
    left, top, right, bottom = font.getbbox(text, stroke_width=heavy)
    wide, high = right - left, bottom - top
    # The room for a frame, and for the corners of what is tilted.
    room = (np.hypot(wide, high) + high if frame == "circle" else max(wide, high) + 1.2 * high) / 2
    side = 2 * int(np.ceil(room * (1.05 if frame == "circle" else 1.45))) + 1
    canvas = Image.new("L", (side, side), 0)
    pen, middle, line = ImageDraw.Draw(canvas), side / 2, max(1, round(2.4 * heavy))
    pen.text((middle - wide / 2 - left, middle - high / 2 - top), text, fill=255, font=font, stroke_width=heavy)
    if frame == "circle":
        reach = np.hypot(wide, high) / 2 + 0.28 * high
        pen.ellipse((middle - reach, middle - reach, middle + reach, middle + reach), outline=255, width=line)
    if frame == "box":
        x, y = wide / 2 + 0.4 * high, high / 2 + 0.4 * high
        pen.rectangle((middle - x, middle - y, middle + x, middle + y), outline=255, width=line)
    if tilt:
        canvas = canvas.rotate(tilt, Image.Resampling.BICUBIC)
    canvas = canvas.crop(canvas.getbbox())
    scale = height_mm / high
    target = [max(1, round(n * scale / s)) for n, s in zip(canvas.size, spacing[::-1], strict=True)]
    return strength(canvas.resize((target[0], target[1]), Image.Resampling.BOX))
