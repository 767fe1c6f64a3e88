"""Every metric of the catalogue keeps the public contract, and each check of the contract can be failed."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch

from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics import METRICS
from saliscope.testing import METRIC_CHECKS, ContractViolation, check_metric, metric_contract

TRAITS = MetricTraits("localisation", "higher", (0.0, 1.0), "the area", "someone2020", "none", "much")


@pytest.mark.parametrize("check", METRIC_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", METRICS.table)
def test_every_metric_keeps_the_contract(name, check):
    check(METRICS.make(name))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("pointing-game", {"tolerance_mm": 0.6}),
        ("iou", {"rule": "threshold", "threshold": 0.3}),
        ("iou", {"rule": "area", "part": "magnitude"}),
        ("auprc", {"part": "magnitude"}),
        ("auroc", {"part": "magnitude"}),
        ("relevance-mass", {"part": "magnitude"}),
        ("relevance-rank", {"part": "magnitude"}),
        ("region-distance", {"of": "centre"}),
        ("spearman", {"part": "magnitude"}),
        ("pearson", {"part": "magnitude"}),
        ("top-iou", {"share": 0.3, "part": "magnitude"}),
        ("feature-agreement", {"k": 7, "part": "signed"}),
        ("ssim", {"window": 3, "part": "magnitude"}),
    ],
    ids=str,
)
def test_metrics_keep_the_contract_with_other_fields(name, fields):
    check_metric(METRICS.make(name, **fields))


@pytest.mark.parametrize("name", METRICS.table)
def test_a_score_bears_the_name_of_the_catalogue(name):
    metric = METRICS.make(name)
    assert {score.metric for score in metric_contract.every(metric, 2)} == {name}


def share(attribution, mask):
    """Return the share of the positive part inside, the sound measurement that each faulty metric spoils."""
    values = np.maximum(np.asarray(attribution, float), 0)
    if values.shape != mask.shape or not np.isfinite(values).all() or mask.all() or not mask.any():
        return Undefined("cannot be compared")
    if np.min(attribution) == np.max(attribution) or not values.any():
        return Undefined("no order")
    return float(values[mask].sum() / values.sum())


@dataclass(frozen=True)
class Sound:
    """A metric that keeps the contract."""

    traits: ClassVar[MetricTraits] = TRAITS

    def of_place(self, attribution, mask, geometry=None):
        return Score("sound", share(attribution, mask), "higher", float(mask.mean()))


def score_of(value):
    return Score("sound", value, "higher")


class CountsEmptyMasks(Sound):
    def of_place(self, attribution, mask, geometry=None):
        return super().of_place(attribution, mask) if mask.any() else score_of(1.0)


class CountsFullMasks(Sound):
    def of_place(self, attribution, mask, geometry=None):
        return score_of(1.0) if mask.all() else super().of_place(attribution, mask)


class CountsZeroMaps(Sound):
    def of_place(self, attribution, mask, geometry=None):
        return super().of_place(attribution, mask) if np.any(attribution) else score_of(0.0)


class WritesIntoTheMap(Sound):
    def of_place(self, attribution, mask, geometry=None):
        if attribution.flags.writeable:
            attribution += 1e-7
        return super().of_place(attribution, mask)


class NeedsOneLayout(Sound):
    def of_place(self, attribution, mask, geometry=None):
        found = super().of_place(attribution, mask)
        return found if attribution.flags.c_contiguous or not found.defined else score_of(found.number / 2)


class TakesNan(Sound):
    def of_place(self, attribution, mask, geometry=None):
        return super().of_place(np.nan_to_num(attribution), mask)


class DependsOnUnits(Sound):
    def of_place(self, attribution, mask, geometry=None):
        found = super().of_place(attribution, mask)
        return score_of(found.number / (1 + np.abs(attribution).max())) if found.defined else found


class KnowsLeft(Sound):
    def of_place(self, attribution, mask, geometry=None):
        found = super().of_place(attribution, mask)
        return score_of(found.number * float(np.argmax(attribution)) / mask.size) if found.defined else found


class MovesTheGenerator(Sound):
    def of_place(self, attribution, mask, geometry=None):
        np.random.rand()  # noqa: NPY002
        return super().of_place(attribution, mask)


class DrawsFromTheCaller(Sound):
    def of_place(self, attribution, mask, geometry=None):
        found = super().of_place(attribution, mask)
        with torch.random.fork_rng(devices=[]):
            return score_of(found.number * float(torch.rand(1))) if found.defined else found


class OutsideItsRange(Sound):
    def of_place(self, attribution, mask, geometry=None):
        found = super().of_place(attribution, mask)
        return score_of(found.number + 2) if found.defined else found


class OtherDirection(Sound):
    def of_place(self, attribution, mask, geometry=None):
        return Score("sound", share(attribution, mask), "lower")


class OtherNames(Sound):
    def of_place(self, attribution, mask, geometry=None):
        return Score(f"sound-{attribution.ndim}d", share(attribution, mask), "higher")


@dataclass
class NotFrozen(Sound.__bases__[0]):  # type: ignore[misc]
    traits: ClassVar[MetricTraits] = TRAITS

    def of_place(self, attribution, mask, geometry=None):
        return Sound().of_place(attribution, mask)


@dataclass(frozen=True)
class Unhashable(Sound):
    levels: list = field(default_factory=list)


@dataclass(frozen=True)
class NoTraits:
    def of_place(self, attribution, mask, geometry=None):
        return Sound().of_place(attribution, mask)


@dataclass(frozen=True)
class OfNoKind:
    traits: ClassVar[MetricTraits] = TRAITS


class NoCitation(Sound):
    traits: ClassVar[MetricTraits] = MetricTraits("localisation", "higher", (0.0, 1.0), "the area", "", "none", "much")


class NoBlindness(Sound):
    traits: ClassVar[MetricTraits] = MetricTraits(
        "localisation", "higher", (0.0, 1.0), "the area", "someone2020", "none", " "
    )


@dataclass(frozen=True)
class OneSided:
    """A metric of two maps that only the first decides."""

    traits: ClassVar[MetricTraits] = MetricTraits(
        "agreement", "higher", (None, 1.0), "0", "someone2020", "none", "much"
    )

    def of_pair(self, first, second):
        if not (np.isfinite(first).all() and first.shape == second.shape and np.std(first) * np.std(second) > 0):
            return Score("one-sided", Undefined("no order"), "higher")
        return Score("one-sided", float(1 - np.abs(first - second).sum() / np.abs(first).sum()), "higher")


@dataclass(frozen=True)
class NotItself(OneSided):
    def of_pair(self, first, second):
        found = super().of_pair(first, second)
        if not found.defined:
            return found
        return Score("one-sided", float(1 - np.std(first + second) / (np.std(first) + np.std(second))), "higher")


@dataclass(frozen=True)
class Remembers:
    """A metric of a plan whose score depends on how many it was asked before."""

    traits: ClassVar[MetricTraits] = MetricTraits("fidelity", "higher", (None, None), "0", "someone2020", "1", "much")
    asked: ClassVar[list] = []

    def ask(self, plan, attribution, k=0):
        ticket = plan.unchanged()
        self.asked.append(ticket)
        count = len(self.asked)
        return lambda: Score("remembers", float(plan.score(ticket)[k]) + count, "higher")


@dataclass(frozen=True)
class MeanOfBatch:
    """A metric of a method whose score of one image is the mean over its batch."""

    traits: ClassVar[MetricTraits] = MetricTraits("robustness", "higher", (None, None), "0", "someone2020", "1", "much")

    def of_method(self, model, method, x, target):
        value = float(method.attribute(model, x, target).mean())
        return [[Score("mean-of-batch", value, "higher") for _ in target.labels] for _ in x]


@dataclass(frozen=True)
class ForgetsTargets(MeanOfBatch):
    def of_method(self, model, method, x, target):
        return [row[:1] for row in super().of_method(model, method, x, target)]


def test_a_metric_that_keeps_the_contract_passes():
    check_metric(Sound())


@pytest.mark.parametrize(
    ("faulty", "check"),
    [
        (CountsEmptyMasks, "nothing"),
        (CountsFullMasks, "nothing"),
        (CountsZeroMaps, "nothing"),
        (WritesIntoTheMap, "untouched"),
        (NeedsOneLayout, "untouched"),
        (TakesNan, "broken"),
        (DependsOnUnits, "scale"),
        (KnowsLeft, "mirror"),
        (MovesTheGenerator, "repeatable"),
        (DrawsFromTheCaller, "repeatable"),
        (OutsideItsRange, "scores"),
        (OtherDirection, "scores"),
        (OtherNames, "scores"),
        (NotFrozen, "frozen"),
        (Unhashable, "frozen"),
        (NoTraits, "traits"),
        (OfNoKind, "traits"),
        (NoCitation, "traits"),
        (NoBlindness, "traits"),
        (OneSided, "pairs"),
        (NotItself, "pairs"),
        (Remembers, "repeatable"),
        (Remembers, "alone"),
        (MeanOfBatch, "alone"),
        (ForgetsTargets, "scores"),
    ],
)
def test_each_check_can_be_failed(faulty, check):
    with pytest.raises(ContractViolation, match=faulty.__name__):
        getattr(metric_contract, check)(faulty())
