"""The page on the two documents says what they hold."""

from __future__ import annotations

from pathlib import Path

from saliscope.trust.check import STATES
from saliscope.trust.principles import OF_IMAGE, OF_MODEL

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "cards.md"


def test_the_page_on_the_cards_names_every_pointer_and_state() -> None:
    text = PAGE.read_text()
    for state in STATES:
        assert f"`{state}`" in text
    for pointer in (*OF_IMAGE, *OF_MODEL):
        (line,) = (x for x in text.splitlines() if f"| {pointer.clause} |" in x)
        assert all(f"`{field}`" in line for field in pointer.fields), pointer
