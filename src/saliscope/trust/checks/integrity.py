"""lago2025: before anything else, is there a map, does it say something, and is it the method's own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saliscope.core.explanation import Explanation
from saliscope.core.score import Score
from saliscope.metrics.agreement.pearson import Pearson
from saliscope.trust import wording
from saliscope.trust.check import CheckResult
from saliscope.trust.checks.held_against import LIMITS, Limits

Map = npt.NDArray[np.floating]
QUESTION = "Is there a map, and is it the method's own for this image?"


def integrity(
    explanation: Explanation, own: Map, remade: Map, limits: Limits = LIMITS, samples: int = 0
) -> CheckResult:
    """Return whether a map can be read at all: finite, not constant, something positive, and made by the method.

    `own` and `remade` (*S) are the map at hand and the one that the method gives now, on the elements of the view.
    """
    name = _fault(explanation, own)
    scores: tuple[Score, ...] = ()
    if not name:
        score = Pearson().of_pair(own, remade)
        scores = (score,)
        if not score.defined or score.number < limits.same_map:
            name = "integrity.other"
    return CheckResult(
        "integrity",
        "Integrity",
        QUESTION,
        "against" if name else "supports",
        wording.say(name or "integrity.supports", label=explanation.target),
        threshold=f"correlation of at least {limits.same_map} with the map made again (convention)",
        scores=scores,
        samples=samples,
    )


def _fault(explanation: Explanation, own: Map) -> str:
    values = explanation.values
    if not (np.isfinite(values).all() and np.isfinite(own).all()):
        return "integrity.not-finite"
    if explanation.traits.family == "control":
        return "control"
    if not values.any():
        return "integrity.zero"
    if values.min() == values.max():
        return "integrity.constant"
    return "" if (own > 0).any() else "integrity.no-positive"
