"""The listed regions of a map as measurement groups of a structured report (PS3.16 TID 1410, TID 1411, TID 1501)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.write.dicom.quantity import explanation_code
from saliscope.write.dicom.result import Outline, Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.sr_codes import code, measured, text, tracked
from saliscope.write.dicom.stamp import Stamp

if TYPE_CHECKING:
    from highdicom.sr import Measurement
    from pydicom import Dataset

#: RAS+: what each axis is called towards plus and towards minus.
_SIDES = (("right", "left"), ("anterior", "posterior"), ("superior", "inferior"))

#: What a size in a unit of the reading is called, and its unit in UCUM.
_SIZES = {"mm²": ("area", "mm2"), "ml": ("volume", "cm3")}


def region_groups(result: Result, source: DicomSource, stamp: Stamp, segmentation: Dataset | None) -> list[Any]:
    """Return a measurement group for each listed region, in the order of the reading.

    A region is its outlines on the source, which viewers draw without another object; else that of the segmentation,
    if there is one, else the source images that it lies on.
    """
    lines: dict[int, list[Outline]] = {}
    for line in result.outlines():
        lines.setdefault(line.region, []).append(line)
    return [
        _group(region, result, source, stamp, segmentation, lines.get(region["number"], []))
        for region in result.reading["regions"]
    ]


def planes_of(result: Result, region: Mapping[str, Any]) -> list[int]:
    """Return the planes that a region lies on, counted from 0."""
    if not result.volume:
        return [0]
    return [int(i) for i in np.flatnonzero((result.labels == region["number"]).any(axis=(1, 2)))]


def _group(
    region: Mapping[str, Any],
    result: Result,
    source: DicomSource,
    stamp: Stamp,
    segmentation: Dataset | None,
    lines: Sequence[Outline],
) -> Any:
    from highdicom import sr

    # A region bears the same identifier here and in the segmentation: by it the two are one thing to a viewer.
    uid = stamp.uid(result, "region", str(region["number"]))
    segment = None if segmentation is None else _segment(segmentation, uid)
    name = f"Region {region['number']} of {result.title}" if segment is None else str(segment.TrackingID)
    told: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(uid, tracked(name)),
        "finding_type": code("visual-explanation"),
        "method": explanation_code(result),
        "measurements": _measurements(region, result),
    }
    # The reading's own sentence of a region is not repeated: its centre counts along other axes than DICOM's.
    said = [text("place", region["place"]), text("centre", _centre(region, result, source))]
    planes = planes_of(result, region)
    if lines:
        group, left = _of_lines(told, source, lines, volume=result.volume)
        said += left
    elif segmentation is not None and segment is not None:
        group = _of_segment(told, segmentation, int(segment.SegmentNumber), source, planes, volume=result.volume)
    else:
        images = [sr.SourceImageForMeasurementGroup(*_referred(source, p)) for p in planes]
        group = sr.MeasurementsAndQualitativeEvaluations(**told, source_images=images)
    group[0].ContentSequence.extend(said)
    return group


def _of_segment(
    told: dict[str, Any], segmentation: Dataset, segment: int, source: DicomSource, planes: list[int], *, volume: bool
) -> Any:
    from highdicom import sr

    uids = (segmentation.SOPClassUID, segmentation.SOPInstanceUID)
    images = [sr.SourceImageForSegmentation(*_referred(source, p)) for p in planes]
    if volume:
        # Without numbers of frames all frames of the segment are meant (PS3.3 10.3).
        part = sr.ReferencedSegment(*uids, segment, source_images=images)
        return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(**told, referenced_segment=part)
    frame = sr.ReferencedSegmentationFrame(*uids, _frames(segmentation, segment), segment, images[0])
    # A frame says which segment it is of: highdicom writes both, PS3.3 10.3 forbids it.
    del frame[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(**told, referenced_segment=frame)


def _of_lines(
    told: dict[str, Any], source: DicomSource, lines: Sequence[Outline], *, volume: bool
) -> tuple[Any, list[Any]]:
    """Return the group of a region by its outlines, and what it leaves out: a planar region has one line."""
    from highdicom import sr

    if volume:
        regions = [_line(line, source) for line in lines]
        return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(**told, referenced_regions=regions), []
    widest = max(lines, key=lambda line: _enclosed(line.points))
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(**told, referenced_region=_line(widest, source))
    more = len(lines) - 1
    said = f"{more} more around holes or parts of this region; the numbers are of the region, not of its outline"
    return group, [text("outlines", said)] if more else []


def _line(line: Outline, source: DicomSource) -> Any:
    """Return an outline as a closed polyline: an element's centre lies half an element from its corner (C.18.6.1.2)."""
    from highdicom import sr

    rows, columns = source.first.Rows, source.first.Columns
    points = np.clip(line.points[:, ::-1] + 0.5, 0, (columns, rows))
    if not np.array_equal(points[0], points[-1]):
        points = np.concatenate([points, points[:1]])
    return sr.ImageRegion("POLYLINE", points, sr.SourceImageForRegion(*_referred(source, line.plane)))


def _enclosed(points: np.ndarray[Any, Any]) -> float:
    y, x = points.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def _referred(source: DicomSource, plane: int) -> tuple[str, str, list[int] | None]:
    item = source.reference(plane)
    frames = [int(item.ReferencedFrameNumber)] if "ReferencedFrameNumber" in item else None
    return str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID), frames


def _segment(segmentation: Dataset, uid: str) -> Dataset | None:
    """Return the description of the segment of a region, None where there is no such segment."""
    found = [s for s in segmentation.SegmentSequence if s.get("TrackingUID") == uid]
    return found[0] if found else None


def _frames(segmentation: Dataset, segment: int) -> list[int]:
    """Return the frames of a segment, from 1.

    Read here, because highdicom 0.28.2 looks for it in each frame only: of one segment it stands in the shared group.
    """
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    numbers = []
    for i, frame in enumerate(segmentation.PerFrameFunctionalGroupsSequence, start=1):
        named = frame.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
        if named and int(named[0].ReferencedSegmentNumber) == segment:
            numbers.append(i)
    return numbers


def _measurements(region: Mapping[str, Any], result: Result) -> list[Measurement]:
    """Return share, size and peak; a size in millimetres only where the source says how large its elements are."""
    found = [measured("share", 100 * region["share"], "percent")]
    if region["size_unit"] in _SIZES:
        name, unit = _SIZES[region["size_unit"]]
        found.append(measured(name, region["size"], unit))
    found.append(measured("elements", region["elements"], "voxels" if result.volume else "pixels"))
    return [*found, measured(explanation_code(result), region["peak"], "one", "maximum")]


def _centre(region: Mapping[str, Any], result: Result, source: DicomSource) -> str:
    """Return the centre in words that do not depend on whose axes point where: sides of the patient, then elements."""
    names = ("plane", "row", "column")[-len(region["index"]) :]
    counted = ", ".join(f"{n} {round(i) + 1}" for n, i in zip(names, region["index"], strict=True))
    elements = f"{counted} of the source, counted from 1"
    # A radiograph's millimetres begin at its own corner, and say nothing of a place in the patient.
    if region["centre_mm"] is None or not (result.volume and source.frame_of_reference):
        return elements
    parts = (f"{abs(mm):.1f} mm {_SIDES[axis][mm < 0]}" for axis, mm in enumerate(region["centre_mm"]))
    return f"{', '.join(parts)} of the origin of the patient coordinate system; {elements}"
