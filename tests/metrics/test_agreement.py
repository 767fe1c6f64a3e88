"""What agreement metrics say of maps whose answer is known, across families and against other patients."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from saliscope.core.errors import MetricError
from saliscope.core.score import Score, Undefined
from saliscope.metrics import METRICS
from saliscope.metrics.agreement.families import across, weights
from saliscope.metrics.agreement.other_patients import _by_patient, beyond_other_patients
from saliscope.metrics.agreement.pearson import Pearson

NAMES = [
    n for n in METRICS.table if METRICS.get(n).traits.category == "agreement" and hasattr(METRICS.get(n), "of_pair")
]
OURS = ["spearman", "pearson", "top-iou", "feature-agreement", "ssim"]


def noise(seed, shape=(16, 16)):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("name", OURS)
def test_the_null_is_what_two_random_maps_score(name):
    metric = METRICS.make(name)
    values = [metric.of_pair(noise(2 * i), noise(2 * i + 1)).number for i in range(200)]
    null = metric.of_pair(noise(0), noise(1)).null or 0.0
    assert abs(np.mean(values) - null) < 4 * np.std(values) / 200**0.5 + 0.002


@pytest.mark.parametrize("name", ["spearman", "pearson", "ssim"])
def test_a_map_beside_its_opposite(name):
    one = noise(0)
    assert METRICS.make(name).of_pair(one, -one).number < -0.9
    if name != "ssim":
        assert METRICS.make(name, part="magnitude").of_pair(one, -one).number == pytest.approx(1)


def test_spearman_sees_only_the_order_and_pearson_the_values():
    one = noise(0)
    assert METRICS.make("spearman").of_pair(one, np.exp(one)).number == pytest.approx(1)
    assert METRICS.make("pearson").of_pair(one, np.exp(3 * one)).number < 0.7
    assert METRICS.make("pearson").of_pair(one, 3 * one + 5).number == pytest.approx(1)


def test_zero_heavy_maps_that_share_only_zeros_do_not_agree():
    """98 % zeros each, nothing else in common: a threshold at the 90th percentile takes all, and IoU would be 1."""
    one, two = np.zeros((20, 20)), np.zeros((20, 20))
    one[0, :8], two[19, :8] = 1, 1
    found = METRICS.make("top-iou").of_pair(one, two)
    assert found.parts["tied"] == pytest.approx(0.8)
    assert found.number < found.null + 0.02
    assert METRICS.make("top-iou", share=0.02).of_pair(one, one).number == 1
    assert (one >= np.quantile(one, 0.9)).all(), "the trap"


def test_agreement_of_signs_stands_beside_that_of_magnitudes():
    one = noise(0)
    found = METRICS.make("feature-agreement", k=20).of_pair(one, np.where(one > 0, one, -2 * one))
    assert found.parts["same sign"] < found.number
    assert METRICS.make("feature-agreement", k=20).of_pair(one, -one).parts["same sign"] == 0


@pytest.mark.parametrize("name", OURS)
def test_a_pair_that_cannot_be_compared_says_which_map_and_why(name):
    metric, flat = METRICS.make(name), np.zeros((16, 16))
    assert metric.of_pair(flat, noise(0)).value == Undefined("first map: the map is zero everywhere")
    assert metric.of_pair(noise(0), flat + 2).value == Undefined("second map: the map has one value everywhere")
    with pytest.raises(MetricError, match="one grid"):
        metric.of_pair(noise(0), noise(0, (16, 15)))
    with pytest.raises(MetricError, match="part"):
        METRICS.make(name, part="positive").of_pair(noise(0), noise(1))


def test_maps_too_small_for_the_question_are_undefined():
    small = noise(0, (5, 5))
    assert "smaller than the window" in METRICS.make("ssim").of_pair(small, small).value.reason
    assert "no more than k" in METRICS.make("feature-agreement").of_pair(small, small).value.reason
    assert "comes to 0" in METRICS.make("top-iou", share=0.01).of_pair(small, small).value.reason


@pytest.mark.parametrize(
    ("name", "fields"),
    [("top-iou", {"share": 0.0}), ("feature-agreement", {"k": 0}), ("ssim", {"window": 4}), ("ssim", {"window": 1})],
)
def test_fields_that_mean_nothing_are_refused(name, fields):
    with pytest.raises(MetricError):
        METRICS.make(name, **fields)


def test_each_pair_of_families_weighs_the_same():
    found = weights({"grad-cam": "cam", "hirescam": "cam", "layercam": "cam", "ig": "path", "lrp": "propagation"})
    assert sum(found.values()) == pytest.approx(1)
    assert ("grad-cam", "hirescam") not in found
    assert found["ig", "lrp"] == pytest.approx(1 / 3)
    assert found["grad-cam", "ig"] == pytest.approx(1 / 9)
    assert weights({"a": "cam", "b": "cam"}) == {}


def test_more_methods_of_one_family_do_not_raise_the_agreement():
    one, other = noise(0), noise(1)
    few = across(Pearson(), {"a": one, "b": other}, {"a": "cam", "b": "path"})
    many = across(
        Pearson(), {"a": one, "a2": one, "a3": one, "b": other}, {"a": "cam", "a2": "cam", "a3": "cam", "b": "path"}
    )
    assert many.number == pytest.approx(few.number)
    assert many.parts["a2 and b"] == pytest.approx(few.number)


def test_methods_of_one_family_are_not_compared_and_broken_maps_are_counted():
    one = noise(0)
    same = across(Pearson(), {"a": one, "b": one}, {"a": "cam", "b": "cam"})
    assert same.value == Undefined("all methods are of one family")
    found = across(Pearson(), {"a": one, "b": one, "c": one * 0}, {"a": "cam", "b": "path", "c": "propagation"})
    assert found.number == pytest.approx(1)
    assert dict(found.excluded) == {"second map: the map is zero everywhere": 2}
    none = across(Pearson(), {"a": one, "c": one * 0}, {"a": "cam", "c": "path"})
    assert none.value == Undefined("no two maps of two families can be compared")
    with pytest.raises(MetricError, match="without a family"):
        across(Pearson(), {"a": one, "b": one}, {"a": "cam"})


FAMILIES = {"a": "cam", "b": "path"}


def cohort(count, own, shared=0.0, seed=0):
    """Return maps of two methods that have `shared` in common with all patients and `own` with their own patient."""
    rng = np.random.default_rng(seed)
    everywhere = rng.normal(size=(10, 10))
    of_patient = [rng.normal(size=(10, 10)) for _ in range(count)]
    return {
        m: [shared * everywhere + own * mine + rng.normal(size=(10, 10)) for mine in of_patient] for m in ("a", "b")
    }


def test_maps_that_know_their_patient_agree_beyond_other_patients():
    found = beyond_other_patients(Pearson(), cohort(12, 1.0), FAMILIES)
    assert found.parts["p"] == 0.001
    assert found.parts["percentile"] > 0.95
    assert found.number > found.null + 0.3
    assert (found.n, found.parts["patients"]) == (12, 12)
    assert found.interval.low < found.number < found.interval.high


def test_maps_that_agree_because_all_maps_look_alike_do_not():
    """The centre of every image: an agreement of 0.8 that says nothing of the patient."""
    found = beyond_other_patients(Pearson(), cohort(12, 0.0, shared=2.0), FAMILIES)
    assert found.number > 0.7
    assert abs(found.number - found.null) < 0.05
    assert found.parts["p"] > 0.05
    assert 0.2 < found.parts["percentile"] < 0.8


def test_the_p_is_right_where_nothing_is_to_be_found():
    """Of 150 cohorts without any relation, 5 % or fewer are below 0.05, but for chance: at most 15."""
    found = [
        beyond_other_patients(Pearson(), cohort(6, 0.0, 1.0, s), FAMILIES, draws=99).parts["p"] for s in range(150)
    ]
    assert sum(p <= 0.05 for p in found) <= 15
    assert 0.4 < np.mean(found) < 0.6


def test_several_images_of_one_patient_are_no_null_for_each_other():
    rng = np.random.default_rng(1)
    of_patient = [rng.normal(size=(10, 10)) for _ in range(8)]
    maps = {m: [mine + 0.1 * rng.normal(size=(10, 10)) for mine in of_patient for _ in range(3)] for m in ("a", "b")}
    patients = [p for p in range(8) for _ in range(3)]
    found = beyond_other_patients(Pearson(), maps, FAMILIES, patients)
    assert found.parts["patients"] == 8
    assert found.parts["percentile"] == 1
    assert abs(found.null) < 0.1
    assert beyond_other_patients(Pearson(), maps, FAMILIES).null > 0.05, "images taken for patients spoil the null"


def test_of_one_patient_only_maps_of_the_same_image_are_the_same():
    table = np.array([[9.0, 1, 2, 3], [1, 7, 4, 5], [0, 2, 6, 0], [2, 0, 0, 4]])
    assert _by_patient(table, [0, 0, 1, 1]).tolist() == [[8, 3.5], [1, 5]]


def test_a_second_method_of_a_family_counts_no_more():
    maps = cohort(8, 1.0)
    twice = beyond_other_patients(Pearson(), {**maps, "a2": maps["a"]}, {**FAMILIES, "a2": "cam"})
    once = beyond_other_patients(Pearson(), maps, FAMILIES)
    assert twice.number == pytest.approx(once.number)
    assert twice.null == pytest.approx(once.null)


@dataclass(frozen=True)
class Distance:
    """A metric of which less is better."""

    traits: ClassVar = type("T", (), {"direction": "lower"})

    def of_pair(self, first, second):
        return Score("distance", float(((first - second) ** 2).mean()), "lower")


def test_where_less_is_better_nearer_maps_have_the_small_p():
    found = beyond_other_patients(Distance(), cohort(12, 1.0), FAMILIES)
    assert found.parts["p"] == 0.001
    assert found.parts["percentile"] > 0.95


def test_images_that_cannot_be_compared_are_counted():
    maps = cohort(5, 1.0)
    maps["b"][2] = np.zeros((10, 10))
    found = beyond_other_patients(Pearson(), maps, FAMILIES)
    assert found.n == 4
    assert dict(found.excluded) == {"second map: the map is zero everywhere": 1}
    one = beyond_other_patients(Pearson(), {m: v[:1] for m, v in cohort(2, 1.0).items()}, FAMILIES)
    assert one.value == Undefined("maps of 1 patients can be compared")
    same = beyond_other_patients(Pearson(), cohort(3, 1.0), {"a": "cam", "b": "cam"})
    assert same.value == Undefined("all methods are of one family")


def test_lists_that_do_not_match_are_refused():
    maps = cohort(4, 1.0)
    for bad, patients in (({**maps, "b": maps["b"][:3]}, None), (maps, [1, 2]), ({}, None)):
        with pytest.raises(MetricError):
            beyond_other_patients(Pearson(), bad, FAMILIES, patients)
    with pytest.raises(MetricError):
        beyond_other_patients(Pearson(), maps, {"a": "cam"})
