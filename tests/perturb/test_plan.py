"""One plan for an image: equal copies once, any number at a time, never another score for being run together."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor

from saliscope.core.errors import MetricError
from saliscope.core.target import LogitTarget
from saliscope.perturb.fill import BaselineFill
from saliscope.perturb.impute import RoadFill
from saliscope.perturb.plan import TOGETHER, PerturbationPlan, run
from saliscope.perturb.stream import FORWARD, batch_size

FIRST = LogitTarget((0,), ("a",), "regression")
BOTH = LogitTarget((0, 1), ("a", "b"), "regression")
SHAPES = [(16, 20), (8, 9, 10)]


class Net:
    """A small network with an edge to it, that keeps how many samples came at a time."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        rows = x.double().flatten(1)
        return torch.stack([(rows * torch.arange(rows.shape[1])).mean(1), (rows.tanh()).sum(1)], dim=1)


def image(shape: tuple[int, ...], seed: int = 0, channels: int = 1) -> Tensor:
    return torch.rand((1, channels, *shape), generator=torch.Generator().manual_seed(seed))


def masks(shape: tuple[int, ...], count: int, seed: int = 1) -> Tensor:
    return torch.rand((count, *shape), generator=torch.Generator().manual_seed(seed)) < 0.2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_copy_has_the_score_of_the_picture_that_a_person_would_make(shape: tuple[int, ...]) -> None:
    x, gone, net = image(shape), masks(shape, 5), Net()
    plan = PerturbationPlan(x)
    tickets = plan.removed(gone, BaselineFill(0.25))
    run([plan], net, [BOTH])
    for ticket, one in zip(tickets, gone, strict=True):
        by_hand = x.clone()
        by_hand[0, 0][one] = 0.25
        assert torch.equal(plan.score(ticket), net(by_hand)[0])
    assert plan.score(tickets[0]).dtype == torch.float64


def test_equal_copies_are_planned_and_run_once() -> None:
    x, gone, net = image((16, 20)), masks((16, 20), 4), Net()
    plan = PerturbationPlan(x)
    first = plan.removed(gone, BaselineFill(0.0))
    assert plan.removed(gone.flip(0), BaselineFill(0.0)) == first[::-1]
    other = plan.removed(gone, BaselineFill(1.0))
    assert not set(first) & set(other), "another fill is another copy"
    assert plan.changed("mine", lambda: x[0] * 2) == plan.changed("mine", lambda: x[0] * 3)
    assert (plan.asked, plan.planned, plan.done) == (14, 9, 0)
    run([plan], net, [FIRST])
    assert (sum(net.batches), plan.done) == (9, 9)
    run([plan], net, [FIRST])
    assert sum(net.batches) == 9, "what was run is not run again"
    (late,) = plan.removed(masks((16, 20), 1, seed=9), BaselineFill(0.0))
    with pytest.raises(MetricError, match="not run"):
        plan.score(late)
    run([plan], net, [FIRST])
    assert sum(net.batches) == 10
    assert plan.removed(gone[:1], BaselineFill(0.0)) == first[:1]


def test_a_copy_with_nothing_gone_is_the_image_whatever_the_fill() -> None:
    x, net = image((16, 20)), Net()
    plan = PerturbationPlan(x)
    nothing = torch.zeros((1, 16, 20), dtype=torch.bool)
    tickets = {plan.unchanged(), *plan.removed(nothing, BaselineFill(0.0)), *plan.removed(nothing, RoadFill())}
    assert len(tickets) == 1
    run([plan], net, [FIRST])
    assert plan.score(tickets.pop()) == net(x)[0, 0]


@pytest.mark.parametrize("memory_mb", [0.001, 0.5, 1024])
def test_the_budget_holds_and_changes_no_score(memory_mb: float) -> None:
    shape = (16, 20)
    plans = [PerturbationPlan(image(shape, seed)) for seed in range(3)]
    tickets = [p.removed(masks(shape, 20, seed), RoadFill(noise=0.01)) for seed, p in enumerate(plans)]
    net, told = Net(), []
    run(plans, net, [FIRST, BOTH, FIRST], memory_mb, said=lambda done, of: told.append((done, of)))
    size = min(TOGETHER, batch_size(plans[0].x, memory_mb, FORWARD))
    assert max(net.batches) <= size
    assert len(net.batches) == -(-60 // size)
    assert told[-1] == (60, 60)
    assert [d for d, _ in told] == np.cumsum(net.batches).tolist()
    for seed, (plan, own) in enumerate(zip(plans, tickets, strict=True)):
        alone = PerturbationPlan(plan.x)
        (one,) = alone.removed(masks(shape, 20, seed)[7:8], RoadFill(noise=0.01))
        run([alone], Net(), [BOTH])
        found = plan.score(own[7])
        assert len(found) == (2 if seed == 1 else 1), "each plan has its own target"
        assert torch.allclose(found, alone.score(one)[: len(found)], rtol=1e-6)


def test_images_of_different_shapes_share_a_run_and_not_a_batch() -> None:
    plans = [PerturbationPlan(image(s, channels=c)) for s, c in (((16, 20), 1), ((12, 12), 1), ((16, 20), 2))]
    tickets = [p.removed(masks(tuple(p.x.shape[2:]), 6), BaselineFill(0.0)) for p in plans]
    mixed = [p.changed("half", lambda p=p: p.x[0] / 2) for p in plans]
    net = Net()
    run(plans, net, [FIRST] * 3)
    assert sum(net.batches) == 21
    for plan, own, half in zip(plans, tickets, mixed, strict=True):
        by_hand = plan.x.where(~masks(tuple(plan.x.shape[2:]), 6)[2], torch.zeros(()))
        assert plan.score(own[2])[0] == Net()(by_hand)[0, 0]
        assert plan.score(half)[0] == Net()(plan.x / 2)[0, 0]


def test_copies_of_several_fills_come_back_in_the_order_of_their_tickets() -> None:
    x, gone = image((16, 20)), masks((16, 20), 2)
    plan = PerturbationPlan(x)
    a, b = plan.removed(gone, BaselineFill(0.0)), plan.removed(gone, BaselineFill(1.0))
    order = [b[1], plan.unchanged(), a[0], b[0]]
    made = plan.made(order)
    expected = [x.where(~gone[1], torch.ones(())), x, x.where(~gone[0], torch.zeros(())),
                x.where(~gone[0], torch.ones(()))]  # fmt: skip
    assert torch.equal(made, torch.cat(expected))


def test_masks_are_let_go_once_they_were_run() -> None:
    x = image((16, 20))
    plan, held = PerturbationPlan(x), []

    class Watched(BaselineFill):
        def __call__(self, x: Tensor, gone: Tensor) -> Tensor:
            return super().__call__(x, gone)

    fill = Watched(0.0)
    held.append(weakref.ref(fill))
    (ticket,) = plan.removed(masks((16, 20), 1), fill)
    run([plan], Net(), [FIRST])
    del fill
    gc.collect()
    assert held[0]() is None, "a plan of a volume would hold a mask for each copy"
    with pytest.raises(MetricError, match="run already"):
        plan.made([ticket])


def test_what_does_not_fit_is_refused_in_words() -> None:
    with pytest.raises(MetricError, match="one image"):
        PerturbationPlan(torch.zeros(2, 1, 8, 8))
    with pytest.raises(MetricError, match="one image"):
        PerturbationPlan(torch.zeros(1, 8))
    plan = PerturbationPlan(torch.zeros(1, 1, 8, 8))
    with pytest.raises(MetricError, match="boolean masks"):
        plan.removed(torch.zeros(1, 8, 9, dtype=torch.bool), BaselineFill(0.0))
    with pytest.raises(MetricError, match="boolean masks"):
        plan.removed(torch.zeros(1, 8, 8), BaselineFill(0.0))
    run([], Net(), [])
    run([plan], Net(), [FIRST])
    assert plan.done == 0


def test_no_graph_is_built_and_no_copy_changes_the_image() -> None:
    x = image((16, 20)).requires_grad_()
    plan = PerturbationPlan(x)
    before = x.detach().clone()
    tickets = [*plan.removed(masks((16, 20), 3), RoadFill(noise=0.0)), plan.unchanged()]
    run([plan], Net(), [FIRST])
    assert not any(plan.score(t).requires_grad for t in tickets)
    assert torch.equal(x, before)
    assert x.grad is None
