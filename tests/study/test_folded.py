"""Images folded, cut, turned and mixed before a layer: placed where they are, or refused; and what is no image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliscope
from saliscope.core.errors import InputError, LayerError, TargetError
from saliscope.core.explanation import Explanation


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


class Folding(nn.Module):
    """A network whose forward is given: a convolution of step 4 on one channel, and a linear layer on its means."""

    def __init__(self, run: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.e, self.f, self.run = nn.Sequential(nn.Conv2d(1, 8, 3, 4, 1), nn.ReLU()), nn.Linear(8, 3), run

    def pooled(self, x: Tensor) -> Tensor:
        return self.e(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


PLAIN = Folding(lambda s, x: s.f(s.pooled(x))).eval()


def test_channels_in_the_batch_are_summed_and_alone_as_together() -> None:
    net = Folding(lambda s, x: s.f(s.pooled(x.reshape(-1, 1, 32, 32)).view(len(x), 4, 8).mean(1))).eval()
    x = image(2, 4, 32, 32)
    kept: list[Tensor] = []
    handle = net.e.register_forward_hook(lambda _m, _i, out: kept.append(out))
    (gradient,) = torch.autograd.grad(net(x[:1].requires_grad_())[0, 1], kept[0])
    handle.remove()
    right = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum((0, 1)).detach().numpy()
    for found in (x[:1], x, x[:1]):
        maps = saliscope.explain(found.detach(), net, "grad-cam", 1)
        first = maps[0] if isinstance(maps, list) else maps
        np.testing.assert_allclose(first.values, right, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("n", [1, 2])
def test_slices_before_the_batch_are_slices_too(n: int) -> None:
    def run(s: nn.Module, x: Tensor) -> Tensor:
        n, c, d, h, w = x.shape
        return s.f(s.pooled(x.permute(2, 0, 1, 3, 4).reshape(d * n, c, h, w)).view(d, n, 8).mean(0))

    def usual(s: nn.Module, x: Tensor) -> Tensor:
        n, c, d, h, w = x.shape
        return s.f(s.pooled(x.transpose(1, 2).reshape(n * d, c, h, w)).view(n, d, 8).mean(1))

    x = image(n, 1, 6, 16, 24)
    found, right = (saliscope.explain(x, Folding(f).eval(), "grad-cam", 1) for f in (run, usual))
    for e, r in zip(*(v if isinstance(v, list) else [v] for v in (found, right)), strict=True):
        assert e.geometry.spacing == (1.0, 4.0, 4.0)
        np.testing.assert_allclose(e.values, r.values, rtol=1e-4, atol=1e-8)


LOST: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "crops in the batch": lambda s, x: s.f(
        s.pooled(torch.cat([x[..., :16, :16], x[..., 16:, 16:]])).view(2, len(x), 8).mean(0)
    ),
    "an image and its mirror image": lambda s, x: s.f(s.pooled(torch.cat([x, x.flip(-1)])).view(2, len(x), 8).mean(0)),
    "rows in another order": lambda s, x: s.f(s.pooled(x[:, :, torch.tensor([3, 1, 2, 0] * 8)])),
    "columns mixed": lambda s, x: s.f(s.pooled(x @ torch.ones(32, 32))),
}


@pytest.mark.parametrize("name", LOST)
def test_places_that_are_mixed_or_moved_out_of_sight_are_refused(name: str) -> None:
    with pytest.raises(LayerError):
        saliscope.explain(image(1, 1, 32, 32), Folding(LOST[name]).eval(), "grad-cam", 1)


TURNED: dict[str, Callable[[Tensor], Tensor]] = {
    "mirrored by numbers": lambda x: x[..., torch.arange(31, -1, -1)],
    "turned by a quarter": lambda x: torch.rot90(x, 1, (2, 3)),
    "turned back": lambda x: torch.rot90(x, 3, (2, 3)),
    "rolled by whole cells": lambda x: x.roll((4, 8), (2, 3)),
}


@pytest.mark.parametrize("name", TURNED)
def test_a_spot_is_found_where_it_is_however_the_image_is_turned(name: str) -> None:
    net = Folding(lambda s, x: s.f(s.pooled(TURNED[name](x)))).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(0.1) if p.ndim > 1 else p.zero_()
    x = torch.zeros(1, 1, 32, 32)
    x[0, 0, 4, 24] = 5
    e = saliscope.explain(x, net, "grad-cam", 1)
    assert isinstance(e, Explanation)
    row, column = np.unravel_index(e.values.argmax(), e.values.shape)
    at = e.geometry.to_world([row, column])
    np.testing.assert_allclose(at, e.seen.to_world([4, 24]), atol=3.1)


@pytest.mark.parametrize(
    "spoil", [lambda x: x.to_sparse(), lambda x: x.to("meta"), lambda x: x.int(), lambda x: x + 1j]
)
def test_a_tensor_that_is_no_image_is_refused_with_what_to_do(spoil: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(InputError, match="Give "):
        saliscope.explain(spoil(image(1, 1, 12, 20)), PLAIN, "grad-cam", 1)


@pytest.mark.parametrize("target", [None, 1.0, lambda output: 1 / 0])
def test_a_target_that_is_none_is_refused(target: object) -> None:
    with pytest.raises(TargetError, match="target"):
        saliscope.explain(image(1, 1, 12, 20), PLAIN, "grad-cam", target)  # type: ignore[arg-type]


def test_integrated_gradients_of_folded_slices_are_those_of_many_steps():
    """Neighbours in the batch are slices there, not points of the path: chords between them would be wrong."""

    class Slices(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two, self.head = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 3)

        def forward(self, x):
            h = torch.relu(self.two(torch.relu(self.one(x.transpose(1, 2).flatten(0, 1)))))
            return self.head(h.amax((2, 3)).unflatten(0, (len(x), -1)).mean(1))

    x = torch.randn(1, 1, 5, 10, 10, generator=torch.Generator().manual_seed(1)).double()
    fine, default = (
        saliscope.explain(x, Slices().double().eval(), saliscope.METHODS.make("integrated-gradients", steps=steps), 1)
        for steps in (2000, None)
    )
    far = np.linalg.norm(default.values - fine.values) / np.linalg.norm(fine.values)
    assert far < 0.05, "its tolerance"
    assert default.provenance.diagnostics["completeness_relative_gap"] < 0.05
    assert any("slices or patches in the batch" in note for note in default.provenance.notes)
