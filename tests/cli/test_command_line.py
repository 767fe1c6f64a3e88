"""The command line as a newcomer meets it: exit codes, one clear line, JSON, resuming, nothing half-written."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliscope.cli.main import main
from saliscope.methods import METHODS
from saliscope.study.drawing import SPOTS_MM, lesion_in_speckle


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "one.png"
    path.parent.mkdir()
    Image.fromarray(lesion_in_speckle(96)).save(path)
    return path


def run(*words: object) -> int:
    try:
        main([str(w) for w in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_one_image_becomes_a_folder(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("explain", picture, "--model", "spot-finder", "--target", "spot", "--out", out) == 0
    said = capsys.readouterr()
    assert "Open" in said.out
    assert "[1/1] one" in said.err
    assert {p.name for p in out.iterdir()} == {"run.json", "maps.csv", "index.html", "one"}
    assert {p.name for p in (out / "one").iterdir()} == {"page.html", "thumbnail.png", "case.json", "spot.grad-cam"}
    inside = {p.name for p in (out / "one" / "spot.grad-cam").iterdir()}
    assert inside == {"overlay.png", "map.nii.gz", "map_native.nii.gz", "explanation.json"}
    record = json.loads((out / "run.json").read_text())
    assert record["state"] == "complete"
    assert record["plan"]["targets"] == ["spot"]


def test_the_same_run_twice_gives_the_same_bytes(picture: Path, tmp_path: Path) -> None:
    words = ("explain", picture, "-m", "spot-finder", "-t", "all", "--method", "grad-cam,smoothgrad", "-q", "-o")
    assert run(*words, tmp_path / "a") == run(*words, tmp_path / "b") == 0
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 4 * 4 + 3 + 3 + 2 * 2  # SmoothGrad has its variance and its error beside it
    for file in files:
        one, two = ((tmp_path / x / file).read_bytes() for x in "ab")
        if file.name == "run.json":
            first, second = ({**json.loads(t), "times": None} for t in (one, two))
            assert first == second
        else:
            assert one == two, file


def test_a_bad_file_among_good_ones_is_named_and_the_others_are_done(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (picture.parent / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (picture.parent / "=cmd.png").write_bytes(b"\x89PNG\r\n\x1a\n nor here")
    out = tmp_path / "out"
    assert run("explain", picture.parent, "-m", "spot-finder", "-o", out) == 3
    said = capsys.readouterr()
    assert "broken.png" in said.err
    assert "1 explained; 2 failed" in said.out
    rows = list(csv.DictReader((out / "failures.csv").open()))
    assert len(rows) == 2
    assert all(r["error"] == "UnreadableFile" and r["do"] for r in rows)
    assert not any(str(v).startswith("=") for r in rows for v in r.values())
    assert (out / "one" / "page.html").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-m", "spot-findr"], "Did you mean 'spot-finder'"),
        (["-m", "spot-finder", "--method", "gradcam"], "Did you mean 'grad-cam'"),
        (["-m", "spot-finder", "--target", "spt"], "Did you mean"),
        (["-m", "spot-finder", "--layer", "cels"], "Did you mean 'cells'"),
        (["-m", "spot-finder", "--option", "grad-cam.rel=true"], "Did you mean 'relu'"),
        (["-m", "spot-finder", "--option", "relu=true"], "METHOD.FIELD=VALUE"),
        (["-m", "spot-finder", "--limit", "max_element=10"], "Did you mean 'max_elements'"),
        (["-m", "spot-finder", "--limit", "max_elements=10"], "at most 10"),
        (["-m", "spot-finder", "--device", "tpu"], "cpu"),
    ],
)
def test_what_cannot_be_done_is_one_line_exit_two_and_no_folder(
    words: list[str], says: str, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("explain", picture, *words, "-o", out) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not out.exists()


def test_a_missing_file_and_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", tmp_path / "nothing.dcm", "-m", "spot-finder", "-o", tmp_path / "out") == 2
    assert "nothing.dcm" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run("explain", tmp_path / "empty", "-m", "spot-finder", "-o", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_cut_off_goes_on_and_grows(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("explain", picture.parent, "-m", "spot-finder", "-t", "spot", "-o", out)
    assert run(*words) == 0
    before = (out / "one" / "page.html").stat().st_mtime_ns
    Image.fromarray(lesion_in_speckle(64)).save(picture.parent / "two.png")
    assert run(*words) == 0
    assert "2 explained, 1 of them before" in capsys.readouterr().out
    assert (out / "one" / "page.html").stat().st_mtime_ns == before
    assert run(*words, "--method", "gradient", "--json") == 0
    told = json.loads(capsys.readouterr().out)["cases"]
    assert [c["explanations"] for c in told] == [["spot.grad-cam", "spot.gradient"]] * 2
    assert run(*words, "--method", "gradient", "--overwrite", "--json") == 0
    assert json.loads(capsys.readouterr().out)["cases"][0]["explanations"] == ["spot.gradient"]


def test_a_case_whose_image_changed_is_explained_anew(picture: Path, tmp_path: Path) -> None:
    words = ("explain", picture, "-m", "spot-finder", "-t", "spot", "-q", "-o", tmp_path / "out")
    assert run(*words) == 0
    path = tmp_path / "out" / "one" / "spot.grad-cam" / "explanation.json"
    first = json.loads(path.read_text())["provenance"]["image_sha256"]
    Image.fromarray(255 - lesion_in_speckle(96)).save(picture)
    assert run(*words) == 0
    assert json.loads(path.read_text())["provenance"]["image_sha256"] != first


def test_a_folder_of_something_else_is_left_alone(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run("explain", picture, "-m", "spot-finder", "-o", tmp_path, "--overwrite") == 2
    assert "no run wrote" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert {p.name for p in tmp_path.iterdir()} == {"mine.txt", "in"}


def test_overwriting_takes_only_what_runs_wrote(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("explain", picture, "-m", "spot-finder", "-t", "spot", "-q", "-o", out)
    assert run(*words) == 0
    (out / "notes.txt").write_text("mine")
    (out / ".one.1234.partial").mkdir()
    assert run(*words, "--method", "gradient", "--overwrite") == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / ".one.1234.partial").exists()
    assert not (out / "one" / "spot.grad-cam").exists()


def test_nothing_of_a_foreign_folder_is_touched(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "theirs"
    out.mkdir()
    (out / "run.json").write_text('{"tool": "another"}')
    (out / ".download.partial").write_text("half")
    assert run("explain", picture, "-m", "spot-finder", "-o", out, "--overwrite") == 2
    assert {p.name: p.read_text() for p in out.iterdir()} == {
        "run.json": '{"tool": "another"}',
        ".download.partial": "half",
    }


def test_an_empty_folder_stays_empty_when_nothing_came_of_it(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "empty"
    out.mkdir()
    assert run("explain", picture, "-m", "spot-finder", "-t", "nonsense", "-o", out) == 2
    assert list(out.iterdir()) == []


def test_a_case_may_be_named_like_a_file_of_the_run(picture: Path, tmp_path: Path) -> None:
    named = picture.rename(picture.with_name("index.html.png"))
    out = tmp_path / "out"
    assert run("explain", named, "-m", "spot-finder", "-t", "spot", "-q", "-o", out) == 0
    assert (out / "index.html").is_file()
    assert (out / "index.html_" / "page.html").is_file()


def test_an_interruption_leaves_whole_cases_only(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(40):
        Image.fromarray(np.roll(lesion_in_speckle(96), i, axis=1)).save(folder / f"{i:02}.png")
    out = tmp_path / "out"
    words = ["explain", str(folder), "-m", "spot-finder", "-t", "spot", "-o", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "saliscope.cli.main", *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for _ in range(3):
        process.stderr.readline()
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130, rest
    assert "interrupted" in rest
    cases = [p for p in out.iterdir() if p.is_dir()]
    assert 3 <= len(cases) < 40
    assert all((c / "page.html").is_file() and (c / "spot.grad-cam" / "explanation.json").is_file() for c in cases)
    assert json.loads((out / "run.json").read_text())["state"] == "interrupted"
    assert run(*words, "-q") == 0
    assert len([p for p in out.iterdir() if p.is_dir()]) == 40


def test_quiet_is_quiet(picture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("explain", picture, "-m", "spot-finder", "-q", "-o", tmp_path / "out") == 0
    assert capfd.readouterr().err == ""


def test_catalogues(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("methods", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [m["name"] for m in found] == METHODS.names()
    assert all(m["blind"] and m["cost"] and m["citation"] for m in found)
    assert run("methods", "smoothgrad") == 0
    assert "sigma" in capsys.readouterr().out
    assert run("methods", "smoothgrd") == 2
    assert "Did you mean 'smoothgrad'" in capsys.readouterr().err
    assert run("models", "--json") == 0
    names = [m["name"] for m in json.loads(capsys.readouterr().out)]
    for name in names:
        assert run("model", "show", name, "--json") == 0
        assert json.loads(capsys.readouterr().out)["limits"]
        assert run("model", "show", name) == 0
        assert "esearch" in capsys.readouterr().out


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--json") == 0
    found = {f["what"]: f["state"] for f in json.loads(capsys.readouterr().out)}
    assert found["torch"] == "ok"
    assert all(state == "ok" for what, state in found.items() if what.startswith("codec"))


def test_the_demonstration_ends_with_the_page_to_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--out", tmp_path / "demo") == 0
    said = capsys.readouterr()
    page = Path(said.out.strip().splitlines()[-1].removeprefix("Open "))
    assert page.is_file()
    text = page.read_text()
    assert text.count("Real:") == 3
    assert text.count("Drawn:") == 4
    # The two balls of the drawn volume are found where they were drawn, to a cell and a half.
    record = json.loads(next((tmp_path / "demo").rglob("drawn-volume/spot.grad-cam/explanation.json")).read_text())
    centres = [r["centre_mm"] for r in record["reading"]["regions"]]
    for truth, _ in SPOTS_MM:
        assert min(np.linalg.norm(np.array(truth) - c) for c in centres) < 5
    assert run("demo", "--out", tmp_path / "demo", "--json", "-q") == 0
    assert json.loads(capsys.readouterr().out)["page"].endswith("index.html")


def test_the_catalogue_says_what_a_reader_must_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("methods", "--family", "propagation") == 0
    out = capsys.readouterr().out
    assert "guided-backprop *" in out
    assert "weights are drawn anew" in out
    assert "grad-cam " not in out.replace("guided-grad-cam", "")
    assert run("methods", "--family", "propagatoin") == 2
    assert "propagation" in capsys.readouterr().err
    assert run("methods", "eigen-cam") == 0
    shown = capsys.readouterr().out
    assert "class discriminative  no" in shown
    assert "fails randomisation   no" in shown


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_the_version_is_said_and_is_that_of_the_package(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    import saliscope

    assert run(word) == 0
    assert capsys.readouterr().out == f"saliscope {saliscope.__version__}\n"
    assert saliscope.__version__[0].isdigit()


def test_weights_in_place_of_a_card_are_answered_in_one_sentence(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    weights = tmp_path / "my weights.pt"
    torch.save({"w": torch.ones(2)}, weights)
    for words in (["explain", picture, "--out", tmp_path / "o", "-m"], ["model", "check"], ["check", picture, "-m"]):
        assert run(*words, weights) == 2
        said = capsys.readouterr()
        assert f"saliscope model init '{weights}'" in said.err
        assert len(said.err.strip().splitlines()) == 1
        assert not (tmp_path / "o").exists()
