"""Ink on the finished picture: what a film element draws once, over every plane of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from saliscope.core.errors import InputError
from saliscope.phantom.element import Plant, Site
from saliscope.phantom.scene import Floats

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

#: Ink thinner than this is none: a rim that nobody sees would belong to the mask.
FAINT = 0.06
#: Lines are drawn so many times larger and averaged, so that they are smooth.
FINE = 4


@dataclass(frozen=True)
class Sheet:
    """The rows and columns of a picture, or of every plane of a volume, and the millimetres of each step."""

    shape: tuple[int, int]
    spacing: tuple[float, float]

    @classmethod
    def of(cls, site: Site) -> Self:
        """Return the sheet of a site."""
        geometry = site.anatomy.geometry
        return cls((geometry.shape[-2], geometry.shape[-1]), (geometry.spacing[-2], geometry.spacing[-1]))

    @property
    def side_mm(self) -> float:
        """Return the length of its shorter side."""
        return min(n * s for n, s in zip(self.shape, self.spacing, strict=True))

    def drawn(self, paint: Callable[[ImageDraw.ImageDraw, int], None]) -> Floats:
        """Return ink (rows, columns), 0 to 1; `paint` draws with 255 on a canvas that is so many times larger."""
        from PIL import Image, ImageDraw

        rows, columns = self.shape
        canvas = Image.new("L", (columns * FINE, rows * FINE), 0)
        paint(ImageDraw.Draw(canvas), FINE)
        return strength(canvas.reduce(FINE))

    def laid(self, patch: Floats, row: int, column: int) -> Floats:
        """Return ink (rows, columns) with a patch of it at a place; raises InputError where it does not fit."""
        height, width = patch.shape
        if min(row, column) < 0 or row + height > self.shape[0] or column + width > self.shape[1]:
            raise InputError(
                f"a mark of {height} x {width} pixels at ({row}, {column}) on a picture of {self.shape}",
                expected="a mark inside the picture",
                do="Make it smaller or the picture larger.",
            )
        ink = np.zeros(self.shape, np.float32)
        ink[row : row + height, column : column + width] = patch
        return ink


def strength(image: Image.Image) -> Floats:
    """Return a grey picture as ink (rows, columns), 0 to 1."""
    ink: Floats = np.asarray(image, np.float32) / np.float32(255)
    return ink


def burnt(site: Site, ink: Floats, level: float) -> Plant:
    """Return ink (rows, columns) over every plane; `level` 0 is the scene's lowest value, 1 its highest.

    The mask is exactly the inked elements: no other changes.
    """
    ink = np.where(ink < FAINT, np.float32(0), ink)
    shape, scene = site.anatomy.geometry.shape, site.scene
    value = np.float32(scene.low + level * (scene.high - scene.low))
    mask = np.broadcast_to(ink > 0, shape).copy()

    def film(values: Floats) -> Floats:
        seen: Floats = np.where(mask, values + (value - values) * ink, values).astype(np.float32)
        return seen

    return Plant(mask, film=film)
