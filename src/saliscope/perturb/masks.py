"""Masks made from a few cells for each axis: drawn from a seed, made a few at a time, never all in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class ShiftedMasks:
    """petsiuk2018, section 3.2: random cells (N, *cells), enlarged linearly, each mask moved by less than a cell.

    The g cells of an axis of n elements are stretched over g + 1 cells of ceil(n / g) elements, from which n are cut
    at `shifts` (N, axes). Linear interpolation is a product over axes, so a mask is one small matrix product for each.
    """

    cells: Tensor
    shifts: Tensor
    weights: tuple[Tensor, ...]

    @classmethod
    def drawn(cls, like: Tensor, cells: Sequence[int], keep: float, count: int, seed: int) -> ShiftedMasks:
        """Return `count` masks for an image (C, *S), each cell kept with probability `keep`.

        All is drawn on the CPU from a generator of its own, so that it is the same on every device.
        """
        import torch

        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand((count, *cells), generator=generator) < keep
        sizes = [-(-n // g) for n, g in zip(like.shape[1:], cells, strict=True)]
        shifts = torch.stack([torch.randint(0, c, (count,), generator=generator) for c in sizes], dim=1)
        weights = [
            torch.stack([linear(n, g, (g + 1) * c, shift) for shift in range(c)])
            for n, g, c in zip(like.shape[1:], cells, sizes, strict=True)
        ]
        return cls(drawn, shifts, tuple(w.to(device=like.device, dtype=like.dtype) for w in weights))

    def __call__(self, some: range) -> Tensor:
        """Return the masks (m, *S) of a range, between 0 and 1."""
        where = slice(some.start, some.stop)
        found = self.cells[where].to(self.weights[0])
        for axis, weights in enumerate(self.weights):
            along = weights[self.shifts[where, axis].to(weights.device)]
            rows = found.movedim(axis + 1, -1)
            found = (rows.flatten(1, -2) @ along.mT).reshape(*rows.shape[:-1], -1).movedim(-1, axis + 1)
        return found


def linear(size: int, cells: int, length: int, shift: int = 0) -> Tensor:
    """Return weights (size, cells) in float64 that read cells, laid edge to edge over `length` elements, linearly.

    Element i is that at i + shift of the `length`; beyond the centres of the outer cells their value holds.
    """
    import torch

    at = (torch.arange(size, dtype=torch.float64) + shift + 0.5) * cells / length - 0.5
    return (1 - (at.clamp(0, cells - 1)[:, None] - torch.arange(cells)).abs()).clamp(min=0)


def enlarged(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Return values (m, *cells) laid edge to edge over (m, *S) and interpolated linearly."""
    for axis, size in enumerate(shape, start=1):
        cells = values.shape[axis]
        weights = linear(size, cells, size).to(values)
        values = (values.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return values


def repeated(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Return values (m, *cells) laid edge to edge over (m, *S), each element with the value of its cell."""
    import torch

    for axis, size in enumerate(shape, start=1):
        at = torch.arange(size, device=values.device) * values.shape[axis] // size
        values = values.index_select(axis, at)
    return values


def blended(image: Tensor, without: Tensor, masks: Tensor) -> Tensor:
    """Return copies (m, C, *S) that are the image (C, *S) where a mask (m, *S) is 1 and `without` where it is 0."""
    return without + masks[:, None] * (image - without)
