"""Where Parametric Maps lie: at the millimetres of their source, each frame beside its own, and nothing made up."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import highdicom as hd
import nibabel
import numpy as np
import pydicom
import pytest

from dicom_cases import case_of, stamp, write_source
from dicom_maps import MAPS, PICTURES, VOLUMES, case, planes_of, written
from dicom_tools import tool
from saliscope.write.dicom.kinds import chosen
from saliscope.write.dicom.objects import dicom_files
from saliscope.write.dicom.parametric_map import parametric_map
from saliscope.write.dicom.source import DicomSource


@pytest.mark.parametrize("kind", VOLUMES)
def test_planes_lie_where_their_source_lies(kind: str) -> None:
    result, source = case(kind)
    data = written(kind, "parametric-map")
    ds = pydicom.dcmread(BytesIO(data))
    shared, grid = ds.SharedFunctionalGroupsSequence[0], result.image.geometry
    ras = np.diag([-1, -1, 1])
    for groups, plane in zip(ds.PerFrameFunctionalGroupsSequence, planes_of(data, source), strict=True):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        np.testing.assert_allclose(ras @ position, grid.to_world([plane, 0, 0]), atol=1e-4)
        if kind != "multiframe":
            assert list(position) == list(source.of_plane(plane).ImagePositionPatient)
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    np.testing.assert_allclose(cosines @ ras, [grid.direction[2], grid.direction[1]], atol=1e-6)
    np.testing.assert_allclose(np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float), grid.spacing[1:])
    assert ds.FrameOfReferenceUID == source.first.FrameOfReferenceUID
    measured = shared.PixelMeasuresSequence[0]
    assert ("SpacingBetweenSlices" in measured) == (kind != "ct-sheared")  # slices of a gantry tilt are no box
    assert (ds.get("DimensionOrganizationType") == "3D") == (kind != "ct-sheared")


def test_another_reader_finds_the_same_box() -> None:
    result, _ = case("ct-oblique")
    read = hd.pm.ParametricMap.from_dataset(pydicom.dcmread(BytesIO(written("ct-oblique", "parametric-map"))))
    volume = read.get_volume(apply_real_world_transform=True)
    to_ras = np.diag([-1, -1, 1, 1]) @ volume.affine
    for index in ([0, 0, 0], [8, 3, 19], [4, 23, 7]):
        world = (to_ras @ [*index, 1])[:3]
        place = result.image.geometry.to_index(world)
        np.testing.assert_allclose(place, np.rint(place), atol=1e-3)  # a position is written in 16 characters
        assert volume.array[tuple(index)] == result.values[tuple(np.rint(place).astype(int))]


@pytest.mark.parametrize("map_kind", MAPS)
def test_dcm2niix_puts_it_at_the_same_millimetres(map_kind: str, tmp_path: Path) -> None:
    program = tool("dcm2niix")
    result, _ = case("ct-oblique", signed=True)
    (tmp_path / "map.dcm").write_bytes(written("ct-oblique", map_kind, signed=True))
    subprocess.run([program, "-s", "y", "-f", "out", "-o", tmp_path, tmp_path / "map.dcm"], check=True, timeout=60)
    read = nibabel.load(tmp_path / "out.nii")
    values = np.asarray(read.dataobj, dtype=np.float64)
    peak = np.unravel_index(np.argmax(values), values.shape)
    where = (read.affine @ [*peak, 1])[:3]
    wanted = result.image.geometry.to_world(np.unravel_index(np.argmax(result.values), result.values.shape))
    np.testing.assert_allclose(where, wanted, atol=1e-3)


@pytest.mark.parametrize("map_kind", MAPS)
@pytest.mark.parametrize("kind", ["ct", "ct-oblique", "multiframe"])
def test_what_ohif_needs_is_there(kind: str, map_kind: str) -> None:
    _, source = case(kind)
    ds = pydicom.dcmread(BytesIO(written(kind, map_kind)))
    assert (ds.Rows, ds.Columns) == (source.first.Rows, source.first.Columns)
    (series,) = ds.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.first.SeriesInstanceUID
    named = {i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence}
    assert named == {h.SOPInstanceUID for h in source.headers}
    shared = ds.SharedFunctionalGroupsSequence[0]
    assert len(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == 6
    for groups in ds.PerFrameFunctionalGroupsSequence:
        assert groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID in named
        assert len(groups.PlanePositionSequence[0].ImagePositionPatient) == 3


@pytest.mark.parametrize("map_kind", MAPS)
def test_references_follow_the_planes_whatever_the_order_of_the_files(map_kind: str) -> None:
    result, source = case("ct-oblique")
    n = len(source.headers)
    turned = DicomSource(source.headers[::-1], tuple((n - 1 - header, frame) for header, frame in source.planes))
    data = dicom_files(result, turned, chosen(map_kind), stamp()).files[f"{map_kind}.dcm"]
    assert planes_of(data, source) == planes_of(data, turned) == list(range(n))
    ds = pydicom.dcmread(BytesIO(data))
    for plane, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        said = source.of_plane(plane).ImagePositionPatient
        assert list(groups.PlanePositionSequence[0].ImagePositionPatient) == list(said)


@pytest.mark.parametrize("map_kind", MAPS)
@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_without_a_place_gets_none(kind: str, map_kind: str) -> None:
    result, source = case(kind)
    ds = pydicom.dcmread(BytesIO(written(kind, map_kind)))
    shared, frame = ds.SharedFunctionalGroupsSequence[0], ds.PerFrameFunctionalGroupsSequence[0]
    assert ds.NumberOfFrames == 1
    assert ds.FrameOfReferenceUID not in ("", source.frame_of_reference)
    assert "PlaneOrientationSequence" not in shared
    assert "PlanePositionSequence" not in frame
    (measures,) = shared.PixelMeasuresSequence
    np.testing.assert_allclose([float(s) for s in measures.PixelSpacing], result.image.geometry.spacing)
    assert "SliceThickness" not in measures
    assert "SpacingBetweenSlices" not in measures
    assert ds.get("ImagerPixelSpacing") == source.first.get("ImagerPixelSpacing")
    assert ds.PatientOrientation == (source.first.get("PatientOrientation") or "")
    # Both maps of a result lie in one frame of reference, those of another result in another.
    others = {pydicom.dcmread(BytesIO(written(k, m))).FrameOfReferenceUID for k in PICTURES for m in MAPS}
    assert len(others) == len(PICTURES)


def test_a_slice_whose_thickness_nobody_knows_has_none() -> None:
    with TemporaryDirectory() as place:
        result, source = case_of(write_source(Path(place), "ct-oblique"))
    for header in source.headers:
        del header.SliceThickness
    ds = parametric_map(result, source, stamp(), {})
    assert "SliceThickness" not in ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
