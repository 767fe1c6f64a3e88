"""Seeded noise that depends on nothing but its seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def gaussian(like: Tensor, draws: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Give standard normal noise (m, C, *S), m <= batch, until there were `draws` for one image (1, C, *S)."""
    noise = Noise(like, seed)
    for start in range(0, draws, batch):
        yield noise.next(min(batch, draws - start))


class Noise:
    """Standard normal noise for one image (1, C, *S), as many draws at a time as are asked for.

    It is drawn in float32 on the CPU from a generator of its own, so that it is the same on every device, in every
    precision and however many are asked for at once, and the caller's generator stays where it was.
    """

    def __init__(self, like: Tensor, seed: int) -> None:
        import torch

        self._like = like
        self._generator = torch.Generator().manual_seed(seed)

    def next(self, count: int) -> Tensor:
        """Return the next `count` draws (count, C, *S)."""
        import torch

        # One draw at a time: a single call for several would give other numbers for another batch size.
        noise = [torch.randn(self._like.shape[1:], generator=self._generator) for _ in range(count)]
        return torch.stack(noise).to(device=self._like.device, dtype=self._like.dtype)
