"""MeshNet: a volume labelled by dilated convolutions alone, at full resolution throughout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class MeshNet(nn.Module):
    """Class logits (N, K, *S) of a volume (N, C, *S); every layer keeps the grid.

    One 3x3x3 convolution for each dilation, normalised per channel without learnt scale, GELU, and a 1x1x1 head.
    The parameter names are those of neuroneural/brainchop's checkpoints.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        channels: int = 15,
        dilations: Sequence[int] = (16, 8, 4, 2, 1) * 5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, d in enumerate(dilations):
            conv = nn.Conv3d(channels if i else in_channels, channels, 3, padding=d, dilation=d, bias=False)
            layers.append(nn.Sequential(conv, nn.GroupNorm(channels, channels, affine=False), nn.GELU()))
        layers.append(nn.Conv3d(channels, classes, 1))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K, *S) of x (N, C, *S)."""
        logits: Tensor = self.model(x)
        return logits
