"""Means of scores weighed by masks at every element, with the variance of each mean, in one pass over the masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Weighted:
    """Running sums over masks M (m, *S) and scores g (m, K): of 1, g, g² times M, and times M², at every element."""

    first: Tensor
    second: Tensor
    plain: Tensor

    @classmethod
    def empty(cls, image: Tensor, targets: int) -> Weighted:
        """Return sums of nothing, for an image (C, *S) and K targets."""
        import torch

        dtype = torch.promote_types(image.dtype, torch.float32)
        sums = [image.new_zeros(1 + 2 * targets, *size, dtype=dtype) for size in (image.shape[1:], image.shape[1:], ())]
        return cls(*sums)

    def add(self, masks: Tensor, scores: Tensor) -> None:
        """Take in some masks (m, *S) and their scores (m, K)."""
        import torch

        masks, scores = masks.to(self.first.dtype), scores.to(self.first.dtype)
        rows = torch.cat([torch.ones_like(scores[:, :1]), scores, scores.square()], dim=1).T
        flat = masks.flatten(1)
        self.first += (rows @ flat).reshape(self.first.shape)
        self.second += (rows @ flat.square()).reshape(self.second.shape)
        self.plain += rows.sum(dim=1)

    def estimate(self, *, centred: bool) -> tuple[Tensor, Tensor]:
        """Return (K, *S): R = Σ M g / Σ M, less the mean of g if centred, and the variance of that estimate.

        The variance is that of a ratio, to first order: of n masks, Σ ψ² / n² with
        ψ = M (g - R) / mean(M), less g - mean(g) if centred.
        """
        targets = (len(self.plain) - 1) // 2
        column = (-1, *[1] * (self.first.ndim - 1))
        count = self.plain[0]
        m, mg, mgg = self.first[:1].clamp(min=1e-30), self.first[1 : 1 + targets], self.first[1 + targets :]
        mm, mmg, mmgg = self.second[:1], self.second[1 : 1 + targets], self.second[1 + targets :]
        ratio = mg / m
        share = m / count
        square = (mmgg - 2 * ratio * mmg + ratio.square() * mm) / share.square()
        if not centred:
            return ratio, square.clamp(min=0) / count.square()
        mean = (self.plain[1 : 1 + targets] / count).reshape(column)
        spread = self.plain[1 + targets :].reshape(column) - count * mean.square()
        mixed = (mgg - mean * mg - ratio * (mg - mean * m)) / share
        return ratio - mean, (square - 2 * mixed + spread).clamp(min=0) / count.square()
