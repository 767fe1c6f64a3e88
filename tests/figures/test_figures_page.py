"""The page must stand alone, run nothing that it was given, and say all that is asked of it."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from made import CAM, a_volume, an_explanation, an_image, bump
from PIL import Image

from saliscope.core.geometry import Geometry
from saliscope.figures import CaseLink, index_page, interpret, page, thumbnail

EVIL = "<img src=x onerror=alert(1)>\"'</script>&amp;"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.open = [], [], []
        self.handlers = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "data", "action", "srcset"):
                self.addresses.append(value)
            if key.startswith("on"):
                self.handlers.append((tag, key))


def parsed(html):
    tags = Tags()
    tags.feed(html)
    return tags


@pytest.fixture
def image():
    return an_image(Geometry.of_picture((60, 80)), notes=("The spacing is unknown.",))


@pytest.fixture
def html(image):
    readings = [interpret(an_explanation(image, bump((6, 8), at)), image) for at in ((1, 1), (4, 6))]
    return page(image, readings, np.zeros((1, 60, 80), np.float32))


def test_nothing_is_fetched_from_anywhere(html):
    for address in parsed(html).addresses:
        assert address.startswith(("data:image/png;base64,", "#"))
    assert not re.findall(r"https?://(?!www\.w3\.org)", html)
    assert "@import" not in html
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    "word",
    ["Research use, not for diagnosis.", "does not show where disease is", "does not exclude bias that has no location",
     "grad-cam", "features.norm5 (the last spatial layer)", "6 × 8 cells of 10 px", "0.830", "0.50", "at or above",
     "per-image, 99.5th percentile", "What the network saw", "The spacing is unknown.", "Orientation: unknown",
     "Regions", "upper left of the picture", "lower right of the picture", "Provenance", "a" * 64, "torch 2.10",
     "anything finer than a cell"],
)  # fmt: skip
def test_the_page_says(html, word):
    assert word in html


def test_the_same_case_gives_the_same_page(image, html):
    readings = [interpret(an_explanation(image, bump((6, 8), at)), image) for at in ((1, 1), (4, 6))]
    assert html == page(image, readings, np.zeros((1, 60, 80), np.float32))


def test_an_image_under_several_maps_is_written_once(html):
    assert html.count('<image id="') == 2  # the image and the view
    assert html.count('class="heat"') == 2


def test_an_evil_label_stays_text(image):
    traits = replace(CAM, blind=EVIL)
    e = an_explanation(image, bump((6, 8), (1, 1)), target=EVIL, traits=traits, layer=EVIL, model=EVIL, method=EVIL)
    evil = an_image(image.geometry, notes=(EVIL,))
    tags = parsed(page(evil, [interpret(e, image)]))
    assert not tags.handlers
    assert "img" not in tags.tags
    assert tags.tags.count("script") == 1
    index = parsed(index_page([CaseLink(EVIL, "case/page.html", None, (EVIL,))], EVIL))
    assert not index.handlers
    assert "script" not in index.tags


@pytest.mark.parametrize(
    ("values", "words"),
    [(np.zeros((6, 8)), "the map is zero everywhere"), (np.full((6, 8), np.nan), "values that are not numbers"),
     (-bump((6, 8), (1, 1)), "No positive evidence")],
)  # fmt: skip
def test_an_empty_map_is_an_empty_map(image, values, words):
    html = page(image, [interpret(an_explanation(image, values), image)])
    assert words in html
    assert "<h3>Regions</h3>" not in html
    assert ('class="heat"' in html) == (words == "No positive evidence")


def test_a_volume_has_planes_montage_and_profile():
    g = a_volume()
    image = an_image(g, modality="MR")
    reading = interpret(an_explanation(image, bump(g.shape, (6, 20, 24), 3)), image)
    html = page(image, [reading], np.zeros((1, *g.shape), np.float32))
    for word in (
        "Axial 7 of 12",
        "Coronal 21 of 40",
        "Sagittal 25 of 48",
        "slices across the map",
        "Attribution by slice",
    ):
        assert word in html
    assert len(re.findall(r">[LRAPIS]</text>", html)) >= 24
    assert "RAS+" in html


def test_the_letters_of_a_pane_stand_at_their_sides():
    g = a_volume()
    image = an_image(g, modality="MR")
    html = page(image, [interpret(an_explanation(image, bump(g.shape, (6, 20, 24), 3)), image)])
    first = html.split('<svg class="pane"')[1].split("</svg>")[0]
    width = float(re.search(r'viewBox="0 0 (\d+)', first).group(1))
    at = {t: float(x) for x, t in re.findall(r'class="letter" x="([\d.]+)"[^>]*>([LRAPIS])<', first)}
    assert at["R"] < width * 0.1 < width * 0.9 < at["L"]
    assert at["A"] == at["P"] == width / 2


def test_a_control_is_never_said_to_explain(image):
    reading = interpret(an_explanation(image, bump((6, 8), (1, 1)), traits=replace(CAM, family="control")), image)
    html = page(image, [reading]).split('id="map-1"')[1].split("</section>")[0]
    assert "explains nothing" in html
    assert "explains the model" not in html


def test_many_labels_are_cut_to_those_that_matter(image):
    e = an_explanation(image, bump((6, 8), (1, 1)), target="label 7")
    n = 1000
    probabilities = tuple(np.linspace(0.9, 0.1, n))
    prediction = replace(
        e.prediction, labels=tuple(f"label {i}" for i in range(n))[::-1], logits=probabilities,
        probabilities=probabilities, thresholds=(None,) * n,
    )  # fmt: skip
    html = page(image, [interpret(replace(e, prediction=prediction), image)])
    assert html.count("<td>label ") == 20
    assert "<td>label 7</td>" in html
    assert "980 more labels" in html


@pytest.mark.parametrize(("rows", "columns"), [(256, 256), (60, 80), (1024, 700), (12, 500), (321, 100)])
def test_a_thumbnail_is_small_whatever_the_image(rows, columns):
    image = an_image(Geometry.of_picture((rows, columns)))
    small = Image.open(BytesIO(thumbnail(image, interpret(an_explanation(image, bump((6, 8), (1, 1))), image))))
    assert max(small.size) <= 320
    assert max(small.size) >= min(160, max(rows, columns))


def test_the_index_of_many_cases_is_small():
    links = [CaseLink(f"case-{i}", f"case-{i}/page.html", f"case-{i}/thumbnail.png", ("a" * 80,)) for i in range(200)]
    html = index_page(links, "A run")
    assert len(html.encode()) < 100_000
    assert "base64" not in html
    assert parsed(html).addresses[:2] == ["case-0/page.html", "case-0/thumbnail.png"]


def test_every_template_is_compiled_once(image, monkeypatch):
    from jinja2 import Environment

    reading = interpret(an_explanation(image, bump((6, 8), (1, 1))), image)
    page(image, [reading])
    compiled = []
    monkeypatch.setattr(Environment, "compile", lambda *given, **_: compiled.append(given))
    page(image, [reading])
    assert not compiled


def test_the_index_links_to_its_cases(image):
    html = index_page([CaseLink("case-1", "case-1/page.html", "case-1/thumbnail.png", ("malignant 0.83",))], "A run")
    assert parsed(html).addresses[0] == "case-1/page.html"
    assert "malignant 0.83" in html
    assert "Research use" in html


def test_a_map_beside_a_map_is_drawn_with_its_own_colours_and_no_outlines(image):
    explanation = an_explanation(image, bump((6, 8), (4, 6)))
    explanation = replace(explanation, beside={"variance": 1e-3 * bump((6, 8), (1, 1))})
    shown = page(image, [interpret(explanation, image)])
    own, _, other = shown.partition("Beside it: variance")
    assert '<path class="over"' in own
    assert "variance_native.nii.gz" in other
    assert '<path class="over"' not in other
    assert other.count("colourbar") == 1


def test_what_a_kind_of_map_was_shown_to_lack_is_said(image):
    one = an_explanation(image, bump((6, 8), (4, 6)))
    plain = page(image, [interpret(one, image)])
    assert "drawn anew" not in plain
    assert "knows no label" not in plain
    lacking = replace(one.traits, fails_randomisation=True, class_discriminative=False)
    shown = page(image, [interpret(replace(one, traits=lacking), image)])
    assert "drawn anew" in shown
    assert "knows no label" in shown
