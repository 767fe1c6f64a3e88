"""saporta2022: small findings are where maps fail most; what a cell of the map can show at all."""

from __future__ import annotations

from saliscope.core.explanation import Explanation
from saliscope.trust import wording


def smallest(explanation: Explanation) -> str:
    """Return how small a thing a map can show, the longest side of its cell, in millimetres where they are known."""
    cell = max(explanation.geometry.spacing)
    if explanation.geometry.unit == "mm":
        return wording.say("resolution.mm", mm=cell)
    return wording.say("resolution.elements", elements=cell / max(explanation.seen.spacing))
