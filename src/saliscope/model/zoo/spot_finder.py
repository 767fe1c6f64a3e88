"""A network drawn by hand, for demonstrations: it finds bright compact spots and knows nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

#: Surround over centre of a difference of Gaussians that stands for the Laplacian (Marr and Hildreth 1980).
SURROUND = 1.6


class SpotFinder(nn.Module):
    """One logit (N, 1) of x (N, 1, *S) in 0..1: how much of it is covered by bright spots of about these radii.

    No weight is learnt. `spots` holds a difference of Gaussians for each radius (elements), less `contrast`;
    `cells` gathers what is left into a grid `stride` times coarser; the mean of that, times `gain`, less one, is
    the logit. So the logit is exactly a sum over the cells of `cells`.
    """

    def __init__(
        self,
        radii: Sequence[float] = (3.0, 6.0),
        contrast: float = 0.05,
        stride: int = 4,
        gain: float = 1500.0,
        dimensions: int = 2,
    ) -> None:
        super().__init__()
        conv, pool = (nn.Conv2d, nn.AdaptiveAvgPool2d) if dimensions == 2 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
        half = max(1, round(3 * SURROUND * max(radii) / dimensions**0.5))
        # Replicated edges: against a border of zeros every bright picture would have spots along its rim.
        self.spots = conv(1, len(radii), 2 * half + 1, padding=half, padding_mode="replicate")
        self.relu = nn.ReLU(inplace=True)
        self.cells = conv(len(radii), len(radii), stride + 1, stride, stride // 2, groups=len(radii), bias=False)
        self.pool = pool(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(len(radii), 1)
        with torch.no_grad():
            # The Laplacian of a Gaussian answers strongest to a ball of radius sigma * sqrt(dimensions).
            sigmas = [radius / dimensions**0.5 for radius in radii]
            kernels = [_gaussian(s, half, dimensions) - _gaussian(SURROUND * s, half, dimensions) for s in sigmas]
            self.spots.weight.copy_(torch.stack(kernels)[:, None])
            nn.init.constant_(_bias(self.spots), -contrast)
            nn.init.constant_(self.cells.weight, (stride + 1.0) ** -dimensions)
            nn.init.constant_(self.head.weight, gain)
            nn.init.constant_(self.head.bias, -1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logit (N, 1) of x (N, 1, *S)."""
        logit: Tensor = self.head(self.flatten(self.pool(self.cells(self.relu(self.spots(x))))))
        return logit


def _gaussian(sigma: float, half: int, dimensions: int) -> Tensor:
    """Return a Gaussian (2 * half + 1,) * dimensions that sums to one."""
    line = torch.exp(-0.5 * (torch.arange(-half, half + 1) / sigma) ** 2)
    kernel = line
    for _ in range(dimensions - 1):
        kernel = kernel[..., None] * line
    return kernel / kernel.sum()


def _bias(layer: nn.Conv2d | nn.Conv3d) -> Tensor:
    if layer.bias is None:
        raise RuntimeError("the spot layer was built without its bias")
    return layer.bias
