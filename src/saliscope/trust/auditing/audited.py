"""lago2025: the model card of explanations of one method, model and target over a cohort, all sections together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from saliscope.core.protocols import Method
from saliscope.core.score import Undefined
from saliscope.trust import wording
from saliscope.trust.audit_card import Finding, Insertion, Threshold
from saliscope.trust.auditing import consistency, fidelity, shortcuts
from saliscope.trust.auditing.material import Material
from saliscope.trust.check import CheckResult
from saliscope.trust.checks.held_against import OTHERS_HIGH, OTHERS_MIDDLE


@dataclass(frozen=True)
class Audited:
    """What an audit found: results, thresholds of single images, what was planted, columns, and why it is barred."""

    results: tuple[CheckResult, ...]
    thresholds: Mapping[str, Threshold]
    insertions: tuple[Insertion, ...]
    findings: tuple[Finding, ...]
    barred: str
    samples: int


def audited(
    m: Material,
    name: str,
    *,
    others: Mapping[str, Method],
    controls: Mapping[str, Method],
    planted: Sequence[Insertion] | None = None,
    said: Callable[[str], None] = lambda _: None,
) -> Audited:
    """Return what is found of the method called `name`; `others` are methods of other kinds, settled like it.

    What was planted does not depend on the method: give it where it was done for another one.
    """
    said("scores and maps")
    thresholds = {**consistency.spread(m), **consistency.other_patients(m)}
    high, middle = _number(thresholds[OTHERS_HIGH]), _number(thresholds[OTHERS_MIDDLE])
    said("the model replaced by untrained ones")
    random, barred = consistency.randomisation(m)
    said("images changed slightly")
    retest = consistency.test_retest(m, high, middle)
    stays = retest.scores[0].number if retest.scores and retest.scores[0].defined else None
    said("other questions")
    classes = consistency.class_discrimination(m, high, stays)
    said("places hidden by rank")
    faithful = fidelity.fidelity(m)
    if not barred and faithful.outcome == "against":
        barred = faithful.sentence
    said("other methods")
    agree = consistency.methods_agree(m, name, dict(others))
    located = fidelity.localisation(m, controls)
    said("marks planted and hidden")
    insertions = tuple(shortcuts.insertions(m, said=said) if planted is None else planted)
    marks = shortcuts.marks_hidden(m)
    findings = tuple(shortcuts.metadata(m))
    hidden = tuple(
        Insertion(f"{mark.what} in the images", mark.flagged, mark.result.sentence, mark.result.scores)
        for mark in marks
        if mark.flagged
    )
    results = [random, classes, faithful, retest, agree, *(mark.result for mark in marks)]
    if located is None:
        said_ = wording.say("localisation.no-masks")
        located = CheckResult(
            "localisation", "Plausibility", "Do maps lie on what was outlined?", "not-applicable", said_, decisive=False
        )
    return Audited((*results, located), thresholds, (*insertions, *hidden), findings, barred, m.samples)


def _number(threshold: Threshold) -> float | None:
    return None if isinstance(threshold.value, Undefined) else float(threshold.value)
