"""A plain convolutional network with global pooling, for images or volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class PlainNet(nn.Module):
    """Logits (N, K) of x (N, C, *S): convolutions (3 wide; the first 5), each with norm and ReLU, global mean, a head.

    `blocks.<n>` are the layers; the last is the last spatial layer.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 1,
        widths: Sequence[int] = (12, 24, 48, 48),
        strides: Sequence[int] = (2, 2, 2, 1),
        dimensions: int = 2,
    ) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dimensions == 2 else (nn.Conv3d, nn.BatchNorm3d)
        blocks: list[nn.Module] = []
        for number, (inputs, outputs, stride) in enumerate(
            zip((in_channels, *widths[:-1]), widths, strides, strict=True)
        ):
            kernel = 3 if number else 5
            layers = [conv(inputs, outputs, kernel, stride, kernel // 2, bias=False), norm(outputs), nn.ReLU()]
            blocks.append(nn.Sequential(*layers))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) of x (N, C, *S)."""
        logits: Tensor = self.head(self.blocks(x).flatten(2).mean(2))
        return logits
