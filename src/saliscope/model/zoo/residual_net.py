"""A small residual network for images or volumes, with named stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class ResidualBlock(nn.Module):
    """Two 3-wide convolutions beside a shortcut (N, C, *S) -> (N, C', *S / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int, dimensions: int) -> None:
        super().__init__()
        conv, norm, _ = _layers(dimensions)
        self.conv1 = conv(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = norm(outputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = conv(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = norm(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride > 1:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride, bias=False), norm(outputs))
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (N, C', *S / stride)."""
        change = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        kept: Tensor = self.relu2(change + self.shortcut(x))
        return kept


class ResidualNet(nn.Module):
    """Logits (N, K) of x (N, C, *S): a stem, one residual block for each further width, global mean, a linear head.

    `stages.<n>` are the blocks; the last one is the last spatial layer. `stem_stride` and `strides` set its grid.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        widths: Sequence[int] = (24, 32, 64, 128),
        strides: Sequence[int] = (2, 2, 2),
        stem_kernel: int = 5,
        stem_stride: int = 2,
        dropout: float = 0.3,
        dimensions: int = 2,
    ) -> None:
        super().__init__()
        conv, norm, pool = _layers(dimensions)
        first = conv(in_channels, widths[0], stem_kernel, stem_stride, stem_kernel // 2, bias=False)
        self.stem = nn.Sequential(first, norm(widths[0]), nn.ReLU(inplace=True))
        blocks = zip(widths[:-1], widths[1:], strides, strict=True)
        self.stages = nn.Sequential(*(ResidualBlock(a, b, s, dimensions) for a, b, s in blocks))
        self.pool = pool(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the last spatial layer (N, C', *S') of x (N, C, *S)."""
        found: Tensor = self.stages(self.stem(x))
        return found

    def classify(self, spatial: Tensor) -> Tensor:
        """Return logits (N, K) of the last spatial layer (N, C', *S')."""
        logits: Tensor = self.head(self.dropout(self.flatten(self.pool(spatial))))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) of x (N, C, *S)."""
        return self.classify(self.features(x))


def _layers(dimensions: int) -> tuple[type[nn.Module], type[nn.Module], type[nn.Module]]:
    if dimensions == 2:
        return nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d
    return nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d
