"""lago2025: all checks of one map, put into one plan and run together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saliscope.core.region import Mask
from saliscope.metrics.remade import maps_and_outputs
from saliscope.perturb.plan import run
from saliscope.trust import wording
from saliscope.trust.audit_card import AuditCard
from saliscope.trust.check import CheckResult
from saliscope.trust.checks import hidden, of_model, region, stability
from saliscope.trust.checks.held_against import LIMITS, SPREAD, Limits, threshold
from saliscope.trust.checks.integrity import integrity
from saliscope.trust.checks.prediction import prediction_worth_explaining
from saliscope.trust.claim import Claim, claim

if TYPE_CHECKING:
    from saliscope.trust.explanation_card import Tier
    from saliscope.trust.subject import Subject

#: Without these a map is not assessed.
NEEDED = ("integrity", "region-test", "islands", "test-retest", "method")
AREA_WORDS = {"body": "the body", "ultrasound field": "the ultrasound field"}


@dataclass(frozen=True)
class Effort:
    """How much each tier asks: other places of an area and of a region, changed copies (None: all there are)."""

    nulls: int = region.NULLS
    hidden_nulls: int = hidden.NULLS
    copies: int | None = stability.QUICK


#: The quick tier stays within 75 forward samples for a method of one forward run.
EFFORT: Mapping[str, Effort] = {"quick": Effort(), "full": Effort(nulls=99, hidden_nulls=19, copies=None)}


def examine(
    subject: Subject,
    audit: AuditCard | None,
    tier: Tier = "quick",
    absent: Mapping[str, str] | None = None,
    limits: Limits = LIMITS,
    seed: int = 0,
) -> list[CheckResult]:
    """Return what every check finds of a map; `absent` says why regions were not found.

    An audit that does not fit the map must not be given. Checks of a map that is broken are not run.
    """
    effort = EFFORT[tier]
    before = subject.model.counts.samples
    own = maps_and_outputs(subject.model, subject.method, subject.view.tensor, subject.target)
    ((remade,),) = own[0].numpy()
    subject.plan.keep(subject.plan.unchanged(), subject.target.scores(own[1])[0])
    first = integrity(subject.explanation, subject.attribution, remade, limits, subject.model.counts.samples - before)
    results = [first, prediction_worth_explaining(subject.explanation.prediction, subject.explanation.target, limits)]
    found = claim(subject.attribution, seed) if first.outcome == "supports" else None
    if found is None:
        results += _stopped(wording.say("not-run.stopped"))
    else:
        results += _of_area(subject, found, audit, effort, absent or {}, limits, seed)
        results.append(stability.stability(subject, audit, effort.copies, own))
    results += [] if audit is None else of_model.of_model(audit)
    return results


def _of_area(
    subject: Subject,
    found: Claim,
    audit: AuditCard | None,
    effort: Effort,
    absent: Mapping[str, str],
    limits: Limits,
    seed: int,
) -> list[CheckResult]:
    """Return the checks that hide something, all of them run together."""
    label, spread = subject.explanation.target, threshold(audit, SPREAD)
    decision = hidden.decision_on(subject.explanation.prediction, label)
    where, within = compartment(subject)
    before = subject.model.counts.samples
    asked = region.ask(subject, found, within, nulls=effort.nulls, seed=seed)
    marks = hidden.ask_hidden(subject, nulls=effort.hidden_nulls, seed=seed)
    run([subject.plan], subject.model, [subject.target])
    samples = subject.model.counts.samples - before
    area = region.area_matters(asked.area(), asked.core(), label, where, spread, limits)
    spots = region.every_spot_matters(found, tuple(ask() for ask in asked.spots), label, spread, limits)
    results = [area, spots]
    results += [hidden.mark_hidden(n, ask(), decision, spread, limits) for n, ask in marks.marks.items()]
    results += [hidden.organ_hidden(n, ask(), decision) for n, ask in marks.organs.items()]
    asked_for = {*marks.marks, *marks.organs}
    results += [hidden.none_found(n, why) for n, why in absent.items() if n not in asked_for and _told(n)]
    # Copies are shared between the checks: what they cost together is said once, at the first.
    return [replace(results[0], samples=samples), *(replace(r, samples=0) for r in results[1:])]


def compartment(subject: Subject) -> tuple[str, Mask]:
    """Return where the other places of an area are looked for: the patient where found, else all that was seen."""
    for name, words in AREA_WORDS.items():
        region_ = subject.regions.get(name)
        if region_ is not None and region_.share >= 0.3:
            return words, region_.mask
    return "the image", np.ones(subject.view.geometry.shape, bool)


def _told(name: str) -> bool:
    return name in hidden.NOT_THE_PATIENT or name in hidden.ORGANS


def _stopped(why: str) -> Sequence[CheckResult]:
    return [
        CheckResult("region-test", "Fidelity", region.AREA, "not-run", why),
        CheckResult("islands", "Fidelity", region.EACH, "not-run", why),
        CheckResult("test-retest", "Consistency", stability.QUESTION, "not-run", why),
    ]
