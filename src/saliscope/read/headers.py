"""The DICOM headers behind an image, in the order of its planes: what results that go back to a PACS refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.core.errors import InputError
from saliscope.read.frames import frame_header, stacked_frames
from saliscope.read.guard import Guard
from saliscope.read.header import PIXELS, open_dicom, pixel_facts
from saliscope.read.item import Item
from saliscope.read.limits import Limits
from saliscope.read.mosaic import is_mosaic
from saliscope.read.placement import plane_of
from saliscope.read.source import Source
from saliscope.read.stack import ordered

if TYPE_CHECKING:
    from pydicom import Dataset


def headers(
    source: Source,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
) -> tuple[list[Dataset], list[tuple[int, int]]]:
    """Return the headers of a case, no pixels, and for each plane of its image the header and the frame, both from 0.

    They hold identifiers, and are for whoever writes DICOM only. Raises InputError for what is no DICOM.
    """
    if source.kind not in ("dicom", "dicom-series"):
        raise InputError(
            f"{source.items[0].label}: a {source.kind}, which names no patient and no study",
            expected="DICOM, which results for a PACS refer to",
            do="Leave --dicom out for it, or give the DICOM that it was made from",
        )
    read = [_header(item, limits) for item in source.items]
    label = source.items[0].label
    with Guard(label, "reading its header"):
        if source.kind == "dicom":
            return read, [(0, frame) for frame in _frames(read[0], source.frame, limits, label)]
        planes = [plane_of(frame_header(ds)) for ds in read]
        groups = ordered([p for p in planes if p is not None], label)
        kept = [read[group[0]] for group in groups]
    return kept, [(i, 0) for i in range(len(kept))]


def _header(item: Item, limits: Limits) -> Dataset:
    ds, _ = open_dicom(item.read(limits), item.label, limits)
    for name in PIXELS:
        if name in ds:
            del ds[name]
    return ds


def _frames(ds: Dataset, frame: int, limits: Limits, label: str) -> list[int]:
    """Return the frames of one file that make its image, in order: those of a volume, or the one that was chosen."""
    facts = pixel_facts(ds, label)
    if is_mosaic(ds, facts.frames):
        raise InputError(
            f"{label}: a mosaic, whose slices are no frames that a DICOM object could refer to",
            expected="an image or slices that results for a PACS can lie on",
            do="Leave --dicom out for it",
        )
    if facts.frames > 1 and ds.get("PerFrameFunctionalGroupsSequence"):
        limits.check_slices(facts.frames, label)
        stack = stacked_frames([frame_header(ds, i) for i in range(facts.frames)], label)
        if stack is not None:
            return stack[0]
    return [frame]
