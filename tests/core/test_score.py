"""A score is a finite number or a reason, and says so in plain data."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliscope.core.errors import MetricError
from saliscope.core.score import Interval, Score, Undefined

NOT_FINITE = [float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("bad", NOT_FINITE, ids=str)
def test_no_number_of_a_score_is_other_than_finite(bad: float) -> None:
    for made in (
        lambda: Score("m", bad, "higher"),
        lambda: Score("m", 1.0, "higher", null=bad),
        lambda: Score("m", 1.0, "higher", parts={"p": bad}),
        lambda: Score("m", Undefined("none"), "higher", parts={"p": bad}),
    ):
        with pytest.raises(MetricError, match="'m'"):
            made()


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_an_interval_has_finite_ends_in_order(low: float, high: float) -> None:
    with pytest.raises(MetricError, match="interval"):
        Interval(low, high, "Wilson")


def test_what_is_undefined_has_a_reason_and_no_number() -> None:
    score = Score("m", Undefined("the mask is empty"), "higher", null=Undefined("no control"))
    assert not score.defined
    with pytest.raises(MetricError, match="the mask is empty"):
        _ = score.number
    assert score.described()["value"] == {"undefined": "the mask is empty"}
    assert score.described()["null"] == {"undefined": "no control"}
    assert Score("m", 0.0, "higher").defined, "nought is a value"
    assert Score("m", 0.0, "higher").described()["null"] is None


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 1000))
def test_it_survives_json(value: float, n: int) -> None:
    score = Score(
        "m", value, "lower", 0.5, Interval(-1.0, 2.0, "BCa over patients"), n, {"empty": 2}, ((0.0, 1.0), (1.0, 0.5)),
        {"p": 0.04}, ("filled by zero",),
    )  # fmt: skip
    told = json.loads(json.dumps(score.described(), allow_nan=False))
    assert told == {
        "metric": "m", "value": value, "direction": "lower", "null": 0.5,
        "interval": {"low": -1.0, "high": 2.0, "kind": "BCa over patients", "level": 0.95},
        "n": n, "excluded": {"empty": 2}, "curve": [[0.0, 1.0], [1.0, 0.5]], "parts": {"p": 0.04},
        "how": ["filled by zero"],
    }  # fmt: skip
    assert score.number == value


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Score("m", 1.0, "higher").value = 2.0  # type: ignore[misc]
