"""Segmentations: the listed regions come back by other readers, on the planes of their source, each as what it is."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.pixels.utils import unpack_bits

from dicom_cases import PATIENT, case_of, stamp, write_source
from dicom_maps import PICTURES, VOLUMES, case, planes_of, written
from dicom_tools import complaints, dumped, strictly
from saliscope.core.errors import CannotSay
from saliscope.write.dicom.kinds import chosen
from saliscope.write.dicom.objects import dicom_files, encoded
from saliscope.write.dicom.segmentation import packed, segmentation

SOURCES = (*VOLUMES, *PICTURES, "cr-unspaced")


def regions_of(data: bytes, kind: str) -> np.ndarray:
    """Return the regions of a segmentation (planes, rows, columns), read by highdicom and placed by its references."""
    result, source = case(kind)
    ds = pydicom.dcmread(BytesIO(data))
    labels = np.zeros((len(source.planes), *result.values.shape[-2:]), np.uint8)
    masks = hd.seg.Segmentation.from_dataset(ds).pixel_array
    for mask, plane, groups in zip(masks, planes_of(data, source), ds.PerFrameFunctionalGroupsSequence, strict=True):
        labels[plane][mask > 0] = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    return labels


@pytest.mark.parametrize("kind", SOURCES)
def test_the_regions_come_back(kind: str) -> None:
    result, source = case(kind)
    data = written(kind, "segmentation")
    labels = result.labels if result.volume else result.labels[None]
    assert (regions_of(data, kind) == labels).all()
    assert labels.max() == 2
    # Every plane that holds a region, and no other.
    held = {plane for plane in range(len(labels)) if labels[plane].any()}
    assert set(planes_of(data, source)) == held


@pytest.mark.parametrize("kind", [k for k in VOLUMES if k != "multiframe"])
def test_a_reader_that_goes_by_source_finds_them(kind: str) -> None:
    result, source = case(kind)
    read = hd.seg.Segmentation.from_dataset(pydicom.dcmread(BytesIO(written(kind, "segmentation"))))
    uids = [str(source.of_plane(i).SOPInstanceUID) for i in range(len(source.planes)) if result.labels[i].any()]
    found = read.get_pixels_by_source_instance(uids, combine_segments=True)
    assert (found == result.labels[result.labels.any((1, 2))]).all()


@pytest.mark.parametrize("kind", VOLUMES)
def test_frames_lie_where_their_source_lies(kind: str) -> None:
    result, source = case(kind)
    data = written(kind, "segmentation")
    ds = pydicom.dcmread(BytesIO(data))
    for groups, plane in zip(ds.PerFrameFunctionalGroupsSequence, planes_of(data, source), strict=True):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float) * [-1, -1, 1]
        np.testing.assert_allclose(position, result.image.geometry.to_world([plane, 0, 0]), atol=1e-4)
        assert groups.FrameContentSequence[0].DimensionIndexValues[1] == plane + 1
    assert ds.FrameOfReferenceUID == source.first.FrameOfReferenceUID


@pytest.mark.parametrize("kind", ["ct-oblique", "cr"])
def test_simpleitk_reads_the_frames(kind: str, tmp_path: Path) -> None:
    result, source = case(kind)
    data = written(kind, "segmentation")
    (tmp_path / "seg.dcm").write_bytes(data)
    found = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "seg.dcm"))
    labels = result.labels if result.volume else result.labels[None]
    ds = pydicom.dcmread(BytesIO(data))
    for mask, plane, groups in zip(found, planes_of(data, source), ds.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert ((mask > 0) == (labels[plane] == number)).all()


@pytest.mark.parametrize("kind", SOURCES)
def test_other_judges_find_no_fault(kind: str) -> None:
    data = written(kind, "segmentation")
    assert complaints(data) == []
    strictly(data)
    dumped(data)


def test_a_segment_says_what_it_is() -> None:
    result, _ = case("ct-oblique")
    ds = pydicom.dcmread(BytesIO(written("ct-oblique", "segmentation")))
    assert [int(s.SegmentNumber) for s in ds.SegmentSequence] == [1, 2]
    assert (ds.SegmentationType, ds.SegmentsOverlap, ds.ContentQualification) == ("BINARY", "NO", "RESEARCH")
    for segment, region in zip(ds.SegmentSequence, result.reading["regions"], strict=True):
        assert segment.SegmentLabel == f"Region {region['number']}"
        assert segment.SegmentDescription == region["sentence"]
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        assert segment.SegmentAlgorithmName == "saliscope grad-cam"
        (category,) = segment.SegmentedPropertyCategoryCodeSequence
        (kind,) = segment.SegmentedPropertyTypeCodeSequence
        assert (category.CodeValue, kind.CodeValue) == ("309825002", "111099")  # no organ, no finding: a region
        assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "130403"
        assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "0.1.0"
    assert len({tuple(s.RecommendedDisplayCIELabValue) for s in ds.SegmentSequence}) == 2
    uids = {s.TrackingUID for s in ds.SegmentSequence}
    assert len(uids) == 2
    assert len({ds.SOPInstanceUID, ds.SeriesInstanceUID, *uids}) == 4


@pytest.mark.parametrize("kind", [*PICTURES, "cr-unspaced"])
def test_a_picture_keeps_how_it_lies_and_gets_no_place(kind: str) -> None:
    _, source = case(kind)
    ds = pydicom.dcmread(BytesIO(written(kind, "segmentation")))
    assert ds.PatientOrientation == (source.first.get("PatientOrientation") or "")
    assert "FrameOfReferenceUID" not in ds
    assert "PlanePositionSequence" not in ds.PerFrameFunctionalGroupsSequence[0]


def test_planes_of_unknown_thickness_get_none_that_is_made_up() -> None:
    def thin(kind: str) -> pydicom.Dataset:
        with TemporaryDirectory() as place:
            result, source = case_of(write_source(Path(place), kind))
        for header in source.headers:
            del header.SliceThickness
        return segmentation(result, source, stamp(), {})

    ds = thin("ct-oblique")
    assert ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 4  # from plane to plane
    assert complaints(encoded(ds)) == []
    with pytest.raises(CannotSay, match="thickness is unknown"):
        thin("ct-sheared")


def test_a_lone_slice_of_unknown_thickness_is_segmented_where_its_image_lies(tmp_path: Path) -> None:
    file = next(f for f in write_source(tmp_path / "all", "ct-oblique").rglob("*") if f.is_file())
    ds = pydicom.dcmread(file)
    del ds.SliceThickness
    (tmp_path / "one").mkdir()
    ds.save_as(tmp_path / "one" / "0.dcm")
    result, source = case_of(tmp_path / "one")
    made = segmentation(result, source, stamp(), {})
    assert "FrameOfReferenceUID" not in made
    assert "PlanePositionSequence" not in made.PerFrameFunctionalGroupsSequence[0]
    assert complaints(encoded(made)) == []


def test_no_region_is_no_segmentation() -> None:
    result, source = case("ct-oblique")
    with pytest.raises(CannotSay, match="no region is listed"):
        segmentation(replace(result, labels=np.zeros_like(result.labels)), source, stamp(), {})


def test_frames_whose_bits_fill_no_whole_byte_follow_without_gaps() -> None:
    labels = np.random.default_rng(1).integers(0, 4, (11, 5, 7)).astype(np.uint8)
    places = [(n, plane) for n in (1, 2, 3) for plane in range(11)]
    data = packed(labels, places, [1, 2, 3])
    assert len(data) % 2 == 0
    bits = np.asarray(unpack_bits(data))[: len(places) * 35].reshape(-1, 5, 7)
    for mask, (number, plane) in zip(bits, places, strict=True):
        assert (mask == (labels[plane] == number)).all()


@pytest.mark.parametrize("kind", ["ct", "ct-oblique"])
def test_it_is_what_highdicom_makes_where_highdicom_can(kind: str) -> None:
    result, source = case(kind)
    ours = segmentation(result, source, stamp(), {})
    segments = [hd.seg.SegmentDescription.from_dataset(s) for s in ours.SegmentSequence]
    theirs = hd.seg.Segmentation(
        list(source.headers), result.labels, "BINARY", segments, "2.25.1", 1, "2.25.2", 1, "m", "m", "1", "1"
    )
    assert {e.keyword for e in theirs} <= {e.keyword for e in ours}
    same = ("SOPClassUID", "ImageType", "BitsAllocated", "FrameOfReferenceUID", "SegmentSequence", "NumberOfFrames",
            "SharedFunctionalGroupsSequence", "PatientName", "SegmentsOverlap", "LossyImageCompression")  # fmt: skip
    for keyword in same:
        assert ours[keyword].value == theirs[keyword].value, keyword

    def frames(ds: pydicom.Dataset) -> dict[tuple[str, ...], bytes]:
        masks = ds.pixel_array
        return {
            (
                str(g.SegmentIdentificationSequence[0].ReferencedSegmentNumber),
                str(g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID),
                str(g.PlanePositionSequence[0].ImagePositionPatient),
            ): mask.tobytes()
            for g, mask in zip(ds.PerFrameFunctionalGroupsSequence, masks, strict=True)
        }

    assert frames(ours) == frames(theirs)


@pytest.mark.parametrize("kind", ["ct-oblique", "cr"])
def test_the_same_result_gives_the_same_bytes_of_the_same_patient(kind: str) -> None:
    with TemporaryDirectory() as place:
        again = dicom_files(*case_of(write_source(Path(place), kind)), chosen("segmentation"), stamp())
    data = again.files["segmentation.dcm"]
    assert data == written(kind, "segmentation")
    ds = pydicom.dcmread(BytesIO(data))
    for keyword in {*PATIENT} - {"SpecificCharacterSet"}:
        assert str(ds[keyword].value) == PATIENT[keyword], keyword
