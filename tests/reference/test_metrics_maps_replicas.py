"""Complexity and agreement equal the slow, literal ones, in 2D and 3D, with and without ties; tolerance 1e-11."""

import numpy as np
import pytest
import replica_metrics_agreement as agreement
import replica_metrics_complexity as complexity

from saliscope.metrics import METRICS

SIZES = {2: (11, 9), 3: (7, 8, 9)}


def maps(axes, tied):
    rng = np.random.default_rng(axes)
    first = rng.normal(size=SIZES[axes])
    second = first + rng.normal(size=SIZES[axes])
    return (np.round(first), np.round(second)) if tied else (first, second)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    ("name", "right"),
    [("gini", complexity.gini), ("entropy", complexity.entropy), ("effective-size", complexity.effective_size)],
)
def test_a_metric_of_a_map_equals_its_replica(name, right, axes, tied):
    one, _ = maps(axes, tied)
    assert METRICS.make(name).of_map(one).number == pytest.approx(right(one), rel=1e-11)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    ("name", "fields", "right"),
    [
        ("pearson", {}, agreement.pearson),
        ("spearman", {}, agreement.spearman),
        ("spearman", {"part": "magnitude"}, lambda a, b: agreement.spearman(abs(a), abs(b))),
        ("top-iou", {}, lambda a, b: agreement.top_iou(a, b, 0.1)),
        ("top-iou", {"share": 0.4}, lambda a, b: agreement.top_iou(a, b, 0.4)),
        ("feature-agreement", {"k": 17}, lambda a, b: agreement.feature_agreement(a, b, 17)),
        ("ssim", {}, lambda a, b: agreement.ssim(a, b, 7)),
        ("ssim", {"window": 3}, lambda a, b: agreement.ssim(a, b, 3)),
    ],
    ids=lambda value: "replica" if callable(value) else str(value),
)
def test_a_metric_of_two_maps_equals_its_replica(name, fields, right, axes, tied):
    own = maps(axes, tied)
    found = METRICS.make(name, **fields).of_pair(*own)
    assert found.number == pytest.approx(right(*own), rel=1e-11, abs=1e-11)
