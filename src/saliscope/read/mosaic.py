"""Siemens mosaics: the slices of a volume as tiles of one image, put back to where each of them lies.

The position in the header is that of a slice as large as the whole mosaic about the same centre, so the first element
lies half of the difference in size further along the rows and the columns. The order of the slices is by the normal in
the private header, which neither the position nor the orientation gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.core.errors import UnreadableFile
from saliscope.core.geometry import Geometry
from saliscope.read.guard import Guard
from saliscope.read.header import Pixels
from saliscope.read.limits import Limits
from saliscope.read.naming import known_modality
from saliscope.read.pixels import Slice, numbers_of
from saliscope.read.placement import Plane, plane_of, spacing_of
from saliscope.read.stack import volume_grid

if TYPE_CHECKING:
    from pydicom import Dataset

#: Group, creator and element of NumberOfImagesInMosaic, and of ImageTypeText, which keeps the word where ImageType
#: does not (XA, enhanced), with the sequence that it may lie in.
_COUNT = 0x0019, "SIEMENS MR HEADER", 0x0A
_TEXT, _TEXTS = (0x0021, "SIEMENS MR", 0x75), (0x0021, "SIEMENS MR", 0xFE)
#: What to read of a header to tell a mosaic: the creator and the count, where they mostly lie.
TAGS = (0x00190010, 0x0019100A)
#: The word of Siemens, and that of United Imaging for the same layout.
_WORDS = frozenset(("MOSAIC", "VFRAME"))
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
#: The cosine of the largest angle between the private normal and that of the orientation.
_ALIGNED = 0.999


@dataclass(frozen=True)
class Mosaic:
    """The tiles of a mosaic in the order of their slices, the grid of the volume, and the facts of one tile."""

    order: tuple[int, ...]
    across: int
    facts: Pixels
    grid: Geometry
    notes: tuple[str, ...]

    def slices(self, whole: Slice) -> Iterator[Slice]:
        """Yield the slices of the decoded mosaic."""
        for tile in self.order:
            top, left = (i * n for i, n in zip(divmod(tile, self.across), self._size, strict=True))
            window = np.s_[..., top : top + self._size[0], left : left + self._size[1]]
            yield Slice(whole.values[window], whole.padding[window])

    @property
    def _size(self) -> tuple[int, int]:
        return self.facts.rows, self.facts.columns


def is_mosaic(ds: Dataset, frames: int) -> bool:
    """Return whether the one frame of a file is a mosaic. Files of several frames keep the word, and are none."""
    if frames != 1 or known_modality(ds.get("Modality")) not in ("MR", ""):
        return False
    words = {str(v).strip().upper() for v in _several(ds.get("ImageType"))}
    return bool(words & _WORDS) or (_count_element(ds) or 0) > 1 or _said_privately(ds)


def unfolded(ds: Dataset, header: Dataset, facts: Pixels, modality: str, label: str, limits: Limits) -> Mosaic:
    """Return how a mosaic is put back into a volume; raises UnreadableFile where that cannot be known for sure."""
    with Guard(label, "reading the private header of a mosaic"):
        private = _csa(ds)
        counts = {c for c in (_count_element(ds), _whole_number(private.get("NumberOfImagesInMosaic"))) if c}
    count = counts.pop() if len(counts) == 1 else 0
    if count < 2:
        raise _unknown(label, "how many slices it holds, or not the same in two places")
    limits.check_slices(count, label)
    across = ceil(sqrt(count))
    if facts.rows % across or facts.columns % across:
        uneven = f"{facts.rows} x {facts.columns} pixels are not {across} x {across} of one size"
        raise _unknown(label, f"how its {count} tiles lie: {uneven}")
    tile = replace(facts, rows=facts.rows // across, columns=facts.columns // across)
    plane, (spacing, notes) = plane_of(header), spacing_of(header, modality)
    between = numbers_of(ds, "SpacingBetweenSlices") or 0.0
    if plane is None or spacing is None:
        raise _unknown(label, "where its slices lie: position, orientation or pixel spacing is missing")
    if between <= 0:
        raise _unknown(label, "how far its slices lie apart: SpacingBetweenSlices is missing")
    sign = _direction(private, plane)
    if not sign:
        raise _unknown(label, "the order of its slices: SliceNormalVector is missing or amiss")
    down, right = (facts.rows - tile.rows) / 2 * spacing[0], (facts.columns - tile.columns) / 2 * spacing[1]
    first = plane.position + down * plane.row + right * plane.column
    step = plane.normal * between
    order = range(count) if sign > 0 else range(count)[::-1]
    planes = [replace(plane, position=first + sign * i * step) for i in order]
    grid, said = volume_grid(planes, (tile.rows, tile.columns), spacing, label)
    return Mosaic(tuple(order), across, tile, grid, (*notes, f"a mosaic of {count} slices, unfolded", *said))


def _unknown(label: str, what: str) -> UnreadableFile:
    return UnreadableFile(
        f"{label}: a mosaic, slices of a volume as tiles of one image, that does not say {what}",
        expected="the private header that the scanner wrote",
        do="Export the series again without removing private elements, or convert the originals to NIfTI by dcm2niix",
    )


def _direction(private: Mapping[str, Any], plane: Plane) -> int:
    """Return 1 where the slices follow one another along the normal, -1 against it, 0 where that is not known."""
    vector = np.asarray(private.get("SliceNormalVector", ()), dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        return 0
    along = float((vector * [-1, -1, 1]) @ plane.normal)  # from LPS+ to RAS+
    return 0 if not _ALIGNED < abs(along) < 2 - _ALIGNED else 1 if along > 0 else -1


def _csa(ds: Dataset) -> Mapping[str, Any]:
    """Return the elements of Siemens' own image header by their names; nothing where it was removed or is broken."""
    from nibabel.nicom import csareader

    try:
        read = csareader.get_csa_header(ds)
    except Exception:  # noqa: BLE001 - the bytes are a stranger's; what is missing is asked for by the caller
        return {}
    return {name: tag["items"] for name, tag in (read or {"tags": {}})["tags"].items()}


def _count_element(ds: Dataset) -> int | None:
    """Return the number of tiles by the private element for it, wherever its block lies."""
    return next((n for v in _private(ds, *_COUNT) if (n := _whole_number(_several(v))) is not None), None)


def _said_privately(ds: Dataset) -> bool:
    outer = [ds, *(i for k in _GROUPS for i in ds.get(k) or ())]
    inner = [i for g in outer for v in _private(g, *_TEXTS) for i in _several(v) if hasattr(i, "group_dataset")]
    texts = [str(v) for g in (*outer, *inner) for value in _private(g, *_TEXT) for v in _several(value)]
    return any(_WORDS & set(re.split(r"[\\_]", text.upper())) for text in texts)


def _private(ds: Dataset, group: int, creator: str, element: int) -> Iterator[Any]:
    """Yield the values of a private element from each block of that creator; those that are broken are not there."""
    for tag in [t for t in ds.keys() if t >> 16 == group and 0x10 <= t & 0xFFFF <= 0xFF]:  # noqa: SIM118
        at = (group, (tag & 0xFF) << 8 | element)
        try:
            if str(ds[tag].value).strip().upper().startswith(creator) and at in ds:
                yield ds[at].value
        except Exception:  # noqa: BLE001, S112 - the bytes are a stranger's
            continue


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, bytes):  # an element whose type the file does not give
        return [int.from_bytes(value, "little")]
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)


def _whole_number(values: Any) -> int | None:
    try:
        return int(values[0])
    except (TypeError, ValueError, IndexError):
        return None
