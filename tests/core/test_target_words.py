"""The words for targets, and what is said where they do not fit."""

from __future__ import annotations

import pytest

from saliscope.core.errors import TargetError
from saliscope.core.target import (
    ComponentTarget,
    ContrastTarget,
    LogitTarget,
    Opposite,
    PointTarget,
    ProbabilityTarget,
    Together,
    choose,
)
from saliscope.core.target_words import plain_words

LABELS = ("normal", "non-small-cell", "mass/nodule", "probability:odd")


def test_sorts_of_targets():
    assert choose(["probability:normal"], LABELS, "multi-class") == ProbabilityTarget((0,), ("normal",))
    assert choose(["minus:value"], ("value",), "regression") == Opposite(LogitTarget((0,), ("value",), "regression"))
    assert choose(["component:1"], LABELS, "segmentation") == ComponentTarget(1, "non-small-cell")
    assert choose(["component:normal@4/5"], LABELS, "segmentation") == ComponentTarget(0, "normal", (4, 5))
    assert choose(["point:normal@3/40/52"], LABELS, "segmentation") == PointTarget(0, "normal", (3, 40, 52))


def test_contrasts():
    found = choose(["contrast:non-small-cell/normal"], LABELS, "multi-class")
    assert found == ContrastTarget(1, (0,), "non-small-cell", "normal")
    assert found.labels == ("non-small-cell against normal",)
    assert choose(["contrast:normal"], LABELS, "multi-class").against == (1, 2, 3)
    assert choose(["contrast:normal"], LABELS, "multi-class").labels == ("normal against the mean of the others",)
    binary = choose(["contrast:yes"], ("no", "yes"), "binary")
    assert binary == ContrastTarget(1, (0,), "yes", "no", "binary")
    assert choose(["contrast:top/0"], LABELS, "multi-class", 2).index == 2


def test_labels_may_hold_the_signs_of_the_grammar():
    assert choose(["contrast:mass/nodule/normal"], LABELS, "multi-class").index == 2
    assert choose(["contrast:normal/mass/nodule"], LABELS, "multi-class").against == (2,)
    assert choose(["contrast:mass/nodule"], LABELS, "multi-class").against == (0, 1, 3)
    assert choose(["probability:odd"], LABELS, "multi-class") == LogitTarget((3,), ("probability:odd",))
    assert choose(["component:a@b"], ("a@b", "c"), "segmentation") == ComponentTarget(0, "a@b")


def test_several_words_keep_their_order_and_come_once():
    found = choose(["all", "probability:normal", 0, "contrast:top/normal", "probability:0"], LABELS, "multi-class", 1)
    assert isinstance(found, Together)
    assert found.targets == (
        LogitTarget((0, 1, 2, 3), LABELS),
        ProbabilityTarget((0,), ("normal",)),
        ContrastTarget(1, (0,), "non-small-cell", "normal"),
    )
    assert choose(["probability:all"], LABELS, "multi-class").labels == tuple(f"probability of {n}" for n in LABELS)


@pytest.mark.parametrize(
    ("word", "kind", "said"),
    [
        ("probabilty:normal", "multi-class", "Did you mean 'probability:"),
        ("probability:normel", "multi-class", "Did you mean 'normal'"),
        ("contrast:normel/0", "multi-class", "Did you mean 'normal'"),
        ("contrast:normal/normal", "multi-class", "two classes that differ"),
        ("probability:normal", "regression", "value itself"),
        ("component:normal", "multi-class", "network that segments"),
        ("point:normal", "segmentation", "Say where"),
        ("point:normal@a/b", "segmentation", "For example normal@40/52"),
        ("minus:9", "regression", "0 to 3"),
    ],
)
def test_mistakes_are_explained(word, kind, said):
    with pytest.raises(TargetError, match=said):
        choose([word], LABELS, kind)


def test_nothing_asked_is_refused():
    with pytest.raises(TargetError, match="one or more words"):
        choose([], LABELS, "multi-class")
    with pytest.raises(TargetError, match="two classes that differ"):
        choose(["contrast:value"], ("value",), "regression")


def test_words_within_words():
    assert "top" in plain_words("probability:top")
    assert "top" in plain_words("contrast:top/normal")
    assert "top" in plain_words("component:top@3/4")
    assert "top" not in plain_words("desktop")
    assert plain_words(3) == ["3"]
