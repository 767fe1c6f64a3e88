"""Where a map is strong: the smallest area that holds half of its positive attribution, region by region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import Geometry
from saliscope.figures.anatomy import axes_of, place_of

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
    parts, count = ndimage.label(chosen, ndimage.generate_binary_structure(values.ndim, values.ndim))
    total = float(values[values > 0].sum(dtype=np.float64))
    shares = np.bincount(parts[chosen], weights=values[chosen].astype(np.float64), minlength=count + 1)[1:] / total
    order = [int(i) for i in np.argsort(-shares, kind="stable")[:MOST] if shares[i] >= CRUMB]
    boxes = ndimage.find_objects(parts)
    labels = np.zeros(values.shape, dtype=np.uint8)
    regions = []
    for number, i in enumerate(order, start=1):
        inside = parts[boxes[i]] == i + 1
        labels[boxes[i]][inside] = number
        regions.append(_region(number, float(shares[i]), values[boxes[i]], inside, boxes[i], geometry))
    labels.setflags(write=False)
    listed = sum(r.share for r in regions)
    coverage = float(chosen.sum() / max(1, seen.sum()))
    crumbs = count - len(regions)
    return Focus(level, held, coverage, tuple(regions), labels, crumbs, max(0.0, held - listed) if crumbs else 0.0)


def level_holding(values: Map, share: float = SHARE) -> tuple[float, float]:
    """Return (level, held): the highest level whose set {value >= level} holds `share` of the positive sum.

    `held` is what the set really holds, ties included. Without a positive value both are 0.
    """
    falling = np.sort(values[values > 0])[::-1]
    if not falling.size:
        return 0.0, 0.0
    running = np.cumsum(falling, dtype=np.float64)
    at = min(int(np.searchsorted(running, share * running[-1] * (1 - 1e-12))), falling.size - 1)
    level = falling[at]
    last = falling.size - int(np.searchsorted(falling[::-1], level)) - 1
    return float(level), float(running[last] / running[-1])


def _region(number: int, share: float, values: Map, inside: Mask, box: tuple[slice, ...], geometry: Geometry) -> Region:
    where = np.argwhere(inside)
    weight = values[inside].astype(np.float64)
    start = np.array([s.start for s in box])
    index = start + (where * weight[:, None]).sum(0) / weight.sum()
    volume = geometry.ndim == 3
    if geometry.unit == "mm":
        amount = len(where) * geometry.element / (1000 if volume else 1)
        unit: Literal["mm²", "ml", "px", "voxels"] = "ml" if volume else "mm²"
    else:
        amount, unit = float(len(where)), "voxels" if volume else "px"
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
        elements=len(where),
        peak=float(weight.max()),
        slices=(box[axis].start + 1, box[axis].stop) if volume else None,
        planes=geometry.shape[axis] if volume else None,
    )


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
