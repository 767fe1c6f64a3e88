"""Localisation metrics equal the slow, literal ones, in 2D and 3D, with and without ties; tolerance 1e-12."""

import numpy as np
import pytest
import replica_metrics_localisation as replica

from saliscope.core.geometry import Geometry
from saliscope.metrics import METRICS

SIZES = {2: (11, 9), 3: (5, 6, 7)}
KINDS = ("signed", "tied", "zero-heavy")


def given(axes, kind):
    rng = np.random.default_rng([axes, KINDS.index(kind)])
    attribution = rng.normal(size=SIZES[axes])
    if kind == "tied":
        attribution = np.round(attribution)
    if kind == "zero-heavy":
        attribution[rng.random(SIZES[axes]) < 0.9] = 0
        attribution = abs(attribution)
    mask = np.zeros(SIZES[axes], bool)
    mask[tuple(slice(1, 4) for _ in range(axes))] = True
    return attribution, mask, Geometry.of_picture(SIZES[axes], (0.5, 0.8, 1.3)[:axes])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    ("name", "fields", "right"),
    [
        ("pointing-game", {}, lambda a, m, _: replica.pointing_game(a, m)),
        ("pointing-game", {"tolerance_mm": 1.0}, lambda a, m, g: replica.pointing_game(a, m, 1.0, g)),
        ("iou", {}, lambda a, m, _: replica.iou(a, m, "otsu")),
        ("iou", {"rule": "threshold", "threshold": 0.2}, lambda a, m, _: replica.iou(a, m, "threshold", 0.2)),
        ("auprc", {}, lambda a, m, _: replica.average_precision(a, m)),
        ("auroc", {}, lambda a, m, _: replica.auroc(a, m)),
        ("relevance-mass", {}, lambda a, m, _: replica.relevance_mass(a, m)),
        ("relevance-rank", {}, lambda a, m, _: replica.relevance_rank(a, m)),
        ("region-distance", {}, lambda a, m, g: replica.region_distance(a, m, g, "peak")[0]),
        ("region-distance", {"of": "centre"}, lambda a, m, g: replica.region_distance(a, m, g, "centre")[0]),
    ],
    ids=lambda value: "replica" if callable(value) else str(value),
)
def test_a_metric_equals_its_replica(name, fields, right, axes, kind):
    own = given(axes, kind)
    found = METRICS.make(name, **fields).of_place(*own)
    assert found.number == pytest.approx(right(*own), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("axes", [2, 3])
def test_the_largest_elements_against_the_region_without_ties(axes):
    own = given(axes, "signed")
    own[0][...] = abs(own[0])
    found = METRICS.make("iou", rule="area").of_place(*own)
    assert found.number == pytest.approx(replica.iou(own[0], own[1], "area"), rel=1e-12)


@pytest.mark.parametrize("of", ["peak", "centre"])
@pytest.mark.parametrize("axes", [2, 3])
def test_the_null_of_a_distance(axes, of):
    own = given(axes, "signed")
    found = METRICS.make("region-distance", of=of).of_place(*own)
    assert found.null == pytest.approx(replica.region_distance(*own, of)[1], rel=1e-12)


def test_distances_on_a_grid_whose_axes_are_not_at_right_angles():
    """A tilted gantry: the transform that assumes right angles would be wrong by more than a tenth here."""
    shape = (4, 6, 5)
    affine = np.array([[1.0, 0, 0, 3], [0.4, 1.5, 0, 0], [0, 0, 2.0, 1]])
    tilted = Geometry.of_affine(shape, affine)
    attribution, mask = np.random.default_rng(3).normal(size=shape), np.zeros(shape, bool)
    mask[0, 0, 0] = True
    found = METRICS.make("region-distance").of_place(attribution, mask, tilted)
    value, null = replica.region_distance(attribution, mask, tilted, "peak")
    assert found.number == pytest.approx(value, rel=1e-9)
    assert found.null == pytest.approx(null, rel=1e-9)
    upright = Geometry.of_picture(shape, tilted.spacing)
    assert abs(METRICS.make("region-distance").of_place(attribution, mask, upright).null - null) > 0.01
