"""The catalogue of sentences: plain, one at a time, none that claims, no percentage without its number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from saliscope.trust import wording
from saliscope.trust.check import STATES

SOURCE = Path(wording.__file__).parents[1]


@pytest.mark.parametrize("name", wording.SENTENCES)
def test_a_sentence_is_one_and_plain(name: str) -> None:
    text = wording.SENTENCES[name]
    assert re.fullmatch(r"[a-z-]+(\.[a-z-]+)?", name)
    assert text.endswith(".")
    assert not re.search(r"[.!?] [A-Z{]", text), "more than one sentence"
    assert text[0].isupper() or text[0] == "{"
    assert len(text) < 260


@pytest.mark.parametrize("name", wording.SENTENCES)
def test_a_sentence_claims_nothing(name: str) -> None:
    text = wording.SENTENCES[name].lower()
    for word in ("trust", "diagnos", "disease", "safe", "correct", "prove", "guarantee", "accurate", "reliable"):
        assert word not in text, word


@pytest.mark.parametrize("name", wording.SENTENCES)
def test_no_percentage_without_its_number(name: str) -> None:
    assert "%" not in wording.SENTENCES[name] or "n" in wording.fields(name)


def test_the_catalogue_covers_what_the_checks_ask() -> None:
    kinds = {n.partition(".")[0] for n in wording.SENTENCES}
    for check in ("region-test", "islands", "keep-alone", "test-retest", "method-agreement", "organ-hidden"):
        assert check in kinds
        assert {f"{check}.supports", f"{check}.against"} <= set(wording.SENTENCES)


def test_a_field_that_is_missing_is_an_error() -> None:
    told = {"label": "opacity", "where": "the lungs", "n": 50}
    said = {o: wording.say(f"region-test.{o}", beaten=21, **told) for o in ("supports", "unclear", "against")}
    assert said["against"].startswith("The highlighted area is no more important to the model than other areas")
    assert len(set(said.values())) == 3
    with pytest.raises(ValueError, match="beaten"):
        wording.say("region-test.against", **told)
    with pytest.raises(KeyError):
        wording.say("region-test.perhaps")


def test_a_name_that_begins_a_sentence_gets_a_capital_and_braces_stay_text() -> None:
    assert wording.say("not-run", why="the image has {no} spacing") == (
        "This check was not run: the image has {no} spacing."
    )


def test_numbers_of_regions_become_words() -> None:
    assert wording.numbered([2]) == "number 2"
    assert wording.numbered([1, 2, 4]) == "numbers 1, 2 and 4"


def test_every_state_has_a_name_and_a_headline() -> None:
    assert set(wording.STATE_NAMES) == set(wording.HEADLINES) == set(STATES)
    assert len(set(wording.HEADLINES.values())) == 4


def test_every_sentence_that_the_code_says_is_in_the_catalogue() -> None:
    asked = set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        if "wording import say" in text or "import principles, wording" in text or "trust import wording" in text:
            asked |= set(re.findall(r"""\bsay\(\s*"([^"]+)\"""", text))
    assert asked
    assert asked <= set(wording.SENTENCES), asked - set(wording.SENTENCES)


def test_nothing_is_called_trusted_anywhere() -> None:
    for path in [*SOURCE.rglob("*.py"), *SOURCE.rglob("*.html"), *SOURCE.rglob("*.json")]:
        assert "trusted" not in path.read_text().lower(), path
