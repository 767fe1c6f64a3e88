"""An archive of others takes every object, finds it, gives it back as it was, and draws what its documents say."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from dicom_cases import case_of, stamp, write_source
from dicom_tools import Orthanc, tool
from saliscope.write.dicom.kinds import KINDS
from saliscope.write.dicom.objects import dicom_files

#: What Orthanc 1.10.1 answers to a request for a picture of each kind: it draws whole numbers and colours, not floats.
PREVIEW = {
    "secondary-capture": 200,
    "parametric-map": 415,
    "parametric-map-16": 200,
    "segmentation": 200,
    "presentation-state": 415,
    "pseudo-color": 415,
    "blending": 415,
    "pdf": 415,
    "structured-report": 415,
}
#: Of one bit for each pixel it draws rows of whole bytes only.
WHOLE = 8


@dataclass(frozen=True)
class Sent:
    """The objects of a source as they were written, by kind."""

    files: dict[str, bytes]

    def uid(self, kind: str, keyword: str = "SOPInstanceUID") -> str:
        """Return an identifier of an object."""
        ds = pydicom.dcmread(BytesIO(self.files[kind]), stop_before_pixels=True)
        return str(ds[keyword].value)


@pytest.fixture(scope="module", params=["ct-oblique", "dx"])
def sent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    result, source = case_of(write_source(tmp_path_factory.mktemp("source"), request.param))
    made = dicom_files(result, source, tuple(KINDS.values()), stamp())
    return Sent({name.removesuffix(".dcm"): data for name, data in made.files.items()})


@pytest.fixture
def archive(orthanc: Orthanc) -> Orthanc:
    """Return an archive that holds nothing."""
    orthanc.clear()
    return orthanc


def test_dicomweb_takes_finds_and_gives_back(archive: Orthanc, sent: Sent) -> None:
    answer = archive.stow(*sent.files.values())
    assert answer.status_code == 200
    assert len(answer.json()["00081199"]["Value"]) == len(sent.files)
    assert not answer.json().get("00081198", {}).get("Value")
    rows = archive.get("/dicom-web/instances", headers={"Accept": "application/dicom+json"}).json()
    found = {row["00080018"]["Value"][0]: row["00080016"]["Value"][0] for row in rows}
    assert found == {sent.uid(kind): sent.uid(kind, "SOPClassUID") for kind in sent.files}
    study = sent.uid(next(iter(sent.files)), "StudyInstanceUID")
    for kind, data in sent.files.items():
        at = f"/dicom-web/studies/{study}/series/{sent.uid(kind, 'SeriesInstanceUID')}/instances/{sent.uid(kind)}"
        got = archive.get(at, headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'})
        assert got.status_code == 200
        assert same(first_part(got.content), data), kind


def test_c_store_by_dcmtk(archive: Orthanc, sent: Sent, tmp_path: Path) -> None:
    for kind, data in sent.files.items():
        (tmp_path / f"{kind}.dcm").write_bytes(data)
    words = [tool("storescu"), "-xf", *_contexts(tmp_path), "all"]
    peer = ["-aec", archive.aet, "127.0.0.1", str(archive.dicom)]
    said = subprocess.run([*words, *peer, *sorted(map(str, tmp_path.glob("*.dcm")))], capture_output=True, check=False)
    assert said.returncode == 0, said.stderr.decode()
    for kind, data in sent.files.items():
        assert same(archive.file(archive.find(sent.uid(kind))), data), kind


def test_c_store_by_pynetdicom(archive: Orthanc, sent: Sent) -> None:
    from pynetdicom import AE

    node = AE("TESTS")
    objects = {kind: pydicom.dcmread(BytesIO(data)) for kind, data in sent.files.items()}
    for ds in objects.values():
        node.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    association = node.associate("127.0.0.1", archive.dicom, ae_title=archive.aet)
    assert association.is_established
    try:
        for kind, ds in objects.items():
            assert association.send_c_store(ds).Status == 0, kind
    finally:
        association.release()
    for kind, data in sent.files.items():
        assert same(archive.file(archive.find(sent.uid(kind))), data), kind


def test_what_it_draws(archive: Orthanc, sent: Sent) -> None:
    assert set(PREVIEW) == set(KINDS)
    for kind, data in sent.files.items():
        answer, ds = archive.preview(archive.store(data)), pydicom.dcmread(BytesIO(data))
        broken = ds.get("BitsAllocated") == 1 and ds.Columns % WHOLE
        assert answer.status_code == (415 if broken else PREVIEW[kind]), kind
        if answer.status_code == 200:
            drawn = np.asarray(Image.open(BytesIO(answer.content)))
            assert drawn.shape[:2] == (ds.Rows, ds.Columns), kind
            first = ds.pixel_array.reshape(-1, *drawn.shape)[0]
            if kind == "secondary-capture":
                np.testing.assert_array_equal(drawn, first)
            elif np.ptp(first) and np.ptp(drawn):
                assert np.corrcoef(drawn.ravel(), first.ravel())[0, 1] > 0.9, kind


def same(got: bytes, sent: bytes) -> bool:
    """Return whether two files hold the same data set, in the same transfer syntax."""
    one, other = (pydicom.dcmread(BytesIO(data)) for data in (got, sent))
    return bool(one == other and one.file_meta.TransferSyntaxUID == other.file_meta.TransferSyntaxUID)


def first_part(body: bytes) -> bytes:
    """Return the first part of a multipart answer."""
    mark = body.lstrip(b"\r\n").split(b"\r\n", 1)[0]
    part = body.split(mark)[1]
    return part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")


def _contexts(folder: Path) -> list[str]:
    """Write which classes storescu proposes, and return its arguments: it knows none younger than itself."""
    classes = sorted({cls for kind in KINDS.values() for cls in kind.sop_classes})
    syntaxes = {"plain": "LittleEndianExplicit", "packed": "RLELossless"}
    offers = [f"{cls}\\{name}" for cls in classes for name in syntaxes]  # one syntax each: it converts nothing
    lines = ["[[TransferSyntaxes]]", *(f"[{name}]\nTransferSyntax1 = {one}" for name, one in syntaxes.items())]
    lines += ["[[PresentationContexts]]", "[ours]", *(f"PresentationContext{i} = {o}" for i, o in enumerate(offers, 1))]
    lines += ["[[Profiles]]", "[all]", "PresentationContexts = ours", ""]
    path = folder / "storescu.cfg"
    path.write_text("\n".join(lines))
    return [str(path)]
