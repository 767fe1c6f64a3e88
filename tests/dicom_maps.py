"""Sources whose map is known, and the objects written of them, each made once: for the tests of maps and regions."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import highdicom as hd
import pydicom

from dicom_cases import case_of, stamp, write_source
from saliscope.write.dicom.kinds import chosen
from saliscope.write.dicom.objects import dicom_files
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource

VOLUMES = ("ct", "mr", "ct-oblique", "ct-flipped", "ct-sheared", "multiframe")
PICTURES = ("dx", "cr", "us")
MAPS = ("parametric-map", "parametric-map-16")


def write_multiframe(folder: Path) -> Path:
    """Write the oblique slices as one enhanced CT, last plane first, and return its path."""
    files = sorted(f for f in write_source(folder / "slices", "ct-oblique").rglob("*") if f.is_file())
    slices = [pydicom.dcmread(f) for f in reversed(files)]
    for ds in slices:
        ds.PatientPosition, ds.AcquisitionNumber = "HFS", 1
        ds.AcquisitionDate, ds.AcquisitionTime = "20251231", "120000"
    uids = (f"2.25.{n}" for n in (11, 12))
    whole = hd.legacy.LegacyConvertedEnhancedCTImage(slices, next(uids), 2, next(uids), 1)
    (folder / "whole").mkdir()
    whole.save_as(folder / "whole" / "0.dcm", enforce_file_format=True)
    return folder / "whole"


@cache
def case(kind: str, signed: bool = False) -> tuple[Result, DicomSource]:
    """Return the result of a known map over a source of a kind."""
    with TemporaryDirectory() as place:
        path = write_multiframe(Path(place)) if kind == "multiframe" else write_source(Path(place), kind)
        return case_of(path, signed=signed)


@cache
def written(kind: str, map_kind: str, signed: bool = False) -> bytes:
    """Return one object of such a result as a file."""
    result, source = case(kind, signed)
    return dicom_files(result, source, chosen(map_kind), stamp()).files[f"{map_kind}.dcm"]


def planes_of(data: bytes, source: DicomSource) -> list[int]:
    """Return for each frame of a map the plane of the source that it refers to."""
    ds, found = pydicom.dcmread(BytesIO(data)), []
    for groups in ds.PerFrameFunctionalGroupsSequence:
        (derived,) = groups.DerivationImageSequence
        (image,) = derived.SourceImageSequence
        assert image.SpatialLocationsPreserved == "YES"
        assert image.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        same = [
            plane
            for plane, (_, frame) in enumerate(source.planes)
            if source.of_plane(plane).SOPInstanceUID == image.ReferencedSOPInstanceUID
            and frame + 1 == image.get("ReferencedFrameNumber", frame + 1)
        ]
        found += same
        assert len(same) == 1
    return found
