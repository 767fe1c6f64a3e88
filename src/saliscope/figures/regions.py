"""Where a map is strong: the smallest area that holds half of its positive attribution, region by region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import Geometry
from saliscope.figures.anatomy import axes_of, place_of
from saliscope.figures.totals import level_holding

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: The share of positive attribution that the regions hold together.
SHARE = 0.5
#: A region with less than this share of positive attribution is a crumb: counted, not listed.
CRUMB = 0.02
#: So many regions are listed at most.
MOST = 8


@dataclass(frozen=True)
class Region:
    """One connected region; `share` of all positive attribution, centre as array index and, if known, RAS+ mm.

    `slices` are the first and last plane (counted from 1) along the axis nearest to head and foot, `planes` how many
    there are. `size` is in mm² or ml, or counts elements where the spacing is unknown.
    """

    number: int
    share: float
    place: str
    index: tuple[float, ...]
    centre_mm: tuple[float, float, float] | None
    size: float
    size_unit: Literal["mm²", "ml", "px", "voxels"]
    elements: int
    peak: float
    slices: tuple[int, int] | None = None
    planes: int | None = None

    def sentence(self) -> str:
        """Return the region in words."""
        where = f", slices {self.slices[0]} to {self.slices[1]} of {self.planes}" if self.slices else ""
        share = f"{percent(self.share)} of the map's positive attribution"
        return f"Region {self.number}: {self.place}{where}, {size(self)}, {centre(self)}, {share}."


@dataclass(frozen=True, eq=False)
class Focus:
    """The smallest level set {value >= level} that holds at least `SHARE` of positive attribution, in regions.

    Elements that tie with the level are all in, so `held` can be more. `coverage` is its share of what was seen,
    `labels` (*S) names the listed region of each element, 0 for none; `crumbs` and `crumb_share`: what is not listed.
    """

    level: float
    held: float
    coverage: float
    regions: tuple[Region, ...]
    labels: npt.NDArray[np.uint8]
    crumbs: int
    crumb_share: float


def focus_of(values: Map, geometry: Geometry, seen: Mask, share: float = SHARE) -> Focus | None:
    """Return where a placed map (*S) is strong, or None where nothing in it is positive."""
    level, held = level_holding(values, share)
    if level <= 0:
        return None
    from scipy import ndimage

    chosen = values >= level
    box = _around(chosen)
    kept, strong = values[box], chosen[box]
    parts, count = ndimage.label(strong, ndimage.generate_binary_structure(values.ndim, values.ndim))
    sums = np.bincount(parts[strong], weights=kept[strong], minlength=count + 1)[1:]
    shares = sums * (held / sums.sum())
    order = [int(i) for i in np.argsort(-shares, kind="stable")[:MOST] if shares[i] >= CRUMB]
    boxes = ndimage.find_objects(parts)
    labels = np.zeros(values.shape, dtype=np.uint8)
    regions = []
    for number, i in enumerate(order, start=1):
        inside = parts[boxes[i]] == i + 1
        own = tuple(slice(b.start + s.start, b.start + s.stop) for b, s in zip(box, boxes[i], strict=True))
        labels[own][inside] = number
        regions.append(_region(number, float(shares[i]), values[own], inside, own, geometry))
    labels.setflags(write=False)
    listed = sum(r.share for r in regions)
    coverage = int(np.count_nonzero(chosen)) / max(1, int(np.count_nonzero(seen)))
    crumbs = count - len(regions)
    return Focus(level, held, coverage, tuple(regions), labels, crumbs, max(0.0, held - listed) if crumbs else 0.0)


def _region(number: int, share: float, values: Map, inside: Mask, box: tuple[slice, ...], geometry: Geometry) -> Region:
    weight = np.where(inside, values, np.float32(0))
    count, total = int(np.count_nonzero(inside)), float(weight.sum(dtype=np.float64))
    others = [tuple(a for a in range(weight.ndim) if a != axis) for axis in range(weight.ndim)]
    lines = [weight.sum(axis=axes, dtype=np.float64) for axes in others]
    index = np.array([s.start + np.arange(len(w)) @ w / total for s, w in zip(box, lines, strict=True)])
    volume = geometry.ndim == 3
    if geometry.unit == "mm":
        amount = count * geometry.element / (1000 if volume else 1)
        unit: Literal["mm²", "ml", "px", "voxels"] = "ml" if volume else "mm²"
    else:
        amount, unit = float(count), "voxels" if volume else "px"
    known = geometry.unit == "mm" and geometry.frame == "patient"
    x, y, z = (float(c) for c in geometry.to_world(index))
    axis = axes_of(geometry)[2] if volume else 0
    return Region(
        number=number,
        share=share,
        place=place_of(index, geometry),
        index=tuple(float(i) for i in index),
        centre_mm=(x, y, z) if known else None,
        size=float(amount),
        size_unit=unit,
        elements=count,
        peak=float(weight.max()),
        slices=(box[axis].start + 1, box[axis].stop) if volume else None,
        planes=geometry.shape[axis] if volume else None,
    )


def _around(chosen: Mask) -> tuple[slice, ...]:
    """Return the smallest box that holds all that is chosen, of which there must be some."""
    found = []
    for axis in range(chosen.ndim):
        some = np.flatnonzero(chosen.any(axis=tuple(a for a in range(chosen.ndim) if a != axis)))
        found.append(slice(int(some[0]), int(some[-1]) + 1))
    return tuple(found)


def size(region: Region) -> str:
    """Return the size in words, with its unit."""
    if region.size_unit in ("px", "voxels"):
        return f"{region.elements:,} {region.size_unit}"
    digits = 0 if region.size >= 100 else 1 if region.size >= 10 else 2
    return f"{region.size:,.{digits}f} {region.size_unit}"


def centre(region: Region) -> str:
    """Return the centre in words: RAS+ millimetres, else counted in elements from the upper left, beginning with 1."""
    if region.centre_mm is not None:
        x, y, z = (round(c) for c in region.centre_mm)
        return f"centre ({x}, {y}, {z}) mm"
    names = ("plane", "row", "column")[-len(region.index) :]
    return "centre " + ", ".join(f"{n} {round(i) + 1}" for n, i in zip(names, region.index, strict=True))


def percent(share: float) -> str:
    """Return a share in per cent, never rounded to nothing or to all."""
    if 0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"
