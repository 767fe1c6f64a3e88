"""No value of a patient's tag leaves the reader: not in images, names, errors or on stderr."""

import traceback
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.datadict import DicomDictionary, keyword_for_tag

from saliscope.core.errors import InputError
from saliscope.read import discover

CANARY = "ZQXCANARYJ"
UID = "1.2.840.99999.31415926535"
#: Text of every kind that may name somebody; what lays the image out is left as it is.
TEXTS = {"PN", "LO", "SH", "LT", "ST", "UT", "AE", "UC", "UR"}
KEPT = {"PhotometricInterpretation", "ImageType", "SOPClassUID", "PatientOrientation"}


def poisoned(path: Path, name: str) -> bytes:
    ds = pydicom.dcmread(str(get_testdata_file(name, download=False)))
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        if not keyword or retired or tag >> 16 in (0, 2, 4, 0x7FE0, 0x28, 0x5400, 0x6000) or keyword in KEPT:
            continue
        if vr in TEXTS:
            ds.add_new(tag, vr, CANARY)
        elif keyword in ("Modality", "BodyPartExamined", "StationAETitle", "Laterality", "BurnedInAnnotation"):
            ds.add_new(tag, "CS", CANARY)
        elif vr == "UI" and not keyword_for_tag(tag).endswith("ClassUID") and keyword.endswith("InstanceUID"):
            ds.add_new(tag, "UI", UID)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(path)
    return path.read_bytes()


def leaks(text: str) -> bool:
    return CANARY in text or CANARY.lower() in text.lower() or UID in text


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "examples_palette.dcm", "examples_ybr_color.dcm"])
def test_no_identifier_leaves_the_reader(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = poisoned(tmp_path / "case.dcm", name)
    assert whole.count(CANARY.encode()) > 500
    (source,), failures = discover([tmp_path])
    image = source.load()
    fields = (image.name, image.modality, image.units, image.digest, image.notes, image.geometry, source, failures)
    assert not leaks(repr(fields))
    assert not leaks(repr(image))
    assert image.modality == ""

    at = [i for i in range(len(whole)) if whole.startswith(CANARY.encode(), i)]
    broken = [whole[: len(whole) * i // 12] for i in range(12)]
    broken += [whole[: i - 6] + b"\xff\xff" + whole[i - 4 :] for i in at[::40]]  # a VR that is none
    broken += [
        whole.replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00LO"),
        whole.replace(b"\x28\x00\x30\x00DS", b"\x28\x00\x30\x00PN"),
    ]
    for i, data in enumerate(broken):
        path = tmp_path / f"broken-{i}.dcm"
        path.write_bytes(data)
        found, amiss = discover([path])
        said = [str(f.error) + "".join(traceback.format_exception(f.error)) for f in amiss]
        for one in found:
            try:
                said.append(repr(one.load()))
            except InputError as error:
                said.append("".join(traceback.format_exception(error)))
        assert not leaks("".join(said)), path.name
        path.unlink()
    out, err = capfd.readouterr()
    assert not leaks(out + err)
    assert err == ""


def test_numbers_that_are_text_do_not_leak(make, capfd: pytest.CaptureFixture[str]) -> None:
    for keyword, width in (("WindowCenter", 0x28), ("PixelSpacing", 0x28)):
        path = make(
            f"{keyword}.dcm", WindowCenter="1111111", WindowWidth="2222222", PixelSpacing=["3333333", "4444444"]
        )
        data = path.read_bytes()
        for digits in (b"1111111", b"3333333", b"4444444"):
            data = data.replace(digits, b"ZQXCANA")
        path.write_bytes(data)
        sources, failures = discover([path])
        said = "".join(str(f.error) for f in failures)
        for source in sources:
            try:
                said += repr(source.load())
            except InputError as error:
                said += "".join(traceback.format_exception(error))
        assert "ZQXCANA" not in said, (keyword, width)
    out, err = capfd.readouterr()
    assert "ZQXCANA" not in out + err
