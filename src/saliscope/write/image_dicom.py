"""An image of whole numbers as DICOM: a radiograph, an ultrasound image, or the slices of a CT or MR volume.

For phantoms: every object names a patient PHANTOM, says that it is a research phantom, and takes its identifiers from
the digest of the image, so that the same image gives the same bytes.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import WriteError
from saliscope.core.geometry import ENDS, Geometry
from saliscope.core.image import MedicalImage
from saliscope.write.dicom_modules import IODS, Iod

if TYPE_CHECKING:
    from pydicom import Dataset

#: Names are drawn from here (RFC 9562, version 5), and written under 2.25 as PS3.5 B.2 lays down.
NAMESPACE = UUID("5d1c7a53-7f0c-4b0e-9a58-0f6a5b0c2e11")
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
#: From saliscope's RAS+ to DICOM's LPS+.
TO_LPS = np.array([-1.0, -1.0, 1.0])
SAID = "Research phantom: a drawn picture, no patient."


def dicom_files(image: MedicalImage, stem: str) -> dict[str, bytes]:
    """Return the DICOM files of an image by name: one for a picture, one for each slice of a volume.

    The kind of object follows the modality: DX, US, CT and MR have their own, another picture is a secondary capture.
    Raises WriteError for values that are not whole or do not fit 16 bits, for several channels, and for a volume
    of another modality or of unknown place.
    """
    iod = _iod_of(image)
    stored, signed, intercept = _stored(image, iod)
    planes = stored.reshape(-1, *stored.shape[-2:])
    window = display_window(image)
    files = {}
    for number, plane in enumerate(planes):
        ds = _dataset(image, iod, number)
        _pixels(ds, plane, signed)
        iod.fill(ds)
        _place(ds, image.geometry, number, iod)
        ds.WindowCenter, ds.WindowWidth = window
        if iod.rescaled:
            ds.RescaleIntercept, ds.RescaleSlope = intercept, 1
        name = f"{stem}.dcm" if image.geometry.ndim == 2 else f"{stem}/{number + 1:04}.dcm"
        files[name] = _bytes(ds)
    return files


def display_window(image: MedicalImage) -> tuple[str, str]:
    """Return centre and width of the linear window that shows the values as the display does (PS3.3 C.11.2.1.2)."""
    values, shown = image.values[0].ravel().astype(np.float64), image.display[0].ravel().astype(np.float64)
    inside = (shown > 0) & (shown < 255)
    low, high = float(values.min()), float(values.max())
    if inside.any() and np.ptp(values[inside]) > 0:
        slope, offset = np.polyfit(values[inside], shown[inside], 1)
        if slope > 0:
            low, high = float(np.rint(-offset / slope)), float(np.rint((255 - offset) / slope))
    # The standard's line reaches its ends half a step inside a window that is one step wider.
    return _ds((low + high + 1) / 2), _ds(max(high - low, 1) + 1)


def uid(*words: str) -> str:
    """Return an identifier that hangs on the words alone."""
    return f"2.25.{uuid5(NAMESPACE, '|'.join(words)).int}"


def _iod_of(image: MedicalImage) -> Iod:
    known = image.geometry.frame == "patient" and image.geometry.unit == "mm"
    iod = IODS.get((image.modality, image.geometry.ndim))
    if iod is not None and (known or not iod.placed):
        return iod
    if image.geometry.ndim == 2:
        return IODS["OT", 2]
    raise WriteError(
        f"a volume of modality {image.modality!r}, {image.geometry.unit}, {image.geometry.frame} frame, as DICOM",
        expected="CT or MR, placed in the patient in millimetres",
        do="Choose nifti.",
    )


def _stored(image: MedicalImage, iod: Iod) -> tuple[npt.NDArray[Any], bool, int]:
    """Return stored whole numbers, whether they are signed, and what is to be added to get the values."""
    values = image.values[0]
    low, high = float(values.min()), float(values.max())
    if len(image.values) != 1 or not np.array_equal(values, np.rint(values)) or high - low > 65535:
        raise WriteError(
            f"{image.name!r} of {len(image.values)} channel(s), values {low:g} to {high:g}, as DICOM",
            expected="one channel of whole numbers that fit 16 bits",
            do="Choose nifti.",
        )
    if iod.intercept is not None and low >= iod.intercept and high - iod.intercept <= 65535:
        return (values - iod.intercept).astype(np.uint16), False, iod.intercept
    if low >= 0 and high <= 65535:
        return values.astype(np.uint8 if iod.bytes_allowed and high <= 255 else np.uint16), False, 0
    if low >= -32768 and high <= 32767 and not iod.unsigned_only:
        return values.astype(np.int16), True, 0
    raise WriteError(
        f"{image.name!r}, values {low:g} to {high:g}, as {iod.name}",
        expected="0 to 65535" if iod.unsigned_only else "-32768 to 32767, or 0 to 65535",
        do="Choose nifti.",
    )


def _dataset(image: MedicalImage, iod: Iod, number: int) -> Dataset:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = iod.sop_class, uid(image.digest, "instance", str(number))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(image.digest, "study"), uid(image.digest, "series")
    ds.PatientName, ds.PatientID = f"PHANTOM^{image.name.upper()}"[:64], f"PHANTOM-{image.name.upper()}"[:64]
    ds.PatientBirthDate = ds.PatientSex = ds.StudyDate = ds.StudyTime = ds.StudyID = ds.AccessionNumber = ""
    ds.ReferringPhysicianName = ""
    ds.QualityControlSubject = "YES"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = iod.modality or image.modality or "OT", 1, number + 1
    ds.StudyDescription, ds.SeriesDescription, ds.ImageComments = "Research phantom", "Research phantom", SAID
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "saliscope", "phantom", "1"
    ds.PatientOrientation = _letters(image.geometry) or ""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = UID(EXPLICIT_LITTLE), UID(uid("saliscope"))
    meta.ImplementationVersionName = "SALISCOPE"
    ds.file_meta = meta
    if iod.placed and image.geometry.ndim == 3:
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid(image.digest, "frame"), ""
    return ds


def _pixels(ds: Dataset, plane: npt.NDArray[Any], signed: bool) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = plane.shape
    bits = 8 * plane.dtype.itemsize
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation = int(signed)
    data = plane.astype(plane.dtype.newbyteorder("<")).tobytes()
    ds.add_new("PixelData", "OB" if bits == 8 else "OW", data + b"\0" * (len(data) % 2))


def _place(ds: Dataset, geometry: Geometry, number: int, iod: Iod) -> None:
    """Say where a plane lies, as far as it is known."""
    rows, columns = geometry.spacing[-2:]
    if geometry.unit == "mm":
        iod.space(ds, rows, columns)
    if geometry.frame == "patient" and iod.placed:
        index = (number, 0, 0) if geometry.ndim == 3 else (0, 0)
        down, along = (np.array(d) * TO_LPS for d in geometry.direction[-2:])
        ds.ImagePositionPatient = [_ds(v) for v in geometry.to_world(index) * TO_LPS]
        ds.ImageOrientationPatient = [_ds(v) for v in (*along, *down)]
    if geometry.ndim == 3:
        ds.SliceThickness = _ds(geometry.spacing[0])
        ds.SpacingBetweenSlices = _ds(geometry.spacing[0])


def _letters(geometry: Geometry) -> list[str] | None:
    """Return where a row and where a column of pixels run to, in DICOM's letters; None where that is unknown."""
    if geometry.frame != "patient":
        return None
    ends = []
    for direction in (geometry.direction[-1], geometry.direction[-2]):
        axis = int(np.argmax(np.abs(direction)))
        ends.append(ENDS[axis][1 if direction[axis] > 0 else 0].replace("I", "F").replace("S", "H"))
    return ends


def _ds(number: float) -> str:
    """Return a number in the sixteen characters that DICOM has for it."""
    text = f"{number + 0.0:.10g}"
    return text if len(text) <= 16 else f"{number:.8g}"


def _bytes(ds: Dataset) -> bytes:
    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()
