"""Whose a result is: names, dates and numbers of real headers, legal or not, as they arrive in every object."""

from __future__ import annotations

import logging
import warnings
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_cases import case_of, stamp, write_source
from saliscope.core.errors import WriteError
from saliscope.write.dicom.identity import put_right
from saliscope.write.dicom.kinds import KINDS
from saliscope.write.dicom.objects import dicom_files
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.structured_report import structured_report

KANA = "Yamada^Tarou=山田^太郎=やまだ^たろう"


def with_bytes(folder: Path, **values: bytes | None) -> Path:
    """Put values into the headers of a source byte by byte, as no library would; None takes an attribute away."""
    characters = values.pop("SpecificCharacterSet", None)
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        if characters is not None:
            ds.PatientName = ds.ReferringPhysicianName = "X^Y"
            ds.SpecificCharacterSet = characters.decode().split("\\")
            ds.save_as(path)
            ds = pydicom.dcmread(path)
        for keyword, value in values.items():
            tag = Tag(tag_for_keyword(keyword) or 0)
            if value is None:
                del ds[tag]
                continue
            even = value + b" " * (len(value) % 2)
            ds[tag] = RawDataElement(tag, dictionary_VR(tag), len(even), even, 0, False, True)
        ds.save_as(path)
    return folder


def made(folder: Path, *kinds: str) -> dict[str, pydicom.Dataset]:
    """Return the objects of the map of a source, read as they are."""
    result, source = case_of(folder)
    files = dicom_files(result, source, [KINDS[k] for k in kinds or KINDS], stamp()).files
    return {name: pydicom.dcmread(BytesIO(data)) for name, data in files.items()}


@pytest.fixture
def dx(tmp_path: Path) -> Path:
    """Return the folder of a radiograph."""
    return write_source(tmp_path / "dx", "dx")


@pytest.mark.parametrize(
    ("characters", "stored", "name"),
    [
        ("ISO_IR 100", "Müller^Änne".encode("latin-1"), "Müller^Änne"),
        ("", "Müller^Änne".encode("latin-1"), "Müller^Änne"),
        ("\\ISO 2022 IR 87", KANA.encode("iso2022_jp"), KANA),
        ("GB18030", "王^乗小东".encode("gb18030"), "王^乗小东"),
        ("ISO_IR 144", "Люк^Анна".encode("iso8859_5"), "Люк^Анна"),
        ("ISO_IR 192", "Ørsted^Åse".encode(), "Ørsted^Åse"),
    ],
)
def test_a_name_in_any_character_set_arrives_intact_in_every_object(
    dx: Path, characters: str, stored: bytes, name: str
) -> None:
    with_bytes(dx, SpecificCharacterSet=characters.encode(), PatientName=stored)
    for kind, ds in made(dx).items():
        assert ds.SpecificCharacterSet == "ISO_IR 192", kind
        assert str(ds.PatientName) == name, kind
        assert ds.PatientID == "ID-4711", kind


def test_a_name_that_its_character_set_cannot_say_is_refused_without_saying_it(dx: Path) -> None:
    with_bytes(dx, SpecificCharacterSet=b"ISO_IR 192", PatientName="Müller^Änne".encode("latin-1"))
    with pytest.raises(WriteError, match="not in the character set") as refused:
        case_of(dx)
    assert "ller" not in str(refused.value)


ILLEGAL = {
    "PatientSex": (b"X", ""),
    "PatientBirthDate": (b"1950.01.02", "19500102"),
    "StudyDate": (b"2025-02-30", ""),
    "StudyTime": (b"23:59:59", "235959"),
    "PatientAge": (b"45 years", None),
    "PatientWeight": (b"heavy", None),
    "PatientSize": (b"1.7300000000000000001", "1.73"),
    "StudyDescription": (b"D" * 100, "D" * 64),
    "PatientID": (b"P" * 80, "P" * 80),
    "AccessionNumber": (b"A" * 20, "A" * 20),
    "PatientName": (b"Doe\\Jane", "Doe Jane"),
    "ReferringPhysicianName": (b"", ""),
    "TimezoneOffsetFromUTC": (b"CET", None),
}


@pytest.mark.parametrize("keyword", ILLEGAL)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of values that are kept although they are too long
def test_an_illegal_value_is_put_right_or_left_empty_and_stops_nothing(dx: Path, keyword: str) -> None:
    stored, expected = ILLEGAL[keyword]
    objects = made(with_bytes(dx, **{keyword: stored}))
    assert "structured-report.dcm" in objects
    for kind, ds in objects.items():
        found = ds.get(keyword)
        assert (str(found) if found not in (None, "") else None) == (expected or None), kind


def test_illegal_values_all_at_once_and_none_of_them_reaches_a_log(
    dx: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with_bytes(dx, **{keyword: stored for keyword, (stored, _) in ILLEGAL.items()})
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        result, source = case_of(dx)
        files = dicom_files(result, source, [KINDS["structured-report"]], stamp()).files
    assert "structured-report.dcm" in files
    said = caplog.text + "".join(capfd.readouterr())
    assert not any(s in said for s in ("Doe", "PPPP", "AAAA", "1950"))


def test_empty_and_missing_attributes_leave_results_that_are_filed_by_their_study(dx: Path) -> None:
    empty = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID")
    with_bytes(dx, **dict.fromkeys(empty, b""), AccessionNumber=None, ReferringPhysicianName=None)
    objects = made(dx)
    source = pydicom.dcmread(next(dx.iterdir()))
    for kind, ds in objects.items():
        assert ds.StudyInstanceUID == source.StudyInstanceUID, kind
        for keyword in (*empty, "AccessionNumber", "ReferringPhysicianName"):
            assert keyword in ds, (kind, keyword)
            assert not ds[keyword].value, (kind, keyword)


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("StudyInstanceUID", b"1.2.../../etc", "StudyInstanceUID"),
        ("SeriesInstanceUID", b"", "SeriesInstanceUID"),
        ("SOPClassUID", b"1.2.840.10008.5.1.4.1.1.6", "has retired"),
        ("SOPClassUID", b"1.3.46.670589.11.0.0.12.1", "does not know"),
    ],
)
def test_what_cannot_be_referred_to_is_refused_in_words(dx: Path, keyword: str, value: bytes, said: str) -> None:
    result, source = case_of(dx)
    setattr(source.first, keyword, value.decode())
    with pytest.raises(WriteError, match=said) as refused:
        DicomSource(source.headers, source.planes)
    assert value == b"" or value.decode() not in str(refused.value)
    assert isinstance(result, Result)


def test_slices_of_two_studies_are_refused(tmp_path: Path) -> None:
    _, source = case_of(write_source(tmp_path / "ct", "ct"))
    source.headers[1].StudyInstanceUID = "1.2.3"
    with pytest.raises(WriteError, match="several studies"):
        DicomSource(source.headers, source.planes)


def test_a_header_in_another_character_set_inside_a_sequence_is_put_right_too() -> None:
    item, header = pydicom.Dataset(), pydicom.Dataset()
    item.SpecificCharacterSet, item.CodeMeaning, item.StudyDate = "ISO_IR 100", "Schädel", "20250102"
    header.SpecificCharacterSet, header.ProcedureCodeSequence = "ISO_IR 100", [item]
    out = BytesIO()
    pydicom.dcmwrite(out, header, implicit_vr=False, little_endian=True)
    read = pydicom.dcmread(BytesIO(out.getvalue()), force=True)
    put_right(read)
    again = BytesIO()
    pydicom.dcmwrite(again, read, implicit_vr=False, little_endian=True)
    assert "Schädel".encode() in again.getvalue()
    assert pydicom.dcmread(BytesIO(again.getvalue()), force=True).ProcedureCodeSequence[0].CodeMeaning == "Schädel"


def test_the_source_itself_still_says_what_it_said(dx: Path) -> None:
    before = {path: path.read_bytes() for path in dx.iterdir()}
    result, source = case_of(dx)
    structured_report(result, source, stamp(), {})
    assert before == {path: path.read_bytes() for path in dx.iterdir()}
