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


#: Outcome, sign and word of a row. What moves the score and may look like a finding is told, and counts for nothing.
FLAGS = {
    "flagged": ("against", "×", "flagged"),
    "not counted": ("unclear", "?", "not counted"),
    "clear": ("supports", "+", "clear"),
}
#: A mark that changes so large a share of the decisions is not called clear, flagged or not.
CHANGED = 0.1


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
        against=[said for said in _against(card) if said != card["barred"]],
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


def _against(card: Mapping[str, Any]) -> list[str]:
    """Return what speaks against the method or the model, in sentences, the decisive ones first."""
    found = sorted((c for c in card["checks"] if c["outcome"] == "against"), key=lambda c: not c["decisive"])
    return [c["reason"] for c in found]


def _rows(rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    told = []
    for r in rows:
        outcome, sign, word = FLAGS["flagged" if r["flagged"] else "not counted" if _moves(r) else "clear"]
        what = r.get("what") or r["column"]
        told.append({"what": what, "outcome": outcome, "sign": sign, "word": word, "sentence": r["sentence"],
                     "numbers": numbers(r["scores"])})  # fmt: skip
    return told


def _moves(row: Mapping[str, Any]) -> bool:
    """Return whether something that is not flagged changes decisions: it must not be called clear."""
    return any(score["parts"].get("crossed", 0.0) >= CHANGED for score in row["scores"])
