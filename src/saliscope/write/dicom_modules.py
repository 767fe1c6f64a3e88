"""What each kind of DICOM image must say beside pixels, patient and place (PS3.3, the modules of its definition)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

_STORAGE = "1.2.840.10008.5.1.4.1.1"


@dataclass(frozen=True)
class Iod:
    """A kind of image: its storage class, what fills its own modules, how it states spacing, what it can store.

    `placed` says that it takes a position in the patient; `intercept` is the usual one of a modality that rescales.
    """

    name: str
    sop_class: str
    fill: Callable[[Dataset], None]
    space: Callable[[Dataset, float, float], None]
    modality: str | None = None
    placed: bool = True
    rescaled: bool = False
    intercept: int | None = None
    unsigned_only: bool = False
    bytes_allowed: bool = False


def _radiograph(ds: Dataset) -> None:
    from pydicom import Sequence

    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.BodyPartExamined, ds.ImageLaterality = "CHEST", "U"
    ds.AnatomicRegionSequence = Sequence([code_item("51185008", "SCT", "Chest")])
    ds.AcquisitionContextSequence = Sequence()
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleType, ds.PresentationLUTShape = "US", "IDENTITY"
    ds.DetectorType = ds.PositionerType = ""
    ds.LossyImageCompression, ds.BurnedInAnnotation = "00", "NO"


def _ultrasound(ds: Dataset) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "SMALL PARTS", "0001"]
    ds.Laterality = ""
    ds.UltrasoundColorDataPresent = 0
    ds.LossyImageCompression, ds.BurnedInAnnotation = "00", "NO"


def _ct(ds: Dataset) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.RescaleType = "HU"
    ds.KVP = ds.AcquisitionNumber = ds.Laterality = ""
    ds.PatientPosition = "HFS"
    ds.BurnedInAnnotation = "NO"


def _mr(ds: Dataset) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "RM", "NONE", ""
    ds.MRAcquisitionType = "3D"
    ds.RepetitionTime = ds.EchoTime = ds.EchoTrainLength = ds.Laterality = ""
    ds.PatientPosition = "HFS"
    ds.BurnedInAnnotation = "NO"


def _capture(ds: Dataset) -> None:
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.ConversionType, ds.Laterality = "SYN", ""
    ds.BurnedInAnnotation = "NO"


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """Return a code as the item of a sequence (PS3.3 8.8)."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _at_patient(ds: Dataset, rows: float, columns: float) -> None:
    ds.PixelSpacing = [f"{v:.10g}" for v in (rows, columns)]


def _at_detector(ds: Dataset, rows: float, columns: float) -> None:
    ds.ImagerPixelSpacing = [f"{v:.10g}" for v in (rows, columns)]


def _in_region(ds: Dataset, rows: float, columns: float) -> None:
    """One region over the whole image, calibrated in centimetres (PS3.3 C.8.5.5)."""
    from pydicom import Dataset, Sequence

    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = ds.Columns - 1, ds.Rows - 1
    region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection = 3, 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = columns / 10, rows / 10
    ds.SequenceOfUltrasoundRegions = Sequence([region])


#: By modality and number of axes; "OT" stands for every other picture.
IODS: dict[tuple[str, int], Iod] = {
    ("DX", 2): Iod("DX", f"{_STORAGE}.1.1", _radiograph, _at_detector, rescaled=True, intercept=0, unsigned_only=True),
    ("US", 2): Iod(
        "US", f"{_STORAGE}.6.1", _ultrasound, _in_region, placed=False, bytes_allowed=True, unsigned_only=True
    ),
    ("CT", 3): Iod("CT", f"{_STORAGE}.2", _ct, _at_patient, rescaled=True, intercept=-1024),
    ("MR", 3): Iod("MR", f"{_STORAGE}.4", _mr, _at_patient),
    ("OT", 2): Iod("secondary capture", f"{_STORAGE}.7", _capture, _at_patient, placed=False, bytes_allowed=True),
}
