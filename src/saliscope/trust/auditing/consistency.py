"""adebayo2018, sixt2020, arun2021 over a cohort: do maps depend on the model, the question and the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from saliscope.core.protocols import Method
from saliscope.core.score import Score, Undefined
from saliscope.metrics.agreement.other_patients import beyond_other_patients
from saliscope.metrics.agreement.spearman import Spearman
from saliscope.metrics.randomisation.mprt import MPRT
from saliscope.metrics.randomisation.random_logit import RandomLogit
from saliscope.metrics.robustness.test_retest import TestRetest
from saliscope.metrics.summary import summary
from saliscope.trust import wording
from saliscope.trust.audit_card import Threshold
from saliscope.trust.auditing.material import Material
from saliscope.trust.check import CheckResult, Outcome
from saliscope.trust.checks.held_against import OTHERS_HIGH, OTHERS_MIDDLE, SPREAD

#: Pairs of patients whose maps are compared, at most.
PAIRS = 300
#: Maps that agree by less than this beyond the null agree only a little, however surely (convention).
LITTLE = 0.1
#: A similarity that is above its null by less than this is a matter of which images were taken (convention).
BARELY = 0.1
#: Maps this similar are the same, also where those of different images are: a map of the centre is (convention).
SAME = 0.9
#: Images whose maps by other methods are compared, each with each.
COMPARED = 12


def spread(m: Material) -> dict[str, Threshold]:
    """Return the standard deviation of the score over images, against which effects are held."""
    value = float(m.scores.std())
    source = "standard deviation of the score over the images of the audit"
    return {SPREAD: Threshold(value if value > 0 else Undefined("all images have one score"), source, len(m.scores))}


def other_patients(m: Material) -> dict[str, Threshold]:
    """Return how far maps of different patients agree: the middle and the 95th percentile of their rank correlation."""
    pairs = [(a, b) for a, b in combinations(range(len(m.maps)), 2) if _patient(m, a) != _patient(m, b)]
    chosen = [pairs[i] for i in np.random.default_rng(m.seed).permutation(len(pairs))[:PAIRS]]
    alike = [Spearman().of_pair(m.maps[a], m.maps[b]) for a, b in chosen if m.maps[a].shape == m.maps[b].shape]
    known = [s.number for s in alike if s.defined]
    found = {}
    for name, share in ((OTHERS_HIGH, 95), (OTHERS_MIDDLE, 50)):
        none = Undefined("maps of different patients could not be compared")
        value = float(np.percentile(known, share)) if len(known) >= 3 else none
        found[name] = Threshold(
            value, f"rank correlation of maps of different patients, percentile {share}", len(known)
        )
    return found


def randomisation(m: Material) -> tuple[CheckResult, str]:
    """Return whether maps change when the weights are drawn anew, and why the method is barred; empty where not."""
    numbers = m.order[: m.extent.randomised]
    question = "Do maps change when the model is replaced by an untrained one?"
    if len(numbers) < 2 or len({m.views[i].tensor.shape for i in numbers}) > 1:
        said = wording.say("not-run", why="it needs two images or more whose views have one shape")
        return CheckResult("randomisation", "Fidelity", question, "not-run", said), ""
    result = MPRT(seed=m.seed).of_network(m.network, m.method, m.batch(numbers), m.target)
    m.samples += result.samples
    passed, scores = result.passed[0], result.scores[0]
    outcome: Outcome = "unclear" if isinstance(passed, Undefined) else "supports" if passed else "against"
    if outcome == "against" and _excess(scores) < BARELY and scores[0].number < SAME:
        outcome = "unclear"
    said = wording.say(f"randomisation.{outcome}", n=len(numbers))
    barred = wording.say("randomisation.barred") if outcome == "against" else ""
    source = "0.1 above the mean similarity of maps of different images (arun2021; the margin is a convention)"
    return CheckResult("randomisation", "Fidelity", question, outcome, said, source, scores, result.samples), barred


def class_discrimination(m: Material, high: float | None, retest: float | None) -> CheckResult:
    """Return whether maps of different questions about one image differ more than maps of one question do."""
    question = "Does the map depend on which label is asked for?"
    numbers = m.order[: m.extent.randomised]
    metric = RandomLogit(labels=m.network.labels)
    with m.network.opened() as model:
        rows = [metric.of_method(model, m.method, m.views[i].tensor, m.target)[0][0] for i in numbers]
        samples = model.counts.samples
    m.samples += samples
    score = summary(rows, [m.items[i].patient for i in numbers])
    source = "the middle agreement of maps of slightly changed images, and that of other patients' maps"
    outcome: Outcome
    if not score.defined:
        said = wording.say("not-applicable", why="no other label has a map to compare with")
        return CheckResult(
            "class-discrimination", "Fidelity", question, "not-applicable", said, source, (score,), samples
        )
    if score.number >= (0.95 if retest is None else min(retest, 0.95)):
        outcome = "against"
    else:
        outcome = "unclear" if high is not None and score.number > max(high, 0.5) else "supports"
    said = wording.say(f"discrimination.{outcome}", n=score.n)
    return CheckResult(
        "class-discrimination", "Fidelity", question, outcome, said, source, (score,), samples, decisive=False
    )


def test_retest(m: Material, high: float | None, middle: float | None) -> CheckResult:
    """Return how far maps stay when images are changed slightly, over the cohort."""
    numbers = m.order[: m.extent.retested]
    with m.network.opened() as model:
        rows = [
            TestRetest(m.modality, seed=m.seed).of_method(model, m.method, m.views[i].tensor, m.target)[0][0]
            for i in numbers
        ]
        samples = model.counts.samples
    m.samples += samples
    score = summary(rows, [m.items[i].patient for i in numbers])
    question = "Do maps stay where they are when images are changed slightly?"
    source = "the 95th percentile of the agreement of different patients' maps, and its middle"
    if not score.defined or high is None or middle is None:
        said = wording.say("not-run", why="no maps were left to compare")
        return CheckResult(
            "test-retest", "Consistency", question, "not-run", said, source, (score,), samples, decisive=False
        )
    outcome: Outcome = "supports" if score.number > high else "against" if score.number <= middle else "unclear"
    said = wording.say(f"retest.{outcome}", metric="rank correlation", value=score.number, null=middle, n=score.n)
    return CheckResult("test-retest", "Consistency", question, outcome, said, source, (score,), samples, decisive=False)


def methods_agree(m: Material, name: str, others: dict[str, Method]) -> CheckResult:
    """Return whether methods of other kinds highlight the same places, beyond what maps of two patients share."""
    question = "Do methods of other kinds highlight the same places?"
    families = {name: m.method.traits.family, **{n: o.traits.family for n, o in others.items()}}
    chosen = m.mapped[:COMPARED]
    maps = {name: m.maps[: len(chosen)], **{n: m.maps_by(o, chosen) for n, o in others.items()}}
    score: Score = beyond_other_patients(Spearman(), maps, families, [m.items[i].patient for i in chosen], seed=m.seed)
    source = f"maps of two patients by the same methods; p at most 0.05 and {LITTLE} more than they (conventions)"
    if not score.defined:
        said = wording.say("not-run", why=_lower(score))
        return CheckResult(
            "agreement-methods", "Consistency", question, "not-run", said, source, (score,), 0, decisive=False
        )
    null = float(score.null) if isinstance(score.null, float | int) else 0.0
    p = score.parts["p"]
    sure = p <= 0.05 and score.number >= null + LITTLE
    outcome: Outcome = "against" if score.number <= null else "supports" if sure else "unclear"
    said = wording.say(f"agreement-methods.{outcome}", metric=score.metric, value=score.number, null=null, n=score.n)
    return CheckResult("agreement-methods", "Consistency", question, outcome, said, source, (score,), 0, decisive=False)


def _excess(scores: Sequence[Score]) -> float:
    """Return by how much the similarity furthest above its null is above it."""
    known = [s.number - s.null for s in scores if s.defined and isinstance(s.null, float | int)]
    return max(known, default=0.0)


def _patient(m: Material, number: int) -> object:
    return m.items[m.mapped[number]].patient


def _lower(score: Score) -> str:
    return score.value.reason if isinstance(score.value, Undefined) else ""
