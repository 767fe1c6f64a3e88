"""The images, maps and networks of the frozen outputs of ROAD and its imputation, the same in both environments."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

#: A size of which every tenth is a whole number, so that a percentile and a rank take the same elements.
SHAPE = (20, 30)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
#: The share of zeros of the rectified map.
ZEROS = 0.21


def image(channels: int = 3) -> np.ndarray:
    """Return an image (C, *S) in float32, smooth, from 0 to 1."""
    values = np.stack([gaussian_filter(np.random.RandomState(c).rand(*SHAPE), 2) for c in range(channels)])
    return ((values - values.min()) / np.ptp(values)).astype(np.float32)


def smooth_map() -> np.ndarray:
    """Return a map (*S) in float32 without ties."""
    return gaussian_filter(np.random.RandomState(7).randn(*SHAPE), 3).astype(np.float32)


def rectified_map() -> np.ndarray:
    """Return a map (*S) in float32 from 0 to 1 that is zero on a share ZEROS of its elements and tied nowhere else."""
    values = smooth_map()
    values = np.maximum(values - np.sort(values, axis=None)[round(ZEROS * values.size) - 1], 0)
    return values / values.max()


class Quadratic(nn.Module):
    """Two logits that depend on every element, and on its square."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        weights = [np.random.RandomState(20 + k).randn(channels, *SHAPE) for k in range(2)]
        self.register_buffer("weights", torch.from_numpy(np.stack(weights)).double())

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, 2)."""
        x = x.double()
        return ((x + x**2 / 2)[:, None] * self.weights).flatten(2).sum(2)
