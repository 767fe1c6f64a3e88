"""Where marks are burnt into a breast ultrasound picture: a simple finder for docs/make_busi_results.py.

Nobody has outlined the marks of BUSI. What tells them from tissue is the beam: it blurs sideways, so that tissue hardly
ever shows a bright upright stroke that is five rows high and less than five columns wide, and letters nearly always do.
Made while looking at 80 pictures; the page says how often it errs on 40 others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
Grey = npt.NDArray[np.float32]
Centres = npt.NDArray[np.int64]
Box = tuple[slice, slice]

#: What the finder tells apart.
KINDS = ("corner", "text", "calipers", "frame")
#: The scanner's own mark stands within these first rows and columns.
CORNER = (14, 22)
#: A letter is this high, at least and at most, in rows of a picture whose longer side is 256.
LETTER = (5, 14)
#: Half a caliper cross, in elements.
ARM = 3
#: By so much must a cross that no line joins to another stand out of its quarters.
ALONE = 130


def marks(grey: Grey) -> dict[str, Mask]:
    """Return masks (row, column) of the corner mark, text, calipers and frame of a picture from 0 to 255."""
    outline = frame(grey)
    found = {"corner": corner(grey), "frame": outline}
    strokes = letter_strokes(grey, found["corner"] | ndimage.binary_dilation(outline, iterations=2))
    crosses = cross_centres(grey, strokes)
    found["calipers"] = calipers(grey, crosses)
    found["text"] = text(grey, strokes, crosses) & ~found["calipers"] & ~found["corner"]
    return {kind: found[kind] for kind in KINDS}


def upright(grey: Grey, length: int, contrast: float) -> Mask:
    """Return what is bright, less than five columns wide, and at least `length` rows high."""
    narrow = grey - ndimage.grey_opening(grey, size=(1, 5))
    high: Mask = ndimage.grey_opening(narrow, size=(length, 1)) > contrast
    return high


def thin(grey: Grey) -> Grey:
    """Return by how much each element stands out of a neighbourhood of nine by nine."""
    hat: Grey = ndimage.white_tophat(grey, size=(9, 9))
    return hat


def corner(grey: Grey) -> Mask:
    """Return the box around the strokes in the upper left corner; empty where there are none."""
    found: Mask = np.zeros(grey.shape, np.bool_)
    # The picture may be cut through the mark: black around it lets its outermost stroke count.
    framed = np.pad(grey[: CORNER[0] + 6, : CORNER[1] + 6], 3)
    strokes = upright(framed, 4, 25)[3:, 3:][: CORNER[0], : CORNER[1]]
    if strokes.any():
        row, column = np.nonzero(strokes)
        found[: row.max() + 2, max(0, column.min() - 2) : column.max() + 3] = True
    return found


def letter_strokes(grey: Grey, taken: Mask) -> list[Box]:
    """Return the boxes (rows, columns) of upright strokes as high as a letter."""
    parts, _ = ndimage.label(upright(grey, LETTER[0], 40) & (grey > 110) & ~taken, np.ones((3, 3)))
    boxes = ndimage.find_objects(parts)
    return [b for b in boxes if LETTER[0] <= b[0].stop - b[0].start <= LETTER[1]]


def text(grey: Grey, strokes: Sequence[Box], crosses: Centres) -> Mask:
    """Return the letters: strokes with a second one beside them, and single ones beside a caliper cross."""
    found: Mask = np.zeros(grey.shape, np.bool_)
    bright = thin(grey) > 60
    for n, (rows, columns) in enumerate(strokes):
        beside = any(m != n and _beside((rows, columns), other) for m, other in enumerate(strokes))
        # A stroke within the cross is its own arm; one a little off it is the number of the measurement.
        if beside or ARM + 1 < _off(crosses, (rows, columns)) <= 14:
            area = (slice(max(0, rows.start - 2), rows.stop + 2), slice(max(0, columns.start - 8), columns.stop + 8))
            found[area] |= bright[area]
    return ndimage.binary_dilation(found) if found.any() else found


def _beside(one: Box, other: Box) -> bool:
    """Return whether two strokes stand in one line of text, a letter or two apart."""
    apart = max(one[1].start - other[1].stop, other[1].start - one[1].stop)
    return bool(apart <= 12 and abs(one[0].start - other[0].start) <= 3 and abs(one[0].stop - other[0].stop) <= 4)


def _off(crosses: Centres, box: Box) -> float:
    """Return how far the nearest cross is from the middle of a box, along the axis on which it is farther."""
    middle = np.array([(side.start + side.stop - 1) / 2 for side in box])
    return float(np.abs(crosses - middle).max(1).min()) if len(crosses) else np.inf


def cross_centres(grey: Grey, strokes: Sequence[Box]) -> Centres:
    """Return (n, 2) the centres of upright crosses: four bright arms and four darker quarters between them.

    One counts where a dotted line joins it to a clear one, or where it is very clear; one among letters is a letter.
    """
    dot = ndimage.maximum_filter(grey, size=(2, 2))  # a stroke is one or two elements wide

    def at(values: Grey, row: int, column: int) -> Grey:
        moved: Grey = ndimage.shift(values, (-row, -column), order=0, mode="constant", cval=0)
        return moved

    arms = np.min([at(dot, r * ARM, c * ARM) for r, c in ((-1, 0), (1, 0), (0, -1), (0, 1))] + [dot], axis=0)
    plain = ndimage.uniform_filter(grey, size=(2, 2))
    quarters = np.max([at(plain, r * ARM, c * ARM) for r in (-1, 1) for c in (-1, 1)], axis=0)
    strength = np.where(arms > 110, arms - quarters, 0)
    strength[: CORNER[0], : CORNER[1]] = 0
    peak = (strength == ndimage.maximum_filter(strength, size=7)) & (strength > 22)
    parts, count = ndimage.label(peak, np.ones((3, 3)))
    centres = np.array(ndimage.center_of_mass(peak, parts, range(1, count + 1))).round().astype(np.int64).reshape(-1, 2)
    kept = np.array([_letters_round(c, strokes) < 2 for c in centres], np.bool_)
    own = strength[tuple(centres.T)]
    clear = centres[kept & (own > 40)]
    joined = np.array([any(_dotted(grey, c, other) is not None for other in clear) for c in centres], np.bool_)
    return centres[kept & (joined | (own > ALONE))]


def _letters_round(centre: npt.NDArray[np.int64], strokes: Sequence[Box]) -> int:
    """Return how many strokes stand in the line of text that a cross would be part of."""
    beside = 0
    for rows, columns in strokes:
        off = abs((columns.start + columns.stop - 1) / 2 - centre[1])
        beside += rows.start - 2 <= centre[0] < rows.stop + 2 and ARM < off <= 25
    return beside


def calipers(grey: Grey, crosses: Centres) -> Mask:
    """Return the crosses and the dotted lines between them."""
    found: Mask = np.zeros(grey.shape, np.bool_)
    bright = thin(grey) > 40
    for row, column in crosses:
        area = (slice(max(0, row - 5), row + 6), slice(max(0, column - 5), column + 6))
        found[area] |= bright[area]
    for i, one in enumerate(crosses):
        for other in crosses[i + 1 :]:
            line = _dotted(grey, one, other)
            if line is not None:
                found[line] = True
    return ndimage.binary_dilation(found) if found.any() else found


def _dotted(
    grey: Grey, one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Return the elements between two crosses, or None where they are no brighter than those beside them."""
    way = (other - one).astype(np.float64)
    length = float(np.hypot(*way))
    if length < 3 * ARM + 3:
        return None
    side = np.array([-way[1], way[0]]) / length
    inner = np.linspace((ARM + 2) / length, 1 - (ARM + 2) / length, max(2, round(length)))
    points = one + inner[:, None] * way

    def level(off: float) -> float:
        return float(ndimage.map_coordinates(grey, (points + off * side).T, order=1, mode="nearest").mean())

    best = max((-1.0, -0.5, 0.0, 0.5, 1.0), key=level)
    if level(best) - max(level(best + off) for off in (-4, -2.5, 2.5, 4)) < 10:
        return None
    row, column = points.round().astype(np.int64).T
    return row.clip(0, grey.shape[0] - 1), column.clip(0, grey.shape[1] - 1)


def frame(grey: Grey) -> Mask:
    """Return the thin rectangle of a colour or zoom window: two long upright lines of the same rows."""
    found: Mask = np.zeros(grey.shape, np.bool_)
    parts, _ = ndimage.label(upright(grey, 18, 10), np.ones((3, 3)))
    lines = [b for b in ndimage.find_objects(parts) if b[1].stop - b[1].start <= 4]
    for i, (rows, columns) in enumerate(lines):
        for other_rows, other_columns in lines[i + 1 :]:
            top, bottom = (abs(getattr(rows, end) - getattr(other_rows, end)) for end in ("start", "stop"))
            if min(top, bottom) <= 3 and abs(columns.start - other_columns.start) > 20:
                high, low = min(rows.start, other_rows.start), max(rows.stop, other_rows.stop)
                left, right = sorted((columns.start, other_columns.start))
                right = max(columns.stop, other_columns.stop)
                found[high:low, left : left + 2] = found[high:low, right - 2 : right] = True
                found[high : high + 2, left:right] = found[low - 2 : low, left:right] = True
    return found
