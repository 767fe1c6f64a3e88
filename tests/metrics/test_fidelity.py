"""Fidelity on networks whose truth is known: what the right map gets, what controls get, and what copies cost."""

import itertools
import math

import numpy as np
import pytest
import torch
from fidelity_parts import ALL, OF_SUBSETS, ORDERED, SHAPE, Weighted, drawn, lesion, made, noise, one, planned

from saliscope.core.errors import MetricError
from saliscope.core.metric import Planned
from saliscope.metrics import METRICS
from saliscope.perturb.fill import BaselineFill
from saliscope.perturb.plan import PerturbationPlan


@pytest.mark.parametrize("name", ALL)
def test_every_one_is_planned_frozen_and_equal_by_its_fields(name):
    assert isinstance(made(name), Planned)
    assert made(name) == made(name)
    assert len({made(name), made(name), METRICS.make(name)}) == 2


@pytest.mark.parametrize("axes", [2, 3])
def test_deletion_and_insertion_of_the_right_map_have_the_area_that_is_known(axes):
    """The lesion holds all of the score in equal parts: the curve falls straight to 0 and stays."""
    x, w = torch.ones_like(drawn(axes)), lesion(axes)
    n, size = w.numel(), int(w.sum())
    gone, back = planned(
        x, Weighted(w[None]), *((made(name, levels=n, random_rankings=5), w, 0) for name in ORDERED), memory_mb=64
    )
    assert gone.parts["normalised auc"] == pytest.approx(size / (2 * n), abs=1e-12)
    assert back.parts["normalised auc"] == pytest.approx(1 - size / (2 * n), abs=1e-12)
    assert gone.parts["raw auc"] == pytest.approx(size * size / (2 * n), abs=1e-9)
    assert gone.parts["random auc"] == pytest.approx(0.5, abs=3 / math.sqrt(12 * size * 5))
    assert gone.number == gone.parts["normalised auc"] - gone.parts["random auc"]
    assert back.number == pytest.approx(-gone.number, abs=0.2)
    assert gone.number < -0.3 < 0.3 < back.number
    assert (gone.direction, back.direction, gone.null, back.null) == ("lower", "higher", 0.0, 0.0)
    assert gone.curve[0] == (0, 1)
    assert gone.curve[-1] == (1, 0)
    assert back.curve[0] == (0, 0)
    assert back.curve[-1] == (1, 1)
    assert gone.interval.low <= gone.number <= gone.interval.high
    assert gone.interval.level is None


def test_insertion_is_deletion_of_the_negative_map_and_asks_for_no_other_copy():
    x, a = drawn(2), noise(2, 3)
    plan = PerturbationPlan(x)
    made("deletion", levels=10).ask(plan, a)
    before = plan.planned
    made("insertion", levels=10).ask(plan, -a)
    assert plan.planned == before
    net = Weighted(torch.stack([a.exp()]))
    gone, back = planned(x, net, (made("deletion"), a, 0), (made("insertion"), -a, 0))
    assert gone.parts["normalised auc"] == pytest.approx(back.parts["normalised auc"], abs=1e-12)
    assert gone.parts["random auc"] == pytest.approx(back.parts["random auc"], abs=1e-12)


def test_ties_are_not_decided_by_position():
    """One element stands out, all others tie; the lesion among them lies in the first corner, or in the last."""
    x, w = torch.ones_like(drawn(2)), lesion(2)
    a = torch.zeros_like(w)
    a[8, 8] = 1
    for weights in (w, w.flip(0, 1)):
        found = one(made("deletion", levels=256), x, Weighted(weights[None]), a)
        assert abs(found.parts["normalised auc"] - 0.5) < 3 / math.sqrt(12 * 16)


@pytest.mark.parametrize("axes", [2, 3])
def test_of_a_linear_network_the_contributions_are_perfect(axes):
    """Two labels: the contributions of each are right for it, those of the other are not."""
    x, w = drawn(axes), torch.stack([noise(axes, 1) + 1, noise(axes, 2) + 1])
    net, a = Weighted(w), w * x[0]
    for k, other in ((0, 1), (1, 0)):
        for name in OF_SUBSETS:
            right, wrong, turned = planned(
                x, net, (made(name), a[k], k), (made(name), a[other], k), (made(name), -3 * a[k], k)
            )
            assert right.parts["pearson"] == pytest.approx(1, abs=1e-9)
            assert right.parts["spearman"] == pytest.approx(1, abs=1e-9)
            assert right.number == pytest.approx(1, abs=1e-9)
            assert turned.number == pytest.approx(-1, abs=1e-9)
            assert wrong.number < 0.9
        right, tripled, wrong = planned(
            x, net, (made("infidelity"), a[k], k), (made("infidelity"), 3 * a[k], k), (made("infidelity"), a[other], k)
        )
        assert right.number == pytest.approx(0, abs=1e-18)
        assert right.parts["beta"] == pytest.approx(1)
        assert tripled.number == pytest.approx(0, abs=1e-18)
        assert tripled.parts["beta"] == pytest.approx(1 / 3)
        assert wrong.number > 1e-3
        assert one(made("infidelity", units="gradient"), x, net, w[k], k).number == pytest.approx(0, abs=1e-18)
        assert one(made("infidelity", units="gradient"), x, net, a[k], k).number > 1e-3
        assert one(made("completeness"), x, net, a[k], k).number < 1e-12
        assert one(made("completeness"), x, net, 1.5 * a[k], k).number == pytest.approx(0.5)


def test_infidelity_cannot_see_the_sign_and_says_it():
    x = drawn(2)
    w = noise(2, 1) + 1
    for sign in (1, -1):
        found = one(made("infidelity"), x, Weighted(w[None]), sign * w * x[0, 0])
        assert found.number == pytest.approx(0, abs=1e-18)
        assert found.parts["beta"] == pytest.approx(sign)
    assert "sign" in METRICS.get("infidelity").traits.blind


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("value", [0.0, 2.0])
@pytest.mark.parametrize("name", [*ORDERED, *OF_SUBSETS, "average-drop", "average-increase"])
def test_a_map_without_an_order_is_undefined_and_costs_nothing(name, value, axes):
    plan = PerturbationPlan(drawn(axes))
    score = made(name).ask(plan, torch.full(SHAPE[axes], value))()
    assert not score.defined
    assert score.value.reason.startswith("the map ")
    assert plan.planned == 0


def test_a_map_of_one_value_has_the_null_infidelity_and_a_zero_map_none():
    x, w = drawn(2), lesion(2)
    constant, zero = planned(
        x, Weighted(w[None]), (made("infidelity", partition="slic"), torch.ones(16, 16), 0),
        (made("infidelity", partition="slic"), torch.zeros(16, 16), 0),
    )  # fmt: skip
    assert constant.number == pytest.approx(constant.null)
    assert zero.value.reason == "the map is zero everywhere"
    assert zero.null == constant.null


def test_random_maps_get_the_null():
    """Means of 40 random maps, within three standard errors of the null; a right map is far from it."""
    x, w = drawn(2), lesion(2) + 0.1
    names = (*ORDERED, *OF_SUBSETS)
    maps = [noise(2, 100 + seed) for seed in range(40)]
    found = planned(x, Weighted(w[None]), *((made(n, seed=5), a, 0) for n, a in itertools.product(names, maps)))
    right = planned(x, Weighted(w[None]), *((made(n, seed=5), w * x[0, 0], 0) for n in names))
    for i, name in enumerate(names):
        values = np.array([s.number for s in found[40 * i : 40 * (i + 1)]])
        # The random rankings' own mean is drawn too: three of them.
        error = values.std(ddof=1) * math.sqrt(1 / 40 + (1 / 3 if name in ORDERED else 0))
        assert abs(values.mean()) < 3 * error, name
        assert abs(right[i].number) > abs(values).max(), name


@pytest.mark.parametrize("name", [n for n in ALL if not n.startswith("average")])
def test_a_fill_that_changes_nothing_is_undefined_and_never_a_number(name):
    x = 1 + 1e-9 * drawn(2)  # its mean differs from it by rounding
    score = one(made(name, fill=BaselineFill("mean")), x, Weighted(lesion(2)[None]), noise(2, 0))
    assert not score.defined
    assert "chang" in score.value.reason


@pytest.mark.parametrize("name", ORDERED)
def test_there_is_nothing_to_remove_where_filling_everything_raises_the_score(name):
    """Of a finding that is absent the evidence is against it: the normalised curve would be upside down."""
    w = torch.stack([lesion(2), -lesion(2)])
    present, absent = planned(drawn(2), Weighted(w), (made(name), lesion(2), 0), (made(name), lesion(2), 1))
    assert present.defined
    assert "rises when everything is filled" in absent.value.reason
    assert absent.parts["unchanged"] < absent.parts["filled"]


def test_average_drop_is_as_the_paper_has_it_and_can_be_gamed():
    x, w = torch.ones_like(drawn(2)), lesion(2)
    nearly = torch.ones(16, 16)
    nearly[15, 15] = 0
    half = lesion(2)
    half[:4, :2] = 0.5
    net = Weighted(torch.stack([w, -w]))
    right, gamed, blended, against = planned(
        x, net, *((made("average-drop"), a, k) for a, k in ((w, 0), (nearly, 0), (half, 0), (w, 1)))
    )
    assert right.number == 0
    assert gamed.number == 0
    assert blended.number == pytest.approx(0.25)
    assert not against.defined
    for words in ("high nearly everywhere", "mean of the data"):
        assert words in METRICS.get("average-drop").traits.blind
    worse = Weighted((w - 2 * lesion(2).flip(0, 1))[None])
    assert one(made("average-increase"), x, worse, w).number == 1
    assert one(made("average-increase"), x, worse, half).number == 1
    assert one(made("average-increase"), x, worse, w.flip(0, 1)).number == 0
    assert one(made("average-increase"), x, net, half).number == 0


def test_a_fill_that_speaks_itself_is_said():
    """Scores of half-filled images that lie far beyond both ends: what is measured then is the fill."""

    class Edges(torch.nn.Module):
        def forward(self, x):
            return (x.mean((1, 2, 3)) + 10 * x.diff(dim=3).abs().mean((1, 2, 3)))[:, None]

    x, a = torch.ones_like(drawn(2)), noise(2, 1)
    spoken, calm = one(made("deletion"), x, Edges(), a), one(made("deletion"), x, Weighted(lesion(2)[None]), a)
    assert spoken.parts["random curves beyond the ends"] > 1
    assert any("the fill itself speaks" in words for words in spoken.how)
    assert calm.parts["random curves beyond the ends"] == 0
    assert not any("speaks" in words for words in calm.how)


@pytest.mark.parametrize("name", ALL)
def test_a_map_on_another_grid_or_not_finite_is_refused(name):
    plan = PerturbationPlan(drawn(2))
    with pytest.raises(MetricError, match="one value for each element"):
        made(name).ask(plan, torch.ones(7, 7))
    with pytest.raises(MetricError, match="not finite"):
        made(name).ask(plan, torch.full((16, 16), torch.nan))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("deletion", {"levels": 0}),
        ("insertion", {"random_rankings": 0}),
        ("deletion", {"random_segments": 1}),
        ("infidelity", {"units": "volts"}),
        ("infidelity", {"samples": 2}),
        ("mu-fidelity", {"segments": 1}),
        ("faithfulness-correlation", {"partition": "hexagons"}),
        ("sensitivity-n", {"shares": ()}),
        ("sensitivity-n", {"shares": (0.2, 0.2)}),
        ("sensitivity-n", {"shares": (1.5,)}),
        ("mu-fidelity", {"share": 0.0}),
    ],
)
def test_fields_out_of_range_are_refused_when_they_are_set(name, fields):
    with pytest.raises(MetricError):
        METRICS.make(name, **fields)
