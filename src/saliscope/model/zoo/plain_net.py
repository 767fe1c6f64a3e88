"""A plain convolutional network with global pooling, for images or volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class PlainNet(nn.Module):
    """Logits (N, K) of x (N, C, *S): convolutions (3 wide; the first 5), each with norm and ReLU, global mean, a head.

    `blocks.<n>` are the layers; the last is the last spatial layer. `pools` are how many elements along every axis
    a layer's largest value stands for.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 1,
        widths: Sequence[int] = (16, 32, 48, 48),
        strides: Sequence[int] = (2, 1, 1, 1),
        pools: Sequence[int] = (2, 2, 1, 1),
        dimensions: int = 2,
    ) -> None:
        super().__init__()
        conv: type[nn.Module] = nn.Conv2d if dimensions == 2 else nn.Conv3d
        norm: type[nn.Module] = nn.BatchNorm2d if dimensions == 2 else nn.BatchNorm3d
        pool: type[nn.Module] = nn.MaxPool2d if dimensions == 2 else nn.MaxPool3d
        self.blocks = nn.Sequential()
        for inputs, outputs, stride, width in zip((in_channels, *widths[:-1]), widths, strides, pools, strict=True):
            kernel = 3 if len(self.blocks) else 5
            layers = [conv(inputs, outputs, kernel, stride, kernel // 2, bias=False), norm(outputs), nn.ReLU()]
            self.blocks.append(nn.Sequential(*layers, *([pool(width)] if width > 1 else [])))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) of x (N, C, *S)."""
        logits: Tensor = self.head(self.blocks(x).flatten(2).mean(2))
        return logits
