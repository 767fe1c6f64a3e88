"""What fidelity metrics ask of a plan: copies that are shared, counted, and left as they were."""

import gc
import itertools
import weakref

import numpy as np
import pytest
import torch
from fidelity_parts import ALL, ORDERED, Weighted, drawn, lesion, made, noise, one, planned

from saliscope.metrics import METRICS
from saliscope.metrics.fidelity.subsets import parted
from saliscope.perturb.plan import PerturbationPlan


def test_copies_are_shared_over_metrics_maps_and_labels():
    x, maps = drawn(2, channels=3), [noise(2, 1), noise(2, 2)]
    plan = PerturbationPlan(x)
    grown = []

    def asked(name, a, k=0, **fields):
        before = plan.planned
        METRICS.make(name, **fields).ask(plan, a, k)
        grown.append(plan.planned - before)

    shares = {"segments": 64, "partition": "grid"}
    asked("deletion", maps[0])  # two ends, 19 between, and 19 of each of three random rankings
    asked("insertion", maps[0])  # the ends and the random rankings are there
    asked("deletion", maps[1])
    asked("deletion", maps[1], k=1)  # labels share all
    asked("mu-fidelity", maps[0], **shares)
    asked("faithfulness-correlation", maps[1], **shares)
    asked("infidelity", maps[0], **shares)
    asked("sensitivity-n", maps[0], shares=(0.2, 0.5), **shares)  # the size 0.2 is there
    asked("sensitivity-n", maps[1], k=2, shares=(0.2, 0.5), **shares)
    asked("completeness", maps[0])
    asked("average-drop", maps[0])
    asked("average-increase", maps[0])
    assert grown == [21 + 57, 19, 19, 0, 100, 0, 0, 100, 0, 0, 1, 0]


def test_what_does_not_depend_on_the_map_is_asked_once_for_a_plan():
    plan = PerturbationPlan(drawn(2))
    grown = []
    for name, seed in itertools.product(("insertion", "mu-fidelity", "infidelity"), (1, 2)):
        before = plan.asked
        METRICS.make(name).ask(plan, noise(2, seed))
        grown.append(plan.asked - before)
    assert grown == [21 + 63, 21, 101, 0, 0, 0]


def test_what_is_kept_for_a_plan_goes_with_it():
    plan = PerturbationPlan(drawn(2))
    for name in ALL:
        METRICS.make(name).ask(plan, noise(2, 1))
    seen = weakref.ref(plan)
    del plan
    gc.collect()
    assert seen() is None


def test_no_score_depends_on_what_is_run_together():
    x, a = drawn(3), noise(3, 1)
    net = Weighted(torch.stack([noise(3, 4) + 1, noise(3, 5) + 1]))
    battery = [(made(name), a, k) for name in ALL for k in (0, 1)]
    together, alone = planned(x, net, *battery), planned(x, net, *battery, memory_mb=1e-6)
    assert together == alone
    assert [planned(x, net, asked)[0] for asked in battery] == together


@pytest.mark.parametrize("name", ALL)
def test_nothing_global_is_drawn_from_or_changed(name):
    x, a = drawn(2, channels=2), noise(2, 1)
    kept, state, numbers = (x.clone(), a.clone()), torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one(made(name), x, Weighted(lesion(2)[None]), a)
    assert torch.equal(x, kept[0])
    assert torch.equal(a, kept[1])
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numbers).all()  # noqa: NPY002


@pytest.mark.parametrize("name", ORDERED)
def test_random_rankings_may_be_of_boxes(name):
    x, a = drawn(3), noise(3, 1)
    metric = made(name, random_segments=8, levels=8, random_rankings=2)
    net = Weighted(lesion(3)[None])
    found = one(metric, x, net, a)
    assert "about 8 boxes" in found.how[-1]
    labels = parted(PerturbationPlan(x), 8, "grid")
    whole = [
        set(labels[gone].tolist()).isdisjoint(labels[~gone].tolist())
        for gone in ((given[0] != x[0, 0]) for given in net.given)
    ]
    # The image, the filled one, and seven steps of both random rankings, of which the first takes one box of eight.
    assert sum(whole) >= 2 + 2 * 7 - 7
