"""The map burnt into RGB pictures: Secondary Capture (PS3.3 A.8.1), of a volume Multi-frame True Color (A.8.5).

What every PACS shows; an old one may know no multi-frame true colour, and then shows the first frame or nothing.
highdicom's own class is for single frames, and leaves out how and from what they were made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from saliscope.write.dicom.instance import begun, orientation, references, say_part
from saliscope.write.dicom.kinds import KINDS
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp, derivation, finished

if TYPE_CHECKING:
    from pydicom import Dataset

SINGLE, MULTI = KINDS["secondary-capture"].sop_classes
#: Pictures of more bytes are compressed without loss, by run lengths (PS3.5 8.2.2).
PLAIN_BYTES = 32 * 2**20
_PAGES, _PLACES = 0x00182001, 0x00182005


def secondary_capture(result: Result, source: DicomSource, stamp: Stamp, made: Mapping[str, Dataset]) -> Dataset:
    """Return the pictures of a result as one instance; where its card hides the map, the reason stands in its place."""
    del made
    frames = result.capture()
    many = len(frames) > 1
    ds = begun(result, source, stamp, "secondary-capture", MULTI if many else SINGLE, "OT")
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    ds.ConversionType = "WSD"  # made by a workstation from pixels that were digital already (PS3.3 C.8.6.1)
    ds.DateOfSecondaryCapture, ds.TimeOfSecondaryCapture = ds.ContentDate, ds.ContentTime
    ds.PatientOrientation = orientation(result)
    say_part(ds, source)
    ds.ImageComments = "Research use, not for diagnosis"
    ds.DerivationDescription = derivation(result)
    ds.SourceImageSequence = references(source)
    # No pixel spacing: it would hold for the legend too, and pixels may be resampled. The bar in the picture says it.
    if many:
        _count(ds, result)
    _put(ds, frames)
    return finished(ds, result, source, stamp, burnt=True)


def _count(ds: Dataset, result: Result) -> None:
    """Say what the frames count: planes in the order of the source (PS3.3 C.7.6.6, C.8.6.3, C.8.6.4)."""
    g = result.image.geometry
    ds.NumberOfFrames = g.shape[0]
    ds.PageNumberVector = list(range(1, g.shape[0] + 1))
    ds.FrameIncrementPointer = [_PAGES]
    if g.frame == "patient" and g.unit == "mm":
        along = g.to_world([[plane, 0.0, 0.0] for plane in range(g.shape[0])]) @ np.array(g.normal)
        ds.SliceLocationVector = [f"{place:.6g}" for place in along]
        ds.FrameIncrementPointer = [_PAGES, _PLACES]


def _put(ds: Dataset, frames: npt.NDArray[np.uint8]) -> None:
    """Put pictures (F, H, W, 3) into an object, pixel by pixel, compressed if they are many."""
    from pydicom.uid import RLELossless

    ds.Rows, ds.Columns = frames.shape[1:3]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    if frames.nbytes <= PLAIN_BYTES:
        ds.add_new("PixelData", "OB", frames.tobytes() + b"\0" * (frames.nbytes % 2))
        return
    shown = frames if len(frames) > 1 else frames[0]
    ds.compress(RLELossless, shown, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    ds.PlanarConfiguration = 0  # required of true colour (PS3.3 A.8.5.4), whatever runs are made of
