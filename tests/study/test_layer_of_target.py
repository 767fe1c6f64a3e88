"""The layer that `auto` takes is one that the target depends on: of several heads, the way of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliscope
from saliscope.core.explanation import Explanation

Forward = Callable[["Branches", Tensor], Tensor]
METHODS = ("grad-cam", "hirescam", "layercam", "eigen-cam", "score-cam", "ablation-cam", "recipro-cam")


class Branches(nn.Module):
    """A stem, two branches of which `late` runs last, and two heads."""

    def __init__(self, forward: Forward, axes: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        pool = nn.AdaptiveAvgPool2d if axes == 2 else nn.AdaptiveAvgPool3d
        self.stem = conv(1, 6, 3, 2, 1)
        self.early, self.late = (nn.Sequential(conv(6, 6, 3, 1, 1), nn.ReLU()) for _ in range(2))
        self.one, self.two = (nn.Sequential(pool(1), nn.Flatten(), nn.Linear(6, 2)) for _ in range(2))
        self.way = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, self.stem(x).relu())


def two_tasks(net: Branches, y: Tensor) -> Tensor:
    return torch.cat([net.one(net.early(y)), net.two(net.late(y))], 1)


#: Networks of whose output nothing depends on the late branch.
UNREAD: dict[str, Forward] = {
    "some channels": lambda net, y: net.one(torch.cat([net.early(y), net.late(y)], 1)[:, :6].tanh()),
    "one of a stack": lambda net, y: net.one(torch.stack([net.early(y), net.late(y)])[0]),
    "a chunk": lambda net, y: net.one(torch.cat([net.early(y), net.late(y)], 1).chunk(2, 1)[0]),
    "some logits": lambda net, y: torch.cat([net.one(net.early(y)), net.two(net.late(y))], 1)[:, :2],
    "nothing times": lambda net, y: net.one(net.early(y) + 0 * net.late(y)),
    "detached": lambda net, y: net.one(net.early(y) + net.late(y).detach()),
    "its shape only": lambda net, y: net.one(net.early(y) * torch.ones_like(net.late(y))),
    "selected away": lambda net, y: net.one(torch.where(torch.ones_like(y) > 0, net.early(y), net.late(y))),
}


def explained(forward: Forward, method: str, target: object, axes: int = 2, **more: object) -> Explanation:
    x = torch.rand((2, 1, *[16] * axes), generator=torch.Generator().manual_seed(1))[:1]
    found = saliscope.explain(x, Branches(forward, axes).eval(), method, target, **more)
    return found[0] if isinstance(found, list) else found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axes", [2, 3])
def test_each_task_has_its_own_layer(method: str, axes: int) -> None:
    for target, layer in ((0, "early"), (1, "early"), (2, "late"), (3, "late")):
        e = explained(two_tasks, method, target, axes)
        assert e.provenance.layer == layer
        assert ("late comes later" in str(e.provenance.layer_reason)) == (layer == "early")
        same = explained(two_tasks, method, target, axes, layer=layer)
        np.testing.assert_array_equal(e.values, same.values)


def test_targets_of_several_tasks_share_the_last_layer_that_all_depend_on() -> None:
    assert explained(two_tasks, "grad-cam", "all").provenance.layer == "stem"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", UNREAD)
def test_a_branch_of_which_the_output_reads_nothing_is_not_taken(name: str, method: str) -> None:
    assert explained(UNREAD[name], method, 0).provenance.layer == "early"


def test_where_all_passes_nothing_is_asked_for_it() -> None:
    """The run that looks which layers a target reads is made only where a layer can be passed by."""
    counts = []
    for forward in (lambda net, y: net.one(net.late(net.early(y))), two_tasks):
        network = saliscope.Network(Branches(forward).eval())
        with network.opened() as model:
            from saliscope.core.target import LogitTarget
            from saliscope.study.asking import asking, dependence

            x = torch.rand(1, 1, 16, 16)
            target = LogitTarget((0,), ("class 0",), "multi-class")
            method = saliscope.METHODS.make("grad-cam")
            asking("grad-cam", method, network, model.runs(x), dependence(model, x, target))
            counts.append((model.counts.forward_samples, model.counts.backward_passes))
    assert counts == [(0, 0), (1, 1)]
