"""Small networks, with weights drawn from a seed, on which methods and the seam to the network are tried."""

from __future__ import annotations

from copy import deepcopy
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

#: What follows the layer "watched": the ways in which peers were seen to break.
After = Literal["inplace", "functional", "concat", "residual"]
AFTER: tuple[After, ...] = ("inplace", "functional", "concat", "residual")


class SmallNet(nn.Module):
    """A 2D or 3D classifier (N, channels, *S), S even, to (N, classes); its layer "watched" has half of S.

    It has batch normalisation and dropout, and `fail_at` makes forward runs from that one on, counted from 1, raise
    half-way. Runs are counted outside of it, because what a run changes in a network is put back.
    """

    def __init__(self, axes: int, after: After = "inplace", *, channels: int = 2, classes: int = 3) -> None:
        super().__init__()
        convolution: type[nn.Module] = nn.Conv2d if axes == 2 else nn.Conv3d
        norm: type[nn.Module] = nn.BatchNorm2d if axes == 2 else nn.BatchNorm3d
        width = 9 if after == "concat" else 5
        self.axes, self.after, self.fail_at = axes, after, 0
        self.stem = convolution(channels, 4, 2, stride=2)
        self.norm = norm(4)
        self.watched = convolution(4, 4 if after == "residual" else 5, 3, padding=1)
        self.last = convolution(4 if after == "residual" else width, 6, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(6, classes)
        seeded(self)
        self.double().train()

    def begin(self) -> None:
        """Count a forward run, and fail where it was told to."""
        _runs[self] = self.runs + 1
        if 0 < self.fail_at <= self.runs:
            raise RuntimeError("the network was told to fail")

    @property
    def runs(self) -> int:
        """Return how often it ran forward."""
        return _runs.get(self, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, classes)."""
        before = torch.relu(self.norm(self.stem(x)))
        seen = self.watched(before)
        self.begin()
        # Leaky, so that cells below zero, which an in-place activation rewrites, still have a gradient.
        after = leaky_relu(seen, 0.2, inplace=self.after in ("inplace", "concat"))
        if self.after == "concat":
            after = torch.cat([after, before], dim=1)
        elif self.after == "residual":
            after = before + after
        # A smooth end, so that the rest of the network is not linear and second-order faults show.
        pooled = torch.tanh(self.last(after)).flatten(2).mean(dim=2)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


_runs: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def seeded(module: nn.Module, seed: int = 0) -> None:
    """Fill parameters and running statistics from a generator of its own, so that the caller's stays where it was."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.is_floating_point():
                drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
                scale = (2 / max(1, value[0].numel())) ** 0.5 if value.ndim > 1 else 0.3
                value.copy_(1 + 0.5 * drawn.tanh() if name.endswith(("norm.weight", "var")) else scale * drawn)


def mirrored(network: SmallNet, axis: int) -> SmallNet:
    """Return a copy whose kernels are flipped along a spatial axis, so that it sees mirrored images alike."""
    other = deepcopy(network)
    with torch.no_grad():
        for value in other.parameters():
            if value.ndim == 2 + network.axes:
                value.copy_(value.flip(2 + axis))
    return other


def image(axes: int, batch: int = 2, channels: int = 2) -> Tensor:
    """Return a seeded image (N, C, *S) in float64, with even and unequal sizes."""
    size = (12, 10) if axes == 2 else (8, 6, 10)
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)
