"""What a network calls: by its operating thresholds where there are any, by the strongest where there are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliscope.core.prediction import Prediction, around

A, B, C = 0, 1, 2


def prediction(kind, probabilities, thresholds, logits=None):
    labels = ("a", "b", "c", "d")[: len(thresholds)]
    return Prediction(labels, logits or tuple(probabilities), probabilities, kind, thresholds)


@pytest.mark.parametrize(
    ("kind", "probabilities", "thresholds", "called", "top"),
    [
        # Two labels that exclude each other: one threshold decides for both.
        ("binary", (0.505, 0.495), (None, 0.2814), (B,), B),
        ("binary", (0.75, 0.25), (None, 0.2814), (A,), A),
        ("multi-class", (0.505, 0.495), (None, 0.2814), (B,), B),
        ("multi-class", (0.45, 0.55), (0.4, None), (A,), A),
        ("binary", (0.5, 0.5), (None, 0.5), (B,), B),
        ("binary", (0.4, 0.6), (None, None), (B,), B),
        ("binary", (0.4, 0.6), (0.3, 0.65), (A,), A),
        # Classes that exclude each other, of which some have a threshold.
        ("multi-class", (0.1, 0.65, 0.25), (None, None, 0.2289), (C,), C),
        ("multi-class", (0.2, 0.6, 0.2), (None, None, 0.2289), (B,), B),
        ("multi-class", (0.1, 0.2, 0.7), (None, None, 0.9), (B,), B),
        ("multi-class", (0.1, 0.2, 0.7), (None, None, None), (C,), C),
        ("multi-class", (0.3, 0.3, 0.4), (0.5, 0.5, 0.9), (), A),
        # Findings that stand beside each other: each by its own threshold, else from 0.5 on.
        ("multi-label", (0.9, 0.02, 0.4), (0.95, 0.01, None), (B,), B),
        ("multi-label", (0.96, 0.02, 0.6), (0.95, 0.01, None), (A, C, B), A),
        ("multi-label", (0.9, 0.8, 0.4), (None, None, None), (A, B), A),
        ("multi-label", (0.1, 0.3, 0.2), (None, None, None), (), B),
        ("multi-label", (0.4, 0.09, 0.2), (0.9, 0.1, None), (), B),
        # Shares of what is predicted: the background is no finding.
        ("segmentation", (0.97, 0.011, 0.014), (None, None, None), (C, B), C),
        ("segmentation", (1.0, 0.0, 0.0), (None, None, None), (), A),
        ("segmentation", (0.2,), (None,), (A,), A),
        ("segmentation", (0.0,), (None,), (), A),
    ],
)
def test_what_is_called(kind, probabilities, thresholds, called, top):
    p = prediction(kind, probabilities, thresholds)
    assert (p.called, p.top) == (called, top)


def test_a_value_is_its_own_call():
    p = prediction("regression", None, (None, None), (2.0, 3.0))
    assert (p.called, p.top) == ((B,), B)


@given(st.floats(0, 1), st.floats(0, 1))
def test_of_two_labels_that_exclude_each_other_one_is_called(p, limit):
    for both in (((1 - p, p), (None, limit)), ((p, 1 - p), (limit, None))):
        two = prediction("binary", *both)
        assert len(two.called) == 1
        i = both[1].index(limit)
        assert (two.called[0] == i) == (both[0][i] >= limit)


@given(st.lists(st.tuples(st.floats(0, 1), st.none() | st.floats(0.01, 0.99)), min_size=1, max_size=4))
def test_the_first_called_is_the_furthest_above_its_own_threshold(several):
    p = prediction("multi-label", tuple(v for v, _ in several), tuple(t for _, t in several))
    heights = [around(v, 0.5 if t is None else t) for v, t in several]
    assert heights[p.top] == max(heights)
    assert {i for i, h in enumerate(heights) if several[i][0] >= (several[i][1] or 0.5)} == set(p.called)


def test_the_complement_of_a_known_threshold_is_known_in_the_sentence():
    p = prediction("binary", (0.505, 0.495), (None, 0.2814))
    assert p.sentence("a") == "a: probability 0.51, below the operating threshold of 0.72"
    assert p.sentence("b") == "b: probability 0.49, at or above the operating threshold of 0.28"
    free = prediction("multi-class", (0.2, 0.6, 0.2), (None, None, 0.2289))
    assert free.limits == (None, None, 0.2289)
    assert "no operating threshold known" in free.sentence("a")
