"""A small densely connected network (huang2017) with ReLUs that work in place, for images or volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class DenseLayer(nn.Module):
    """Norm, ReLU in place, convolution; what it finds (N, growth, *S) stands beside what it was given."""

    def __init__(self, inputs: int, growth: int, dimensions: int) -> None:
        super().__init__()
        conv, norm, _ = _layers(dimensions)
        self.norm = norm(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv = conv(inputs, growth, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x and what was found (N, C + growth, *S)."""
        return torch.cat([x, self.conv(self.relu(self.norm(x)))], 1)


class DenseNet(nn.Module):
    """Logits (N, K) of x (N, C, *S): a stem, dense blocks with halving transitions, norm, ReLU, global mean, a head.

    `features` is the sequence of all spatial layers; its last, `features.relu`, works in place on `features.norm`.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 1,
        stem: int = 16,
        growth: int = 16,
        depths: Sequence[int] = (3, 4),
        dimensions: int = 2,
    ) -> None:
        super().__init__()
        conv, norm, pool = _layers(dimensions)
        self.features = nn.Sequential()
        self.features.add_module("stem", conv(in_channels, stem, 5, 2, 2, bias=False))
        self.features.add_module("stem_norm", norm(stem))
        self.features.add_module("stem_relu", nn.ReLU(inplace=True))
        self.features.add_module("stem_pool", pool(2))
        width = stem
        for number, depth in enumerate(depths):
            for layer in range(depth):
                self.features.add_module(f"dense{number}_{layer}", DenseLayer(width, growth, dimensions))
                width += growth
            if number < len(depths) - 1:
                half = nn.Sequential(
                    norm(width), nn.ReLU(inplace=True), conv(width, width // 2, 1, bias=False), pool(2)
                )
                self.features.add_module(f"transition{number}", half)
                width //= 2
        self.features.add_module("norm", norm(width))
        self.features.add_module("relu", nn.ReLU(inplace=True))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) of x (N, C, *S)."""
        logits: Tensor = self.head(self.features(x).flatten(2).mean(2))
        return logits


def _layers(dimensions: int) -> tuple[type[nn.Module], type[nn.Module], type[nn.Module]]:
    if dimensions == 2:
        return nn.Conv2d, nn.BatchNorm2d, nn.AvgPool2d
    return nn.Conv3d, nn.BatchNorm3d, nn.AvgPool3d
