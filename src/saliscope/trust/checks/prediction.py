"""saporta2022: where the network does not call a finding, there is none for a map to show."""

from __future__ import annotations

from saliscope.core.prediction import Prediction
from saliscope.trust import wording
from saliscope.trust.check import CheckResult, Outcome
from saliscope.trust.checks.held_against import LIMITS, Limits

QUESTION = "Does the model call what the map explains?"


def prediction_worth_explaining(prediction: Prediction, label: str, limits: Limits = LIMITS) -> CheckResult:
    """Return whether the label is called at its operating threshold, 0.5 where none is known (a convention).

    Classes that exclude each other are called when they are the strongest.
    """
    outcome: Outcome = "not-applicable"
    sentence = wording.say("not-applicable", why="the target is no label with a probability")
    source = ""
    if (
        label in prediction.labels
        and prediction.probabilities
        and prediction.kind not in ("segmentation", "regression")
    ):
        i = prediction.labels.index(label)
        p, known = prediction.probabilities[i], prediction.thresholds[i] if prediction.thresholds else None
        limit = 0.5 if known is None else known
        source = "the operating threshold of the model's card" if known is not None else "0.5, a convention"
        called = p >= limit
        rule = f"operating threshold {limit:.2f}" if known is not None else "0.50 taken, as no threshold is known"
        if prediction.kind == "multi-class" and known is None:
            called, source = prediction.strongest == i, "the strongest class"
            limit = (
                max(q for j, q in enumerate(prediction.probabilities) if j != i) if len(prediction.labels) > 1 else 0
            )
            rule = f"the strongest other label has {limit:.2f}"
        outcome = "supports" if called else "against"
        if abs(p - limit) < limits.near_threshold * min(1.0, 2 * max(limit, 1e-9)) and called:
            outcome = "unclear"
        sentence = wording.say(f"prediction.{outcome}", label=label, p=p, rule=rule)
    return CheckResult("prediction", "Integrity", QUESTION, outcome, sentence, threshold=source)
