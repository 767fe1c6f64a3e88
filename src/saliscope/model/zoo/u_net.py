"""ronneberger2015, cicek2016: a small U-Net that labels every element of an image or a volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from saliscope.core.errors import CardError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor


class DoubleConvolution(nn.Module):
    """Two 3-wide convolutions, each with its norm and ReLU (N, C, *S) -> (N, C', *S)."""

    def __init__(self, inputs: int, outputs: int, norm: str, dimensions: int) -> None:
        super().__init__()
        conv, normed = _convolution(dimensions), _norm(norm, dimensions)
        self.conv1 = conv(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = normed(outputs, affine=True)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = conv(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = normed(outputs, affine=True)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (N, C', *S)."""
        found: Tensor = self.relu2(self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x))))))
        return found


class UNet(nn.Module):
    """Class logits (N, K, *S) of x (N, C, *S), one encoder level for each width, each on half the grid before.

    `encoder.<n>` runs from fine to coarse and its last is the bottleneck; `decoder.<n>` stands on the grid of
    `encoder.<n>`. A size that cannot be halved is padded with zeros at its far end, and the logits are cropped.
    Raises CardError for a norm other than "batch" and "instance".
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        widths: Sequence[int] = (16, 32, 64),
        norm: str = "batch",
        dimensions: int = 2,
    ) -> None:
        super().__init__()
        fine, coarse = widths[:-1], widths[1:]
        before = (in_channels, *fine)
        transposed = nn.ConvTranspose2d if dimensions == 2 else nn.ConvTranspose3d
        self.encoder = nn.ModuleList(
            DoubleConvolution(a, b, norm, dimensions) for a, b in zip(before, widths, strict=True)
        )
        self.down = nn.ModuleList(nn.MaxPool2d(2) if dimensions == 2 else nn.MaxPool3d(2) for _ in fine)
        self.up = nn.ModuleList(transposed(b, a, 2, stride=2) for a, b in zip(fine, coarse, strict=True))
        self.decoder = nn.ModuleList(DoubleConvolution(2 * a, a, norm, dimensions) for a in fine)
        self.head = _convolution(dimensions)(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K, *S) of x (N, C, *S)."""
        size = x.shape[2:]
        missing = [-n % 2 ** len(self.down) for n in size]
        if any(missing):
            x = nn.functional.pad(x, [p for m in reversed(missing) for p in (0, m)])
        x = self.encoder[0](x)
        skipped = []
        for down, encode in zip(self.down, self.encoder[1:], strict=True):
            skipped.append(x)
            x = encode(down(x))
        for up, decode in zip(reversed(self.up), reversed(self.decoder), strict=True):
            x = decode(torch.cat([skipped.pop(), up(x)], dim=1))
        logits: Tensor = self.head(x)
        for axis, n in enumerate(size):
            logits = logits.narrow(axis + 2, 0, n) if missing[axis] else logits
        return logits


def _convolution(dimensions: int) -> type[nn.Conv2d] | type[nn.Conv3d]:
    return nn.Conv2d if dimensions == 2 else nn.Conv3d


def _norm(name: str, dimensions: int) -> type[nn.Module]:
    known = {"batch": (nn.BatchNorm2d, nn.BatchNorm3d), "instance": (nn.InstanceNorm2d, nn.InstanceNorm3d)}
    if name not in known:
        raise CardError(f"norm {name!r} of a u-net", expected="'batch' or 'instance'", do=did_you_mean(name, known))
    return known[name][dimensions - 2]
