"""Seeded noise that depends on nothing but its seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def gaussian(like: Tensor, draws: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Give standard normal noise (m, C, *S), m <= batch, until there were `draws` for one image (1, C, *S).

    It is drawn in float32 on the CPU from a generator of its own, so that it is the same on every device, in every
    precision and for every batch size, and the caller's generator stays where it was.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    shape = like.shape[1:]
    for start in range(0, draws, batch):
        # One draw at a time: a single call for several would give other numbers for another batch size.
        noise = [torch.randn(shape, generator=generator) for _ in range(min(batch, draws - start))]
        yield torch.stack(noise).to(device=like.device, dtype=like.dtype)
