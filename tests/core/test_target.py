"""From outputs to scores."""

from __future__ import annotations

import pytest
import torch

from saliscope.core.errors import OutputError, TargetError
from saliscope.core.target import CallableTarget, LogitTarget, choose

LABELS = ("normal", "benign", "malignant")


def test_logits_are_taken_as_they_are() -> None:
    out = torch.tensor([[1.0, -2.0, 3.0]])
    assert LogitTarget((2, 1), ("malignant", "benign")).scores(out).tolist() == [[3.0, -2.0]]


def test_class_zero_of_a_single_logit_is_its_negative() -> None:
    out = torch.tensor([[1.5], [-2.0]])
    assert LogitTarget((0, 1), ("no", "yes"), "binary").scores(out).tolist() == [[-1.5, 1.5], [2.0, -2.0]]


def test_a_segmentation_is_scored_where_the_class_is_predicted_with_the_mask_held_fixed() -> None:
    out = torch.zeros(1, 2, 2, 2, requires_grad=True)
    with torch.no_grad():
        out[0, 1, 0, 0], out[0, 1, 0, 1] = 2.0, 4.0
    score = LogitTarget((1,), ("brain",), "segmentation").scores(out)
    assert score.tolist() == [[3.0]]
    score.sum().backward()
    assert out.grad is not None
    assert out.grad[0, 1].tolist() == [[0.5, 0.5], [0.0, 0.0]]
    assert out.grad[0, 0].abs().sum() == 0


def test_a_class_that_is_predicted_nowhere_is_scored_everywhere() -> None:
    out = torch.zeros(1, 2, 2, 2)
    out[:, 0] = 5
    assert LogitTarget((1,), ("b",), "segmentation").scores(out).tolist() == [[0.0]]


def test_words_become_indices() -> None:
    assert choose(["malignant", 0], LABELS, "multi-class").indices == (2, 0)
    assert choose(["1"], LABELS, "multi-class").labels == ("benign",)
    assert choose(["all"], LABELS, "multi-class").indices == (0, 1, 2)
    assert choose(["top", "benign"], LABELS, "multi-class", 1).indices == (1,)
    with pytest.raises(TargetError, match="Did you mean 'malignant'"):
        choose(["malignent"], LABELS, "multi-class")
    with pytest.raises(TargetError, match="0 to 2"):
        choose([3], LABELS, "multi-class")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(TargetError, match="0 to 1"):
        LogitTarget((2,), ("c",)).scores(torch.zeros(1, 2))
    with pytest.raises(OutputError, match="segmentation"):
        LogitTarget((0,), ("c",)).scores(torch.zeros(1, 2, 4, 4))
    with pytest.raises(TargetError, match="returned shape"):
        CallableTarget(lambda out: out.sum()).scores(torch.zeros(2, 2))
    assert CallableTarget(lambda out: out[:, 0] - out[:, 1]).scores(torch.tensor([[3.0, 1.0]])).tolist() == [[2.0]]
