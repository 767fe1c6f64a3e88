"""The image and its Parametric Map, one over the other, as colours, thresholds and opacity (PS3.3 A.33.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from saliscope.core.errors import CannotSay
from saliscope.write.dicom.kinds import KINDS
from saliscope.write.dicom.map_colours import (
    chosen_map,
    completed,
    grey_palette,
    header_of,
    map_window,
    overlay_palette,
    stored_as,
)
from saliscope.write.dicom.quantity import content_description, content_label
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp, finished

if TYPE_CHECKING:
    from pydicom import Dataset

#: How strongly the map covers the image.
OPACITY = 0.4
#: Values nearer to zero than this share of the scale's end are not shown, as in saliscope's own pictures.
THRESHOLD = 0.1


def blending(result: Result, source: DicomSource, stamp: Stamp, made: Mapping[str, Dataset]) -> Dataset:
    """Return an Advanced Blending Presentation State of source and map (PS3.3 A.33.7, C.11.33, C.11.34).

    Raises CannotSay where no Parametric Map was made, and where it shares no frame of reference with its source.
    """
    from highdicom.pr import AdvancedBlending, AdvancedBlendingPresentationState, BlendingDisplay, BlendingDisplayInput

    shown, kind = chosen_map(made), KINDS["blending"]
    if not source.frame_of_reference or shown.FrameOfReferenceUID != source.frame_of_reference:
        raise CannotSay(
            "an image without a place in the patient: blending needs one frame of reference (PS3.3 A.33.7)",
            do="Choose secondary-capture, which shows map and image together",
        )
    header = header_of(shown)
    below = [header_of(h) for h in _used(source)]
    over = AdvancedBlending(
        [header], 1, voi_lut_transformations=[map_window(result, shown)],
        palette_color_lut_transformation=overlay_palette(result),
    )  # fmt: skip
    over.ThresholdSequence = [_threshold(result, shown)]
    under = AdvancedBlending(below, 2, palette_color_lut_transformation=grey_palette())
    first_over_second = BlendingDisplay(
        "FOREGROUND", [BlendingDisplayInput(1), BlendingDisplayInput(2)], relative_opacity=OPACITY
    )
    ds = AdvancedBlendingPresentationState(
        referenced_images=[header, *below],
        blending=[over, under],
        blending_display=[first_over_second],
        content_label=content_label(result),
        content_description=content_description(result),
        **stamp.words(result, kind.name),
    )
    ds.FrameOfReferenceUID = source.frame_of_reference
    ds.PositionReferenceIndicator = source.first.get("PositionReferenceIndicator")
    completed(ds, source, stamp)
    return finished(ds, result, source, stamp, burnt=None)


def _used(source: DicomSource) -> list[Dataset]:
    """Return the headers of the planes of the result, each once."""
    return [source.headers[i] for i in dict.fromkeys(header for header, _ in source.planes)]


def _threshold(result: Result, shown: Dataset) -> Dataset:
    """Return which stored values of the map are shown at all; the others are as padding (PS3.3 C.11.33.1.2)."""
    from pydicom import Dataset

    scale, (slope, intercept) = result.reading["scale"], stored_as(result, shown)
    low, high = float(scale["low"]), float(scale["high"])
    signed = scale["palette"] == "diverging"
    edges = (THRESHOLD * low, THRESHOLD * high) if signed else (low + THRESHOLD * (high - low),)
    item = Dataset()
    item.ThresholdType = "RANGE_EXCL" if signed else "GREATER_OR_EQUAL"
    item.ThresholdValueSequence = []
    for edge in edges:
        value = Dataset()
        value.ThresholdValue = (edge - intercept) / slope
        item.ThresholdValueSequence.append(value)
    return item
