"""Objects that highdicom has no class for, begun: patient and study of the source, a series and an instance of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.write.dicom.kinds import Kind
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp
from saliscope.write.dicom_modules import code_item

if TYPE_CHECKING:
    from pydicom import Dataset

#: (121322, DCM): why results refer to the images that they were made from (PS3.16 CID 7202).
PURPOSE = ("121322", "DCM", "Source image for image processing operation")
#: What stands for the ends of the patient axes in DICOM (PS3.3 C.7.6.1.1.1): head and foot, not superior and inferior.
_ENDS = str.maketrans("SI", "HF")

#: Parts of the body that have no side, by the terms of PS3.16 Annex L.
UNPAIRED = frozenset((
    "ABDOMEN", "ABDOMENPELVIS", "AORTA", "BLADDER", "BRAIN", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "COCCYX",
    "COLON", "CSPINE", "ESOPHAGUS", "FACE", "HEAD", "HEADNECK", "HEART", "LIVER", "LSPINE", "LSSPINE", "MEDIASTINUM",
    "NECK", "NECKCHEST", "PANCREAS", "PELVIS", "PROSTATE", "RECTUM", "SKULL", "SPINE", "SPLEEN", "SSPINE", "STERNUM",
    "STOMACH", "THYROID", "TLSPINE", "TSPINE", "UTERUS", "WHOLEBODY",
))  # fmt: skip


def begun(result: Result, source: DicomSource, stamp: Stamp, kind: Kind, sop_class: str, modality: str) -> Dataset:
    """Return an object of a kind with patient and study of the source, and with the time that it is made."""
    from highdicom.base import SOPClass
    from pydicom.uid import ExplicitVRLittleEndian

    ds = SOPClass(
        study_instance_uid=str(source.first.StudyInstanceUID),
        sop_class_uid=sop_class,
        modality=modality,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **stamp.words(result, kind),
    )
    ds.copy_patient_and_study_information(source.first)
    if "ContentDate" in ds:
        at = stamp.at(source)
        for keyword, form in (("ContentDate", "%Y%m%d"), ("ContentTime", "%H%M%S.%f")):
            setattr(ds, keyword, at.strftime(form))
    return ds


def references(source: DicomSource) -> list[Dataset]:
    """Return an item for the source of each plane, in their order, with the purpose (PS3.3 C.7.6.1.1.4)."""
    items = [source.reference(plane) for plane in range(len(source.planes))]
    for item in items:
        item.PurposeOfReferenceCodeSequence = [code_item(*PURPOSE)]
    return items


def orientation(result: Result) -> list[str]:
    """Return where rows and columns of the image run in the patient; empty where unknown (PS3.3 C.7.6.1.1.1)."""
    ends = result.image.geometry.letters
    return [ends[axis][1].translate(_ENDS) for axis in (-1, -2)] if ends else []


def say_part(ds: Dataset, source: DicomSource) -> None:
    """Say which part of the body it is as the source does, and its side unless the part has none (PS3.3 C.7.3.1).

    The side is empty where the source does not say it.
    """
    part, side = (str(source.first.get(word, "") or "") for word in ("BodyPartExamined", "Laterality"))
    if part:
        ds.BodyPartExamined = part
    if side in ("L", "R") or part not in UNPAIRED:
        ds.Laterality = side if side in ("L", "R") else ""
