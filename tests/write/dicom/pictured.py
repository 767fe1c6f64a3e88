"""Results with their real pictures, for the tests of the objects that show them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydicom
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom import Dataset
from pydicom.uid import generate_uid

from dicom_cases import case_of, stamp, write_source
from saliscope.figures.reading import interpret
from saliscope.study.dicom import result_of
from saliscope.write.dicom.kinds import chosen
from saliscope.write.dicom.objects import dicom_files
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp

HIDING = {
    "state": "do-not-read",
    "state_name": "DO NOT READ",
    "map_hidden": True,
    "headline": "A decisive check speaks against this map.",
    "reasons": ["Hiding the area changes nothing."],
}


def pictured(path: Path, card: Mapping[str, Any] | None = None) -> tuple[Result, DicomSource]:
    """Return the known map over the image at a path, with what is drawn of it."""
    known, source = case_of(path)
    return result_of(known.image, interpret(known.explanation, known.image), card), source


def written(result: Result, source: DicomSource, kind: str, at: Stamp | None = None) -> bytes:
    """Return the file of one kind of object."""
    return dicom_files(result, source, chosen(kind), at or stamp()).files[f"{kind}.dcm"]


def with_frames(folder: Path) -> Path:
    """Write a CT volume as one file with a frame for each slice, and return its folder."""
    write_source(folder, "ct")
    slices = sorted((pydicom.dcmread(p) for p in folder.rglob("*.dcm")), key=lambda d: float(d.ImagePositionPatient[2]))
    for path in folder.rglob("*.dcm"):
        path.unlink()
    slices = slices[10:26]
    for ds in slices:
        ds.ImageType, ds.AcquisitionNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], 1
    frames = LegacyConvertedEnhancedCTImage(slices, generate_uid(entropy_srcs=["s"]), 5, generate_uid(), 1)
    frames.save_as(folder / "frames.dcm")
    return folder


def changed(folder: Path, **values: Any) -> Path:
    """Change attributes of every file of a source; None deletes one."""
    for path in folder.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        for keyword, value in values.items():
            if value is not None:
                setattr(ds, keyword, value)
            elif keyword in ds:
                delattr(ds, keyword)
        ds.save_as(path)
    return folder


def points(item: Dataset) -> list[tuple[float, float]]:
    """Return the (column, row) pairs of a graphic object."""
    data = [float(v) for v in item.GraphicData]
    return list(zip(data[::2], data[1::2], strict=True))
