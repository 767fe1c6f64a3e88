"""Burnt-in text and lead letters in any picture: bright upright strokes as high as a letter, side by side or alone.

What tells letters from anatomy is that they are much brighter than what is beside them and end at once. No character
is read: nothing that could identify a patient leaves this file but where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from saliscope.figures.body import luminance

if TYPE_CHECKING:
    from saliscope.core.image import MedicalImage
    from saliscope.core.region import Mask

Grey = npt.NDArray[np.float32]
Box = tuple[slice, slice]

#: Heights of a letter, at least and at most, as shares of the picture's shorter side; no less than `LEAST` rows.
LETTER, LEAST = (0.018, 0.09), 4
#: An upright stroke is narrower than this share of the shorter side, and so much brighter than what is beside it.
STROKE, CONTRAST = 0.02, 45.0
#: A stroke is brighter than this on the scale of 255: ink is near white.
INK = 120.0
#: A lead letter that stands alone is looked for within this share from the edges, and nowhere else.
RIM = 0.25
#: How much brighter than its surroundings a lead letter must be, and how bright.
LEAD, LEAD_INK = 60.0, 150.0


@dataclass(frozen=True, eq=False)
class Marks:
    """Masks (*S) of lines of text and of letters that stand alone, with the boxes around each."""

    text: Mask
    letters: Mask
    lines: tuple[Box, ...]
    alone: tuple[Box, ...]


def text(image: MedicalImage) -> tuple[Mask | None, str]:
    """Return lines of burnt-in text (*S), each letter with its rim, or None, and how they were found or why not."""
    if image.geometry.ndim != 2:
        return None, "text is looked for in pictures only, not in volumes"
    found = marks(luminance(image))
    if not found.lines:
        return None, "no strokes as high as letters stand side by side"
    return found.text, f"bright upright strokes side by side: {len(found.lines)} groups; what they say was not read"


def letters(image: MedicalImage) -> tuple[Mask | None, str]:
    """Return lead letters that stand alone near an edge (*S) or None, and how they were found or why not."""
    if image.geometry.ndim != 2 or image.modality not in {"CR", "DX", "MG", "RF", "XA"}:
        return None, "lead letters are looked for in radiographs only"
    found = marks(luminance(image))
    if not found.alone:
        return None, "nothing as bright and as large as a lead letter stands alone near an edge"
    return found.letters, f"bright and sharp, alone near an edge: {len(found.alone)}; what they say was not read"


def marks(grey: Grey) -> Marks:
    """Return where text and letters stand in a picture (rows, columns) from 0 to 255."""
    from scipy import ndimage

    side = min(grey.shape)
    low, high = max(LEAST, round(LETTER[0] * side)), max(LEAST + 4, round(LETTER[1] * side))
    found = upright(grey, max(LEAST, round(0.7 * low)), side)
    parts, _ = ndimage.label(found, np.ones((3, 3)))
    strokes = [b for b in ndimage.find_objects(parts) if low <= b[0].stop - b[0].start <= high]
    lines = _lines(strokes)
    bright = _bright(grey, high)
    shown, boxes = _inked(bright, [_around(line) for line in lines], grey.shape)
    alone = [box for box in _lead(grey, low, high) if not shown[box].any()]
    single = np.zeros(grey.shape, np.bool_)
    for box in alone:
        single[box] |= _bright(grey, 2 * high)[box]
    rim = max(1, round(0.004 * side))
    grown = [ndimage.binary_dilation(m, iterations=rim) if m.any() else m for m in (shown, single)]
    return Marks(grown[0], grown[1] & ~grown[0], tuple(boxes), tuple(alone))


def upright(grey: Grey, length: int, side: int) -> Mask:
    """Return what is bright, narrower than a stroke, and at least `length` rows high."""
    from scipy import ndimage

    width = max(4, round(STROKE * side) + 1)
    framed = np.pad(grey, ((0, 0), (width, width)))
    narrow = (framed - ndimage.grey_opening(framed, size=(1, width)))[:, width:-width]
    high: Mask = (ndimage.grey_opening(narrow, size=(length, 1)) > CONTRAST) & (grey > INK)
    return high


def _bright(grey: Grey, size: int) -> Mask:
    """Return what stands out of a neighbourhood as large as a letter."""
    from scipy import ndimage

    side = max(5, size)
    bright: Mask = (grey - ndimage.grey_opening(grey, size=(side, side)) > CONTRAST) & (grey > INK)
    return bright


def _lines(strokes: Sequence[Box]) -> list[list[Box]]:
    """Return groups of three or more strokes that stand in one line of text."""
    groups: list[list[Box]] = []
    left = list(strokes)
    while left:
        group = [left.pop()]
        for one in group:
            near = [b for b in left if _beside(one, b)]
            left = [b for b in left if not any(b is n for n in near)]
            group.extend(near)
        if len(group) >= 3:
            groups.append(group)
    return groups


def _beside(one: Box, other: Box) -> bool:
    """Return whether two strokes stand in one line, a letter or two apart, on one foot or under one top."""
    heights = [b[0].stop - b[0].start for b in (one, other)]
    gap = max(one[1].start - other[1].stop, other[1].start - one[1].stop)
    ends = [abs(one[0].start - other[0].start), abs(one[0].stop - other[0].stop)]
    return bool(
        gap <= 3 * max(heights) and min(ends) <= 1 + 0.15 * max(heights) and max(ends) <= 1 + 0.5 * max(heights)
    )


def _around(line: Sequence[Box]) -> Box:
    rows = slice(min(b[0].start for b in line), max(b[0].stop for b in line))
    columns = slice(min(b[1].start for b in line), max(b[1].stop for b in line))
    return rows, columns


def _inked(bright: Mask, boxes: Sequence[Box], shape: tuple[int, ...]) -> tuple[Mask, list[Box]]:
    """Return the ink within the boxes, each widened by half a letter at both ends."""
    found = np.zeros(shape, np.bool_)
    wide = []
    for rows, columns in boxes:
        more = round(1.2 * (rows.stop - rows.start))
        up = max(1, more // 5)
        box = (
            slice(max(0, rows.start - up), min(shape[0], rows.stop + up)),
            slice(max(0, columns.start - more), min(shape[1], columns.stop + more)),
        )
        found[box] |= bright[box]
        wide.append(box)
    return found, wide


def _lead(grey: Grey, low: int, high: int) -> list[Box]:
    """Return the boxes of bright things as large as a letter, framed or not, that stand alone near an edge."""
    from scipy import ndimage

    size = 2 * high + 1
    stands = grey - ndimage.grey_opening(np.pad(grey, size), size=(size, size))[size:-size, size:-size]
    ink = (stands > LEAD) & (grey > LEAD_INK)
    joined, _ = ndimage.label(ndimage.binary_closing(np.pad(ink, 3), iterations=2)[3:-3, 3:-3], np.ones((3, 3)))
    rows, columns = grey.shape
    found = []
    for number, box in enumerate(ndimage.find_objects(joined), start=1):
        height, width = (s.stop - s.start for s in box)
        middle = ((box[0].start + box[0].stop) / 2 / rows, (box[1].start + box[1].stop) / 2 / columns)
        near = min(middle[0], middle[1], 1 - middle[0], 1 - middle[1]) <= RIM
        inside = joined[box] == number
        fill = float((ink[box] & inside).sum() / inside.size)
        if (
            near
            and 1.2 * low <= height <= 2.2 * high
            and 0.3 * height <= width <= 2.5 * height
            and 0.12 <= fill <= 0.8
            and _sharp(grey, ink, box)
        ):
            found.append(box)
    return found


def _sharp(grey: Grey, ink: Mask, box: Box) -> bool:
    """Return whether ink ends at once: two elements off it, it is no longer bright."""
    from scipy import ndimage

    grown = tuple(slice(max(0, s.start - 4), s.stop + 4) for s in box)
    inside, values = ink[grown], grey[grown]
    off = ndimage.binary_dilation(inside, iterations=3) & ~ndimage.binary_dilation(inside, iterations=2)
    if not off.any():
        return False
    drop = float(np.median(values[inside]) - np.percentile(values[off], 75))
    return drop >= LEAD
