"""A run's folder grows: what is missing of methods, targets and images is added, and another network is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import saliscope
from saliscope.cli.main import main
from saliscope.core.errors import WriteError
from saliscope.model.network import Network
from saliscope.study import run as running
from saliscope.study.case_record import COLUMNS, CaseRecord
from saliscope.study.plan import Plan
from saliscope.study.present import Showing
from saliscope.study.run import Outcome, run


class Watch:
    def __init__(self) -> None:
        self.failures: list[str] = []

    def cases(self, total: int) -> None: ...
    def warned(self, what: str) -> None: ...
    def step(self, case: str, what: str) -> None: ...
    def done(self, case: str, what: str) -> None: ...
    def failed(self, what: str, why: str) -> None:
        self.failures.append(f"{what}: {why}")


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return Network(torch.nn.Sequential(*layers, torch.nn.Linear(4, 3)), labels=("a", "b", "c"), name="net")


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 32)).astype(np.uint8)).save(path)
    return path


def asked(
    network: Network, out: Path, inputs: list[Path], methods: str = "grad-cam", targets: str = "a", **more: Any
) -> Outcome:
    watch = Watch()
    plan = Plan("net", tuple(methods.split(",")), tuple(targets.split(",")))
    outcome = run(list(inputs), plan, out, watch=watch, network=network, **more)
    assert not watch.failures
    return outcome


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Count what is explained: methods and targets of each call."""
    calls: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    real = running.explained

    def counted(cases: Any, network: Any, methods: Any, targets: Any, said: Any) -> Any:
        calls.append((tuple(methods), tuple(targets)))
        return real(cases, network, methods, targets, said)

    monkeypatch.setattr(running, "explained", counted)
    return calls


def counted_pictures(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return what of pictures is encoded from now on."""
    encoded: list[bytes] = []
    real = Image.Image.save

    def counted(picture: Image.Image, *given: Any, **named: Any) -> None:
        encoded.append(picture.tobytes() + repr(picture.size).encode())
        real(picture, *given, **named)

    monkeypatch.setattr(Image.Image, "save", counted)
    return encoded


def test_only_what_is_missing_is_explained(network: Network, tmp_path: Path, explained: list[Any]) -> None:
    one, out = picture(tmp_path / "in" / "one.png"), tmp_path / "out"
    asked(network, out, [one])
    kept = (out / "one" / "a.grad-cam" / "map.nii.gz").read_bytes()
    assert asked(network, out, [one]).cases[0].kept
    grown = asked(network, out, [one], "grad-cam,gradient", "a,b")
    assert explained == [(("grad-cam",), ("a",)), (("grad-cam",), ("b",)), (("gradient",), ("a", "b"))]
    assert set(grown.cases[0].explanations) == {"a.grad-cam", "b.grad-cam", "a.gradient", "b.gradient"}
    assert (out / "one" / "a.grad-cam" / "map.nii.gz").read_bytes() == kept
    page = (out / "one" / "page.html").read_text()
    assert [f'id="map-{i}"' in page for i in range(1, 6)] == [True] * 4 + [False]
    # The same maps as when all is asked at once.
    whole = asked(network, tmp_path / "whole", [one], "grad-cam,gradient", "a,b")
    for name in whole.cases[0].explanations:
        first, second = (o / "one" / name / "map_native.nii.gz" for o in (out, tmp_path / "whole"))
        assert first.read_bytes() == second.read_bytes()


def test_images_are_added_and_the_index_and_the_table_tell_of_all(network: Network, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked(network, out, [picture(tmp_path / "in" / "one.png")])
    asked(network, out, [picture(tmp_path / "in" / "two.png", 1)])
    index = (out / "index.html").read_text()
    assert "one/page.html" in index
    assert "two/page.html" in index
    rows = list(csv.DictReader((out / "maps.csv").open()))
    assert [(r["case"], r["target"], r["method"]) for r in rows] == [("one", "a", "grad-cam"), ("two", "a", "grad-cam")]
    assert len(json.loads((out / "run.json").read_text())["plans"]) == 1


def test_an_image_of_the_same_name_from_elsewhere_takes_no_place(network: Network, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = asked(network, out, [picture(tmp_path / "in" / "one.png")]).cases[0]
    second = asked(network, out, [picture(tmp_path / "other" / "one.png", 1)]).cases[0]
    assert second.name == f"one-{second.image[:8]}"
    assert [CaseRecord.read(out / c.name).image for c in (first, second)] == [first.image, second.image]


def test_the_same_map_asked_by_another_word_is_there_once(network: Network, tmp_path: Path) -> None:
    one, out = picture(tmp_path / "in" / "one.png"), tmp_path / "out"
    asked(network, out, [one], targets="all")
    grown = asked(network, out, [one], targets="top")
    assert len(grown.cases[0].explanations) == 3


def test_another_network_weights_or_view_is_refused(network: Network, tmp_path: Path) -> None:
    one, out = picture(tmp_path / "in" / "one.png"), tmp_path / "out"
    asked(network, out, [one])
    with torch.no_grad():
        network.module[0].weight.add_(1)  # type: ignore[index,operator]
    with pytest.raises(WriteError, match="another network"):
        asked(network, out, [one], "gradient")
    assert {p.name for p in (out / "one").iterdir()} == {"a.grad-cam", "case.json", "page.html", "thumbnail.png"}


@pytest.mark.parametrize(
    ("write", "files"),
    [
        ("table", {"case.json"}),
        ("maps", {"case.json", "a.grad-cam/explanation.json", "a.grad-cam/map.nii.gz", "a.grad-cam/map_native.nii.gz"}),
    ],
)
def test_what_is_written(
    network: Network, tmp_path: Path, write: Any, files: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, out = picture(tmp_path / "in" / "one.png"), tmp_path / "out"
    encoded = counted_pictures(monkeypatch)
    assert asked(network, out, [one], write=write).page is None
    assert not encoded
    case = out / "one"
    assert {str(p.relative_to(case)) for p in case.rglob("*") if p.is_file()} == files
    assert not (out / "index.html").exists()
    (row,) = csv.DictReader((out / "maps.csv").open())
    assert tuple(row) == COLUMNS
    assert asked(network, out, [one], write=write).cases[0].kept
    # More asked of the folder: nothing of the record is lost, and the page is there.
    grown = asked(network, out, [one], "grad-cam,gradient", write="pages")
    assert set(grown.cases[0].explanations) == {"a.grad-cam", "a.gradient"}
    record = json.loads((case / "a.grad-cam" / "explanation.json").read_text())
    assert record["map"]["picture"] == "overlay.png"
    assert (case / "a.grad-cam" / "overlay.png").is_file()
    assert (case / "page.html").read_text().count('id="map-') == 2


def test_a_case_with_a_page_encodes_each_picture_once(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = picture(tmp_path / "in" / "one.png")
    encoded = counted_pictures(monkeypatch)
    asked(network, tmp_path / "out", [one], "grad-cam,gradient", "a,b")
    # Of four maps: an overlay and a layer of heat each, one thumbnail, the image and what the network saw.
    assert len(encoded) <= 4 * 2 + 3
    assert len(set(encoded)) >= len(encoded) - 1


def test_an_unknown_way_of_writing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = picture(tmp_path / "in" / "one.png")
    with pytest.raises(SystemExit):
        main(["explain", str(one), "-m", "spot-finder", "-o", str(tmp_path / "out"), "--write", "page"])
    assert "Did you mean 'pages'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_map_that_its_card_hides_stays_hidden_when_pages_are_added(network: Network, tmp_path: Path) -> None:
    """Files were written without pictures first: the pictures that come later must not show it either."""
    one = picture(tmp_path / "in" / "one.png")
    checked = saliscope.check(one, network, "grad-cam", "a")
    card = {**checked.card.described(), "map_hidden": True, "state": "do-not-read", "state_name": "DO NOT READ"}
    showing, place = checked.explanation.presenter, tmp_path / "case"
    assert isinstance(showing, Showing)
    record = showing.write_case([checked.explanation], place, cards=[card], write="maps")
    assert not list(place.rglob("*.png"))
    showing.write_case([], place, overwrite=True, write="pages", earlier=record)
    hidden = {p.relative_to(place).as_posix(): Image.open(p).convert("RGB") for p in place.rglob("*.png")}
    assert set(hidden) == {"thumbnail.png", "a.grad-cam/overlay.png"}
    for name, drawn in hidden.items():
        # A grey image, with amber letters over it; a map would be red or blue in places.
        assert all(r == g == b or (r > b and g > b) for _, (r, g, b) in drawn.getcolors(1 << 20)), name
    assert "../page.html" in (place / "a.grad-cam" / "card.html").read_text()
    assert saliscope.Explanation.load(place / "a.grad-cam").prediction == checked.explanation.prediction
