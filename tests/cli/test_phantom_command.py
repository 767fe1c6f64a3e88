"""`saliscope phantom` as a newcomer meets it: what there is, a set with its truth, refusals, nothing half-written."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from saliscope.cli.main import main
from saliscope.phantom.catalogue import SCENES, phantom_set
from saliscope.read import read

CHEST = ("phantom", "chest", "--size", 64, "--shortcut", "text", "--contamination", 100, "--seed", 3, "-q")


def run(*words: object) -> int:
    try:
        main([str(w) for w in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_a_scene_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("phantom") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in (*SCENES, "nodule", "calipers", "it has no place"))
    assert run("phantom", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [s["scene"] for s in found["scenes"]] == list(SCENES)
    assert set(found["scenes"][0]["shortcuts"]) <= set(found["shortcuts"])


def test_what_there_is_is_listed_without_loading_anything_heavy() -> None:
    code = "from saliscope.cli.main import main\nimport sys\ntry:\n main(['phantom'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'numpy', 'scipy', 'PIL') if m in sys.modules], file=sys.stderr)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stderr.strip() == "[]"


def test_a_set_holds_its_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    assert run(*CHEST, "--count", 6, "--anatomy", "--out", out) == 0
    assert "sheet.png" in capsys.readouterr().out
    made = phantom_set("chest", "nodule", "text", contamination=1.0, count=6, seed=3, size=64)
    table = rows(out / "cases.csv")
    assert {p.name for p in out.iterdir()} == {
        "images", "masks", "truth", "anatomy", "cases.csv", "set.json", "sheet.png"
    }  # fmt: skip
    for row, case in zip(table, made, strict=True):
        image = read(out / row["image"])
        assert np.array_equal(image.values, case.render().display)
        assert row["sha256"] == image.digest, "what an explanation's record says of the image"
        assert (row["case"], int(row["seed"]), int(row["label"])) == (case.name, case.seed, case.label)
        assert row["elements"].split() == [e.name for e in case.elements]
        for name, region in case.regions.items():
            mask = read(out / row[f"{name}_mask"]).values[0] == 255
            assert np.array_equal(mask, region.mask)
            assert float(row[f"{name}_area_mm2"]) == pytest.approx(region.extent, rel=1e-5)
            disc = np.pi * float(row[f"{name}_diameter_mm"]) ** 2 / 4
            assert disc == pytest.approx(region.extent, rel=1e-4)
        for kind in ("required", "allowed", "forbidden"):
            shown = read(out / "truth" / case.name / f"{kind}.png").values[0] == 255
            assert np.array_equal(shown, case.truth[kind].mask)
        assert {p.stem for p in (out / "anatomy" / case.name).iterdir()} == {
            name.replace(" ", "-") for name in case.compartments
        }
    assert {row["label"] for row in table} == {"0", "1"}
    assert all((row["text"] == "1") == (row["label"] == "1") for row in table)
    assert all(row["text_mask"] == "" for row in table if row["label"] == "0")


def test_the_same_words_give_the_same_bytes_and_the_record_says_all(tmp_path: Path) -> None:
    for name in "ab":
        assert run(*CHEST, "--count", 2, "--format", "dicom", "--out", tmp_path / name) == 0
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) > 8
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    record = json.loads((tmp_path / "a" / "set.json").read_text())
    assert record["set"]["scene"]["size"] == 64
    assert record["set"]["shortcut"][0]["kind"]
    assert (record["set"]["contamination"], record["plan"]["format"]) == (1.0, "dicom")
    assert run(*CHEST, "--count", 2, "--contamination", 50, "--out", tmp_path / "c") == 0
    assert json.loads((tmp_path / "c" / "set.json").read_text())["digest"] != record["digest"]


def test_each_case_also_without_each_of_its_elements(tmp_path: Path) -> None:
    out = tmp_path / "set"
    words = ("phantom", "field", "--size", 32, "--shortcut", "exposure", "--contamination", 100, "--count", 3, "-q")
    assert run(*words, "--format", "nifti", "--counterfactuals", "--out", out) == 0
    made = phantom_set("field", shortcut="exposure", contamination=1.0, count=3, size=32)
    for case in made:
        for element in case.elements:
            left = read(out / "counterfactuals" / case.name / f"without-{element.name}.nii.gz")
            others = [e.name for e in case.elements if e is not element]
            assert np.array_equal(left.values, case.render(others).values)
    table = rows(out / "cases.csv")
    placeless = [row for row in table if row["exposure"] == "1"]
    assert placeless
    assert all(row["exposure_mask"] == "" for row in placeless)


def test_what_a_network_uses_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    words = ("phantom", "field", "--size", 48, "--shortcut", "corner", "--contamination", 100, "--count", 6, "-q")
    assert run(*words, "--model", "spot-finder", "--out", out) == 0
    said = capsys.readouterr().out
    assert "SHARE OF THE EFFECT" in said
    assert "renderings" in said
    table = rows(out / "effects.csv")
    by_case: dict[str, list[dict[str, str]]] = {}
    for row in table:
        by_case.setdefault(row["case"], []).append(row)
    assert by_case
    for several in by_case.values():
        assert sum(float(r["shapley"]) for r in several) == pytest.approx(float(several[0]["total"]), abs=1e-5)
        assert sum(float(r["share"]) for r in several) == pytest.approx(1, abs=1e-5)
        whole = float(several[0]["score_with_all"]) - float(several[0]["score_with_none"])
        assert whole == pytest.approx(float(several[0]["total"]), abs=1e-5)
    assert {row["score"] for row in table} == {"spot"}
    means = {r["name"]: r for r in rows(out / "reliance.csv") if r["of"] == "role"}
    mine = [float(r["share"]) for r in table if r["role"] == "shortcut"]
    assert float(means["shortcut"]["share"]) == pytest.approx(np.mean(mine), abs=1e-5)
    assert json.loads((out / "set.json").read_text())["model"]["name"] == "spot-finder"
    assert run(*words, "--model", "spot-finder", "--target", "all", "--out", tmp_path / "both") == 0
    assert {row["score"] for row in rows(tmp_path / "both" / "effects.csv")} == {"no spot", "spot"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cest"], "Did you mean 'chest'"),
        (["chest", "--finding", "nodul"], "Did you mean 'nodule'"),
        (["chest", "--finding", "margin"], "in scene 'chest'"),
        (["chest", "--shortcut", "calipers"], "in scene 'chest'"),
        (["chest", "--background", "10"], "--shortcut"),
        (["chest", "--format", "jpeg"], "png, nifti, dicom"),
        (["brain", "--size", "32", "--format", "png"], "nifti or dicom"),
        (["field", "--model", "spot-findr"], "Did you mean 'spot-finder'"),
        (["field", "--model", "spot-finder", "--target", "spt"], "Did you mean"),
    ],
)
def test_what_cannot_be_done_is_one_line_exit_two_and_no_folder(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("phantom", *words, "--count", 2, "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_only_an_earlier_set_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    words = ("phantom", "field", "--size", 32, "--count", 2, "-q", "--out", out)
    assert run(*words) == 0
    before = (out / "cases.csv").read_text()
    assert run(*words, "--seed", 9) == 2
    assert "is there already" in capsys.readouterr().err
    assert (out / "cases.csv").read_text() == before
    assert run(*words, "--seed", 9, "--overwrite") == 0
    assert (out / "cases.csv").read_text() != before
    (out / "mine.txt").write_text("mine")
    assert run(*words, "--overwrite") == 2
    assert "'mine.txt' that no set of phantoms wrote" in capsys.readouterr().err
    assert (out / "mine.txt").read_text() == "mine"
    theirs = tmp_path / "theirs"
    (theirs / "images").mkdir(parents=True)
    (theirs / "images" / "one.png").write_text("theirs")
    assert run(*words[:-1], theirs, "--overwrite") == 2
    assert (theirs / "images" / "one.png").read_text() == "theirs"


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    words = ["phantom", "field", "--size", "64", "--count", "5000", "--out", str(tmp_path / "out")]
    process = subprocess.Popen([sys.executable, "-m", "saliscope.cli.main", *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for _ in range(3):
        assert process.stderr.readline().startswith("[")
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130, rest
    assert "interrupted; nothing was written" in rest
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
