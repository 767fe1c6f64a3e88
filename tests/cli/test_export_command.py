"""`explain --dicom` and `export`: the same objects from both, told before they are written, and refusals in a line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

import saliscope
from dicom_cases import write_source
from saliscope.cli.main import main
from saliscope.core.errors import InputError, WriteError
from saliscope.write.dicom.kinds import KINDS, PROFILES


def run(*words: object) -> int:
    try:
        main([str(w) for w in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def objects(folder: Path) -> dict[str, pydicom.Dataset]:
    return {p.stem: pydicom.dcmread(p) for p in sorted(folder.rglob("*.dcm"))}


def told(ds: pydicom.Dataset) -> str:
    """The text of an object without its times and identifiers; numbers as far as a record keeps them."""
    lines = [x for x in str(ds).splitlines() if not x.startswith("(0002,")]
    lines = [re.sub(r"\d+\.\d{6,}", lambda m: f"{float(m[0]):.6g}", x) for x in lines]
    return "\n".join(x for x in lines if not any(f" {vr}: " in x for vr in ("UI", "DA", "TM", "DT")))


@pytest.fixture(scope="module")
def ultrasound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("us"), "us")


@pytest.fixture(scope="module")
def explained(ultrasound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained") / "out"
    assert run("explain", ultrasound, "-m", "spot-finder", "--dicom", "pacs-basic+archive+pdf", "-o", out, "-q") == 0
    return out


def test_explain_writes_the_objects_of_a_profile_beside_each_map(explained: Path) -> None:
    (folder,) = explained.glob("*/*/dicom")
    wanted = {*PROFILES["pacs-basic"].kinds, *PROFILES["archive"].kinds, "pdf"}
    assert {p.stem for p in folder.glob("*.dcm")} == wanted
    listed = json.loads((folder / "objects.json").read_text())
    assert {name.removesuffix(".dcm") for name in listed["objects"]} == wanted
    assert listed["left_out"] == {}


def test_what_shows_where_is_told_before_anything_is_written(
    ultrasound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("explain", ultrasound, "-m", "spot-finder", "--dicom", "pacs-basic", "-o", tmp_path / "o", "--json") == 0
    out, err = capsys.readouterr()
    for name in PROFILES["pacs-basic"].kinds:
        assert KINDS[name].title in err
    assert json.loads(out)["cases"][0]["dicom"][0].startswith("DICOM: secondary-capture")
    run("explain", ultrasound, "-m", "spot-finder", "--dicom", "pacs-basic", "-o", tmp_path / "p", "-q")
    assert "Secondary Capture" not in capsys.readouterr().err


def test_a_run_with_other_objects_is_another_run(
    explained: Path, ultrasound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("explain", ultrasound, "-m", "spot-finder", "-o", explained, "-q")
    assert run(*words, "--dicom", "pacs-basic") == 2
    assert "another network, weights or view" in capsys.readouterr().err
    assert run(*words, "--dicom", "pacs-basic+archive+pdf") == 0
    assert "1 of them before" in capsys.readouterr().out


def test_export_writes_what_explain_would_have(explained: Path, ultrasound: Path, tmp_path: Path) -> None:
    words = ("export", explained, ultrasound, "--dicom", "pacs-basic+archive+pdf", "-o", tmp_path / "out", "-q")
    assert run(*words) == 0
    one, other = objects(explained), objects(tmp_path / "out")
    assert one.keys() == other.keys()
    for kind, ds in one.items():
        if kind != "pdf":
            assert told(ds) == told(other[kind]), kind
        assert ds.SOPInstanceUID != other[kind].SOPInstanceUID, "an object of its own, with a time of its own"
        assert ds.StudyInstanceUID == other[kind].StudyInstanceUID
    # A record keeps nine digits of a grid, so a value between two cells may differ in its last bit.
    values, again = one["parametric-map"].pixel_array, other["parametric-map"].pixel_array
    np.testing.assert_allclose(values, again, rtol=0, atol=1e-6 * values.max())


def test_export_finds_its_images_by_what_is_in_them(
    explained: Path, ultrasound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_source(tmp_path / "other", "dx")
    assert run("export", explained, tmp_path / "other", "-o", tmp_path / "out", "-q") == 2
    assert "is not among those given" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run("export", explained, tmp_path / "other", ultrasound, "-o", tmp_path / "out", "-q") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--dicom", "pacs-basics"), "Did you mean 'pacs-basic'"),
        (("--dicom", "ohif-volume"), "Choose pacs-basic, ohif-2d"),
        (("--pseudonymise",), "--pseudonymise without --dicom"),
    ],
)
def test_what_cannot_be_is_refused_before_the_network_runs(
    words: tuple[str, ...], said: str, ultrasound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("explain", ultrasound, "-m", "spot-finder", "-o", tmp_path / "out", "-q", *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_picture_has_no_study_to_go_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from saliscope.study.drawing import write_ultrasound

    picture = write_ultrasound(tmp_path)
    assert run("explain", picture, "-m", "spot-finder", "--dicom", "archive", "-o", tmp_path / "out", "-q") == 2
    assert "names no patient and no study" in capsys.readouterr().err


def test_the_list_names_every_profile_and_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "--list") == 0
    said = capsys.readouterr().out
    for name in (*PROFILES, *KINDS):
        assert name in said
    assert run("export") == 2


def test_a_source_without_study_and_series_gets_one_of_its_own_and_this_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_source(tmp_path / "in", "ct")
    for path in (tmp_path / "in").rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
            setattr(ds, keyword, "")
        ds.save_as(path, enforce_file_format=False)
    words = ("explain", tmp_path / "in", "-m", "spot-finder-3d", "--dicom", "slicer+structured-report", "-q")
    assert run(*words, "-o", tmp_path / "out") == 0
    assert "names no study" in capsys.readouterr().out
    found = objects(tmp_path / "out")
    assert len({ds.StudyInstanceUID for ds in found.values()}) == 1
    assert str(found["segmentation"].StudyInstanceUID).startswith("2.25.")
    frames = found["parametric-map"].PerFrameFunctionalGroupsSequence
    referred = [f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID for f in frames]
    assert set(referred) == {
        pydicom.dcmread(p).file_meta.MediaStorageSOPInstanceUID for p in tmp_path.glob("in/**/*.dcm")
    }


def test_code_writes_the_same(ultrasound: Path, tmp_path: Path) -> None:
    found = saliscope.explain(ultrasound, "spot-finder", ["grad-cam", "gradient"])
    assert isinstance(found, list)
    paths = saliscope.save_dicom(found, ultrasound, tmp_path / "out", "archive")
    assert [p.parent.name for p in paths] == ["spot.grad-cam"] * 2 + ["spot.gradient"] * 2
    assert len({pydicom.dcmread(p).SOPInstanceUID for p in paths}) == 4
    assert len({pydicom.dcmread(p).SeriesNumber for p in paths}) == 4
    with pytest.raises(WriteError, match="is there already"):
        saliscope.save_dicom(found[0], ultrasound, tmp_path / "out")
    with pytest.raises(InputError, match="no such file"):
        saliscope.save_dicom(found[0], tmp_path / "nothing-here", tmp_path / "out2")


def test_an_image_whose_second_map_fails_leaves_nothing_of_its_first(
    ultrasound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saliscope.write.dicom import objects as room

    write_source(tmp_path / "dx", "dx")
    words = ("-m", "spot-finder", "--method", "grad-cam,gradient", "-o", tmp_path / "run", "-q")
    assert run("explain", ultrasound, tmp_path / "dx", *words) == 0
    plain = room.dicom_files

    def failing(result, source, kinds, stamp):
        if stamp.number == 1 and result.image.modality == "US":
            raise WriteError("no room", do="Make some.")
        return plain(result, source, kinds, stamp)

    monkeypatch.setattr(room, "dicom_files", failing)
    words = ("--dicom", "archive", "-o", tmp_path / "out", "-q")
    assert run("export", tmp_path / "run", ultrasound, tmp_path / "dx", *words) == 3
    (case,) = (tmp_path / "out").iterdir()
    assert case.name.startswith("dx-")
    assert len(list(case.rglob("*.dcm"))) == 4
