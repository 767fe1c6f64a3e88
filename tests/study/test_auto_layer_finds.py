"""HiResCAM at the layer that `auto` takes is that of the last one, and peaks on what a trained network looks for.

Three networks whose layers have their axes elsewhere: channels last, tokens, slices folded into the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

import saliscope
from saliscope.core.explanation import Explanation

IMAGES, SIZE, PLANES = 16, 32, 6


class Block(nn.Module):
    """A block of ConvNeXt: channels are moved last for its norm and its linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(self.own(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class ChannelsLast(nn.Module):
    """A small ConvNeXt: from (N, C, 8, 8) on, every norm works on channels that are moved last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 4, 4)
        self.first = Block(12)
        self.norm = nn.LayerNorm(12)
        self.down = nn.Conv2d(12, 24, 2, 2)
        self.last = Block(24)
        self.head = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.first(self.stem(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.head(self.last(self.down(h)).mean((2, 3)))


class Tokens(nn.Module):
    """A small vision transformer of 8 x 8 tokens beside one for the class; the strongest of the former answer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 16, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.place = nn.Parameter(0.02 * torch.randn(1, 65, 16))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(2)
        )
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.place
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens)[:, 1:].amax(1))


class Slices(nn.Module):
    """2.5D: convolutions on slices that are folded into the batch; what is strongest in any of them is answered for."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        each = self.each(x.transpose(1, 2).flatten(0, 1)).amax((2, 3))
        return self.head(each.unflatten(0, (len(x), -1)).amax(1))


def drawn(n: int, shape: tuple[int, ...], generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return noise (n, 1, *S) with a dark spot, a bright one in every second image; which; where the bright one is."""
    size = torch.tensor(shape)
    edge = (size / 10).long() + 1
    place = torch.rand(n, len(shape), generator=generator)
    # The dark spot is a quarter of the room or more away along each axis.
    away = (place + 0.25 + 0.5 * torch.rand(n, len(shape), generator=generator)) % 1
    bright, dark = (edge + p * (size - 1 - 2 * edge) for p in (place, away))
    x = 0.5 * torch.randn(n, 1, *shape, generator=generator)
    grid = torch.stack(torch.meshgrid(*(torch.arange(s) for s in shape), indexing="ij"), -1)
    wide = (size / 20).clamp(min=1)
    present = torch.arange(n) % 2
    for i in range(n):
        for centre, height in ((dark[i], -3.0), (bright[i], 3.0 * present[i])):
            x[i, 0] += height * (-0.5 * ((grid - centre) / wide).square().sum(-1)).exp()
    return x, present, bright


def trained(build: Callable[[], nn.Module], shape: tuple[int, ...], steps: int) -> nn.Module:
    torch.manual_seed(0)
    net, generator = build(), Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(net.parameters(), 5e-3)
    for step in range(steps):
        x, present, _ = drawn(16, shape, generator)
        # Without doubt the logits run to a bound, where a norm leaves no gradient.
        loss = nn.functional.cross_entropy(net(x), present, label_smoothing=0.1)
        optimiser.param_groups[0]["lr"] = 5e-3 * min(1, (step + 1) / 20, 4 * (1 - step / steps))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def hits(maps: list[Explanation], centres: Tensor) -> int:
    """Return how many maps peak within one cell of the spot."""
    n = 0
    for e, centre in zip(maps, centres.numpy(), strict=True):
        peak = np.unravel_index(int(e.values.argmax()), e.values.shape)
        step = np.array(e.geometry.spacing) / np.array(e.seen.spacing)
        n += bool((np.abs(e.seen.to_index(e.geometry.to_world(peak)) - centre) <= step).all())
    return n


def by_hand(net: nn.Module, x: Tensor, layer: str, laid: Callable[[Tensor], Tensor]) -> Tensor:
    """Return HiResCAM (N, *S') of draelos2020 from the layer's own output, laid out as (N, C, *S')."""
    kept: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o))
    (slope,) = torch.autograd.grad(net(x)[:, 1].sum(), kept)
    handle.remove()
    return laid(slope * kept[0]).sum(1).detach()


CASES = [
    pytest.param(ChannelsLast, (SIZE, SIZE), 120, "last", lambda o: o, id="channels-last"),
    pytest.param(
        Tokens, (SIZE, SIZE), 150, "norm", lambda o: o[:, 1:].transpose(1, 2).unflatten(2, (8, 8)), id="tokens"
    ),
    pytest.param(
        Slices, (PLANES, 24, 24), 120, "each", lambda o: o.unflatten(0, (-1, PLANES)).transpose(1, 2), id="folded"
    ),
]


@pytest.mark.parametrize(("build", "shape", "steps", "last", "laid"), CASES)
def test_hirescam_at_auto_is_that_of_the_last_layer_and_peaks_on_the_spot(
    build: Callable[[], nn.Module],
    shape: tuple[int, ...],
    steps: int,
    last: str,
    laid: Callable[[Tensor], Tensor],
) -> None:
    net = trained(build, shape, steps)
    x, present, centres = drawn(200, shape, Generator().manual_seed(2))
    with torch.no_grad():
        assert (net(x).argmax(1) == present).float().mean() >= 0.95
    x, centres = x[1 : 2 * IMAGES : 2], centres[1 : 2 * IMAGES : 2]
    maps = saliscope.explain(x, net, "hirescam", 1)
    assert isinstance(maps, list)
    right = by_hand(net, x, last, laid).numpy()
    np.testing.assert_allclose(np.stack([e.values for e in maps]), right, rtol=1e-3, atol=1e-5 * np.abs(right).max())
    # A peak that falls anywhere would hit 4 of 16 on the coarsest of the grids, 4 x 4.
    assert hits(maps, centres) >= 13
