"""saporta2022: small findings are where maps fail most; what a map can show at all."""

from __future__ import annotations

from saliscope.core.explanation import Explanation
from saliscope.trust import wording


def smallest(explanation: Explanation) -> str:
    """Return how small a thing a map can show, along its coarsest axis, in millimetres where they are known."""
    least = max(explanation.finest)
    if explanation.geometry.unit == "mm":
        return wording.say("resolution.mm", mm=least)
    # Without millimetres lengths are in elements of the source image, not of what the network saw of it.
    count = max(1, round(least))
    return wording.say("resolution.elements", elements=f"{count} element{'' if count == 1 else 's'}")
