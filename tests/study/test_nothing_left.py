"""After an explanation, and after a refusal, the network of the caller is as it was: everything in it, deep."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saliscope
from model import stateful_weights, wrapped_nets
from model.module_state import Snapshot, shared_generators
from model.stateful_nets import ZOO
from saliscope.core.errors import SaliscopeError
from saliscope.methods import METHODS

#: kind of method -> fields with which it is quick
METHOD_FIELDS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "integrated-gradients": {"steps": 3},
    "grad-cam": {},
    "occlusion": {"window": 6, "stride": 6},
    "rise": {"samples": 16, "cells": 3},
    "deeplift": {},
    "lrp": {},
    "guided-backprop": {},
    "score-cam": {},
    "ablation-cam": {},
    "shapley-cam": {},
    "fused": {},
    "full-grad": {},
}
#: Networks whose wrapper hides the layers: a method may refuse there, in a sentence.
SEALED = wrapped_nets.SEALED
#: What must give a map on every network of the zoo whose layers are open.
ALWAYS = ("gradient", "integrated-gradients", "grad-cam", "occlusion", "rise")

assert stateful_weights.__doc__  # it joined the zoo


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return ZOO[name]()


def image() -> Tensor:
    return torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(1))


def output(net: nn.Module, x: Tensor) -> Tensor:
    """Return what a network gives; dropout of a network in train mode draws the same each time."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return net(x)


def asked(net: nn.Module, x: Tensor, method: str) -> Any:
    """Return the map, or the refusal; any other exception is a fault."""
    try:
        return saliscope.explain(x, net, METHODS.make(method, **METHOD_FIELDS[method]), 1).values
    except SaliscopeError as refusal:
        return refusal


def check(name: str, method: str, *, warm: bool) -> list[str]:
    """Return what is wrong after one question of one network, which ran before or did not."""
    net, fresh, x = made(name), made(name), image()
    if warm:
        output(net, x), output(fresh, x)
    before, generators = Snapshot(net), shared_generators()
    try:
        answer = asked(net, x, method)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        answer, wrong = None, [f"raw {type(error).__name__}: {str(error)[:150]}"]
    else:
        wrong = []
    if isinstance(answer, SaliscopeError) and method in SEALED.get(name, ALWAYS):
        wrong.append(f"refused: {answer}")
    wrong += ["moved a generator of the caller's"] * (shared_generators() != generators)
    after = Snapshot(net)
    wrong += before.differences(after)
    wrong += [f"{p} holds a graph or is no tensor" for p in set(after.graphs()) - set(before.graphs())]
    try:
        found, right = output(net, x), output(fresh, x)
        if type(found) is not type(right) or not torch.equal(found, right):
            wrong.append(f"the network gives another output: {type(found).__name__}, by {_far(found, right)}")
    except Exception as error:  # noqa: BLE001
        wrong.append(f"the network fails afterwards: {type(error).__name__}: {str(error)[:150]}")
    return [f"{method}{' (ran before)' if warm else ''}: {w}" for w in wrong]


def _far(found: Tensor, right: Tensor) -> str:
    return f"{float((found - right).detach().abs().max()):.3g}" if type(found) is type(right) else "nothing to compare"


@pytest.mark.parametrize("name", sorted(ZOO))
def test_nothing_is_left_of_any_kind_of_method(name: str) -> None:
    """Each method asks a network that never ran: what forward keeps, it would keep for the first time."""
    wrong = [w for method in METHOD_FIELDS for w in check(name, method, warm=False)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(ZOO))
def test_nothing_is_left_on_a_network_that_ran_before(name: str) -> None:
    wrong = [w for method in ("gradient", "grad-cam", "occlusion") for w in check(name, method, warm=True)]
    assert not wrong, "\n".join(wrong)


def test_the_zoo_is_large() -> None:
    assert len(ZOO) >= 40


@pytest.mark.parametrize("name", sorted(set(ZOO) - set(SEALED)))
def test_the_map_is_that_of_a_network_asked_by_autograd(name: str) -> None:
    net, fresh, x = made(name), made(name), image()
    found = asked(net, x, "gradient")
    fresh.eval()
    wanting = x.clone().requires_grad_()
    fresh(wanting)[0, 1].backward()
    assert wanting.grad is not None
    assert not isinstance(found, SaliscopeError), found
    torch.testing.assert_close(torch.from_numpy(found.copy()), wanting.grad.sum(1)[0], rtol=1e-4, atol=1e-6)


def test_a_network_that_fails_half_way_is_left_as_it_was() -> None:
    for name in ("cache: None, then a tensor", "counter: a buffer, in place", "feature: a list made anew"):
        net, x = made(name), image()
        net.head.register_forward_pre_hook(lambda m, i: 1 / 0)
        before = Snapshot(net)
        for method in METHOD_FIELDS:
            with pytest.raises(SaliscopeError):
                saliscope.explain(x, net, METHODS.make(method, **METHOD_FIELDS[method]), 1)
            assert not before.differences(Snapshot(net)), method
