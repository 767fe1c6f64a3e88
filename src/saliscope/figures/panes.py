"""One two-dimensional view, ready to draw: image, heat and outlines on square pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Line = npt.NDArray[np.float64]

#: A picture whose longer side is smaller than half of this is enlarged.
COMFORTABLE = 768
#: So many lines are drawn on a view at most, the longest: a map of noise has thousands.
MOST_LINES = 200


@dataclass(frozen=True, eq=False)
class Slice:
    """What is cut out of an image for one view: grey or RGB (1 or 3, H, W), normalised heat, raw values and labels."""

    display: Bytes
    heat: Floats
    values: Floats
    labels: Bytes
    spacing: tuple[float, float]
    letters: tuple[str, str, str, str] | None
    title: str


@dataclass(frozen=True, eq=False)
class Pane:
    """A view on square pixels: `base` (H, W, 3), `heat` (H, W) in -1..1, outlines (n, 2) as x, y from the corner.

    `letters` are those at the top, right, bottom and left, None where the orientation is unknown; `step` is the width
    of a pixel in the image's unit; `marks` are short texts at x, y; `note` says how the pixels were made; a montage has
    more than one column. `own` are image and heat on their own elements where all that was done is to enlarge them:
    a page lets the reader's browser do that.
    """

    title: str
    base: Bytes
    heat: Floats
    outlines: tuple[Line, ...]
    marks: tuple[tuple[float, float, str], ...]
    letters: tuple[str, str, str, str] | None
    step: float
    note: str
    columns: int = 1
    own: tuple[Bytes, Floats] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height)."""
        return self.base.shape[1], self.base.shape[0]


def factor_for(sizes: Sequence[tuple[float, float]], comfortable: int = COMFORTABLE, most: int | None = None) -> float:
    """Return by what square pixels (H, W) are enlarged, a whole number, or shrunk; the longest is at most `most`."""
    longest = max(max(s) for s in sizes)
    if most is not None and longest > most:
        return most / longest
    wanted = comfortable if most is None else min(comfortable, most)
    return float(max(1, int(wanted // longest)))


def square(cut: Slice) -> tuple[float, float]:
    """Return the size (H, W) of a slice in square pixels as fine as its finer spacing."""
    fine = min(cut.spacing)
    h, w = cut.values.shape
    return h * cut.spacing[0] / fine, w * cut.spacing[1] / fine


def pane(cut: Slice, level: float | None, factor: float) -> Pane:
    """Return the slice on square pixels, `factor` for each of its finer spacing."""
    h, w = (max(1, round(n * factor)) for n in square(cut))
    rows, columns = cut.values.shape
    enlarged = h >= rows and w >= columns
    to_pixel = np.array([w / columns, h / rows])
    lines = [] if level is None else outlines(cut.values, cut.labels, level)
    return Pane(
        title=cut.title,
        base=_rgb(np.stack([_resized(c.astype(np.float32), h, w) for c in cut.display])),
        heat=_resized(cut.heat, h, w),
        outlines=tuple((line[:, ::-1] + 0.5) * to_pixel for line in lines),
        marks=tuple(((c + 0.5) * to_pixel[0], (r + 0.5) * to_pixel[1], t) for r, c, t in _numbers(cut.labels)),
        letters=cut.letters,
        step=min(cut.spacing) / factor,
        note=_note(cut, factor),
        own=(_rgb(cut.display), cut.heat) if enlarged else None,
    )


def _rgb(channels: npt.NDArray[Any]) -> Bytes:
    """Return (1 or 3, H, W) as bytes (H, W, 3)."""
    found = np.clip(np.round(channels), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.repeat(found, 3, axis=2) if found.shape[2] == 1 else found


def outlines(values: Floats, labels: Bytes, level: float) -> list[Line]:
    """Return closed lines (n, 2) of (row, column) around the labelled part of {values >= level}."""
    from skimage.measure import find_contours

    if not labels.any():
        return []
    below = level * (1 - 1e-6)
    inside = labels > 0
    # Crumbs are sunk below the level; listed regions are kept at or above it, so that each gets its own line.
    field = np.where(inside, np.maximum(values, level), np.minimum(values, 2 * below - level))
    padded = np.pad(field.astype(np.float64), 1, constant_values=0.0)
    lines = sorted(find_contours(padded, below), key=len, reverse=True)
    return [line - 1 for line in lines[:MOST_LINES]]


def mosaic(tiles: Sequence[Pane], columns: int, title: str) -> Pane:
    """Return panes of one size side by side as one pane, each marked with its title."""
    w, h = tiles[0].size
    rows = -(-len(tiles) // columns)
    base = np.zeros((rows * h, columns * w, 3), dtype=np.uint8)
    heat = np.zeros((rows * h, columns * w), dtype=np.float32)
    lines, marks = [], []
    for i, tile in enumerate(tiles):
        y, x = (i // columns) * h, (i % columns) * w
        base[y : y + h, x : x + w], heat[y : y + h, x : x + w] = tile.base, tile.heat
        lines += [line + np.array([x, y]) for line in tile.outlines]
        marks.append((x + 0.5, y + 0.5, tile.title))
    return replace(
        tiles[0], title=title, base=base, heat=heat, outlines=tuple(lines), marks=tuple(marks), letters=None,
        columns=columns, own=None,
    )  # fmt: skip


def roomy(thin: Pane, least: int) -> Pane:
    """Return the pane with black above and below (or beside), so that letters and scale bar have room."""
    w, h = thin.size
    top, left = max(0, least - h) // 2, max(0, least - w) // 2
    if not (top or left):
        return thin
    width = ((top, max(0, least - h) - top), (left, max(0, least - w) - left))
    return replace(
        thin,
        base=np.pad(thin.base, (*width, (0, 0))),
        heat=np.pad(thin.heat, width),
        outlines=tuple(line + np.array([left, top]) for line in thin.outlines),
        marks=tuple((x + left, y + top, text) for x, y, text in thin.marks),
        own=None,
    )


def _numbers(labels: Bytes) -> list[tuple[float, float, str]]:
    """Return (row, column, number) at the element of each region that is nearest to its middle."""
    found = []
    for number in np.unique(labels[labels > 0]):
        where = np.argwhere(labels == number)
        middle = where[np.abs(where - where.mean(0)).sum(1).argmin()]
        found.append((float(middle[0]), float(middle[1]), str(number)))
    return found


def _resized(array: Floats, h: int, w: int) -> Floats:
    from PIL import Image

    if array.shape == (h, w):
        return np.asarray(array, dtype=np.float32)
    picture = Image.fromarray(np.ascontiguousarray(array, dtype=np.float32))
    return np.asarray(picture.resize((w, h), Image.Resampling.BILINEAR), dtype=np.float32)


def _note(cut: Slice, factor: float) -> str:
    said = []
    if abs(cut.spacing[0] - cut.spacing[1]) > 0.01 * min(cut.spacing):
        said.append("drawn on square pixels")
    if factor > 1:
        said.append(f"enlarged {factor:.3g} times")
    elif factor < 1:
        said.append(f"shrunk to {factor:.0%}")
    return ", ".join(said)
