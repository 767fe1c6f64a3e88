"""What localisation metrics say of maps whose answer is known, and what they refuse to say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliscope.core.errors import MetricError
from saliscope.core.geometry import Geometry
from saliscope.core.score import Score, Undefined
from saliscope.metrics import METRICS
from saliscope.metrics.localisation.against import against
from saliscope.metrics.overlap import iou, random_iou

NAMES = [n for n in METRICS.table if METRICS.get(n).traits.category == "localisation" and n != "region-distance"]


def square(shape=(20, 20), at=(4, 4), size=4):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, a + size) for a in at)] = True
    return mask


@pytest.mark.parametrize("name", NAMES)
def test_the_region_itself_is_a_perfect_map_and_its_complement_the_worst(name):
    metric, mask = METRICS.make(name), square()
    best, worst = metric.of_place(mask.astype(float), mask), metric.of_place((~mask).astype(float), mask)
    assert best.number == 1
    assert worst.number <= worst.null
    assert best.null is not None
    assert 0 < best.null <= 0.5


@pytest.mark.parametrize("name", NAMES)
def test_the_null_is_what_maps_without_knowledge_score(name):
    """The mean over 400 random maps; the standard error of each mean is below a fifth of the tolerance."""
    rng, mask, metric = np.random.default_rng(5), square(size=6), METRICS.make(name)
    scores = [metric.of_place(rng.random(mask.shape), mask) for _ in range(400)]
    values = np.array([s.number for s in scores])
    null = np.mean([s.null for s in scores])
    error = values.std() / 20
    extra = 0.01 if name == "auprc" else 0.0  # the share is the floor; of few elements the mean lies a little above
    assert abs(values.mean() - null) < 4 * error + extra


def test_the_null_of_a_distance_is_what_random_maps_score():
    rng, mask = np.random.default_rng(5), square()
    metric, geometry = METRICS.make("region-distance"), Geometry.of_picture(mask.shape, (1.0, 2.0))
    scores = [metric.of_place(rng.random(mask.shape), mask, geometry) for _ in range(600)]
    values = np.array([s.number for s in scores])
    assert abs(values.mean() - scores[0].null) < 4 * values.std() / 600**0.5


def test_of_tied_largest_values_the_share_inside_counts():
    mask, flat = square(), np.zeros((20, 20))
    flat[4, 4] = flat[10, 10] = flat[4, 5] = flat[0, 0] = 1
    assert METRICS.make("pointing-game").of_place(flat, mask).number == 0.5


def test_a_tolerance_is_in_millimetres_along_each_axis():
    mask, spot = square(), np.zeros((20, 20))
    spot[4, 9] = 1  # two columns right of the region
    near = Geometry.of_picture(mask.shape, (5.0, 0.5))
    game = METRICS.make("pointing-game", tolerance_mm=1.0)
    assert game.of_place(spot, mask, near).number == 1
    assert game.of_place(spot.T, mask, near).number == 0
    assert game.of_place(spot, mask, near).null == pytest.approx(4 * 8 / 400)
    for geometry in (None, Geometry.of_picture(mask.shape)):
        assert game.of_place(spot, mask, geometry).value == Undefined("the spacing of the image is unknown")
    whole = METRICS.make("pointing-game", tolerance_mm=1e4).of_place(spot, mask, near)
    assert whole.value == Undefined("with its tolerance the region is the whole image")


def test_a_distance_is_in_millimetres_and_zero_inside():
    mask, spot = square(), np.zeros((20, 20))
    spot[4, 10] = 1
    metric, geometry = METRICS.make("region-distance"), Geometry.of_picture(mask.shape, (5.0, 0.5))
    assert metric.of_place(spot, mask, geometry).number == 1.5
    assert metric.of_place(spot.T, mask, geometry).number == 15
    assert metric.of_place(np.roll(spot, -4, 1), mask, geometry).number == 0
    for unknown in (None, Geometry.of_picture(mask.shape)):
        assert metric.of_place(spot, mask, unknown).value == Undefined("the spacing of the image is unknown")
    with pytest.raises(MetricError, match="own grid"):
        metric.of_place(spot, mask, Geometry.of_picture((9, 9), (1.0, 1.0)))


def test_the_centre_of_mass_of_two_foci_lies_between_them():
    mask, two = square(), np.zeros((20, 20))
    two[5, 0] = two[5, 10] = 1
    metric, geometry = METRICS.make("region-distance", of="centre"), Geometry.of_picture(mask.shape, (1.0, 1.0))
    assert metric.of_place(two, mask, geometry).number == 0
    two[5, 10] = 7
    assert metric.of_place(two, mask, geometry).number == pytest.approx(8.75 - 7)


@pytest.mark.parametrize("name", [*NAMES, "region-distance"])
@pytest.mark.parametrize(
    ("attribution", "mask", "reason"),
    [
        (np.eye(8), np.zeros((8, 8), bool), "the mask is empty"),
        (np.eye(8), np.ones((8, 8), bool), "the mask covers the whole image"),
        (np.zeros((8, 8)), np.eye(8) > 0, "the map is zero everywhere"),
        (np.full((8, 8), 2.0), np.eye(8) > 0, "the map has one value everywhere"),
        (-np.eye(8), np.eye(8) > 0, "the map is positive nowhere"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_said_is_said_with_its_reason(name, attribution, mask, reason):
    found = METRICS.make(name).of_place(attribution, mask, Geometry.of_picture((8, 8), (1.0, 1.0)))
    assert found.value == Undefined(reason)
    assert found.n == 0


def test_a_map_with_one_magnitude_has_no_order_without_its_signs():
    signs = np.where(np.eye(8) > 0, -1.0, 1.0)
    found = METRICS.make("auprc", part="magnitude").of_place(signs, np.eye(8) > 0)
    assert found.value == Undefined("the magnitude of the map is the same everywhere")


@pytest.mark.parametrize("name", [*NAMES, "region-distance"])
def test_masks_of_another_shape_or_type_are_refused(name):
    metric = METRICS.make(name)
    with pytest.raises(MetricError, match="boolean mask on the grid"):
        metric.of_place(np.eye(8), np.eye(8))
    with pytest.raises(MetricError, match="boolean mask on the grid"):
        metric.of_place(np.eye(8), np.eye(9) > 0)
    with pytest.raises(MetricError, match="finite"):
        metric.of_place(np.full((8, 8), np.nan), np.eye(8) > 0)
    with pytest.raises(MetricError, match="part"):
        METRICS.make(name, part="negative").of_place(np.eye(8), np.eye(8) > 0)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("pointing-game", {"tolerance_mm": -1.0}),
        ("pointing-game", {"tolerance_mm": float("nan")}),
        ("iou", {"rule": "best"}),
        ("iou", {"threshold": 1.0}),
        ("region-distance", {"of": "edge"}),
    ],
)
def test_fields_that_mean_nothing_are_refused(name, fields):
    with pytest.raises(MetricError):
        METRICS.make(name, **fields)


def test_a_zero_heavy_map_gets_no_credit_for_zeros_at_the_start_of_memory():
    """98 % zeros, none of the rest in the region: a stable sort would take the first zeros, which are the region."""
    attribution, mask = np.zeros((20, 20)), square(at=(0, 0))
    attribution[19, ::3] = 1
    found = METRICS.make("relevance-rank").of_place(attribution, mask)
    assert found.number == pytest.approx((16 - 7) / (400 - 7))
    assert METRICS.make("auprc").of_place(attribution, mask).number == pytest.approx(16 / 400)
    assert METRICS.make("auroc").of_place(attribution, mask).number == pytest.approx(0.5 * (1 - 7 / 384))


@given(st.integers(2, 60).flatmap(lambda n: st.tuples(st.integers(1, n), st.integers(1, n), st.just(n))))
def test_the_overlap_of_random_choices_is_the_mean_over_all(numbers):
    first, second, size = numbers
    rng = np.random.default_rng(sum(numbers))
    assert 0 <= random_iou(first, second, size) <= 1
    assert random_iou(first, second, size) == pytest.approx(random_iou(second, first, size))
    a = np.arange(size) < first
    drawn = [iou(a * 1.0, rng.permutation(np.arange(size) < second) * 1.0) for _ in range(60)]
    assert abs(np.mean(drawn) - random_iou(first, second, size)) <= 6 * (np.std(drawn) / 60**0.5 + 0.01)


def test_the_overlap_of_random_choices_by_hand_and_of_a_large_volume():
    assert random_iou(1, 1, 10) == pytest.approx(0.1)
    assert random_iou(1, 2, 4) == pytest.approx(0.5 * 0.5)
    half = 256**3 // 2
    assert random_iou(half, half, 256**3) == pytest.approx(1 / 3, rel=1e-6)


def scores(values, metric="auprc", direction="higher"):
    return [
        Score(metric, v if isinstance(v, float) else Undefined(v), direction, n=int(isinstance(v, float)))
        for v in values
    ]


def test_a_map_against_a_control_is_paired_by_image():
    maps, controls = scores([0.5, 0.7, "the mask is empty", 0.9]), scores([0.4, 0.7, 0.1, "the map is zero everywhere"])
    found = against(maps, controls, ["a", "b", "c", "d"])
    assert found.number == pytest.approx(0.05)
    assert found.null == 0
    assert found.n == 2
    assert dict(found.excluded) == {"map: the mask is empty": 1, "control: the map is zero everywhere": 1}
    assert dict(found.parts) == pytest.approx({"map": 0.6, "control": 0.55, "better": 0.75})
    # Two patients, whose gaps are 0 and 0.1: Student's t with one degree of freedom, where percentiles said 0 to 0.1.
    half = 12.7062 * 0.05
    assert (found.interval.low, found.interval.high) == pytest.approx((0.05 - half, 0.05 + half), abs=1e-5)


def test_of_distances_less_is_better():
    found = against(*(scores(v, "region-distance", "lower") for v in ([1.0, 2.0], [3.0, 3.0])))
    assert (found.number, found.parts["better"], found.direction) == (-1.5, 1, "lower")


def test_the_interval_against_a_control_draws_patients_and_not_images():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 10)
    gaps = np.repeat(rng.normal(size=40), 10)
    maps, controls = scores([float(g) for g in gaps]), scores([0.0] * 400)
    wide, narrow = against(maps, controls, list(patients)).interval, against(maps, controls).interval
    assert "over 40 groups" in wide.kind
    assert (wide.high - wide.low) > 2.5 * (narrow.high - narrow.low)


def test_against_nothing_or_another_metric_is_no_comparison():
    assert against(scores(["empty"]), scores([0.5])).value == Undefined("none of 1 images has both scores")
    for one, two, groups in (
        (scores([0.5]), scores([0.5], "auroc"), None),
        (scores([0.5]), scores([0.5, 0.5]), None),
        (scores([0.5]), scores([0.5]), [1, 2]),
        ([], [], None),
    ):
        with pytest.raises(MetricError):
            against(one, two, groups)
