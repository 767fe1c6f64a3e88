"""Sources whose identifiers were emptied: what stands in for them, and what is said of it."""

from __future__ import annotations

import warnings

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset

from saliscope.write.dicom.unnamed import named


def test_what_is_no_uid_is_taken_from_the_file_and_quoted_nowhere() -> None:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.file_meta.MediaStorageSOPInstanceUID = "hash-of-an-identifier"
    with warnings.catch_warnings(record=True) as quoted:
        warnings.simplefilter("always")
        said = named([ds])
    assert not quoted, "pydicom quotes the value"
    assert ds.SOPInstanceUID == "hash-of-an-identifier", "it is refused where results are made, in words of ours"
    assert said[0].startswith("the source names no study and no series")
