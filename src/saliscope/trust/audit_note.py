"""A model card of explanations in short, as a terminal and a notebook show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saliscope.trust.audit_card import AuditCard


def row(card: AuditCard) -> dict[str, str]:
    """Return what a table says of a card, by column."""
    return {
        "target": card.target,
        "method": card.method,
        "images": str(card.cohort.images),
        "barred": "yes" if card.barred else "no",
        "shortcuts": "; ".join(card.shortcuts) or "none flagged",
        "checks": _ran(card),
    }


def summary(card: AuditCard) -> str:
    """Return a card in a few lines."""
    lines = [
        f"Audit of {card.target!r} by {card.method} for {card.model}, over {card.cohort.images} images",
        *_found(card),
        f"{_ran(card)} checks run, {card.samples:,} forward samples",
    ]
    return "\n  ".join(lines)


def note(card: AuditCard) -> str:
    """Return a card in short as HTML."""
    from saliscope.figures.audit_page import HEADLINES, TOPS, top
    from saliscope.figures.gallery import card_note

    found = top(card.described())
    told = {
        "name": f"{card.target} by {card.method} for {card.model}, over {card.cohort.images} images",
        "state": TOPS[found][1],
        "sentences": [HEADLINES[found], *_found(card)],
        "summary": f"{_ran(card)} checks run",
        "rows": [(r.question, r.outcome, r.sentence) for r in card.results if r.outcome != "not-applicable"],
        "always": (),
        "hidden": False,
    }
    return card_note(told)


def _found(card: AuditCard) -> list[str]:
    """Return what was found, in sentences."""
    barred = [f"Barred: {card.barred}"] if card.barred else []
    flagged = [i.sentence for i in card.insertions if i.flagged] + [f.sentence for f in card.findings if f.flagged]
    return [*barred, *(flagged or ["No shortcut was flagged."])]


def _ran(card: AuditCard) -> str:
    applicable = [r for r in card.results if r.outcome != "not-applicable"]
    return f"{sum(r.outcome != 'not-run' for r in applicable)} of {len(applicable)}"
