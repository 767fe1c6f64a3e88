"""sun2023, their own code: three confounders on a picture of 320 x 320, and the same on any scene.

Their tag is written in FreeMonoBold, a typeface that is not under a licence of ours; here Pillow's own stands for it,
at their place and size. Columns and obstruction are theirs, pixel for pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import InputError
from saliscope.core.region import Mask
from saliscope.phantom.element import Plant, Role, Site
from saliscope.phantom.scene import Floats
from saliscope.phantom.shortcuts.film import Sheet, burnt, strength

Picture = npt.NDArray[np.uint8]
#: The side of their pictures, in pixels.
SIDE = 320
TEXT, PLACE, SIZE = "CXR-ROOM1", (20, 280), 18
#: Bright columns from and to, counted from either side.
STRIPE = (20, 25)
POLYGON = ((0, 320), (320, 320), (320, 280), (0, 310))


def tag(picture: Picture) -> tuple[Picture, Mask]:
    """Return the picture (320, 320) with the black text, and its mask; raises InputError for another shape."""
    return _with(picture, written((SIDE, SIDE)), 0)


def hyperintensities(picture: Picture) -> tuple[Picture, Mask]:
    """Return the picture (320, 320) with two white columns, and their mask; raises InputError for another shape."""
    return _with(picture, striped((SIDE, SIDE)), 255)


def obstruction(picture: Picture) -> tuple[Picture, Mask]:
    """Return the picture (320, 320) with its lower edge black, and the mask; raises InputError for another shape."""
    return _with(picture, cornered((SIDE, SIDE)), 0)


def _with(picture: Picture, ink: Floats, value: int) -> tuple[Picture, Mask]:
    if picture.shape != ink.shape or picture.dtype != np.uint8:
        raise InputError(
            f"a picture of {picture.dtype} {picture.shape}",
            expected=f"uint8 ({SIDE}, {SIDE}), as in sun2023",
            do="Resize it first, or plant the element of the same name in a scene.",
        )
    seen = np.rint(picture + (value - picture.astype(np.float32)) * ink).astype(np.uint8)
    return seen, ink > 0


def written(shape: tuple[int, int]) -> Floats:
    """Return the ink (rows, columns) of the tag, scaled from 320 x 320."""
    from PIL import Image, ImageDraw, ImageFont

    rows, columns = shape
    canvas = Image.new("L", (columns, rows), 0)
    font = ImageFont.load_default(SIZE * min(shape) / SIDE)
    place = (PLACE[0] * columns / SIDE, PLACE[1] * rows / SIDE)
    ImageDraw.Draw(canvas).text(place, TEXT, fill=255, font=font)
    return strength(canvas)


def striped(shape: tuple[int, int]) -> Floats:
    """Return the ink (rows, columns) of the bright columns, scaled from 320 x 320."""
    columns = shape[1]
    first, last = (round(s * columns / SIDE) for s in STRIPE)
    last = max(last, first + 1)
    ink = np.zeros(shape, np.float32)
    ink[:, first:last] = 1
    ink[:, columns - last : columns - first] = 1
    return ink


def cornered(shape: tuple[int, int]) -> Floats:
    """Return the ink (rows, columns) of the obstruction, scaled from 320 x 320."""
    from PIL import Image, ImageDraw

    rows, columns = shape
    canvas = Image.new("L", (columns, rows), 0)
    ImageDraw.Draw(canvas).polygon([(x * columns / SIDE, y * rows / SIDE) for x, y in POLYGON], fill=255)
    return strength(canvas)


@dataclass(frozen=True)
class Tag:
    """The black text of sun2023, on any scene."""

    kind: ClassVar[str] = "sun-tag"

    name: str = "tag"
    role: Role = "shortcut"

    def plant(self, site: Site) -> Plant:
        """Return the text in its place."""
        return burnt(site, written(Sheet.of(site).shape), 0)


@dataclass(frozen=True)
class Columns:
    """The two bright columns of sun2023 (their hyperintensities), on any scene."""

    kind: ClassVar[str] = "columns"

    name: str = "columns"
    role: Role = "shortcut"

    def plant(self, site: Site) -> Plant:
        """Return the columns in their place."""
        return burnt(site, striped(Sheet.of(site).shape), 1)


@dataclass(frozen=True)
class Corner:
    """The black wedge along the lower edge of sun2023 (their obstruction), on any scene."""

    kind: ClassVar[str] = "corner"

    name: str = "corner"
    role: Role = "shortcut"

    def plant(self, site: Site) -> Plant:
        """Return the obstruction in its place."""
        return burnt(site, cornered(Sheet.of(site).shape), 0)
