"""The listed regions of a map as a binary Segmentation on the grid of the image (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import CannotSay
from saliscope.write.dicom.frames import (
    Placement,
    frame_groups,
    framed,
    place,
    placement,
    refer,
    shared_groups,
    started,
)
from saliscope.write.dicom.quantity import coded, explanation_code
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import MANUFACTURER, Stamp, clipped, finished, version_of

if TYPE_CHECKING:
    from pydicom import Dataset

#: A frame of a segmentation: the number of its segment, counted from 1, and the plane that it lies on.
Frame = tuple[int, int]
#: Colours of the regions on screen, sRGB: apart for every kind of colour vision (Okabe and Ito 2008), none grey.
COLOURS = (
    (230, 159, 0), (86, 180, 233), (240, 228, 66), (204, 121, 167), (0, 158, 115), (213, 94, 0), (0, 114, 178),
    (255, 0, 0),
)  # fmt: skip


def segmentation(result: Result, source: DicomSource, stamp: Stamp, _made: Mapping[str, Dataset]) -> Dataset:
    """Return the listed regions, one binary segment each, on the planes where they lie (PS3.3 A.51, C.8.20).

    Raises CannotSay where no region is listed, and for slices without a place in the patient.
    """
    from pydicom import Dataset
    from pydicom.sr.codedict import codes

    regions = [int(n) for n in np.unique(result.labels) if n]
    if not regions:
        raise CannotSay("a map in which no region is listed: there is nothing to segment", do="Leave this object out")
    where = _placed(result, source)
    planes = result.labels if result.volume else result.labels[None]
    places = [
        (n, i) for n, region in enumerate(regions, 1) for i, plane in enumerate(planes) if (plane == region).any()
    ]

    ds = started("segmentation", result, source, stamp, "SEG")
    place(ds, source, where)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 1, 0, 0
    ds.SegmentationType, ds.SegmentsOverlap = "BINARY", "NO"
    ds.SegmentSequence = [_segment(result, stamp, number, region) for number, region in enumerate(regions, 1)]
    purpose, frames = codes.DCM.SourceImageForImageProcessingOperation, []
    for number, plane in places:
        index = [number] if where.positions is None else [number, plane + 1]
        groups, item = frame_groups(source, where, plane, index, purpose, codes.DCM.Segmentation), Dataset()
        item.ReferencedSegmentNumber = number
        groups.SegmentIdentificationSequence = [item]
        frames.append(groups)
    refer(ds, source, sorted({plane for _, plane in places}), purpose)
    # On an image without a place the regions lie where the image lies: it has the spacing, A.51.5 asks for none here.
    shared = Dataset() if where.positions is None else shared_groups(where)
    framed(ds, where, shared, frames, stamp.uid(result, "segmentation", "dimensions"), segments=True)
    ds.PixelData = packed(planes, places, regions)
    return finished(ds, result, source, stamp, burnt=False)


def _placed(result: Result, source: DicomSource) -> Placement:
    """Return where the regions lie: a segmentation with a place must state how thick its planes are (C.7.6.16.2.1).

    Where the source does not say it, planes reach half way to the next; a lone one is left where its image lies.
    Raises CannotSay for slices without a place, and for uneven ones of unknown thickness.
    """
    where = placement(result, source)
    if result.volume and where.positions is None:
        raise CannotSay("slices without a frame of reference, a position or an orientation", do="Choose another kind")
    if where.positions is None or where.thickness is not None:
        return where
    if not result.volume:
        return replace(where, positions=None, orientation=None)
    if where.between is None:
        raise CannotSay("uneven slices whose thickness is unknown", do="Choose parametric-map, which needs none")
    return replace(where, thickness=where.between)


def packed(labels: npt.NDArray[np.uint8], places: Sequence[Frame], regions: Sequence[int]) -> bytes:
    """Return the frames of labels (planes, rows, columns) as bits, one after another without gaps (PS3.5 8.1.1).

    Eight frames at a time: however large they are, they end on a whole byte.
    """
    parts = []
    for first in range(0, len(places), 8):
        masks = [labels[plane] == regions[number - 1] for number, plane in places[first : first + 8]]
        parts.append(np.packbits(np.stack(masks).ravel(), bitorder="little").tobytes())
    data = b"".join(parts)
    return data + b"\0" * (len(data) % 2)


def _segment(result: Result, stamp: Stamp, number: int, region: int) -> Dataset:
    """Return what a segment is: a region that an algorithm selected, and by which map (PS3.3 C.8.20.4)."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    p = result.explanation.provenance
    algorithm = AlgorithmIdentificationSequence(
        name=clipped(f"{MANUFACTURER} {p.method}", 64),
        family=codes.CID7162.ArtificialIntelligence,
        version=version_of(result),
        source=MANUFACTURER,
        parameters={"weights": p.weights, "target": clipped(result.explanation.target, 64)},
    )
    item = SegmentDescription(
        segment_number=number,
        segment_label=f"Region {region}",
        segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
        segmented_property_type=codes.DCM.SelectedRegion,
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=stamp.uid(result, "region", str(region)),
        tracking_id=f"Region {region}",
        display_color=CIELabColor.from_rgb(*COLOURS[(number - 1) % len(COLOURS)]),
    )
    item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
        coded(explanation_code(result))
    ]
    told = {int(r["number"]): str(r["sentence"]) for r in result.reading["regions"]}
    if region in told:
        item.SegmentDescription = clipped(told[region], 1024)
    return item
