"""Parametric Maps: values come back by other readers, each with its code, and what cannot be said is not."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_cases import PATIENT, case_of, stamp, write_source
from dicom_maps import MAPS, PICTURES, VOLUMES, case, planes_of, written
from dicom_tools import complaints, dumped, strictly
from saliscope.core.errors import CannotSay, WriteError
from saliscope.write.dicom.frames import PARTS
from saliscope.write.dicom.kinds import chosen
from saliscope.write.dicom.objects import dicom_files, encoded
from saliscope.write.dicom.parametric_map import parametric_map, parametric_map_16, steps
from saliscope.write.dicom.quantity import explanation_code
from saliscope.write.dicom.source import DicomSource


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("map_kind", MAPS)
@pytest.mark.parametrize("kind", [*VOLUMES, *PICTURES])
def test_values_come_back_on_the_plane_that_each_frame_refers_to(kind: str, map_kind: str, signed: bool) -> None:
    result, source = case(kind, signed)
    data = written(kind, map_kind, signed)
    read = hd.pm.ParametricMap.from_dataset(pydicom.dcmread(BytesIO(data)))
    values = np.asarray(read.get_frames(apply_real_world_transform=True))
    wanted = result.values if result.volume else result.values[None]
    for frame, plane in enumerate(planes_of(data, source)):
        error = np.abs(values[frame] - wanted[plane]).max()
        assert error <= (0 if map_kind == "parametric-map" else steps(result)[1] * 0.500001)
    assert sorted(planes_of(data, source)) == list(range(len(source.planes)))
    assert (values.min() < 0) == signed


@pytest.mark.parametrize("make", [parametric_map, parametric_map_16])
def test_what_it_cannot_say_is_not_made_up(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CannotSay, match="pixel spacing"):
        make(*case("cr-unspaced"), stamp(), {})
    result, source = case("ct-oblique")
    for wrong in (np.nan, np.inf):
        values = result.values.copy()
        values[1, 2, 3] = wrong
        with pytest.raises(CannotSay, match="not numbers"):
            make(replace(result, values=values), source, stamp(), {})
    with pytest.raises(WriteError, match="for a source of"):
        make(replace(result, values=result.values[:-1]), source, stamp(), {})
    with TemporaryDirectory() as place:
        _, lost = case_of(write_source(Path(place), "ct-oblique"))
    for header in lost.headers:
        del header.FrameOfReferenceUID
    with pytest.raises(CannotSay, match="without a frame of reference"):
        make(result, lost, stamp(), {})


def test_a_flat_map_comes_back_flat() -> None:
    result, source = case("ct-oblique")
    flat = replace(result, values=np.full_like(result.values, -3.25))
    ds = pydicom.dcmread(BytesIO(encoded(parametric_map_16(flat, source, stamp(), {}))))
    read = hd.pm.ParametricMap.from_dataset(ds).get_frames(apply_real_world_transform=True)
    assert (read == np.float32(-3.25)).all()


@pytest.mark.parametrize("kind", ["ct", "ct-oblique"])
def test_it_is_what_highdicom_makes_where_highdicom_can(kind: str) -> None:
    result, source = case(kind)
    ours = parametric_map(result, source, stamp(), {})
    shared = ours.SharedFunctionalGroupsSequence[0]
    theirs = hd.pm.ParametricMap(
        list(source.headers), result.values, "2.25.1", 1, "2.25.2", 1, "m", "m", "1", "1", False,
        real_world_value_mappings=list(shared.RealWorldValueMappingSequence), content_label="XAI_GRADCAM",
        voi_lut_transformations=list(shared.FrameVOILUTSequence), derivation=explanation_code(result),
    )  # fmt: skip
    assert {e.keyword for e in theirs} <= {e.keyword for e in ours}
    same = (
        "SOPClassUID", "Modality", "ImageType", "Rows", "Columns", "BitsAllocated", "PixelPresentation", "StudyDate",
        "PresentationLUTShape", "FrameOfReferenceUID", "PatientName", "PatientID", "StudyInstanceUID", "NumberOfFrames",
        "DimensionOrganizationType", "ReferencedSeriesSequence", "SharedFunctionalGroupsSequence", "ContentLabel",
    )  # fmt: skip
    for keyword in same:
        assert ours[keyword].value == theirs[keyword].value, keyword
    # highdicom sorts its frames the other way round here: each is found by its position.
    at = {tuple(g.PlanePositionSequence[0].ImagePositionPatient): g for g in theirs.PerFrameFunctionalGroupsSequence}
    for groups in ours.PerFrameFunctionalGroupsSequence:
        other = at[tuple(groups.PlanePositionSequence[0].ImagePositionPatient)]
        assert groups.DerivationImageSequence == other.DerivationImageSequence


@pytest.mark.parametrize("map_kind", MAPS)
def test_patient_and_study_are_those_of_the_source(map_kind: str) -> None:
    with TemporaryDirectory() as place:
        path = write_source(Path(place), "ct-oblique")
        for file in (f for f in path.rglob("*") if f.is_file()):
            ds = pydicom.dcmread(file)
            ds.decode()
            ds.SpecificCharacterSet = "ISO_IR 100"
            ds.save_as(file)
        result, source = case_of(path)
    before = [str(h) for h in source.headers]
    data = dicom_files(result, source, chosen(map_kind), stamp()).files[f"{map_kind}.dcm"]
    ds = strictly(data)
    for keyword in {*PATIENT} - {"SpecificCharacterSet"}:
        assert str(ds[keyword].value) == PATIENT[keyword], keyword
    assert "Müller^Änne".encode() in data
    assert ds.StudyInstanceUID == source.first.StudyInstanceUID
    old = {str(h[k].value) for h in source.headers for k in ("SeriesInstanceUID", "SOPInstanceUID")}
    assert not {ds.SeriesInstanceUID, ds.SOPInstanceUID} & old
    assert ds.ContentQualification == "RESEARCH"
    assert (ds.BurnedInAnnotation, ds.RecognizableVisualFeatures) == ("NO", "NO")
    assert "raw, not normalised" in ds.DerivationDescription
    assert [str(h) for h in source.headers] == before


@pytest.mark.parametrize("kind", ["ct-oblique", "cr"])
def test_the_same_result_gives_the_same_bytes(kind: str) -> None:
    with TemporaryDirectory() as place:
        again = dicom_files(*case_of(write_source(Path(place), kind)), chosen("+".join(MAPS)), stamp())
    for map_kind in MAPS:
        assert again.files[f"{map_kind}.dcm"] == written(kind, map_kind)
    with TemporaryDirectory() as place:
        other = dicom_files(*case_of(write_source(Path(place), kind)), chosen("+".join(MAPS)), stamp(1))
    uids = [pydicom.dcmread(BytesIO(d)).SOPInstanceUID for f in (again, other) for d in f.files.values()]
    assert len(set(uids)) == 4


@pytest.mark.parametrize("map_kind", MAPS)
@pytest.mark.parametrize("kind", [*VOLUMES, *PICTURES])
def test_other_judges_find_no_fault(kind: str, map_kind: str) -> None:
    data = written(kind, map_kind)
    assert complaints(data) == []
    strictly(data)
    dumped(data)


def test_the_part_of_the_body_is_that_of_the_source() -> None:
    def region(source: DicomSource) -> pydicom.Dataset | None:
        ds = parametric_map(case("cr")[0], source, stamp(), {})
        assert ds.get("BodyPartExamined") == source.first.get("BodyPartExamined")
        items = ds.SharedFunctionalGroupsSequence[0].get("FrameAnatomySequence")
        return items[0] if items else None

    with TemporaryDirectory() as place:
        _, source = case_of(write_source(Path(place), "cr"))
    coded = region(source)
    assert coded is not None
    assert coded.AnatomicRegionSequence == source.first.AnatomicRegionSequence
    del source.first.AnatomicRegionSequence
    named = region(source)
    assert named is not None
    assert (named.AnatomicRegionSequence[0].CodeValue, named.FrameLaterality) == ("816094009", "U")
    source.first.BodyPartExamined = "HAND"  # one of two, and nobody says which
    assert region(source) is None
    del source.first.BodyPartExamined
    assert region(source) is None


@pytest.mark.parametrize(("value", "meaning"), PARTS.values())
def test_parts_of_the_body_have_the_codes_of_the_standard(value: str, meaning: str) -> None:
    name = "".join(word.capitalize() for word in meaning.replace(",", "").split())
    assert getattr(codes.SCT, name) == Code(value, "SCT", meaning)
