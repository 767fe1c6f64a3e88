"""zech2018, degrave2021: what is no part of the patient is hidden, then the organ, to see what the score rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saliscope.core.prediction import Prediction
from saliscope.trust import wording
from saliscope.trust.check import CheckResult, Outcome
from saliscope.trust.checks.held_against import LIMITS, Limits
from saliscope.trust.checks.region import FILLS
from saliscope.trust.interventions.organ import OrganTest, ask_organ_tests
from saliscope.trust.interventions.region_test import RegionTest, ask_region_test

if TYPE_CHECKING:
    from saliscope.trust.subject import Subject

#: Regions that say nothing of the patient, by the name under which they are found, and as they are called in words.
NOT_THE_PATIENT = {
    "burnt-in text": "the burnt-in text",
    "markers": "the side marker",
    "shutters": "what lies beyond the shutters",
    "outside the body": "what lies outside the body",
}
#: Where findings are expected, by the name of what is found.
ORGANS = {"lungs": "the lungs", "ultrasound field": "the ultrasound field"}
#: Regions larger than this have no other places like them to compare with: hiding them would say nothing.
COMPARABLE = 0.1
#: Other places of each region, to say whether it is the region or the hiding.
NULLS = 3


@dataclass(frozen=True)
class Decision:
    """The label explained, and the score from which on the model calls it; None where it decides nothing."""

    label: str
    limit: float | None

    def changes(self, before: float, after: float) -> bool:
        """Return whether the decision differs between two scores."""
        return self.limit is not None and (before >= self.limit) != (after >= self.limit)

    def change(self, before: float, after: float) -> str:
        """Return a change of the score in words: as probabilities where the score is the logit of one."""
        if self.limit is None:
            return f"score {before:.2f} to {after:.2f}"
        return f"probability {_probability(before):.2f} to {_probability(after):.2f}"


def _probability(logit: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(logit, -60, 60))))


def decision_on(prediction: Prediction, label: str) -> Decision:
    """Return from which logit on a label is called: its operating threshold's, or probability 0.5."""
    if label not in prediction.labels or prediction.kind not in ("binary", "multi-label"):
        return Decision(label, None)
    known = prediction.thresholds[prediction.labels.index(label)] if prediction.thresholds else None
    p = min(max(0.5 if known is None else known, 1e-6), 1 - 1e-6)
    return Decision(label, float(np.log(p / (1 - p))))


@dataclass(frozen=True, eq=False)
class Hidden:
    """Questions about regions that were put to a plan: by name, what gives their test."""

    marks: dict[str, Callable[[], RegionTest]]
    organs: dict[str, Callable[[], OrganTest]]


def ask_hidden(subject: Subject, *, nulls: int = NULLS, organs: bool = True, seed: int = 0) -> Hidden:
    """Put each region that is no part of the patient, and the organ, to the plan of a subject."""
    marks: dict[str, Callable[[], RegionTest]] = {}
    everywhere = np.ones(subject.view.geometry.shape, bool)
    for name, words in NOT_THE_PATIENT.items():
        region = subject.regions.get(name)
        if region is None or not 0 < region.share <= COMPARABLE:
            continue
        marks[name] = ask_region_test(
            subject.plan,
            region.mask,
            words,
            everywhere,
            FILLS[1:],
            nulls=nulls,
            seed=seed,
            side="changes",
            spacing=subject.view.geometry.spacing,
        )
    found: dict[str, Callable[[], OrganTest]] = {}
    for name in ORGANS if organs else ():
        region = subject.regions.get(name)
        if region is not None and 0.02 < region.share < 0.9:
            found[name] = ask_organ_tests(subject.plan, region.mask, ORGANS[name], FILLS)
    return Hidden(marks, found)


def mark_hidden(
    name: str, test: RegionTest, decision: Decision, spread: float | None, limits: Limits = LIMITS
) -> CheckResult:
    """Return whether the score rests on what is no part of the patient: by the decision, then by the score."""
    effect = test.score.number
    before, after = test.unchanged, test.unchanged - effect
    scale = spread if spread else abs(before) or 1.0
    larger = sum(abs(n) >= abs(effect) for n in test.nulls)
    told = {"what": test.name, "label": decision.label, "change": decision.change(before, after),
            "beaten": len(test.nulls) - larger, "n": len(test.nulls)}  # fmt: skip
    outcome: Outcome = "supports"
    sentence = "hidden.supports"
    if decision.changes(before, after) and not larger:
        outcome, sentence = "against", "hidden.decision"
    elif abs(effect) >= limits.moves * scale and not larger:
        outcome, sentence = "unclear", "hidden.score"
    source = f"the decision, or {limits.moves} standard deviations of the score over images (convention)"
    question = f"Does {test.name} move the score?"
    return CheckResult(
        f"hidden-{name.replace(' ', '-')}", "Plausibility", question, outcome, wording.say(sentence, **told),
        source, (test.score,), test.samples,
    )  # fmt: skip


def organ_hidden(name: str, test: OrganTest, decision: Decision) -> CheckResult:
    """Return whether a call survives the organ being hidden: something outside it drives the score then.

    It is not decisive: the outline is found by simple means, and disease may lie beside it.
    """
    question = f"Does the model still call it with {test.organ} hidden?"
    check = f"{name.replace(' ', '-')}-hidden"
    scores = (test.loss, test.outside)
    if decision.limit is None or test.unchanged < decision.limit:
        why = "the model does not call it, so there is no call to lose"
        said = wording.say("not-applicable", why=why)
        return CheckResult(
            check, "Plausibility", question, "not-applicable", said, "", scores, test.samples, decisive=False
        )
    persists = test.persists(decision.limit)
    after = float(np.mean(list(test.hidden.values())))
    low, high = min(test.hidden.values()), max(test.hidden.values())
    told = {"where": test.organ, "label": decision.label, "change": decision.change(test.unchanged, after),
            "fills": f"{low:.2f} to {high:.2f}"}  # fmt: skip
    # A fill that raises the score looks like the finding itself, as white lungs do: it says nothing of what is outside.
    raised = any(value > test.unchanged for value in test.hidden.values())
    outcome: Outcome = "unclear" if persists is None or (persists and raised) else "against" if persists else "supports"
    said = wording.say(f"organ-hidden.{outcome}", **told)
    source = "the decision at the operating threshold"
    return CheckResult(check, "Plausibility", question, outcome, said, source, scores, test.samples, decisive=False)


def none_found(name: str, why: str) -> CheckResult:
    """Return that a region was not found in an image, so that there was nothing to hide."""
    words = NOT_THE_PATIENT.get(name, ORGANS.get(name, name))
    said = (
        wording.say("hidden.none", what=words) if name in NOT_THE_PATIENT else wording.say("organ.unknown", where=words)
    )
    mark = name in NOT_THE_PATIENT
    check = f"hidden-{name.replace(' ', '-')}" if mark else f"{name.replace(' ', '-')}-hidden"
    question = f"Does {words} move the score?" if mark else f"Does the model still call it with {words} hidden?"
    return CheckResult(check, "Plausibility", question, "not-applicable", said, why)
