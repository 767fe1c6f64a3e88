"""The source images that a structured report describes (PS3.16 TID 1600, 1601, 1602)."""

from __future__ import annotations

from typing import Any

from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.sr_codes import code, container, number
from saliscope.write.dicom.stamp import clipped


def image_library(result: Result, source: DicomSource) -> Any:
    """Return the library: the first and the last plane, and the one at the centre of each region.

    It describes the source for a reader; of three hundred slices the others would say the same again. What the
    report refers to is complete all the same, in its evidence (PS3.3 C.17.2.2). Written here, not by highdicom, whose
    library needs a pixel spacing of every radiograph and knows no enhanced multi-frame image.
    """
    last = len(source.planes) - 1
    regions = [] if result.hidden else result.reading["regions"]
    middles = [min(last, max(0, round(r["index"][0]))) for r in regions] if result.volume else []
    planes = sorted({0, last, *middles})
    group = container("library-group", [*_shared(source), *(_image(source, plane) for plane in planes)])
    return container("library", [group])


def _shared(source: DicomSource) -> list[Any]:
    from highdicom.sr import TextContentItem, UIDRefContentItem

    first, context = source.first, "HAS ACQ CONTEXT"
    found: list[Any] = []
    modality = clipped(str(first.get("Modality", "") or ""), 16)
    if modality:
        found.append(TextContentItem(code("modality"), modality, context))
    if source.frame_of_reference:
        found.append(UIDRefContentItem(code("frame-of-reference"), source.frame_of_reference, context))
    for name, size in (("rows", first.Rows), ("columns", first.Columns)):
        found.append(number(name, int(size), "pixels", context))
    return found


def _image(source: DicomSource, plane: int) -> Any:
    from highdicom.sr import ImageContentItem

    item = source.reference(plane)
    frames = [int(item.ReferencedFrameNumber)] if "ReferencedFrameNumber" in item else None
    return ImageContentItem(
        code("source"), item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID, frames, relationship_type="CONTAINS"
    )
