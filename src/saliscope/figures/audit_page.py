"""The page of a model card of explanations: is the method barred, what does the model answer to, and every number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saliscope.figures.card_page import provenance, sign
from saliscope.figures.check_rows import left_out, number, numbers, sections

#: What stands at the top, by what was found: the sign, the words.
TOPS = {
    "barred": ("do-not-read", "BARRED"),
    "flagged": ("doubtful", "SHORTCUTS FOUND"),
    "empty": ("not-assessed", "NOT ASSESSED"),
    "clear": ("read-with-care", "USE WITH EXPLANATION CARDS"),
}
HEADLINES = {
    "barred": "No map by this method should be read for this model.",
    "flagged": "The model answers to more than the findings: a map of it can be faithful and still point at these.",
    "empty": "No check was run, so nothing follows from this document.",
    "clear": "Nothing here bars the method; each map still needs a card of its own.",
}


def audit_page(card: Mapping[str, Any]) -> str:
    """Return the page (HTML, one file, no script) of a model card of explanations that is plain data."""
    from saliscope.figures.page import environment

    found = top(card)
    state, name = TOPS[found]
    applicable = [c for c in card["checks"] if c["outcome"] != "not-applicable"]
    return environment().get_template("audit.html").render(
        card=card,
        state=state,
        sign=sign(state),
        name=name,
        headline=HEADLINES[found],
        run=sum(c["outcome"] != "not-run" for c in applicable),
        applicable=len(applicable),
        sections=sections(card),
        not_run=left_out(card, "not-run"),
        not_applicable=left_out(card, "not-applicable"),
        tables=[(title, head, _rows(card[key])) for title, head, key in (
            ("Planted shortcuts", "Planted", "insertions"), ("Columns of the cohort's table", "Column", "findings"),
        )],
        thresholds=[(n, number(t["value"]), t["source"], t["n"]) for n, t in card["thresholds"].items()],
        provenance=provenance(card),
    )  # fmt: skip


def top(card: Mapping[str, Any]) -> str:
    """Return what stands at the top of the page: "barred", "flagged", "empty" or "clear"; the worst wins."""
    if card["barred"]:
        return "barred"
    if card["shortcuts"]:
        return "flagged"
    ran = [c for c in card["checks"] if c["outcome"] not in ("not-run", "not-applicable")]
    return "clear" if ran else "empty"


def _rows(rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "what": r.get("what") or r["column"],
            "flagged": r["flagged"],
            "sentence": r["sentence"],
            "numbers": numbers(r["scores"]),
        }
        for r in rows
    ]
