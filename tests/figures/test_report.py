"""The page must say everything in words that can be searched, embed its letters, and keep what is hidden to itself."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from made import a_volume, an_explanation, an_image, bump
from PIL import Image

from saliscope.core.geometry import Geometry
from saliscope.figures import interpret
from saliscope.figures.report import report

CARD = {
    "state": "doubtful", "state_name": "DOUBTFUL", "map_hidden": False, "headline": "A check speaks against it.",
    "reasons": ["Two methods point elsewhere.", "The map moves."],
}  # fmt: skip
HIDING = {**CARD, "state": "do-not-read", "state_name": "DO NOT READ", "map_hidden": True}


def poppler(name, *words):
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    return subprocess.run([program, *map(str, words)], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def picture():
    return an_image(Geometry.of_picture((300, 400), (0.5, 0.5)))


@pytest.fixture(scope="module")
def volume():
    return an_image(a_volume((12, 80, 96)), modality="CT")


def read(image, at, target="malignant", **changes):
    shape = (6, 8) if image.geometry.ndim == 2 else (6, 20, 24)
    values = bump(shape, at, 0.8)
    return interpret(an_explanation(image, np.where(values < 0.1, 0, values), target=target, **changes), image)


def words(data, tmp_path):
    path = tmp_path / "page.pdf"
    path.write_bytes(data)
    return " ".join(poppler("pdftotext", "-layout", path, "-").decode().split())


def pages(data, tmp_path):
    path = tmp_path / "page.pdf"
    path.write_bytes(data)
    poppler("pdftoppm", "-r", "60", "-png", path, tmp_path / "page")
    return [np.asarray(Image.open(p)).astype(int) for p in sorted(tmp_path.glob("page*.png"))]


@pytest.mark.parametrize("card", [None, CARD])
def test_everything_is_said_in_words(picture, tmp_path, card):
    reading = read(picture, (2, 2))
    text = words(report(picture, reading, card), tmp_path)
    for said in (*reading.sentences, reading.explanation.prediction.sentence("malignant"), "net 1", "a" * 64, "d" * 64,
                 "features.norm5", "grad-cam map for malignant", "Research use, not for diagnosis."):  # fmt: skip
        assert " ".join(said.split()) in text
    assert ("was not checked" in text) == (card is None)
    for said in (card["state_name"], card["headline"], *card["reasons"]) if card else ():
        assert said in text
    if card:
        assert text.index("DOUBTFUL") < text.index("Prediction")


def test_a_volume_lists_its_regions_with_their_slices(volume, tmp_path):
    reading = read(volume, (3, 8, 9))
    (region,) = reading.focus.regions
    text = words(report(volume, reading), tmp_path)
    assert f"{region.slices[0]}–{region.slices[1]} of 12" in text


def test_a_hidden_map_leaves_no_trace(picture, volume, tmp_path):
    for image, places in ((picture, ((1, 1), (4, 6))), (volume, ((1, 5, 6), (4, 15, 18)))):
        one, two = (report(image, read(image, at), HIDING) for at in places)
        assert one == two
        text = words(one, tmp_path)
        assert "DO NOT READ" in text
        assert "The map moves." in text
        assert "Region" not in text
        assert report(image, read(image, places[0]), CARD) != report(image, read(image, places[1]), CARD)


def test_the_same_map_gives_the_same_bytes_and_no_time(picture):
    one, two = (report(picture, read(picture, (2, 2)), CARD) for _ in range(2))
    assert one == two
    assert set(re.findall(rb"\(D:(\d{8})", one)) == {b"20000101"}


def test_letters_are_embedded_and_signs_of_the_field_are_text(picture, tmp_path):
    data = report(picture, read(picture, (2, 2), "Größe µ ² – <b>&"), CARD)
    assert "Größe µ ² – <b>&" in words(data, tmp_path)
    lines = poppler("pdffonts", tmp_path / "page.pdf").decode().splitlines()[2:]
    assert len(lines) == 2
    assert all("DejaVuSans" in line and line.split()[-5] == "yes" for line in lines)


def test_it_is_on_one_or_two_pages_that_fit_letter_too(picture, tmp_path):
    rng = np.random.default_rng(1)
    spots = np.where(rng.random((12, 16)) > 0.9, 1.0, 0.0)
    card = {**CARD, "reasons": ["A reason that takes a line of the page and then some more of it, as they do."] * 5}
    reading = interpret(an_explanation(picture, spots), picture)
    assert len(reading.focus.regions) == 8
    shown = pages(report(picture, reading, card), tmp_path)
    assert 1 <= len(shown) <= 2
    for page in shown:
        assert page.shape[:2] == (702, 497)
        # Letter is 792 points high: all that is written fits, whether it is printed from the top or in the middle.
        assert (page[int(775 * 60 / 72) :] == 255).all()


def test_a_map_without_evidence_says_so(picture, tmp_path):
    reading = interpret(an_explanation(picture, np.zeros((6, 8))), picture)
    assert "No evidence: the map is zero everywhere." in words(report(picture, reading), tmp_path)
