"""What identifies a patient stays in the reader: not in any result, name, message or log, also when things fail."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

CANARY = "CANARY"
#: Value representations that can hold words or numbers of a person, and a value that each accepts.
VALUES = {
    "PN": f"{CANARY}^NAME",
    "LO": f"{CANARY}-LO",
    "SH": f"{CANARY}-SH",
    "LT": f"{CANARY} text",
    "ST": f"{CANARY} text",
    "UT": f"{CANARY} text",
    "AE": CANARY,
    "DA": "19330407",
    "TM": "070707.77",
    "AS": "089Y",
}
#: Not the age: four letters occur by chance in packed bytes.
SEARCHED = (CANARY, "070707.77", "1.2.826.0.1.3680043.8.498.7777")
#: What the reader needs as it is, and names of files of the test itself.
KEPT = {"Modality", "PhotometricInterpretation"}


def marked(path: Path, cut: int = 0) -> Path:
    """Write a copy of a CT slice whose every text tag, date and UID is a canary, cut short by some bytes."""
    ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    for element in list(ds):
        if element.VR in VALUES and element.keyword not in KEPT:
            element.value = VALUES[element.VR]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "InstitutionName", "StudyID"):
        setattr(ds, keyword, VALUES[pydicom.datadict.dictionary_VR(keyword)])
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        setattr(ds, keyword, generate_uid(prefix="1.2.826.0.1.3680043.8.498.7777."))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path)
    data = path.read_bytes().replace(VALUES["DA"].encode(), b"CANARYXX")  # no date: libraries quote it in warnings
    assert CANARY.encode() in data
    path.write_bytes(data[: len(data) - cut])
    return path


def everything(folder: Path) -> bytes:
    """Return all names and all bytes below a folder, packed ones also unpacked."""
    parts = []
    for path in sorted(folder.rglob("*")):
        parts.append(str(path.relative_to(folder)).encode())
        if path.is_file():
            data = path.read_bytes()
            parts += [data, gzip.decompress(data) if path.suffix == ".gz" else b""]
    return b"\n".join(parts)


@pytest.mark.parametrize("cut", [0, 20_000])
def test_no_canary_comes_out(cut: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    marked(tmp_path / "in" / "a.dcm", cut)
    marked(tmp_path / "in" / "b.dcm")
    out = tmp_path / "out"
    words = ["-m", "spot-finder", "-t", "all", "--method", "grad-cam,gradient", "--json", "-o", str(out)]
    # A process of its own, where warnings and logs reach the terminal as they do for a user.
    command = [sys.executable, "-W", "always", "-m", "saliscope", "explain", str(tmp_path / "in"), *words]
    ran = subprocess.run(command, capture_output=True, check=False)
    assert ran.returncode == (3 if cut else 0), ran.stderr
    kept = everything(out) + ran.stdout + ran.stderr
    assert b"page.html" in kept
    for canary in SEARCHED:
        assert canary.encode() not in kept
