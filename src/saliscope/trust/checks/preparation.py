"""lago2025: an image whose values are not those that a network was taught with has no map that could be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saliscope.model.intensity import Window
from saliscope.trust import wording
from saliscope.trust.check import CheckResult

if TYPE_CHECKING:
    from saliscope.core.image import MedicalImage
    from saliscope.model.view import ToView

QUESTION = "Are the image's values those that the network expects?"
#: An image must fill so much of the window that its values are put into; a picture of 8 bits fills 6 % of 12 bits.
LEAST = 0.1


def misfit(image: MedicalImage, viewing: ToView) -> str:
    """Return why the values of an image cannot be what a network expects; empty where nothing speaks against them.

    Only a fixed window tells: what is spread over an image's own values fits every image.
    """
    window = next((step for step in viewing.steps if isinstance(step, Window)), None)
    if window is None or viewing.source != "values":
        return ""
    low, high = (float(v) for v in np.percentile(image.values, [0.5, 99.5]))
    held = min(high, window.high) - max(low, window.low)
    if held >= LEAST * (window.high - window.low):
        return ""
    return (
        f"its values lie between {low:.4g} and {high:.4g}, those of such images between {window.low:.4g} and "
        f"{window.high:.4g}"
    )


def preparation(image: MedicalImage, viewing: ToView) -> list[CheckResult]:
    """Return that an image's values are not those that a network expects; nothing where nothing speaks against them."""
    why = misfit(image, viewing)
    if not why:
        return []
    source = f"at least {LEAST:.0%} of the window of the network's view (convention)"
    said = wording.say("integrity.view", what=why)
    return [CheckResult("view", "Integrity", QUESTION, "against", said, source)]
