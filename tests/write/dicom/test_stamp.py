"""What all objects of one result share: time and its zone, identifiers, equipment, what is carried over or cut."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest

from dicom_cases import TIME, case_of, stamp, write_source
from saliscope.write.dicom.kinds import KINDS
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import ACQUISITION, SERIES, Stamp, clipped, derivation, face_may_show, finished
from saliscope.write.dicom.structured_report import structured_report

Case = tuple[Result, DicomSource]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Return the case of a radiograph."""
    return case_of(write_source(tmp_path / "dx", "dx"))


@pytest.mark.parametrize(
    ("zone", "date", "time"),
    [
        ("+0100", "20260304", "060607.000000"),
        ("-0600", "20260303", "230607.000000"),
        ("+0545", "20260304", "105107.000000"),
    ],
)
def test_times_are_in_the_zone_of_the_source_and_say_so(case: Case, zone: str, date: str, time: str) -> None:
    result, source = case
    source.first.TimezoneOffsetFromUTC = zone
    ds = structured_report(result, source, stamp(), {})
    assert ds.TimezoneOffsetFromUTC == zone
    for of in ("InstanceCreation", "Series", "Content"):
        assert (str(ds[f"{of}Date"].value), str(ds[f"{of}Time"].value)) == (date, time), of


def test_a_lossy_source_makes_lossy_pixels_and_a_lossless_one_does_not(case: Case) -> None:
    result, source = case
    ds = finished(_bare(), result, source, stamp(), burnt=True)
    assert "LossyImageCompression" not in ds
    source.first.LossyImageCompression = "01"
    source.first.LossyImageCompressionRatio, source.first.LossyImageCompressionMethod = "12.5", "ISO_10918_1"
    ds = finished(_bare(), result, source, stamp(), burnt=True)
    assert (ds.LossyImageCompression, float(ds.LossyImageCompressionRatio)) == ("01", 12.5)
    assert ds.LossyImageCompressionMethod == "ISO_10918_1"
    assert "LossyImageCompression" not in finished(_bare(), result, source, stamp(), burnt=None)


def test_equipment_names_the_network_by_its_weights_and_the_scanner_at_its_own_time(case: Case) -> None:
    result, source = case
    source.first.AcquisitionDate, source.first.AcquisitionTime = "20251231", "235901"
    ds = structured_report(result, source, stamp(), {})
    items = list(ds.ContributingEquipmentSequence)
    said = {str(i.ManufacturerModelName): str(i.SoftwareVersions) for i in items[-2:]}
    p = result.explanation.provenance
    assert said == {p.model: p.weights, "saliscope": p.versions["saliscope"]}
    (scanner,) = [i for i in items if i.PurposeOfReferenceCodeSequence[0].CodeValue == ACQUISITION]
    assert scanner.ContributionDateTime == "20251231235901"
    local = stamp().at(source).strftime("%Y%m%d%H%M%S.%f")
    assert {i.ContributionDateTime for i in items if i is not scanner} == {local}
    del source.first.AcquisitionDate
    scanner = structured_report(result, source, stamp(), {}).ContributingEquipmentSequence[0]
    assert "ContributionDateTime" not in scanner


def test_who_changes_a_result_does_not_change_its_source(case: Case) -> None:
    result, source = case
    before = source.first.to_json()
    ds = structured_report(result, source, stamp(), {})
    for element in ds:
        if element.VR in ("PN", "LO", "SH", "DA"):
            element.value = None
    assert source.first.to_json() == before


def test_identifiers_hang_on_result_time_number_and_words(case: Case) -> None:
    result, _ = case
    other = replace(result, card={"map_hidden": False})
    later = replace(stamp(), time=TIME.replace(second=8))
    found = [
        stamp().uid(result, "a"), stamp().uid(result, "b"), stamp().uid(result, "a", "b"), stamp(1).uid(result, "a"),
        later.uid(result, "a"), stamp().uid(other, "a"),
    ]  # fmt: skip
    assert len(set(found)) == len(found)
    assert all(pydicom.uid.UID(uid).is_valid and len(uid) <= 64 for uid in found)
    assert stamp().uid(result, "a") == found[0]


def test_series_numbers_of_all_kinds_of_many_maps_are_different(case: Case) -> None:
    result, _ = case
    words = [stamp(n).words(result, k.name) for n in range(30) for k in KINDS.values()]
    for key in ("series_number", "series_instance_uid", "sop_instance_uid"):
        assert len({w[key] for w in words}) == len(words), key
    assert min(w["series_number"] for w in words) == SERIES
    assert max(w["series_number"] for w in words) < 2**31


def test_time_without_a_zone_of_the_source_is_local_and_the_moment_is_the_same(case: Case) -> None:
    _, source = case
    assert "TimezoneOffsetFromUTC" not in source.first
    at = Stamp(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)).at(source)
    assert at == TIME
    assert at.utcoffset() == TIME.astimezone().utcoffset()


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("short", 10, "short"),
        ("back\\slash\x00\x1b", 20, "back slash"),
        ("x" * 20, 10, "xxxxxxx..."),
        ("ä" * 20, 10, "äää..."),
        ("", 5, ""),
    ],
)
def test_text_is_cut_to_what_a_value_holds(text: str, length: int, expected: str) -> None:
    assert clipped(text, length) == expected
    assert len(clipped(text, length).encode()) <= length


def test_what_is_said_of_odd_names_is_text_that_dicom_holds(case: Case) -> None:
    result, source = case
    odd = 'contrast:"malignant"\\benign\n' + "ö" * 3000
    p = replace(result.explanation.provenance, model=odd, method=odd, target=odd)
    result = replace(result, explanation=replace(result.explanation, target=odd, provenance=p))
    assert len(derivation(result).encode()) <= 1024
    ds = finished(_bare(), result, source, stamp(), burnt=True)
    series = stamp().words(result, "segmentation")["series_description"]
    assert len(series.encode()) <= 64
    assert "\\" not in series + ds.DerivationDescription
    assert "\n" not in ds.DerivationDescription


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"BodyPartExamined": "HEAD", "Modality": "CT"}, True),
        ({"BodyPartExamined": "HEAD NECK", "Modality": "MR"}, True),
        ({"BodyPartExamined": "CHEST", "Modality": "CT"}, False),
        ({"Modality": "DX"}, False),
        ({"Modality": "CT"}, None),
        ({"Modality": "DX", "RecognizableVisualFeatures": "YES"}, True),
    ],
)
def test_faces_are_said_where_they_may_show(case: Case, attributes: dict[str, str], expected: bool | None) -> None:
    result, source = case
    for keyword in ("BodyPartExamined", "Modality", "RecognizableVisualFeatures"):
        if keyword in source.first:
            del source.first[keyword]
    for keyword, value in attributes.items():
        setattr(source.first, keyword, value)
    assert face_may_show(source) is expected
    ds = finished(_bare(), result, source, stamp(), burnt=True)
    assert ds.get("RecognizableVisualFeatures") == {True: "YES", False: "NO", None: None}[expected]
    assert finished(_bare(), result, source, stamp(), burnt=False).RecognizableVisualFeatures == "NO"


def _bare() -> pydicom.Dataset:
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    return ds
