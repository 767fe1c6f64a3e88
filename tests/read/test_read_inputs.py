"""What may be named: files, folders, zips, globs, lists; and how cases are named."""

import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from saliscope.core.errors import InputError
from saliscope.read import discover, read
from saliscope.read.naming import cleaned


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.png", "a.png", "deeper/a.png"):
        Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(folder / name)
    for name in ("README", "notes.csv", ".DS_Store", "Thumbs.db", ".hidden.png"):
        (folder / name).write_bytes(b"not an image")
    return folder


def test_a_folder_is_walked_in_order_and_clutter_is_skipped(pictures: Path) -> None:
    sources, failures = discover([pictures])
    assert [s.paths[0].relative_to(pictures).as_posix() for s in sources] == ["a.png", "b.png", "deeper/a.png"]
    assert not failures


def test_names_are_unique_and_the_same_each_time(pictures: Path) -> None:
    first, again = ([s.name for s in discover([pictures], key=b"k")[0]] for _ in range(2))
    assert first == again
    assert len(set(first)) == 3
    assert "b" in first
    assert all(n.startswith(("a-", "b")) for n in first)


def test_one_file_twice_is_one_case(pictures: Path) -> None:
    assert len(discover([pictures, pictures / "a.png"])[0]) == 3


def test_clutter_that_is_named_is_a_failure(pictures: Path) -> None:
    sources, failures = discover([pictures / "README", pictures / "a.png"])
    assert len(sources) == 1
    assert [f.path.name for f in failures] == ["README"]
    assert "DICOM, NIfTI" in str(failures[0].error)


def test_a_bad_file_among_good_ones_is_a_failure(pictures: Path) -> None:
    (pictures / "broken.dcm").write_bytes(b"x" * 200)
    (pictures / "empty.nii").write_bytes(b"")
    sources, failures = discover([pictures])
    assert len(sources) == 3
    assert sorted(f.path.name for f in failures) == ["broken.dcm", "empty.nii"]


def test_globs(pictures: Path) -> None:
    assert [s.name for s in discover([str(pictures / "[ab].png")])[0]] == ["a", "b"]
    assert len(discover([f"{pictures}/**/*.png"])[0]) == 3
    _, failures = discover([str(pictures / "*.tif")])
    assert "no file matches" in str(failures[0].error)


@pytest.mark.parametrize("name", ["@list", "list.txt", "list.csv", "plain.csv"])
def test_lists(pictures: Path, name: str) -> None:
    lines = {
        "@list": "# a list\na.png\n\ndeeper/a.png\nmissing.png\n",
        "list.txt": f"{pictures}/a.png\ndeeper/a.png\nmissing.png",
        "list.csv": "patient,Path\nDoe,a.png\nDoe,deeper/a.png\nDoe,missing.png\n",
        "plain.csv": "a.png\ndeeper/a.png\nmissing.png\n",
    }
    (pictures / name.lstrip("@")).write_text(lines[name])
    given = f"@{pictures}/list" if name == "@list" else pictures / name
    sources, failures = discover([given])
    assert [s.paths[0].relative_to(pictures).as_posix() for s in sources] == ["a.png", "deeper/a.png"]
    assert [f.path.name for f in failures] == ["missing.png"]


def test_a_table_without_a_column_of_paths_is_refused_and_not_repeated(pictures: Path) -> None:
    (pictures / "cohort.csv").write_text("patient,age\nDOE^JANE,51\n")
    _, failures = discover([pictures / "cohort.csv"])
    assert len(failures) == 1
    assert "DOE" not in str(failures[0].error)


def test_prose_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("Some words.\n" + "long " * 200)
    with pytest.raises(InputError, match="without one path that is there"):
        read(tmp_path / "README.txt")


def test_a_missing_file_is_a_failure_with_advice(pictures: Path) -> None:
    _, failures = discover([pictures / "aa.png", pictures / "nowhere" / "x.png"])
    assert "Did you mean" in str(failures[0].error)
    assert "'a.png'" in str(failures[0].error)
    assert "no folder 'nowhere'" in str(failures[1].error)


def test_an_empty_folder_and_one_of_clutter_are_failures(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "clutter").mkdir()
    (tmp_path / "clutter" / "README").write_text("x")
    for name in ("empty", "clutter"):
        sources, failures = discover([tmp_path / name])
        assert not sources
        assert len(failures) == 1
        with pytest.raises(InputError):
            read(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(pictures: Path) -> None:
    (pictures / "a.png").chmod(0)
    _, failures = discover([pictures])
    assert "no permission" in str(failures[0].error)


def test_links_to_folders_are_not_followed(pictures: Path) -> None:
    (pictures / "loop").symlink_to(pictures, target_is_directory=True)
    assert len(discover([pictures])[0]) == 3


def test_a_good_image_beside_a_bad_one_says_so(pictures: Path) -> None:
    shutil.rmtree(pictures / "deeper")
    (pictures / "b.png").write_bytes(b"broken")
    assert any("1 file(s) beside it could not be read" in n for n in read(pictures).notes)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("scan.nii.gz", "scan"),
        ("a b/../c d.png", "c-d"),
        ("CON.png", "image-CON"),
        ("com1.x.png", "image-com1.x"),
        ("..png", "image"),
        ("---.png", "image"),
        ("\u202egnp.exe.png", "gnp.exe"),
        ("héllo\n.png", "h-llo"),
        ("x" * 300 + ".png", "x" * 64),
    ],
)
def test_cleaned_names(given: str, expected: str) -> None:
    assert cleaned(Path(given)) == expected


def test_dicom_names_depend_on_the_key_only_and_not_on_the_path(make, tmp_path: Path) -> None:
    path = make()
    moved = tmp_path / "elsewhere.dcm"
    shutil.copy(path, moved)
    named = {k: discover([p], key=k)[0][0].name for k, p in ((b"1", path), (b"2", path))}
    assert named[b"1"] != named[b"2"]
    assert discover([moved], key=b"1")[0][0].name == named[b"1"]
    prefix, _, digits = named[b"1"].partition("-")
    assert prefix == "ct"
    assert len(digits) == 12


def test_the_key_is_made_once_and_is_private(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = make()
    first = read(path).name
    stored = tmp_path / "config" / "saliscope" / "case-key"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert [p.name for p in stored.parent.iterdir()] == ["case-key"]
    assert read(path).name == first
    stored.unlink()
    assert read(path).name != first
    monkeypatch.setenv("SALISCOPE_CASE_KEY", "a team's own")
    assert read(path).name == discover([path], key=b"a team's own")[0][0].name


def test_names_that_cannot_last_are_said_to(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from saliscope.read import naming

    (tmp_path / "file").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    path = make()
    image = read(path)
    assert any("not those of the next" in n for n in image.notes)
    assert read(path).name == image.name
    naming._passing_key.cache_clear()
    assert read(path).name != image.name
    naming._passing_key.cache_clear()


def test_a_damaged_key_file_is_refused(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "saliscope").mkdir(parents=True)
    (tmp_path / "config" / "saliscope" / "case-key").write_text("short")
    with pytest.raises(InputError, match="damaged"):
        read(make())


def test_objects_without_an_image_beside_one_are_passed_over_and_said(data: Path, tmp_path: Path) -> None:
    shutil.copy(str(get_testdata_file("CT_small.dcm")), tmp_path / "ct.dcm")
    shutil.copy(data / "dicom" / "liver.dcm", tmp_path / "seg.dcm")
    (source,), failures = discover([tmp_path], key=b"k")
    assert not failures
    assert any("1 DICOM object(s) beside it hold no image" in note for note in source.load().notes)
    (tmp_path / "seg.dcm").unlink()
    assert not any("beside it" in note for note in discover([tmp_path], key=b"k")[0][0].load().notes)
