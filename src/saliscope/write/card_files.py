"""The files of the two documents: plain data as JSON beside its page, the same bytes for the same document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saliscope.write.record import json_bytes

CARD, CARD_PAGE = "card.json", "card.html"
AUDIT, AUDIT_PAGE = "audit.json", "audit.html"


def card_files(card: Mapping[str, Any], page: str) -> dict[str, bytes]:
    """Return the files of an explanation card (plain data) and its page (HTML) by name."""
    return {CARD: json_bytes(card), CARD_PAGE: page.encode("utf-8")}


def audit_files(card: Mapping[str, Any], page: str) -> dict[str, bytes]:
    """Return the files of a model card of explanations (plain data) and its page (HTML) by name."""
    return {AUDIT: json_bytes(card), AUDIT_PAGE: page.encode("utf-8")}
