"""From images to the two documents, file to file: a network without a shortcut, one with, and real pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from saliscope.cli.main import main
from saliscope.trust.check import STATES
from saliscope.trust.schema import faults

CLEAN, TEXT = "phantom-chest-plain-clean-0", "phantom-chest-plain-text-95-0"
CARD = ("--target", "present", "--quiet")


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return int(end.value.code or 0)


def drawn(out: Path, contamination: int, count: int, seed: int, kind: str = "dicom") -> Path:
    shape = ("--size", 128, "--count", count, "--seed", seed, "--format", kind)
    what = ("--finding", "nodule", "--shortcut", "text", "--contamination", contamination)
    assert not run("phantom", "chest", *what, *shape, "--out", out, "--quiet")
    return out / "images"


def cards(out: Path) -> list[tuple[dict, Path]]:
    found = [(json.loads(path.read_text()), path.parent) for path in sorted(out.rglob("card.json"))]
    for card, folder in found:
        assert faults(card, "explanation-card") == []
        assert card["state"] in STATES
        assert (folder / "card.html").is_file()
    return found


@pytest.fixture(scope="module")
def audits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the audits of a network without and one with a shortcut, over a few drawn images each."""
    place = tmp_path_factory.mktemp("audits")
    for name, share, count in ((CLEAN, 0, 10), (TEXT, 95, 16)):
        images = drawn(place / f"{name}-images", share, count, 77)
        table = images.parent / "cases.csv"
        assert not run("audit-model", name, images, "--table", table, *CARD, "--out", place / name)
    return place


def audit_file(audits: Path, name: str) -> Path:
    return audits / name / "present.grad-cam" / "audit.json"


def test_the_audit_names_the_shortcut_of_the_network_that_has_one(audits: Path) -> None:
    clean, confounded = (json.loads(audit_file(audits, name).read_text()) for name in (CLEAN, TEXT))
    for audit in (clean, confounded):
        assert faults(audit, "audit-card") == []
        assert audit["cohort"]["images"] in (10, 16)
    assert not [what for what in clean["shortcuts"] if "text" in what]
    assert [what for what in confounded["shortcuts"] if "text" in what]


def test_a_map_of_the_network_with_a_shortcut_is_never_said_to_be_readable(audits: Path, tmp_path: Path) -> None:
    images = drawn(tmp_path / "new", 100, 3, 900)
    assert not run("check", images, "--model", TEXT, *CARD, "--card", audit_file(audits, TEXT), "--out", tmp_path / "o")
    found = cards(tmp_path / "o")
    assert len(found) == 3
    for card, _ in found:
        assert card["state"] in ("do-not-read", "doubtful")
        assert card["audit"]["digest"]
    called = [card for card, _ in found if "does not call" not in " ".join(card["reasons"])]
    assert any("burnt-in text" in reason for card in called for reason in card["reasons"])


def test_a_hidden_map_is_in_no_picture_of_its_folder(audits: Path, tmp_path: Path) -> None:
    images = drawn(tmp_path / "new", 100, 3, 900)
    run("check", images, "--model", TEXT, *CARD, "--card", audit_file(audits, TEXT), "--out", tmp_path / "o")
    hidden = [folder for card, folder in cards(tmp_path / "o") if card["map_hidden"]]
    assert hidden
    for folder in hidden:
        overlay, small = (
            Image.open(p).convert("RGB") for p in (folder / "overlay.png", folder.parent / "thumbnail.png")
        )
        # A grey image with amber letters over it; a map would be red or blue in places.
        assert all(r == g == b or (r > b and g > b) for _, (r, g, b) in overlay.getcolors(1 << 20))
        assert all(r == g == b for _, (r, g, b) in small.getcolors(1 << 20))


def test_a_network_without_a_shortcut_may_be_read_and_a_finding_is_outlined(audits: Path, tmp_path: Path) -> None:
    images, audit = drawn(tmp_path / "new", 0, 5, 900), audit_file(audits, CLEAN)
    assert not run("check", images, "--model", CLEAN, *CARD, "--card", audit, "--out", tmp_path / "o")
    found = cards(tmp_path / "o")
    states = [card["state"] for card, _ in found]
    assert "not-assessed" not in states
    assert not [card for card, _ in found if "text" in " ".join(card["reasons"])]
    shown = [(card, folder) for card, folder in found if not card["map_hidden"]]
    assert shown, "every map of a network that looks at the finding is hidden"
    for _, folder in shown:
        assert "Outlined: what the map points at" in (folder / "card.html").read_text()


def test_without_an_audit_and_with_that_of_another_model_nothing_is_assessed(
    audits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (image, *_) = sorted(drawn(tmp_path / "new", 0, 2, 900).iterdir())
    words = ("check", image, "--model", CLEAN, "--target", "present")
    capsys.readouterr()
    assert not run(*words, "--out", tmp_path / "none", "--json")
    card = json.loads(capsys.readouterr().out)
    assert card["state"] in ("not-assessed", "do-not-read")
    assert faults(card, "explanation-card") == []
    assert not run(*words, "--card", audit_file(audits, TEXT), "--out", tmp_path / "other")
    ((other, _),) = cards(tmp_path / "other")
    assert other["state"] == card["state"]
    assert "other weights" in other["audit"]["reason"]
    assert "other weights" in capsys.readouterr().out


def test_a_picture_of_an_image_is_no_image_with_its_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = drawn(tmp_path / "new", 0, 2, 900, "png")
    assert not run("check", images, "--model", CLEAN, *CARD, "--out", tmp_path / "o")
    for card, _ in cards(tmp_path / "o"):
        assert card["state"] == "do-not-read"
        assert card["reasons"][0].startswith("The image was not prepared as the network expects it")
    assert run("audit-model", CLEAN, images, *CARD, "--out", tmp_path / "audit") == 2
    assert not (tmp_path / "audit").exists()
    assert "DICOM or NIfTI" in capsys.readouterr().err


def test_nothing_is_left_where_nothing_could_be_checked(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    for words in (
        ("check", tmp_path / "broken.png", "--model", CLEAN),
        ("audit-model", CLEAN, tmp_path / "broken.png"),
    ):
        assert run(*words, *CARD, "--out", tmp_path / "o") == 2
        assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("model", "target", "where"),
    [
        ("breast-ultrasound", "malignant", "breast-ultrasound-busi/malignant/images/malignant-001.jpg"),
        ("breast-ultrasound", "benign", "breast-ultrasound-busi/benign/images/benign-001.jpg"),
        ("chest-opacity", "opacity", "chest-xray-nih/images-256"),
    ],
)
def test_a_real_picture(model: str, target: str, where: str, data: Path, tmp_path: Path) -> None:
    source = data / where
    if source.is_dir():
        with (data / "chest-xray-nih" / "expert_boxes.csv").open(newline="") as file:
            name = next(row["image"] for row in csv.DictReader(file) if row["label"] == "Lung Opacity")
        source = next(source.glob(f"{name}.*"))
    assert not run("check", source, "--model", model, "--target", target, "--quiet", "--out", tmp_path / "o")
    ((card, folder),) = cards(tmp_path / "o")
    # There is no audit: the map may be found bad, and never found good.
    assert card["state"] in ("not-assessed", "do-not-read")
    assert {"integrity", "prediction", "region-test"} <= {check["check"] for check in card["checks"]}
    assert card["forward_samples"] <= 75
    assert (folder / "overlay.png").is_file()


def test_a_question_made_of_labels_gets_a_card_beside_that_of_a_label(tmp_path: Path) -> None:
    from saliscope.study.drawing import write_ultrasound

    words = ("--target", "spot,contrast:spot/no spot", "--check", "-o", tmp_path / "out", "-q")
    assert not run("explain", write_ultrasound(tmp_path / "in"), "-m", "spot-finder", *words)
    assert {card["target"] for card, _ in cards(tmp_path / "out")} == {"spot", "spot against no spot"}
