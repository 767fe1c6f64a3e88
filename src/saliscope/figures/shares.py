"""How much of a map lies where it says little about the patient: air, the border, padding, below zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saliscope.core.explanation import Explanation
from saliscope.core.image import MedicalImage
from saliscope.figures.body import body_mask
from saliscope.figures.place import box_within, within
from saliscope.figures.totals import Map, Totals, planes

#: The border strip is so much of what was seen, on every side.
BORDER = 0.05


@dataclass(frozen=True)
class Shares:
    """Shares of positive attribution, None where not known; `body` says how the body was found or why not.

    `padding` is the share on the network's grid but outside the image; the others are of what lies in the image.
    `border_area` is the strip's share of what was seen; `negative` is the share of the magnitude below zero.
    """

    outside_body: float | None
    body: str
    border: float | None
    border_area: float
    padding: float
    negative: float


def shares_of(
    explanation: Explanation, image: MedicalImage, values: Map, seen: npt.NDArray[np.bool_], sums: Totals
) -> Shares:
    """Return the shares of a finite map, placed on its image as values (*S) that add up to `sums`.

    `seen` (*S) is what the network saw.
    """
    body, how = body_mask(image)
    total, magnitude = sums.above, sums.magnitude
    border, area = _border(explanation, image, values, seen)
    return Shares(
        outside_body=None if body is None or not total else _positive(values, body, outside=True) / total,
        body=how,
        border=border / total if total else None,
        border_area=area / max(1, int(np.count_nonzero(seen))),
        padding=_padding(explanation, image),
        negative=max(0.0, 1 - total / magnitude) if magnitude else 0.0,
    )


def _border(
    explanation: Explanation, image: MedicalImage, values: Map, seen: npt.NDArray[np.bool_]
) -> tuple[float, int]:
    """Return the positive sum in the border strip of what was seen, and how many elements that has."""
    grid = image.geometry
    boxes = [box_within(grid, explanation.seen, m) for m in (0.0, BORDER)]
    outer, own, inner = boxes[0], boxes[1], box_within(grid, grid, BORDER)
    if outer is None or own is None or inner is None:
        strip = seen & ~(within(grid, explanation.seen, BORDER) & within(grid, grid, BORDER))
        return _positive(values, strip), int(np.count_nonzero(strip))
    both = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(own, inner, strict=True)]
    shell = [values[box] for box in _around(outer, both)]
    sums = (float(np.maximum(v, 0).sum(dtype=np.float64)) for part in shell for (v,) in planes(part))
    return sum(sums), sum(part.size for part in shell)


def _around(outer: Sequence[slice], inner: Sequence[slice]) -> list[tuple[slice, ...]]:
    """Return boxes that together are one box without another inside it; all of it where that one is empty."""
    if any(b.stop <= b.start for b in inner):
        return [tuple(outer)]
    found = []
    for axis, (a, b) in enumerate(zip(outer, inner, strict=True)):
        parts = (slice(a.start, max(a.start, b.start)), slice(min(a.stop, b.stop), a.stop))
        found += [(*inner[:axis], part, *outer[axis + 1 :]) for part in parts]
    return [box for box in found if all(s.stop > s.start for s in box)]


def _positive(values: Map, mask: npt.NDArray[np.bool_], *, outside: bool = False) -> float:
    """Return the sum of what is positive within a mask or outside it, plane by plane."""
    parts = (np.maximum(v, 0).sum(where=~m if outside else m, dtype=np.float64) for v, m in planes(values, mask))
    return float(sum(parts))


def _padding(explanation: Explanation, image: MedicalImage) -> float:
    """Return the share of the native map's positive attribution in cells whose centre lies outside the image."""
    positive = np.maximum(explanation.values, 0).astype(np.float64)
    total = positive.sum()
    off = ~within(explanation.geometry, image.geometry)
    return float(positive[off].sum() / total) if total else 0.0
