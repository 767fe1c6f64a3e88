"""What is handed over at the door and does not fit, or fits in another way: one sentence, or the right map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_first_contact import Code, explained, image, made, same
from torch import Tensor, nn

import saliscope
from saliscope.core.errors import SaliscopeError
from saliscope.core.explanation import Explanation
from saliscope.methods import METHODS

KINDS_OF_METHOD = (
    "gradient", "integrated-gradients", "grad-cam", "occlusion", "rise", "deeplift", "lrp", "guided-backprop",
    "score-cam", "ablation-cam", "shapley-cam", "fused", "full-grad",
)  # fmt: skip


def plain(channels: int = 1) -> nn.Module:
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), *head)


def test_one_column_without_a_kind_is_refused() -> None:
    """A single logit read as one of many classes would be a probability of 100 %."""
    net = made(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)))
    with pytest.raises(SaliscopeError, match=r"kind"):
        saliscope.explain(image(), net, "gradient", 0)
    for kind in ("binary", "regression"):
        found = saliscope.explain(image(), net, "gradient", 0, kind=kind)
        assert isinstance(found, Explanation)


@pytest.mark.parametrize("method", KINDS_OF_METHOD)
def test_weights_that_are_no_numbers_are_refused(method: str) -> None:
    net = made(plain)
    with torch.no_grad():
        net[0].weight[0, 0, 1, 1] = float("nan")
    with pytest.raises(SaliscopeError):
        explained(net, method)


def test_weights_so_large_that_the_output_overflows_are_refused() -> None:
    net = made(plain)
    with torch.no_grad():
        net[2].weight *= 1e30
        net[0].weight *= 1e30
    with pytest.raises(SaliscopeError):
        explained(net, "grad-cam")


@pytest.mark.parametrize("method", KINDS_OF_METHOD)
def test_a_caller_in_inference_mode_has_the_same_map(method: str) -> None:
    right = explained(made(plain), method)
    net = made(plain)
    with torch.inference_mode():
        found = explained(net, method, image())
    same(found, right)
    assert not any(p.is_inference() for p in net.parameters())
    net(image()).sum().backward()  # and its owner can train it


SCRIPTS = {
    "script": lambda net: torch.jit.script(net),
    "frozen": lambda net: torch.jit.freeze(torch.jit.script(net)),
    "exported": lambda net: torch.export.export(net, (image(),)).module(),
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("method", KINDS_OF_METHOD)
def test_a_script_is_occluded_and_asked_otherwise_says_a_sentence(method: str, script: str) -> None:
    net = SCRIPTS[script](made(plain))
    try:
        found = explained(net, method)
    except SaliscopeError:
        assert method not in ("occlusion", "rise"), "it needs no more than to run the network"
    else:
        if method not in ("lrp", "deeplift", "guided-backprop", "full-grad"):
            same(found, explained(made(plain), method))


@pytest.mark.parametrize("method", ["occlusion", "rise", "score-cam", "integrated-gradients", "deeplift", "gradient"])
def test_a_second_input_of_one_row_goes_with_every_copy(method: str) -> None:
    def build(table: Tensor) -> nn.Module:
        def forward(net: Code, x: Tensor) -> Tensor:
            h = torch.relu(net.conv(x)).mean((2, 3))
            rows = table if table.shape[0] == 1 else table[: len(x)]
            return net.head(torch.cat([h, rows], 1))

        return Code(forward, conv=nn.Conv2d(1, 4, 3), head=nn.Linear(8, 3))

    row = torch.linspace(-1, 1, 4)[None]
    net, right = made(lambda: build(row)), made(lambda: build(row.expand(10_000, 4)))
    # The network itself takes one image at a time, so that it can be run so.
    same(explained(net, method), explained(right, method))


@pytest.mark.parametrize("method", ["fused", "layercam-fusion"])
def test_a_layer_for_a_method_of_several_is_used_or_refused(method: str) -> None:
    right = saliscope.explain(image(), made(plain), METHODS.make(method, layers=("0",)), 1)
    assert isinstance(right, Explanation)
    assert not np.allclose(right.values, explained(made(plain), method).values)
    try:
        found = explained(made(plain), method, layer="0")
    except SaliscopeError:
        return
    same(found, right)


@pytest.mark.parametrize("method", ["gradient", "grad-cam", "occlusion", "deeplift", "rise"])
@pytest.mark.parametrize(("given", "wanted"), [(1, 2), (3, 1), (2, 3)])
def test_another_number_of_channels_is_said(given: int, wanted: int, method: str) -> None:
    with pytest.raises(SaliscopeError, match=r"channel"):
        explained(made(lambda: plain(wanted)), method, image(channels=given))


@pytest.mark.parametrize("method", KINDS_OF_METHOD)
def test_a_network_that_fails_says_what_it_said(method: str) -> None:
    def forward(net: Code, x: Tensor) -> Tensor:
        raise KeyError("the table of ages")

    with pytest.raises(SaliscopeError, match="table of ages"):
        explained(made(lambda: Code(forward, conv=nn.Conv2d(1, 4, 3))), method)
