"""Many scores as one: means of what is defined, the rest counted, and intervals over patients."""

import numpy as np
import pytest

from saliscope.core.errors import MetricError
from saliscope.core.score import Score, Undefined
from saliscope.metrics.statistics.bootstrap import clustered
from saliscope.metrics.statistics.intervals import wilson
from saliscope.metrics.summary import summary


def scores(values, nulls=None, metric="pointing-game"):
    nulls = nulls or [0.1] * len(values)
    return [
        Score(metric, Undefined(v) if isinstance(v, str) else v, "higher", n, how=("how",))
        for v, n in zip(values, nulls, strict=True)
    ]


def test_hits_of_one_image_each_have_wilson_s_interval():
    found = summary(scores([1.0, 0.0, 1.0, 1.0]))
    assert (found.number, found.n, found.interval) == (0.75, 4, wilson(3, 4))
    assert (found.metric, found.direction, found.how) == ("pointing-game", "higher", ("how",))


def test_several_hits_of_one_patient_or_shares_have_the_bootstrap():
    values = [1.0, 0.0, 1.0, 1.0]
    assert summary(scores(values), "aabc").interval == clustered(values, "aabc")
    assert summary(scores([0.5, 0.0, 1.0])).interval == clustered([0.5, 0.0, 1.0], range(3))
    assert summary(scores([0.5])).interval is None


def test_what_is_undefined_is_counted_by_reason_and_enters_neither_mean_nor_null():
    found = summary(
        scores([1.0, "the mask is empty", 0.0, "the mask is empty", "the map is zero"], [0.1, 9, 0.3, 9, 9])
    )
    assert (found.number, found.null, found.n) == (0.5, 0.2, 2)
    assert dict(found.excluded) == {"the mask is empty": 2, "the map is zero": 1}
    assert found.interval == wilson(1, 2)


def test_the_patients_of_undefined_scores_do_not_count_as_groups():
    values = [0.2, "the mask is empty", 0.4]
    assert summary(scores(values), "abc").interval.kind == "Student's t over 2 groups"


def test_nothing_defined_is_undefined_and_never_zero():
    found = summary(scores(["the mask is empty"] * 3))
    assert found.value == Undefined("none of 3 images has a value")
    assert (found.n, found.interval, dict(found.excluded)) == (0, None, {"the mask is empty": 3})


def test_a_null_that_some_scores_lack_is_the_mean_of_the_others():
    assert summary(scores([0.5, 0.5], [0.2, None])).null == pytest.approx(0.2)
    assert summary(scores([0.5, 0.5], [None, None])).null is None
    why = Undefined("not known")
    assert summary(scores([0.5], [why])).null == why


def test_the_lift_over_chance_is_that_of_the_means():
    """One tiny region with a lift of 100 beside nine of 1: the mean of lifts would be 10.9."""
    some = [Score("iou", 0.5, "higher", 0.5, parts={"lift": 1.0}) for _ in range(9)]
    some += [Score("iou", 0.5, "higher", 0.005, parts={"lift": 100.0}), *scores(["the mask is empty"], metric="iou")]
    assert summary(some).parts == {"lift": pytest.approx(0.5 / 0.4505)}
    assert summary([*some, *scores([0.5], metric="iou")]).parts == {}
    assert summary(scores([0.5, 0.5])).parts == {}


def test_scores_that_do_not_belong_together_are_refused():
    for some, groups in (
        ([], None),
        ([*scores([0.5]), *scores([0.5], metric="iou")], None),
        (scores([0.5]), "ab"),
    ):
        with pytest.raises(MetricError):
            summary(some, groups)


def test_the_interval_is_wider_where_images_of_a_patient_are_alike():
    rng = np.random.default_rng(0)
    values = [float(v) for v in np.repeat(rng.random(40), 10)]
    patients = [p for p in range(40) for _ in range(10)]
    wide, narrow = summary(scores(values), patients).interval, summary(scores(values)).interval
    assert wide.high - wide.low > 2.5 * (narrow.high - narrow.low)


def test_hits_that_are_all_alike_are_not_certain() -> None:
    """None of ten images of five patients: a bootstrap would say 0 to 0, five patients say nothing of the kind."""
    for value in (0.0, 1.0):
        found = summary([Score("hit", value, "higher")] * 10, [i // 2 for i in range(10)])
        assert found.interval is not None
        assert found.interval.high - found.interval.low > 0.3
        assert found.interval.low <= value <= found.interval.high
    mixed = summary([Score("hit", float(i < 5), "higher") for i in range(10)], [i // 2 for i in range(10)])
    assert mixed.interval is not None
    assert mixed.interval.kind == "bootstrap-t over 5 groups"
