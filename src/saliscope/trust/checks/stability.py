"""arun2021, repeatability: does the map stay when the image is changed as another acquisition would change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.core.score import Score, Undefined
from saliscope.metrics.robustness.test_retest import CHANGED, TestRetest
from saliscope.trust import wording
from saliscope.trust.check import CheckResult, Outcome
from saliscope.trust.checks.held_against import OTHERS_HIGH, OTHERS_MIDDLE, threshold

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.trust.audit_card import AuditCard
    from saliscope.trust.subject import Subject

QUESTION = "Does the map stay where it is when the image is changed slightly?"
#: Changed copies of the quick tier.
QUICK = 4


def stability(
    subject: Subject, audit: AuditCard | None, count: int | None = QUICK, own: tuple[Tensor, Tensor] | None = None
) -> CheckResult:
    """Return whether the map agrees with those of plausibly changed copies more than maps of other patients do.

    It passes when the middle agreement is above the 95th percentile of other patients' maps, and fails when it is no
    better than their middle; without an audit there is nothing to hold it against. `own` are the map (1, 1, *S) and the
    output of the image, where they are known already.
    """
    before = subject.model.counts.samples
    modality = subject.image.modality
    metric, asked = TestRetest(modality, count), (subject.model, subject.method, subject.view.tensor, subject.target)
    ((score,),) = [metric.beside(*asked, own)] if own else metric.of_method(*asked)
    samples = subject.model.counts.samples - before
    return judged(score, threshold(audit, OTHERS_HIGH), threshold(audit, OTHERS_MIDDLE), samples)


def judged(score: Score, high: float | None, middle: float | None, samples: int) -> CheckResult:
    """Return what follows from a test-retest score and the agreement of other patients' maps."""
    changed = score.excluded.get(CHANGED, 0)
    asked = score.n + sum(score.excluded.values())
    words = next((h.partition(": ")[2] for h in score.how if h.startswith("perturbations")), "")
    told = {"n": asked, "changes": words, "changed": changed}
    outcome: Outcome = "unclear"
    source = "the 95th percentile of the agreement of different patients' maps in the audit, and its middle"
    if isinstance(score.value, Undefined):
        name = "test-retest.none-left" if changed else "test-retest.unclear"
    elif high is None or middle is None:
        outcome, name = "not-run", "test-retest.unclear"
        sentence = wording.say("not-run", why="there is no agreement of other patients' maps to hold it against")
        return _result(outcome, sentence, source, score, samples)
    elif 2 * changed >= asked:
        name = "test-retest.decision"
    elif score.number <= middle:
        outcome, name = "against", "test-retest.against"
    elif score.number > high:
        outcome, name = "supports", "test-retest.supports"
    else:
        name = "test-retest.unclear"
    return _result(outcome, wording.say(name, **told), source, score, samples)


def _result(outcome: Outcome, sentence: str, source: str, score: Score, samples: int) -> CheckResult:
    return CheckResult("test-retest", "Consistency", QUESTION, outcome, sentence, source, (score,), samples)
