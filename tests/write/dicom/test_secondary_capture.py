"""The pictures must come back pixel by pixel, name their sources in order, and show nothing of a hidden map."""

from io import BytesIO

import numpy as np
import pydicom
import pytest
from pictured import HIDING, changed, pictured, with_frames, written
from PIL import Image

from dicom_cases import stamp, write_source
from dicom_tools import complaints, dumped, orthanc, strictly  # noqa: F401
from saliscope.write.dicom import secondary_capture
from saliscope.write.dicom.secondary_capture import MULTI, SINGLE

ALL = ("ct", "ct-oblique", "ct-flipped", "ct-sheared", "dx", "cr", "cr-unspaced", "us")


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    return pictured(write_source(tmp_path_factory.mktemp("dx"), "dx"))


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    return pictured(write_source(tmp_path_factory.mktemp("ct-oblique"), "ct-oblique"))


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_of_source_gives_a_sound_object_and_the_same_bytes_again(tmp_path, kind):
    result, source = pictured(write_source(tmp_path, kind))
    data = written(result, source, "secondary-capture")
    assert complaints(data) == []
    assert "BurnedInAnnotation" in dumped(data)
    ds = strictly(data)
    assert data == written(result, source, "secondary-capture")
    frames = result.capture()
    assert np.array_equal(ds.pixel_array.reshape(frames.shape), frames)
    assert ds.SOPClassUID == (MULTI if result.volume else SINGLE)
    assert (ds.StudyInstanceUID, ds.PatientID) == (source.first.StudyInstanceUID, "ID-4711")
    assert ds.SeriesInstanceUID != source.first.SeriesInstanceUID


def test_a_picture_says_how_and_from_what_it_was_made(flat):
    result, source = flat
    ds = strictly(written(result, source, "secondary-capture"))
    assert (ds.ConversionType, list(ds.ImageType)) == ("WSD", ["DERIVED", "SECONDARY", "OTHER"])
    (item,) = ds.SourceImageSequence
    assert item.ReferencedSOPInstanceUID == source.first.SOPInstanceUID
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert list(ds.PatientOrientation) == ["L", "F"]
    assert (ds.BodyPartExamined, ds.BurnedInAnnotation) == ("CHEST", "YES")
    assert "grad-cam" in ds.DerivationDescription
    # The legend has no millimetres, and the pixels are enlarged.
    assert "PixelSpacing" not in ds
    assert ds.DateOfSecondaryCapture == ds.ContentDate == ds.InstanceCreationDate


def test_a_volume_names_the_source_of_each_frame_in_the_order_of_its_planes(deep):
    result, source = deep
    ds = strictly(written(result, source, "secondary-capture"))
    assert ds.NumberOfFrames == len(source.planes) == 9
    named = [item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence]
    assert named == [source.of_plane(i).SOPInstanceUID for i in range(9)]
    assert list(ds.PageNumberVector) == list(range(1, 10))
    assert [int(tag) for tag in ds.FrameIncrementPointer] == [0x00182001, 0x00182005]
    row, column = np.array(source.first.ImageOrientationPatient, float).reshape(2, 3)
    along = [np.array(source.of_plane(i).ImagePositionPatient, float) @ np.cross(row, column) for i in range(9)]
    steps = np.diff([float(v) for v in ds.SliceLocationVector])
    assert np.abs(steps) == pytest.approx(np.abs(np.diff(along)), abs=1e-3)


def test_frames_of_one_file_are_named_by_number(tmp_path):
    result, source = pictured(with_frames(tmp_path))
    assert source.multiframe
    ds = strictly(written(result, source, "secondary-capture"))
    assert [int(item.ReferencedFrameNumber) for item in ds.SourceImageSequence] == [f + 1 for _, f in source.planes]


def test_large_pictures_are_compressed_without_loss(deep, monkeypatch):
    result, source = deep
    plain = written(result, source, "secondary-capture")
    monkeypatch.setattr(secondary_capture, "PLAIN_BYTES", 2**20)
    data = written(result, source, "secondary-capture")
    ds = strictly(data)
    assert ds.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
    assert len(data) < len(plain) / 2
    assert np.array_equal(ds.pixel_array, result.capture())
    assert (ds.PhotometricInterpretation, ds.PlanarConfiguration) == ("RGB", 0)
    assert complaints(data) == []
    assert ds.SOPInstanceUID == pydicom.dcmread(BytesIO(plain)).SOPInstanceUID


@pytest.mark.parametrize("kind", ["dx", "ct-oblique"])
def test_a_hidden_map_gives_its_reason_and_no_heat(tmp_path, kind):
    result, source = pictured(write_source(tmp_path, kind), HIDING)
    data = written(result, source, "secondary-capture")
    ds = strictly(data)
    assert ds.SOPClassUID == SINGLE
    assert complaints(data) == []
    assert len(ds.SourceImageSequence) == len(source.planes)
    assert np.array_equal(ds.pixel_array, result.capture()[0])


@pytest.mark.parametrize(
    ("part", "side", "said"), [("BREAST", "R", "R"), ("KNEE", None, ""), ("ABDOMEN", None, None), (None, None, "")]
)
def test_the_side_is_that_of_the_source_empty_where_unknown_and_absent_where_there_is_none(tmp_path, part, side, said):
    result, source = pictured(changed(write_source(tmp_path, "dx"), BodyPartExamined=part, Laterality=side))
    data = written(result, source, "secondary-capture")
    assert strictly(data).get("Laterality") == said
    assert complaints(data) == []


def test_another_time_is_another_instance(flat):
    result, source = flat
    one, two = (strictly(written(result, source, "secondary-capture", stamp(n))) for n in (0, 1))
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert two.SeriesNumber == one.SeriesNumber + 10


def test_orthanc_shows_what_was_drawn(orthanc, flat, deep, monkeypatch):  # noqa: F811
    monkeypatch.setattr(secondary_capture, "PLAIN_BYTES", 4 * 2**20)  # the volume by run lengths, the picture plain
    for (result, source), frame in ((flat, None), (deep, 4)):
        name = orthanc.store(written(result, source, "secondary-capture"))
        answer = orthanc.preview(name, frame)
        assert answer.status_code == 200
        assert np.array_equal(np.asarray(Image.open(BytesIO(answer.content))), result.capture()[frame or 0])


def test_a_change_of_the_result_leaves_the_source_alone(flat):
    result, source = flat
    ds = secondary_capture.secondary_capture(result, source, stamp(), {})
    ds.PatientName, ds.StudyInstanceUID = "Nobody", "2.25.1"
    assert str(source.first.PatientName) == "Müller^Änne"
    assert source.first.StudyInstanceUID != "2.25.1"
