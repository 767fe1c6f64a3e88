"""The pages of the two documents: the state in words first, nothing hidden but the map, nothing run or fetched."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from made import a_volume, an_explanation, an_image, bump

from saliscope.core.geometry import Geometry
from saliscope.figures import interpret, page, thumbnail
from saliscope.figures.audit_page import audit_page, top
from saliscope.figures.card_page import SIGNS, card_page, card_picture
from saliscope.figures.check_rows import dot_plot, sections, words

EVIL = "<img src=x onerror=alert(1)>\"'</script>&amp;"
STATES = ("read-with-care", "doubtful", "do-not-read", "not-assessed")


@pytest.fixture(scope="module")
def made():
    """The documents made up for the tests of trust; their folder is on the path only as long as these tests run."""
    before = list(sys.path)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "trust"))
    yield import_module("made_cards")
    sys.path[:] = before


@pytest.fixture(scope="module")
def cards(made) -> dict:
    return {state: json.loads(json.dumps(card.described())) for state, card in made.cards().items()}


@pytest.fixture(scope="module")
def audit(made) -> dict:
    return json.loads(json.dumps(made.audit().described()))


@pytest.fixture(scope="module")
def picture():
    image = an_image(Geometry.of_picture((60, 80)))
    return card_picture(image, interpret(an_explanation(image, bump((6, 8), (2, 3))), image))


class Page(HTMLParser):
    """Tags, addresses, and the text in the order in which it is read, apart from what is inside closed details."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.shown: list[str] = []
        self.drawn: list[str] = []
        self._closed, self._summary, self._style = 0, False, False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        told = dict(attrs)
        assert not any(key.startswith("on") for key in told), told
        self.addresses += [v for k, v in attrs if k in ("src", "href", "data", "action", "srcset")]
        self._closed += tag == "details" and "open" not in told
        self._summary |= tag == "summary"
        self._style |= tag == "style"
        if "heat" in told.get("class", "").split() and not self._closed:
            self.drawn.append("heat")

    def handle_endtag(self, tag):
        self._closed -= tag == "details"
        self._summary &= tag != "summary"
        self._style &= tag != "style"

    def handle_data(self, data):
        if not self._style and (not self._closed or self._summary) and data.strip():
            self.shown.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(self.shown)


@pytest.mark.parametrize("state", STATES)
def test_a_card_says_its_state_in_words_before_all_else(cards, picture, state: str) -> None:
    card = cards[state]
    read = Page(card_page(card, picture))
    assert read.text.index(card["state_name"]) < read.text.index("What the model says")
    assert card["headline"] in read.text
    for reason in (*card["reasons"], *card["always"], card["prediction"]):
        assert reason in read.text, reason
    assert SIGNS[state] in card_page(card, picture)
    run, applicable = card["coverage"]["run"], card["coverage"]["applicable"]
    assert f"{run} of {applicable} checks that apply were run" in read.text


@pytest.mark.parametrize("state", STATES)
def test_a_card_stands_alone_and_runs_nothing(cards, picture, state: str) -> None:
    read = Page(card_page(cards[state], picture))
    assert not {"script", "link", "iframe", "form"} & set(read.tags)
    assert all(a.startswith(("data:image/png;base64,", "#")) for a in read.addresses)
    assert "trust" not in read.text.lower()


@pytest.mark.parametrize("state", STATES)
def test_only_a_map_that_must_not_be_read_is_hidden(cards, picture, state: str) -> None:
    html = card_page(cards[state], picture)
    hidden = state == "do-not-read"
    assert bool(Page(html).drawn) != hidden
    assert ("Show the hidden map" in html) == hidden
    assert 'class="heat"' in html, "it can still be opened"


def test_every_check_is_on_the_card_with_its_numbers(cards, picture) -> None:
    text = Page(card_page(cards["read-with-care"], picture)).text
    for check in cards["read-with-care"]["checks"]:
        assert check["reason"] in text
    assert "knowing nothing: 0.11" in text
    assert "95 % interval (BCa over patients): 0.4 to 0.71; n = 50" in text
    assert "range over 4 copies: 0.71 to 0.93" in text
    assert "1 left out: decision changed" in text
    assert "no value (the fills disagree)" in text
    assert "Held against: permutation p at most 0.05 (convention)" in text
    assert "Does each outlined area matter?" in text


def test_the_worst_check_of_a_heading_stands_first(cards) -> None:
    found = {s.heading: s for s in sections(cards["do-not-read"])}
    assert list(found) == ["Integrity", "Consistency", "Plausibility", "Fidelity", "Usefulness"]
    for heading in ("Plausibility", "Fidelity"):
        assert [r.outcome for r in found[heading].rows] == ["against", "supports"]
    assert "study with readers" in found["Usefulness"].nothing
    assert not any(r.outcome == "not-run" for s in found.values() for r in s.rows)


def test_an_evil_name_stays_text(cards, audit, picture) -> None:
    card = json.loads(json.dumps(cards["doubtful"]).replace("lung opacity", "@@"))
    html = card_page(json.loads(json.dumps(card).replace("@@", json.dumps(EVIL)[1:-1])), picture)
    assert EVIL not in html
    assert Page(html).tags.count("img") == 0
    told = {**audit, "target": EVIL, "barred": EVIL}
    told["checks"] = [
        {**c, "reason": EVIL, "scores": [{**s, "metric": EVIL, "how": [EVIL]} for s in c["scores"]]}
        for c in audit["checks"]
    ]
    assert EVIL not in audit_page(told)
    assert Page(audit_page(told)).tags.count("img") == 0


def test_a_card_without_a_picture_says_so(cards) -> None:
    assert "No picture was kept" in card_page(cards["doubtful"])


def test_a_volume_is_shown_in_its_planes(cards) -> None:
    image = an_image(a_volume())
    drawn = card_picture(image, interpret(an_explanation(image, bump((6, 10, 12), (3, 5, 6))), image))
    assert len(drawn.mapped) == len(drawn.plain) == 3
    html = card_page(cards["doubtful"], drawn)
    assert html.count('class="heat"') == 3
    assert all(f"flex-grow:{width}" in html for width in drawn.widths), "a millimetre is as long in each plane"
    assert '<div class="wide">' in html


def test_the_same_card_gives_the_same_page(cards, audit, picture) -> None:
    assert card_page(cards["doubtful"], picture) == card_page(cards["doubtful"], picture)
    assert audit_page(audit) == audit_page(audit)


def test_an_audit_shows_all_it_holds(audit) -> None:
    html = audit_page(audit)
    read, opened = Page(html), Page(html.replace("details", "div"))
    for told in (audit["digest"], "40 images of 38 patients", "2 left out: no operating point", "SHORTCUTS FOUND"):
        assert told in read.text
    for row in (*audit["insertions"], *audit["findings"], *audit["checks"]):
        assert row.get("sentence", row.get("reason")) in opened.text
        assert not row.get("flagged") or row["sentence"] in read.text
    assert "no value (too few images)" in read.text
    assert read.tags.count("circle") == 5, "a dot for each score that has a value"
    assert read.tags.count("polyline") == 1
    assert not {"script", "link", "iframe"} & set(read.tags)
    assert read.text.count("flagged") == 2


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"barred": "It is."}, "barred"),
        ({}, "flagged"),
        ({"shortcuts": []}, "clear"),
        ({"shortcuts": [], "checks": []}, "empty"),
    ],
)
def test_the_worst_of_an_audit_stands_at_its_top(audit, change: dict, found: str) -> None:
    assert top({**audit, **change}) == found
    html = audit_page({**audit, **change})
    assert ("BARRED" in html) == (found == "barred")
    assert ("USE WITH" in html) == (found == "clear")


def test_a_plot_puts_value_null_and_ends_where_they_belong() -> None:
    told = {"metric": "m", "value": 0.5, "null": 0.25, "n": 3, "parts": {}, "excluded": {}, "curve": [], "how": []}
    told["interval"] = {"low": 0.0, "high": 1.0, "kind": "Wilson", "level": 0.95}
    drawn = str(dot_plot(told))
    assert 'cx="80.0"' in drawn
    assert 'class="null" x1="42.0"' in drawn
    assert 'class="ends" x1="4.0" x2="156.0"' in drawn
    far = str(dot_plot({**told, "value": -0.5, "null": None, "interval": None}))
    assert 'cx="42.0"' in far
    assert dot_plot({**told, "value": {"undefined": "why"}}) is None
    assert words({**told, "value": {"undefined": "why"}}).startswith("m no value (why)")
    assert re.search(r'cx="156.0"', str(dot_plot({**told, "value": 7.0, "interval": None})))


def test_the_page_of_a_case_hides_what_its_card_hides(cards) -> None:
    image = an_image(Geometry.of_picture((60, 80)))
    reading = interpret(an_explanation(image, bump((6, 8), (2, 3))), image)
    for state in STATES:
        html = page(image, [reading], None, [(cards[state], "x/card.html")])
        assert bool(Page(html).drawn) == (state != "do-not-read"), state
        assert cards[state]["state_name"] in html
        assert 'href="x/card.html"' in html
    with pytest.raises(ValueError, match="zip"):
        page(image, [reading, reading], None, [(cards["doubtful"], "x/card.html")])
    plain, mapped = thumbnail(image, reading, heat=False), thumbnail(image, reading)
    assert plain != mapped
    dark = thumbnail(image, interpret(an_explanation(image, np.zeros((6, 8))), image))
    assert plain == dark
