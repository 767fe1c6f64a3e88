"""The page must come back byte by byte, with what it is of."""

import pytest
from pictured import HIDING, changed, pictured, with_frames, written

from dicom_cases import write_source
from dicom_tools import complaints, dumped, orthanc, strictly  # noqa: F401


@pytest.mark.parametrize("kind", ["ct", "dx", "cr-unspaced", "us"])
def test_every_kind_of_source_gives_a_sound_object_and_the_same_bytes_again(tmp_path, kind):
    result, source = pictured(write_source(tmp_path, kind))
    data = written(result, source, "pdf")
    assert complaints(data) == []
    assert "application/pdf" in dumped(data)
    ds = strictly(data)
    assert data == written(result, source, "pdf")
    assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength] == result.report()
    assert len(ds.EncapsulatedDocument) % 2 == 0
    named = [item.ReferencedSOPInstanceUID for item in ds.SourceInstanceSequence]
    assert named == [h.SOPInstanceUID for h in source.headers]
    assert (ds.Modality, ds.DocumentTitle) == ("DOC", "grad-cam map: nodule (research)")


def test_no_identifier_is_in_the_page(tmp_path):
    result, _ = pictured(write_source(tmp_path, "dx"))
    page = result.report()
    assert not [word for word in (b"ller", b"4711", b"ACC-1", b"House", b"19500102") if word in page]


@pytest.mark.parametrize(("said", "answer"), [("NO", "NO"), ("YES", "YES"), (None, "YES")])
def test_what_is_burnt_into_the_source_is_burnt_into_the_page(tmp_path, said, answer):
    result, source = pictured(changed(write_source(tmp_path, "dx"), BurnedInAnnotation=said))
    assert strictly(written(result, source, "pdf")).BurnedInAnnotation == answer


def test_a_file_of_many_frames_is_named_once(tmp_path):
    result, source = pictured(with_frames(tmp_path))
    (item,) = strictly(written(result, source, "pdf")).SourceInstanceSequence
    assert item.ReferencedSOPInstanceUID == source.first.SOPInstanceUID
    assert "ReferencedFrameNumber" not in item


def test_orthanc_hands_out_the_page_of_a_hidden_map(orthanc, tmp_path):  # noqa: F811
    result, source = pictured(write_source(tmp_path, "dx"), HIDING)
    name = orthanc.store(written(result, source, "pdf"))
    answer = orthanc.get(f"/instances/{name}/pdf")
    assert answer.status_code == 200
    assert answer.content.rstrip(b"\0") == result.report().rstrip(b"\0")
