"""Many images on one sheet, with outlines of what lies in them: for whoever wants to look before using a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.region import Region
from saliscope.figures.draw import BLACK, GREY, INK, WHITE, font
from saliscope.figures.overlay import png
from saliscope.figures.planes import Cut, cuts

if TYPE_CHECKING:
    from PIL import Image

Colour = tuple[int, int, int]
#: Colours that are told apart with any colour vision (Okabe and Ito), light enough for dark images.
COLOURS: Mapping[str, Colour] = {
    "finding": (0, 214, 160),
    "shortcut": (255, 120, 30),
    "distractor": (86, 180, 233),
    "suppressor": (240, 228, 66),
}
#: Side of a tile and height of its text, in pixels.
SIDE, EM = 256, 13
#: How far outside of a region its outline runs, in pixels.
ROOM = 4.0


@dataclass(frozen=True, eq=False)
class Tile:
    """One image of a sheet: a line over it, regions with the kind of each, and what else to say, with its kind."""

    image: MedicalImage
    title: str
    regions: tuple[tuple[Region, str], ...] = ()
    said: tuple[tuple[str, str], ...] = ()


def contact_sheet(tiles: Sequence[Tile], title: str, columns: int = 5) -> bytes:
    """Return tiles in rows as the bytes of a PNG; of a volume the axial plane that holds most of a finding."""
    from PIL import Image, ImageDraw

    pictures = [_tile(t) for t in tiles]
    across = min(columns, max(1, len(pictures)))
    wide, high = SIDE + 8, max((p.height for p in pictures), default=SIDE) + 8
    top = 3 * EM
    sheet = Image.new("RGB", (max(wide * across, 560), top + high * -(-len(pictures) // across) + 2), INK)
    on = ImageDraw.Draw(sheet)
    on.text((8, EM // 2), title, fill=WHITE, font=font(EM))
    there = {kind for tile in tiles for _, kind in tile.said}
    _words(on, [(kind, kind) for kind in COLOURS if kind in there], (8, EM // 2 + round(1.3 * EM)), sheet.width)
    for n, picture in enumerate(pictures):
        sheet.paste(picture, (4 + wide * (n % across), top + high * (n // across)))
    return png(sheet)


def _tile(tile: Tile) -> Image.Image:
    from PIL import Image, ImageDraw

    shown, masks, (height, width) = _flat(tile)
    factor = SIDE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    grey = np.repeat(shown, 3, axis=0) if len(shown) == 1 else shown
    picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(grey, 0, -1))).resize(size, Image.Resampling.LANCZOS)
    on = ImageDraw.Draw(picture)
    for mask, kind in masks:
        for line in _outline(mask, size):
            on.line(line, fill=BLACK, width=3)
            on.line(line, fill=COLOURS.get(kind, WHITE), width=1)
    canvas = Image.new("RGB", (SIDE, SIDE + round(2.8 * EM)), INK)
    canvas.paste(picture, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    below = ImageDraw.Draw(canvas)
    below.text((2, SIDE + 2), tile.title, fill=WHITE, font=font(EM - 1))
    _words(below, tile.said or (("nothing planted", ""),), (2, SIDE + 2 + round(1.2 * EM)), SIDE)
    return canvas


def _words(on: object, said: Sequence[tuple[str, str]], at: tuple[float, float], width: int) -> None:
    """Write words side by side in the colours of their kinds, as far as they fit."""
    x, y = at
    for text, kind in said:
        length = font(EM - 1).getlength(text)
        if x + length > width:
            on.text((x, y), "…", fill=GREY, font=font(EM - 1))  # type: ignore[attr-defined]
            return
        on.text((x, y), text, fill=COLOURS.get(kind, GREY), font=font(EM - 1))  # type: ignore[attr-defined]
        x += length + EM


def _flat(tile: Tile) -> tuple[npt.NDArray[np.uint8], list[tuple[npt.NDArray[np.bool_], str]], tuple[float, float]]:
    """Return the display (C, H, W) of a picture or of one plane, its masks (H, W), and its height and width."""
    grid = tile.image.geometry
    if grid.ndim == 2:
        return tile.image.display, [(r.mask, kind) for r, kind in tile.regions], (grid.extent[0], grid.extent[1])
    cut = cuts(grid)[0]
    at = _plane(tile, cut, grid)
    shown = np.asarray(cut(tile.image.display, at), dtype=np.uint8)
    masks = [(np.asarray(cut(r.mask, at), dtype=bool), kind) for r, kind in tile.regions]
    return shown, masks, (grid.extent[cut.down], grid.extent[cut.right])


def _plane(tile: Tile, cut: Cut, grid: Geometry) -> int:
    """Return the plane with most of the findings, else of anything, else the middle."""
    others = tuple(a for a in range(3) if a != cut.across)
    for kinds in (("finding",), tuple(COLOURS)):
        found = [r.mask.sum(axis=others) for r, kind in tile.regions if kind in kinds and not r.empty]
        if found:
            return int(np.argmax(np.sum(found, axis=0)))
    return grid.shape[cut.across] // 2


def _outline(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> list[list[tuple[float, float]]]:
    """Return closed lines of (x, y) a little outside a mask, so that what lies in it can be seen."""
    from scipy.ndimage import distance_transform_edt
    from skimage.measure import find_contours

    if not mask.any():
        return []
    scale = size[1] / mask.shape[0], size[0] / mask.shape[1]
    border = tuple(int(np.ceil(2 * ROOM / s)) for s in scale)
    padded = np.pad(mask, [(b, b) for b in border])
    # Distances are from centre to centre of the elements: the region's edge lies half an element from its centres.
    lines = find_contours(distance_transform_edt(~padded, sampling=scale), ROOM + sum(scale) / 4)
    return [[((x - border[1] + 0.5) * scale[1], (y - border[0] + 0.5) * scale[0]) for y, x in line] for line in lines]
