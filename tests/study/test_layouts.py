"""Layers in any order of axes, bags of images, networks that need more than an image: maps on the image's grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliscope
from saliscope.core.errors import LayerError, ModelError
from saliscope.core.explanation import Explanation

LAYER_METHODS = (
    "grad-cam", "hirescam", "layercam", "eigen-cam", "ablation-cam", "recipro-cam", "score-cam", "shapley-cam",
    "smooth-grad-cam++",
)  # fmt: skip


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


class Plain(nn.Module):
    """The same function three times: channels first, channels last, tokens; what is watched is `seen`."""

    def __init__(self, order: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.order = order
        self.conv, self.seen, self.act = nn.Conv2d(1, 6, 3, 2, 1), nn.Identity(), nn.GELU()
        self.head = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        if self.order == "first":
            return self.head(self.act(self.seen(h)).mean((2, 3)))
        h = h.permute(0, 2, 3, 1)
        if self.order == "last":
            return self.head(self.act(self.seen(h)).mean((1, 2)))
        token = h.new_full((len(h), 1, 6), 0.3)
        tokens = self.act(self.seen(torch.cat([token, h.flatten(1, 2)], 1)))
        return self.head(tokens[:, 1:].mean(1))


@pytest.mark.parametrize("method", LAYER_METHODS)
@pytest.mark.parametrize("order", ["last", "tokens"])
def test_a_map_does_not_depend_on_the_order_of_axes(order: str, method: str) -> None:
    x = image(2, 1, 12, 20)
    right = saliscope.explain(x, Plain("first").eval(), method, 1, layer="seen")
    maps = saliscope.explain(x, Plain(order).eval(), method, 1, layer="seen")
    assert isinstance(right, list)
    assert isinstance(maps, list)
    for one, other in zip(maps, right, strict=True):
        assert one.values.shape == (6, 10)
        assert one.geometry == other.geometry
        np.testing.assert_allclose(one.values, other.values, rtol=0, atol=2e-5 * np.abs(other.values).max())


class Slices(nn.Module):
    """A CNN on each slice of a volume, folded into the batch, and an LSTM over the slices."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.cnn = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU())
        self.lstm, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, c, d, h, w = x.shape
        h = self.cnn(x.transpose(1, 2).reshape(n * d, c, h, w)).mean((2, 3)).reshape(n, d, -1)
        return self.head(self.lstm(h)[0][:, -1])


@pytest.mark.parametrize("method", LAYER_METHODS)
def test_a_network_on_slices_has_a_map_of_planes_rows_and_columns(method: str) -> None:
    x = image(3, 1, 4, 12, 16)
    together = saliscope.explain(x, Slices().eval(), method, 1)
    alone = saliscope.explain(x[1:2], Slices().eval(), method, 1)
    assert isinstance(together, list)
    assert isinstance(alone, Explanation)
    assert alone.values.shape == (4, 6, 8)
    assert alone.geometry.spacing == (1.0, 2.0, 2.0)
    assert alone.provenance.layer == "cnn"
    np.testing.assert_allclose(together[1].values, alone.values, rtol=0, atol=1e-4 * np.abs(alone.values).max())


def test_grad_cam_on_slices_is_the_literal_one() -> None:
    net, x = Slices().eval(), image(1, 1, 4, 12, 16)
    kept: list[Tensor] = []
    handle = net.cnn.register_forward_hook(lambda _m, _i, out: kept.append(out))
    (gradient,) = torch.autograd.grad(net(x.requires_grad_())[0, 1], kept[0])
    handle.remove()
    a, g = (t.detach().reshape(1, 4, 4, 6, 8).transpose(1, 2) for t in (kept[0], gradient))
    right = (g.mean((2, 3, 4), keepdim=True) * a).sum(1)[0]
    e = saliscope.explain(x.detach(), net, "grad-cam", 1)
    assert isinstance(e, Explanation)
    np.testing.assert_allclose(e.values, right.numpy(), rtol=1e-4, atol=1e-8)


class Bag(nn.Module):
    """Attention over the patches of a bag, the later ones counting more: one answer for all of them."""

    def __init__(self, *, stacked: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stacked = stacked
        self.cnn = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        self.weigh, self.head = nn.Linear(4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.cnn(x[0] if self.stacked else x).mean((2, 3))
        h = h * torch.linspace(1, 2, len(h))[:, None]
        return self.head((self.weigh(h).softmax(0) * h).sum(0, keepdim=True))


@pytest.mark.parametrize("stacked", [False, True])
def test_each_image_of_a_bag_has_its_map_of_the_bags_score(stacked: bool) -> None:
    bag = image(5, 3, 8, 8)
    net = Bag(stacked=stacked).eval()
    x = bag[None] if stacked else bag
    wanted = x.clone().requires_grad_()
    (right,) = torch.autograd.grad(net(wanted)[0, 1], wanted)
    found = saliscope.explain(x, net, "gradient", 1)
    assert isinstance(found, list)
    assert len(found) == 5
    values = np.stack([e.values for e in found])
    np.testing.assert_allclose(values, right.reshape(5, 3, 8, 8).sum(1).numpy(), rtol=1e-4, atol=1e-8)
    assert "Image 2 of 5" in " ".join(found[1].provenance.notes)
    cams = saliscope.explain(x, net, ["grad-cam", "occlusion"])
    assert isinstance(cams, list)
    assert [c.values.shape for c in cams] == [(4, 4), (8, 8)] * 5
    assert len({c.target for c in cams}) == 1


def test_an_images_map_in_a_bag_moves_with_the_others() -> None:
    """What is explained is the score of the whole bag, not that of the patch by itself."""
    net, bag = Bag().eval(), image(4, 3, 8, 8)
    one = saliscope.explain(bag, net, "gradient", 1)
    changed = bag.clone()
    changed[1:] *= 3
    other = saliscope.explain(changed, net, "gradient", 1)
    assert isinstance(one, list)
    assert isinstance(other, list)
    assert np.abs(one[0].values - other[0].values).max() > 0.01 * np.abs(one[0].values).max()


class Two(nn.Module):
    """A network of an image and a table."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv, self.head = nn.Conv2d(1, 4, 3, 2, 1), nn.Linear(6, 3)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        return self.head(torch.cat([self.conv(x).relu().mean((2, 3)), table], 1))


@pytest.mark.parametrize("method", ["grad-cam", "gradient", "occlusion", "rise", "deeplift", "ablation-cam"])
def test_a_network_that_needs_more_is_called_with_it(method: str) -> None:
    net, x, table = Two().eval(), image(1, 1, 12, 12), torch.tensor([[0.5, -1.0]])

    class Holding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x, table.expand(len(x), -1))

    right = saliscope.explain(x, Holding().eval(), method, 1)
    e = saliscope.explain(x, net, method, 1, forward=lambda own, x: own(x, table.expand(len(x), -1)))
    one = saliscope.explain(x, net, method, 1, forward=lambda own, x: own(x, table))
    assert isinstance(e, Explanation)
    assert isinstance(right, Explanation)
    assert isinstance(one, Explanation)
    np.testing.assert_allclose(e.values, right.values, rtol=0, atol=1e-6 * np.abs(right.values).max())
    np.testing.assert_allclose(one.values, right.values, rtol=0, atol=1e-5 * np.abs(right.values).max())
    with pytest.raises(ModelError, match="forward=lambda net, x"):
        saliscope.explain(x, net, method, 1)


def tokens_to_grid(t: Tensor) -> Tensor:
    return t[:, 1:].transpose(1, 2).reshape(len(t), -1, 6, 10)


@pytest.mark.parametrize("method", LAYER_METHODS)
def test_a_callers_own_reshape_takes_the_place_of_what_is_followed(method: str) -> None:
    x, net = image(1, 1, 12, 20), Plain("tokens").eval()
    right = saliscope.explain(x, net, method, 1, layer="seen")
    e = saliscope.explain(x, net, method, 1, layer="seen", reshape_transform=tokens_to_grid)
    assert isinstance(e, Explanation)
    assert isinstance(right, Explanation)
    if method != "score-cam":  # whose masks are laid by the cells, which a function does not tell
        np.testing.assert_allclose(e.values, right.values, rtol=0, atol=1e-5 * np.abs(right.values).max())
    assert any("edge to edge" in note for note in e.provenance.notes)


def test_a_reshape_that_does_not_make_a_grid_is_refused() -> None:
    x, net = image(1, 1, 12, 20), Plain("tokens").eval()
    with pytest.raises(LayerError, match="reshape_transform that makes"):
        saliscope.explain(x, net, "grad-cam", 1, layer="seen", reshape_transform=lambda t: t)
    with pytest.raises(LayerError, match="changes values"):
        saliscope.explain(x, net, "recipro-cam", 1, layer="seen", reshape_transform=lambda t: 2.5 * tokens_to_grid(t))
