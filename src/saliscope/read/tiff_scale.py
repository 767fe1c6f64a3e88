"""The lengths that ImageJ and OME write into a TIFF, and whether its pages are the planes of one volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saliscope.core.geometry import Geometry
from saliscope.read.placement import FARTHEST

_TO_MM = {
    "nm": 1e-6, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "\\u00b5m": 1e-3, "micron": 1e-3, "microns": 1e-3,
    "micrometer": 1e-3, "mm": 1.0, "millimeter": 1.0, "cm": 10.0, "centimeter": 10.0, "m": 1000.0,
}  # fmt: skip
_ORIENTATION, _TURNED = 274, (5, 6, 7, 8)


@dataclass(frozen=True)
class Scale:
    """Spacing in mm of (row, column), or of (plane, row, column) where the first `planes` pages are a volume."""

    spacing: tuple[float, ...]
    planes: int
    by: str

    def grid(self, shape: Sequence[int]) -> Geometry:
        """Return the grid of an image of this shape, its place in the patient unknown."""
        return Geometry.of_picture(shape, self.spacing)


def scale_of(tiff: Any, page: Any, count: int) -> Scale | None:
    """Return the lengths that a TIFF of so many pages gives, or None where it gives none that can be believed.

    Resolution in dots for each inch is that of a printer or a screen, and is not believed.
    """
    turned = page.tags.get(_ORIENTATION)
    if turned is not None and turned.value in _TURNED:
        return None
    try:
        if tiff.is_imagej:
            return _imagej(tiff.imagej_metadata or {}, page, count)
        return _ome(tiff.ome_metadata, page, count) if tiff.is_ome else None
    except Exception:  # noqa: BLE001 - a description that is broken gives no lengths, and the pixels are there
        return None


def _imagej(said: Mapping[str, Any], page: Any, count: int) -> Scale | None:
    to_mm = _TO_MM.get(str(said.get("unit", "")).lower())
    steps = [_step(page.tags.get(tag)) for tag in (283, 282)]  # YResolution, XResolution: elements for each unit
    lengths = [_length(s, to_mm) for s in (said.get("spacing"), *steps)]
    stacked = count > 1 and said.get("images") == said.get("slices") == count
    alone = said.get("channels", 1) == said.get("frames", 1) == 1
    return _scale(lengths, count if stacked and alone else 0, "ImageJ")


def _step(tag: Any) -> float | None:
    try:
        over, under = (float(v) for v in tag.value)
        return under / over
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):
        return None


def _ome(xml: str, page: Any, count: int) -> Scale | None:
    import tifffile

    image = _first(tifffile.xml2dict(xml, sep="").get("OME", {}).get("Image"))
    pixels = _first(image.get("Pixels"))
    lengths = [
        _length(pixels.get(f"PhysicalSize{a}"), _TO_MM.get(str(pixels.get(f"PhysicalSize{a}Unit", "µm")).lower()))
        for a in "ZYX"
    ]
    whole = count > 1 and pixels.get("SizeZ") == count and pixels.get("SizeT") == 1
    return _scale(
        lengths, count if whole and pixels.get("SizeC") == page.samplesperpixel and _in_order(pixels) else 0, "OME"
    )


def _in_order(pixels: Mapping[str, Any]) -> bool:
    """Return whether page i is plane i, in this file."""
    parts = pixels.get("TiffData") or {}
    parts = parts if isinstance(parts, list) else [parts]
    files = {str(p.get("UUID")) for p in parts if isinstance(p, dict) and p.get("UUID")}
    same = all(isinstance(p, dict) and p.get("IFD", 0) == p.get("FirstZ", 0) for p in parts)
    return same and len(files) < 2


def _first(value: Any) -> Mapping[str, Any]:
    one = value[0] if isinstance(value, list) and value else value
    return one if isinstance(one, dict) else {}


def _length(value: object, to_mm: float | None) -> float | None:
    """Return a length in mm, or None for what is no number, has no unit, or fits no body."""
    if to_mm is None or not isinstance(value, int | float):
        return None
    found = float(value) * to_mm
    return found if 1 / FARTHEST <= found <= FARTHEST else None


def _scale(lengths: Sequence[float | None], planes: int, by: str) -> Scale | None:
    """Return the scale of lengths (plane, row, column); a volume needs all three."""
    known = [v for v in lengths if v is not None]
    if planes and len(known) == 3:
        return Scale(tuple(known), planes, by)
    plane = [v for v in lengths[1:] if v is not None]
    return Scale(tuple(plane), 0, by) if len(plane) == 2 else None
