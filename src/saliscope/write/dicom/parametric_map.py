"""Parametric Maps: the raw signed values on the grid of the image, as floats or in 65 536 steps (PS3.3 A.75).

An image without a place in the patient (CR, DX, US) gets a map in a frame of reference of its own and without plane
position and orientation, which A.75.5 requires only where the frame of reference is relative to the patient. The pixel
spacing is required of every map (C.7.6.16.2.1): without one there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from saliscope.core.errors import CannotSay
from saliscope.write.dicom.frames import (
    Placement,
    anatomy,
    frame_groups,
    framed,
    place,
    placement,
    refer,
    shared_groups,
    started,
)
from saliscope.write.dicom.instance import say_part
from saliscope.write.dicom.kinds import Kind
from saliscope.write.dicom.quantity import explanation_code, value_mapping
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp, clipped, finished

if TYPE_CHECKING:
    from pydicom import Dataset

#: The highest stored value of a map in steps.
TOP = 65535


def parametric_map(result: Result, source: DicomSource, stamp: Stamp, _made: Mapping[str, Dataset]) -> Dataset:
    """Return the map as a Parametric Map of 32-bit floats (PS3.3 A.75, C.7.6.24).

    Raises CannotSay for a map that is not finite, for an image without pixel spacing, and for slices without a place.
    """
    where = _said_of(result, source)
    ds = _started("parametric-map", result, source, stamp, where)
    ds.BitsAllocated = 32
    low, high = float(result.values.min()), float(result.values.max())
    _described(ds, value_mapping(result, (low, high), 1.0, 0.0), _window(result, 1.0, 0.0))
    ds.FloatPixelData = np.ascontiguousarray(result.values, dtype="<f4").tobytes()
    return finished(ds, result, source, stamp, burnt=False)


def parametric_map_16(result: Result, source: DicomSource, stamp: Stamp, _made: Mapping[str, Dataset]) -> Dataset:
    """Return the map as a Parametric Map in steps of 1/65535 of its range, with slope and intercept (PS3.3 A.75).

    Raises CannotSay for a map that is not finite, for an image without pixel spacing, and for slices without a place.
    """
    where = _said_of(result, source)
    ds = _started("parametric-map-16", result, source, stamp, where)
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    intercept, slope = steps(result)
    _described(ds, value_mapping(result, (0, TOP), slope, intercept), _window(result, slope, intercept))
    stored = np.empty(result.values.shape, dtype="<u2")
    planes = stored if result.volume else stored[None]
    for into, plane in zip(planes, result.values if result.volume else result.values[None], strict=True):
        into[...] = np.rint((plane.astype(np.float64) - intercept) / slope)
    ds.PixelData = stored.tobytes()
    return finished(ds, result, source, stamp, burnt=False)


def steps(result: Result) -> tuple[float, float]:
    """Return the lowest value of a map and the step from one stored value to the next; 1 for a map that is flat."""
    low, high = float(result.values.min()), float(result.values.max())
    return low, (high - low) / TOP if high > low else 1.0


def _said_of(result: Result, source: DicomSource) -> Placement:
    """Return where the map lies; raises CannotSay where no Parametric Map can say it."""
    if not np.isfinite(result.values).all():
        raise CannotSay("a map with values that are not numbers, which nobody can read", do="Leave this object out")
    where = placement(result, source)
    if where.spacing is None:
        raise CannotSay(
            "an image without pixel spacing, which every Parametric Map must state (PS3.3 C.7.6.16.2.1)",
            do="Choose secondary-capture, presentation-state and segmentation, which need none",
        )
    if result.volume and where.positions is None:
        raise CannotSay(
            "slices without a frame of reference, a position or an orientation", do="Choose secondary-capture"
        )
    return where


def _started(kind: Kind, result: Result, source: DicomSource, stamp: Stamp, where: Placement) -> Dataset:
    """Return a map with its frames and all that does not hang on how its values are stored."""
    from pydicom.sr.codedict import codes

    ds = started(kind, result, source, stamp, "OT")
    purpose, code = codes.DCM.SourceImageForImageProcessingOperation, explanation_code(result)
    place(ds, source, where)
    say_part(ds, source)
    if where.positions is None:
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = stamp.uid(result, "frame of reference"), None
        if source.first.get("ImagerPixelSpacing"):  # at the detector: tells that the spacing is not the patient's own
            ds.ImagerPixelSpacing = list(source.first.ImagerPixelSpacing)
    ds.ImageType = ["DERIVED", "PRIMARY", "VOLUME" if result.volume else "STATIC", "QUANTITY"]
    ds.PixelPresentation = "MONOCHROME"
    ds.AcquisitionContextSequence = []
    refer(ds, source, range(len(source.planes)), purpose)
    frames = [frame_groups(source, where, i, [i + 1], purpose, code) for i in range(len(source.planes))]
    shared, region = shared_groups(where), anatomy(source)
    if region is not None:
        shared.FrameAnatomySequence = [region]
    framed(ds, where, shared, frames, stamp.uid(result, kind, "dimensions"))
    if where.between is not None:
        ds.DimensionOrganizationType = "3D"
    return ds


def _described(ds: Dataset, mapping: Dataset, window: Dataset) -> None:
    """Add what the values mean and in which window they are shown (PS3.3 C.7.6.16.2.9b to 2.11, C.8.32.3.1)."""
    from pydicom import Dataset

    shared, identity, kind = ds.SharedFunctionalGroupsSequence[0], Dataset(), Dataset()
    identity.RescaleIntercept, identity.RescaleSlope, identity.RescaleType = "0", "1", "US"
    kind.FrameType = ds.ImageType
    shared.PixelValueTransformationSequence = [identity]
    shared.FrameVOILUTSequence = [window]
    shared.RealWorldValueMappingSequence = [mapping]
    shared.ParametricMapFrameTypeSequence = [kind]


def _window(result: Result, slope: float, intercept: float) -> Dataset:
    """Return the window from the low to the high end of the reading's scale, in stored values (PS3.3 C.11.2.1.3)."""
    from highdicom import VOILUTTransformation

    centre, width = window_of(result, slope, intercept)
    return explained(VOILUTTransformation(centre, width, voi_lut_function="LINEAR_EXACT"), result)


def explained(window: Dataset, result: Result) -> Dataset:
    """Return a window with the words of the scale; highdicom 0.28 takes the letters of an explanation for many."""
    window.WindowCenterWidthExplanation = clipped(str(result.reading["scale"]["mode"]), 64)
    return window


def window_of(result: Result, slope: float, intercept: float) -> tuple[float, float]:
    """Return centre and width of the reading's scale in stored values."""
    low, high = (float(result.reading["scale"][end]) for end in ("low", "high"))
    low, high = (low - intercept) / slope, (high - intercept) / slope
    return (low + high) / 2, max(high - low, float(np.finfo(np.float32).tiny))
