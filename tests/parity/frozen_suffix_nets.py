"""The networks of the frozen outputs of methods that run the end of a network; on them the peers are right."""

import torch
from frozen_nets import filled, picture, small
from torch import Tensor, nn

__all__ = ["full", "picture", "rectified", "small"]


class Full(nn.Module):
    """A network whose layer "watched" has the input's grid, so that masks need no upsampling."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        self.watched, self.last, self.head = conv(2, 5, 3, padding=1), conv(5, 6, 3, padding=1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, 3)."""
        return self.head(torch.tanh(self.last(torch.tanh(self.watched(x)))).flatten(2).mean(2))


class Rectified(nn.Module):
    """A network whose layer "watched" is a ReLU, so that its smallest value is zero, and whose logits are positive."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        self.stem, self.watched = conv(2, 5, 2, stride=2), nn.ReLU()
        self.last, self.head = conv(5, 6, 3, padding=1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, 3)."""
        return self.head(torch.tanh(self.last(self.watched(self.stem(x)))).flatten(2).mean(2)) + 4


def full(axes: int) -> nn.Module:
    """Return the network for Score-CAM."""
    return filled(Full(axes), seed=40 + axes).eval()


def rectified(axes: int) -> nn.Module:
    """Return the network for Ablation-CAM."""
    return filled(Rectified(axes), seed=50 + axes).eval()
