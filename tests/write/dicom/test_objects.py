"""The contract of every kind of object on every source: made as the standard says, or left out with the reason."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from dicom_cases import PATIENT, case_of, hidden, stamp, write_source
from dicom_tools import strictly
from saliscope.core.errors import CannotSay, WriteError
from saliscope.write.dicom import objects
from saliscope.write.dicom.kinds import KINDS, ObjectKind
from saliscope.write.dicom.objects import dicom_files, encoded
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource

SOURCES = ("ct", "mr", "ct-oblique", "ct-flipped", "ct-sheared", "dx", "cr", "cr-unspaced", "us")
STUDY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate")
Case = tuple[Result, DicomSource]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """Return the case of a kind of source, made once."""
    made: dict[str, Case] = {}

    def of(kind: str) -> Case:
        if kind not in made:
            made[kind] = case_of(write_source(tmp_path_factory.mktemp("objects") / kind, kind))
        return made[kind]

    return of


@pytest.fixture(scope="module")
def written(case: Callable[[str], Case]) -> Callable[[str], objects.DicomFiles]:
    """Return all objects of a kind of source, made once."""
    made: dict[str, objects.DicomFiles] = {}

    def of(kind: str) -> objects.DicomFiles:
        if kind not in made:
            made[kind] = dicom_files(*case(kind), tuple(KINDS.values()), stamp())
        return made[kind]

    return of


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_every_source_keeps_the_contract(
    kind: str, name: str, case: Callable[[str], Case], written: Callable[[str], objects.DicomFiles]
) -> None:
    files = written(kind)
    if name in files.left_out:
        assert f"{name}.dcm" not in files.files
        assert len(files.left_out[name]) > 10
        return
    data = files.files[f"{name}.dcm"]
    ds = strictly(data)
    result, source = case(kind)
    assert ds.SOPClassUID in KINDS[name].sop_classes
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    for keyword in STUDY:
        assert str(ds[keyword].value) == PATIENT[keyword], keyword
    assert ds.StudyInstanceUID == source.first.StudyInstanceUID
    assert ds.SeriesInstanceUID not in {h.SeriesInstanceUID for h in source.headers}
    assert ds.SOPInstanceUID not in {h.SOPInstanceUID for h in source.headers}
    assert ds.ContentQualification == "RESEARCH"
    assert ds.SpecificCharacterSet == "ISO_IR 192"
    equipment = {str(i.get("SoftwareVersions", "")) for i in ds.ContributingEquipmentSequence}
    assert {result.explanation.provenance.weights, "0.1.0"} <= equipment
    assert (str(ds.InstanceCreationDate), str(ds.SeriesDate)) == ("20260304", "20260304")
    assert 1 <= len(ds.SeriesDescription) <= 64
    now = [e for e in ds.iterall() if e.VR in ("DA", "DT") and str(e.value)[:8] > "20260304"]
    assert not now, "a time that is not the stamp's"


@pytest.mark.parametrize("kind", ["ct-oblique", "dx"])
def test_identifiers_are_different_over_kinds_and_maps(
    kind: str, case: Callable[[str], Case], written: Callable[[str], objects.DicomFiles]
) -> None:
    result, source = case(kind)
    second = dicom_files(result, source, tuple(KINDS.values()), stamp(1))
    read = [pydicom.dcmread(BytesIO(d)) for d in (*written(kind).files.values(), *second.files.values())]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"):
        assert len({str(ds[keyword].value) for ds in read}) == len(read), keyword


@pytest.mark.parametrize("kind", ["ct-oblique", "dx"])
def test_the_same_stamp_gives_the_same_bytes_of_every_kind(
    kind: str, case: Callable[[str], Case], written: Callable[[str], objects.DicomFiles]
) -> None:
    again = dicom_files(*case(kind), tuple(KINDS.values()), stamp())
    first = written(kind)
    assert set(again.files) == set(first.files)
    assert [name for name, data in again.files.items() if data != first.files[name]] == []
    later = replace(stamp(), time=stamp().time.replace(minute=7))
    other = dicom_files(*case(kind), tuple(KINDS.values()), later)
    for name, data in other.files.items():
        assert strictly(data).SOPInstanceUID != strictly(first.files[name]).SOPInstanceUID, name


@pytest.mark.parametrize("kind", ["ct-oblique", "dx"])
def test_a_hidden_map_is_in_nothing_that_a_viewer_draws(kind: str, case: Callable[[str], Case]) -> None:
    result, source = case(kind)

    def never() -> Any:
        raise AssertionError("outlines of a hidden map")

    files = dicom_files(hidden(replace(result, outlines=never)), source, tuple(KINDS.values()), stamp())
    drawing = {name for name, k in KINDS.items() if k.draws_map}
    assert drawing <= set(files.left_out)
    assert all("DO NOT READ" in files.left_out[name] for name in drawing)
    assert not {f"{name}.dcm" for name in drawing} & set(files.files)
    assert "structured-report.dcm" in files.files
    values = result.values[result.values > 0]
    for name, data in files.files.items():
        ds = strictly(data)
        assert "FloatPixelData" not in ds, name
        assert values.astype("<f4").tobytes()[:64] not in data, name


@pytest.mark.parametrize("kind", ["ct-oblique", "dx"])
def test_odd_labels_and_methods_stop_no_kind(kind: str, case: Callable[[str], Case]) -> None:
    result, source = case(kind)
    odd = 'contrast:malignant/benign "\\" <x> & ' + "ü" * 200
    e = result.explanation
    provenance = replace(e.provenance, method="odd\\method'" + "m" * 100, model=odd, target=odd, layer=odd)
    prediction = replace(e.prediction, labels=(odd,))
    odd_result = replace(result, explanation=replace(e, target=odd, prediction=prediction, provenance=provenance))
    made = dicom_files(odd_result, source, tuple(KINDS.values()), stamp())
    plain = dicom_files(result, source, tuple(KINDS.values()), stamp())
    assert set(made.files) == set(plain.files)
    for data in made.files.values():
        strictly(data)


def test_what_cannot_be_said_is_left_out_with_its_reason_and_the_rest_is_made(
    case: Callable[[str], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [KINDS["secondary-capture"], KINDS["structured-report"]]
    real = objects._maker

    def maker(kind: ObjectKind) -> objects.Maker:
        return _cannot if kind.name == "secondary-capture" else real(kind)

    monkeypatch.setattr(objects, "_maker", maker)
    files = dicom_files(*case("dx"), kinds, stamp())
    assert files.left_out == {"secondary-capture": "no picture"}
    assert set(files.files) == {"structured-report.dcm"}
    monkeypatch.setattr(objects, "_maker", lambda _: _cannot)
    with pytest.raises(WriteError, match="no picture"):
        dicom_files(*case("dx"), kinds, stamp())


def test_a_fault_of_a_library_names_the_kind_and_quotes_nobody(
    case: Callable[[str], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> pydicom.Dataset:
        raise ValueError("bad value 'Müller^Änne'")

    monkeypatch.setattr(objects, "_maker", lambda _: broken)
    with pytest.raises(WriteError, match="Comprehensive 3D SR") as fault:
        dicom_files(*case("dx"), [KINDS["structured-report"]], stamp())
    assert "ller" not in str(fault.value)
    assert fault.value.__cause__ is None
    assert fault.value.__suppress_context__


def test_what_is_done_at_the_end_is_done_to_all_and_only_once(case: Callable[[str], Case]) -> None:
    seen: list[str] = []

    def after(ds: pydicom.Dataset) -> pydicom.Dataset:
        seen.append(str(ds.SOPClassUID))
        ds.PatientID = "PSEUDONYM"
        return ds

    result, source = case("dx")
    files = dicom_files(result, source, tuple(KINDS.values()), replace(stamp(), after=after))
    assert len(seen) == len(files.files)
    assert {strictly(d).PatientID for d in files.files.values()} == {"PSEUDONYM"}
    assert source.first.PatientID == PATIENT["PatientID"]


def test_every_reference_between_the_objects_of_a_result_is_to_one_of_them(
    written: Callable[[str], objects.DicomFiles],
) -> None:
    read = {name: strictly(data) for name, data in written("ct-oblique").files.items()}
    report = read["structured-report.dcm"]
    listed = {str(e.value) for e in report.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    assert {str(ds.SOPInstanceUID) for name, ds in read.items() if name != "structured-report.dcm"} <= listed


def test_a_file_begins_with_an_empty_preamble(case: Callable[[str], Case]) -> None:
    result, source = case("dx")
    ds = importlib.import_module("saliscope.write.dicom.structured_report").structured_report(
        result, source, stamp(), {}
    )
    ds.preamble = b"MZ" + b"\x90" * 126
    assert encoded(ds)[:132] == b"\0" * 128 + b"DICM"


def test_values_and_labels_of_the_result_are_not_changed_by_writing(case: Callable[[str], Case]) -> None:
    result, source = case("ct-oblique")
    before = result.values.copy(), result.labels.copy()
    dicom_files(result, source, tuple(KINDS.values()), stamp())
    assert all(np.array_equal(a, b) for a, b in zip(before, (result.values, result.labels), strict=True))


def _cannot(*_: Any, **__: Mapping[str, Any]) -> pydicom.Dataset:
    raise CannotSay("no picture", do="Choose another kind")


def test_the_source_folder_is_untouched(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "dx", "dx")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    dicom_files(*case_of(folder), tuple(KINDS.values()), stamp())
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
