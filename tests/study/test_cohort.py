"""A cohort is what a table says of images, and nothing is matched that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from saliscope.core.errors import InputError
from saliscope.read import Source
from saliscope.study.cohort import group


def sources(*names: str) -> list[Source]:
    return [Source("picture", (Path("images") / name,), f"case-{i}") for i, name in enumerate(names)]


@pytest.fixture
def table(tmp_path: Path):
    def written(text: str) -> Path:
        path = tmp_path / "cohort.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def test_rows_find_their_images_by_file_name(table) -> None:
    whole = group(
        sources("a.png", "b.nii.gz", "c.png"),
        table("image,patient,label,site\n/elsewhere/a.png,p1,1,north\nb,p1,0,\n"),
        None,
    )
    assert [m.row["image"] for m in whole.members] == ["/elsewhere/a.png", "b"]
    assert [m.patient for m in whole.members] == ["p1", "p1"]
    assert [m.label for m in whole.members] == ["1", "0"]
    assert [dict(m.metadata) for m in whole.members] == [{"site": "north"}, {"site": ""}]
    assert whole.patients == 1
    assert whole.excluded == {"no row in the table": 1}
    assert whole.source == "cohort.csv"


def test_without_a_table_every_image_stands_for_itself() -> None:
    whole = group(sources("a.png", "b.png"), None, None)
    assert [m.patient for m in whole.members] == ["case-0", "case-1"]
    assert whole.patients is None
    assert whole.excluded == {}


def test_a_patient_that_is_not_named_for_all_is_not_counted(table) -> None:
    whole = group(sources("a.png", "b.png"), table("image,patient\na.png,p1\nb.png,\n"), None)
    assert whole.patients is None
    assert [m.patient for m in whole.members] == ["p1", "case-1"]


def test_a_series_is_found_by_its_folder(table) -> None:
    series = Source("dicom-series", (Path("ct/p7/1.dcm"), Path("ct/p7/2.dcm")), "case-0")
    assert group([series], table("image,label\np7,1\n"), None).members[0].label == "1"
    with pytest.raises(InputError, match="none of the images"):
        group([series], table("image,label\n1.dcm,1\n"), None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,label\na.png,1\n", "column"),
        ("image,label\na.png,1\na.png,0\n", "one row for each image"),
        ("image,label\n,1\n", "one row for each image"),
        ("image,label\na.png,1,2\n", "one row for each image"),
        ("image,label\nz.png,1\n", "none of the images"),
        ("", "column"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(table, text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        group(sources("a.png"), table(text), None)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        group(sources("a.png"), tmp_path / "no.csv", None)


def test_masks_are_named_like_their_images(tmp_path: Path) -> None:
    for name in ("a.png", "b.nii.gz", ".hidden"):
        (tmp_path / name).touch()
    whole = group(sources("a.jpg", "b.nii", "c.png"), None, tmp_path)
    assert [m.mask and m.mask.name for m in whole.members] == ["a.png", "b.nii.gz", None]
    with pytest.raises(InputError, match="none of the images"):
        group(sources("z.png"), None, tmp_path)
