"""A snapshot sees every way in which a network can be left other than it was; else the zoo proves nothing."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from model.module_state import Snapshot
from model.stateful_nets import ZOO


class Store:
    def __init__(self) -> None:
        self.value: Any = None


class Full(nn.Module):
    """Holds one of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.count, self.kept, self.recent = nn.Conv2d(1, 2, 3), 0, {"a": [1, {2}]}, deque([1])
        self.register_buffer("steps", torch.zeros(2))
        self.store, self.torch, self.numpy = Store(), torch.Generator(), np.random.RandomState(0)
        self.python, self.array, self.feature = random.Random(0), np.zeros(3), torch.ones(2)


def fake() -> Tensor:
    with FakeTensorMode():
        return torch.zeros(2)


def same_values(net: Full) -> None:
    net.layer.weight = nn.Parameter(net.layer.weight.detach().clone())


def other_container(net: Full) -> None:
    net.kept = {"a": [1, {2}]}


CHANGES: dict[str, Callable[[Full], Any]] = {
    "a count": lambda n: setattr(n, "count", 1),
    "a new attribute": lambda n: setattr(n, "more", None),
    "an attribute gone": lambda n: delattr(n, "count"),
    "a nested list": lambda n: n.kept["a"].append(3),
    "a nested set": lambda n: n.kept["a"][1].add(3),
    "an equal dict": other_container,
    "a deque": lambda n: n.recent.append(2),
    "an object's attribute": lambda n: setattr(n.store, "value", 1),
    "an array": lambda n: n.array.__setitem__(0, 1),
    "a buffer, in place": lambda n: n.steps.add_(1),
    "a buffer, replaced by its equal": lambda n: setattr(n, "steps", n.steps.clone()),
    "a buffer more": lambda n: n.register_buffer("late", torch.zeros(1)),
    "a weight": lambda n: n.layer.weight.data.mul_(2),
    "a weight, replaced by its equal": same_values,
    "requires_grad": lambda n: n.layer.weight.requires_grad_(False),
    "a gradient": lambda n: setattr(n.layer.weight, "grad", torch.ones_like(n.layer.weight)),
    "training": lambda n: n.layer.eval(),
    "a hook": lambda n: n.layer.register_forward_hook(lambda m, i, o: None),
    "another module": lambda n: setattr(n, "layer", nn.Conv2d(1, 2, 3)),
    "torch's generator": lambda n: torch.rand(1, generator=n.torch),
    "NumPy's generator": lambda n: n.numpy.rand(),
    "Python's generator": lambda n: n.python.random(),
    "a feature's values": lambda n: n.feature.add_(1),
    "a forward of its own": lambda n: setattr(n.layer, "forward", print),
    "a feature without content": lambda n: setattr(n, "feature", fake()),
    "a feature with a graph": lambda n: setattr(n, "feature", n.layer.weight.sum()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(change: str) -> None:
    net = Full()
    before = Snapshot(net)
    assert before.differences(Snapshot(net)) == []
    CHANGES[change](net)
    after = Snapshot(net)
    assert before.differences(after)
    left = set(after.graphs()) - set(before.graphs())
    assert bool(left) == ("graph" in change or "content" in change)


@pytest.mark.parametrize("name", sorted(n for n in ZOO if n.startswith(("cache: a", "counter", "feature"))))
def test_a_network_of_the_zoo_changes_when_it_runs(name: str) -> None:
    """Each of these would be seen if a question were to leave its traces."""
    net = ZOO[name]()
    before = Snapshot(net)
    net(torch.zeros(1, 1, 12, 12))
    assert before.differences(Snapshot(net))
