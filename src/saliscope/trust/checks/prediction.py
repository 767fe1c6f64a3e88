"""saporta2022: where the network does not call a finding, there is none for a map to show."""

from __future__ import annotations

from saliscope.core.prediction import Prediction
from saliscope.trust import wording
from saliscope.trust.check import CheckResult, Outcome
from saliscope.trust.checks.held_against import LIMITS, Limits

QUESTION = "Does the model call what the map explains?"


def prediction_worth_explaining(prediction: Prediction, label: str, limits: Limits = LIMITS) -> CheckResult:
    """Return whether the label is called, as `Prediction.called` has it, and whether narrowly so."""
    outcome: Outcome = "not-applicable"
    sentence = wording.say("not-applicable", why="the target is no label with a probability")
    source = ""
    if (
        label in prediction.labels
        and prediction.probabilities
        and prediction.kind not in ("segmentation", "regression")
    ):
        i = prediction.labels.index(label)
        p, known = prediction.probabilities[i], prediction.limits[i]
        called = i in prediction.called
        if known is not None:
            limit, source = known, "the operating threshold of the model's card"
            rule = f"operating threshold {limit:.2f}"
        elif prediction.kind in ("multi-label", "binary"):
            limit, source, rule = 0.5, "0.5, a convention", "0.50 taken, as no threshold is known"
        else:
            others = [q for j, q in enumerate(prediction.probabilities) if j != i]
            limit, source = max(others, default=0.0), "the strongest class"
            rule = f"the strongest other label has {limit:.2f}"
            beyond = next((j for j in prediction.called if prediction.limits[j] is not None), None)
            if beyond is not None:
                rule = f"{prediction.labels[beyond]} is at or above its operating threshold"
        outcome = "supports" if called else "against"
        if abs(p - limit) < limits.near_threshold * min(1.0, 2 * max(limit, 1e-9)) and called:
            outcome = "unclear"
        sentence = wording.say(f"prediction.{outcome}", label=label, p=p, rule=rule)
    return CheckResult("prediction", "Integrity", QUESTION, outcome, sentence, threshold=source)
