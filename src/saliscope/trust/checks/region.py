"""petsiuk2018, deletion, of what a map points at: does the area matter, and every spot of it, beside others like it.

The area is hidden and the score read again; so are areas of the same shape elsewhere. A map whose area could as well
lie anywhere else says nothing of the model, however plausible it looks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saliscope.core.metric import Fill
from saliscope.core.region import Mask
from saliscope.core.score import Score, Undefined
from saliscope.perturb.impute import RoadFill
from saliscope.trust import wording
from saliscope.trust.check import CheckResult, Outcome
from saliscope.trust.checks.held_against import LIMITS, Limits
from saliscope.trust.claim import Claim
from saliscope.trust.interventions.fills import RingFill
from saliscope.trust.interventions.region_test import RegionTest, ask_region_test, question

if TYPE_CHECKING:
    from saliscope.trust.subject import Subject

#: The first fills the other places too; a second opinion says whether the effect is one of the fill.
FILLS: tuple[Fill, ...] = (RoadFill(exact=False, noise=0.0), RingFill())
#: Other places of the area: as many as a p of 0.05 takes. Of each spot: enough for a mean.
NULLS, SPOT_NULLS = 19, 6
#: Spots beyond these are not asked for by themselves.
SPOTS = 4
AREA, EACH = "Does the highlighted area matter to the model?", "Does every part of the highlighted area matter?"


@dataclass(frozen=True, eq=False)
class Asked:
    """The questions about an area that were put to a plan."""

    area: Callable[[], RegionTest]
    core: Callable[[], RegionTest]
    spots: tuple[Callable[[], RegionTest], ...]


def ask(subject: Subject, found: Claim, within: Mask, *, nulls: int = NULLS, seed: int = 0) -> Asked:
    """Put to the plan the area that a map points at, its stronger half, and its spots, each beside other places.

    At most 1 + 2 + 19 + 1 + 4 * (1 + 6) forward samples: the stronger half is held against the whole, not other places.
    """
    spacing = subject.view.geometry.spacing

    def put(mask: Mask, name: str, count: int, fills: tuple[Fill, ...]) -> Callable[[], RegionTest]:
        return ask_region_test(subject.plan, mask, name, within | mask, fills, nulls=count, seed=seed, spacing=spacing)

    area = put(found.mask, "the highlighted area", nulls, FILLS)
    core_ = _core(found)
    core = question(subject.plan, core_, "the stronger half of it", within | core_, FILLS[:1], nulls=1, seed=seed)
    spots = tuple(
        put(spot.mask, f"spot {i}", SPOT_NULLS, FILLS[:1]) for i, spot in enumerate(found.spots[:SPOTS], start=1)
    )
    return Asked(area, core.answer, spots)


def area_matters(
    test: RegionTest, core: RegionTest, label: str, where: str, spread: float | None, limits: Limits = LIMITS
) -> CheckResult:
    """Return whether an area matters more than others of its shape, and by how much of the score's spread."""
    told = {"label": label, "where": where, "n": len(test.nulls), "fills": test.words()["fills"]}
    effect = test.score.number
    scale = spread if spread else abs(test.unchanged) or 1.0
    beaten = sum(n < effect for n in test.nulls)
    source = (
        f"p at most {limits.chance} and {limits.moves} standard deviations of the score over images; "
        f"against it above p {limits.hopeless} (conventions)"
    )
    outcome: Outcome = "unclear"
    name = "region-test.unclear"
    if isinstance(test.p, Undefined):
        name = "region-test.no-room"
    elif effect <= 0 or (test.p > limits.hopeless and beaten < len(test.nulls)):  # few places leave p large
        outcome, name = "against", "region-test.against"
    elif not test.agree:
        name = "region-test.fills"
    elif test.p > limits.chance:
        pass
    elif effect < limits.moves * scale:
        name = "region-test.weak"
    elif core.score.number < limits.core * effect:
        name = "region-test.coarse"
    else:
        outcome, name = "supports", "region-test.supports"
    parts = {"relative": effect / scale, "stronger half": core.score.number}
    score = _with(test.score, parts)
    sentence = wording.say(name, beaten=beaten, **told)
    return CheckResult("region-test", "Fidelity", AREA, outcome, sentence, source, (score,), test.samples)


def every_spot_matters(
    found: Claim, tests: tuple[RegionTest, ...], label: str, spread: float | None, limits: Limits = LIMITS
) -> CheckResult:
    """Return whether each spot of an area moves the score when it alone is hidden, more than other places like it."""
    scale = spread or max((abs(t.score.number) for t in tests), default=1.0) or 1.0
    gains = [t.score.number - (float(np.mean(t.nulls)) if t.nulls else 0.0) for t in tests]
    idle = [i for i, gain in enumerate(gains) if gain < limits.spot_moves * scale]
    share = sum(found.spots[i].share for i in idle)
    unasked = sum(spot.share for spot in found.spots[len(tests) :])
    numbers = [i + 1 for i in idle] or list(range(1, len(tests) + 1))
    told = {"n": len(tests), "label": label, "areas": wording.outlined(numbers, len(tests))}
    outcome: Outcome = "unclear"
    if not tests or found.speckle > limits.speckle:
        name = "islands.scattered"
    elif share > limits.mostly_idle:
        outcome, name = "against", "islands.against"
    elif share > limits.idle:
        name = "islands.unclear"
    elif unasked > limits.idle:
        name = "islands.many"
    else:
        outcome, name = "supports", "islands.one" if len(tests) == 1 else "islands.supports"
    parts = {f"spot {i}": gain / scale for i, gain in enumerate(gains, start=1)}
    score = Score("idle-share", share, "lower", None, n=len(tests), parts={**parts, "speckle": found.speckle})
    source = (
        f"{limits.spot_moves} standard deviations for each spot; at most {limits.idle:.0%} of the area in spots "
        "that do not (conventions)"
    )
    samples = sum(t.samples - 1 for t in tests)
    return CheckResult("islands", "Fidelity", EACH, outcome, wording.say(name, **told), source, (score,), samples)


def _core(found: Claim) -> Mask:
    """Return the elements with the largest values that together hold half of what an area holds, gaps closed."""
    from scipy import ndimage

    weight = found.weight.ravel()
    order = np.argsort(-weight, kind="stable")
    count = int(np.searchsorted(np.cumsum(weight[order]), 0.5)) + 1
    chosen = np.zeros(weight.size, bool)
    chosen[order[:count]] = True
    mask: Mask = chosen.reshape(found.mask.shape)
    closed: Mask = ndimage.binary_closing(np.pad(mask, 2), iterations=2)[(slice(2, -2),) * mask.ndim] | mask
    return closed


def _with(score: Score, parts: dict[str, float]) -> Score:
    return replace(score, parts={**score.parts, **parts})
