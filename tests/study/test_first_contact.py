"""What a researcher with a network of their own runs into first: the small cases, each with what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import saliscope
from saliscope.core.errors import SaliscopeError
from saliscope.core.explanation import Explanation
from saliscope.methods import METHODS

QUICK: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 8, "stride": 8},
    "rise": {"samples": 32, "cells": 3},
    "integrated-gradients": {"steps": 4},
}


class Code(nn.Module):
    """A network whose forward is a function of the image and the layers."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def made(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return build().eval()


def image(size: int = 32, channels: int = 1) -> Tensor:
    return torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(1))


def explained(net: nn.Module, method: str, x: Tensor | None = None, layer: str | None = None) -> Explanation:
    found = saliscope.explain(image() if x is None else x, net, METHODS.make(method, **QUICK.get(method, {})), 1, layer)
    assert isinstance(found, Explanation)
    return found


def same(found: Explanation, right: Explanation) -> None:
    np.testing.assert_allclose(found.values, right.values, rtol=1e-4, atol=1e-5 * np.abs(right.values).max())


@pytest.mark.parametrize("method", ["gradient", "grad-cam", "deeplift", "occlusion", "rise", "full-grad"])
def test_a_network_with_a_cache_runs_as_before(method: str) -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        if net.cache is None:
            net.cache = torch.linspace(0, 1, x.shape[-1])
        return net.f(net.c(x * net.cache).mean((2, 3)))

    net = made(lambda: Code(forward, c=nn.Conv2d(1, 4, 3), f=nn.Linear(4, 3)))
    net.cache = None
    explained(net, method)
    assert net.cache is None
    assert type(net(image())) is Tensor


def norm_between() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        h = net.norm(net.stem(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return net.head(net.last(h).mean((2, 3)))

    layers = {"stem": nn.Conv2d(1, 8, 8, 8), "norm": nn.LayerNorm(8)}
    return Code(forward, **layers, last=nn.Conv2d(8, 8, 2, 2), head=nn.Linear(8, 3))


def test_the_last_layer_is_chosen_behind_a_norm_of_channels_moved_last() -> None:
    net = made(norm_between)
    assert explained(net, "grad-cam").provenance.layer == "last"


def test_a_layer_with_channels_last_gives_a_map_of_rows_and_columns() -> None:
    net = made(norm_between)
    found = explained(net, "grad-cam", layer="norm")
    kept: list[Tensor] = []
    net.norm.register_forward_hook(lambda m, i, o: kept.append(o))
    logits = net(image())
    (slope,) = torch.autograd.grad(logits[0, 1], kept[0])
    right = (slope.mean((1, 2)) * kept[0]).sum(-1)[0].detach()
    np.testing.assert_allclose(found.values, right, rtol=1e-4, atol=1e-7)


def tokens() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        t = net.block(net.patch(x).flatten(2).transpose(1, 2))
        return net.head(t.mean(1))

    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return Code(forward, patch=nn.Conv2d(1, 8, 8, 8), block=block, head=nn.Linear(8, 3))


def test_a_layer_of_tokens_gives_a_map_of_rows_and_columns() -> None:
    assert explained(made(tokens), "grad-cam", layer="block").values.shape == (4, 4)
    assert explained(made(tokens), "grad-cam").provenance.layer == "block"


@pytest.mark.parametrize("layer", ["patch", "block", None])
def test_shapley_cam_before_attention_gives_a_map_or_a_sentence(layer: str | None) -> None:
    try:
        found = explained(made(tokens), "shapley-cam", layer=layer)
    except SaliscopeError:
        return
    assert found.values.shape == (4, 4)
    assert np.isfinite(found.values).all()


def test_slices_folded_into_the_batch_give_a_volume() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        h = net.act(net.conv(x.transpose(1, 2).flatten(0, 1)))
        return net.head(net.over(h.mean((2, 3)).unflatten(0, (len(x), -1)))[0][:, -1])

    def build() -> nn.Module:
        layers = {"conv": nn.Conv2d(1, 8, 3, 2, 1), "act": nn.ReLU()}
        return Code(forward, **layers, over=nn.LSTM(8, 8, batch_first=True), head=nn.Linear(8, 3))

    x = torch.randn(1, 1, 6, 16, 16, generator=torch.Generator().manual_seed(1))
    for layer in ("conv", None):
        found = explained(made(build), "grad-cam", x, layer)
        assert found.values.shape == (6, 8, 8)
    net, kept = made(build), []
    net.act.register_forward_hook(lambda m, i, o: kept.append(o))
    logits = net(x)
    (slope,) = torch.autograd.grad(logits[0, 1], kept[0])
    right = torch.einsum("c,dcij->dij", slope.mean((0, 2, 3)), kept[0]).detach()
    np.testing.assert_allclose(found.values, right, rtol=1e-4, atol=1e-7)


METHODS_OF_GRADIENTS = (
    "gradient",
    "integrated-gradients",
    "deeplift",
    "lrp",
    "guided-backprop",
    "full-grad",
    "grad-cam",
)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("method", METHODS_OF_GRADIENTS)
def test_a_checkpointed_network_has_the_map_of_the_plain_one(method: str, *, reentrant: bool) -> None:
    def build(run: Callable[..., Tensor]) -> nn.Module:
        stage = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
        return Code(lambda net, x: net.head(run(net.stage, x).mean((2, 3))), stage=stage, head=nn.Linear(4, 3))

    plain = made(lambda: build(lambda stage, x: stage(x)))
    net = made(lambda: build(lambda stage, x: checkpoint(stage, x, use_reentrant=reentrant)))
    same(explained(net, method), explained(plain, method))


@pytest.mark.parametrize("method", ["deeplift", "guided-backprop", "gradient"])
def test_a_block_of_nn_u_net_has_one_map_in_place_or_not(method: str) -> None:
    def build(inplace: bool) -> nn.Module:
        block = [nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4, affine=True), nn.ReLU(inplace=inplace)]
        if method != "guided-backprop":
            block[-1] = nn.LeakyReLU(inplace=inplace)
        return nn.Sequential(*block, nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))

    def asked(inplace: bool) -> Explanation | SaliscopeError:
        try:
            return explained(made(lambda: build(inplace)), method)
        except SaliscopeError as refusal:
            return refusal

    found, right = asked(True), asked(False)
    assert type(found) is type(right), found
    if isinstance(found, Explanation):
        assert isinstance(right, Explanation)
        same(found, right)


def test_lrp_passes_squeeze_and_excitation_and_keeps_the_score() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        h = torch.relu(net.conv(x))
        gate = torch.sigmoid(net.up(torch.relu(net.down(h.mean((2, 3), keepdim=True)))))
        return net.head((h * gate).mean((2, 3)))

    def build() -> nn.Module:
        layers = {"conv": nn.Conv2d(1, 8, 3, bias=False), "down": nn.Conv2d(8, 4, 1), "up": nn.Conv2d(4, 8, 1)}
        return Code(forward, **layers, head=nn.Linear(8, 3, bias=False))

    net = made(build)
    found = explained(net, "lrp")
    score = float(net(image())[0, 1])
    total = float(found.values.sum()) + found.provenance.diagnostics.get("absorbed", 0.0)
    assert total == pytest.approx(score, rel=1e-2)
