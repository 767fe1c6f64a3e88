"""The study of the explanation card: the page and the card's own statement are what the tables say."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def maker():
    """The script and what it is made of; its folder is on the path only as long as the tests run."""
    before = list(sys.path)
    sys.path.insert(0, str(DOCS))
    yield import_module("make_card_study")
    sys.path[:] = before


def test_the_page_is_what_the_tables_say(maker) -> None:
    page = import_module("card_study_page")
    maps, models = maker.rows_of(maker.TABLE), maker.rows_of(maker.MODELS)
    assert maker.TABLE.with_suffix(".md").read_text() == page.page(maps, models)


def test_what_cards_say_of_themselves_is_what_the_table_says(maker) -> None:
    from saliscope.trust.calibration import reliability

    assert json.loads(maker.CALIBRATION.read_text()) == maker.calibration(maker.rows_of(maker.TABLE))
    assert set(reliability()) <= {"read-with-care", "doubtful"}


def test_no_control_and_no_other_patients_map_got_the_best_state(maker) -> None:
    rows = maker.rows_of(maker.TABLE)
    tricks = [r for r in rows if r["method"] in (*maker.CONTROLS, maker.OTHER)]
    assert {r["method"] for r in tricks} == {*maker.CONTROLS, maker.OTHER}
    assert all(r["state"] != "read-with-care" for r in tricks)


def test_both_parts_hold_networks_with_and_without_a_shortcut(maker) -> None:
    for part in maker.OF_PART:
        networks = {r["network"] for r in maker.rows_of(maker.TABLE) if r["part"] == part}
        assert any("-clean-" in n for n in networks), part
        assert any("-text-" in n for n in networks), part


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("phantom-chest-plain-clean-0", ("text", 0.5, 0.5)),
        ("phantom-chest-dense-text-20-0", ("text", 0.2, 0.0)),
        ("phantom-chest-plain-device-95-0", ("device", 0.95, 0.0)),
        ("phantom-ultrasound-plain-shuffled-0", ("text", 0.0, 0.0)),
    ],
)
def test_a_cohort_is_like_what_its_network_was_trained_on(maker, name, expected) -> None:
    assert maker.shortcut_of(name) == expected
