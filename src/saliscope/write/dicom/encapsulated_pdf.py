"""The page of a map as Encapsulated PDF (PS3.3 A.45.1): highdicom has no class for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from saliscope.write.dicom.instance import begun, references
from saliscope.write.dicom.kinds import KINDS
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp, clipped, face_may_show, finished

if TYPE_CHECKING:
    from pydicom import Dataset


def encapsulated_pdf(result: Result, source: DicomSource, stamp: Stamp, made: Mapping[str, Dataset]) -> Dataset:
    """Return the report of a result as one instance."""
    del made
    (sop_class,) = KINDS["pdf"].sop_classes
    document = result.report()
    ds = begun(result, source, stamp, "pdf", sop_class, "DOC")
    ds.ConversionType = "WSD"
    ds.AcquisitionDateTime = _acquired(source)
    ds.DocumentTitle = clipped(f"{result.title} (research)", 1024)
    ds.ConceptNameCodeSequence = []
    # The report names nobody, but its picture shows whatever is burnt into the source (PS3.3 C.24.2).
    ds.BurnedInAnnotation = "NO" if str(source.first.get("BurnedInAnnotation", "") or "") == "NO" else "YES"
    face = face_may_show(source)
    if face is not None:
        ds.RecognizableVisualFeatures = "YES" if face else "NO"
    ds.SourceInstanceSequence = _instances(source)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(document)
    ds.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return finished(ds, result, source, stamp, burnt=None)


def _acquired(source: DicomSource) -> str:
    """Return when what the report is of was acquired, as far as the source says."""
    first = source.first
    whole = str(first.get("AcquisitionDateTime", "") or "")
    if whole:
        return whole
    date, time = (str(first.get(f"Acquisition{word}", "") or "") for word in ("Date", "Time"))
    return f"{date}{time}" if date else ""


def _instances(source: DicomSource) -> list[Dataset]:
    """Return one item for each instance of the source, whatever its frames (PS3.3 C.24.2)."""
    found: dict[str, Dataset] = {}
    for item in references(source):
        if "ReferencedFrameNumber" in item:
            del item.ReferencedFrameNumber
        found.setdefault(str(item.ReferencedSOPInstanceUID), item)
    return list(found.values())
