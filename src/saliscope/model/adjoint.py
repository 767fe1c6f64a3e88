"""What flows back through a recorded run, kept by piece of memory: views of one memory share what comes back to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saliscope.model.record import Place


class Adjoint:
    """What flows back, by piece of memory."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self._flat: dict[int, Tensor] = {}

    def add(self, place: Place, amount: Tensor) -> None:
        """Add an amount to what flows back to a place."""
        if not amount.numel():
            return
        if place.memory not in self._flat:
            self._flat[place.memory] = torch.zeros(place.count, dtype=self.dtype, device=self.device)
        flat = _typed(self._flat[place.memory], place)
        amount = amount.to(flat.dtype) if flat.is_complex() or not amount.is_complex() else amount.real.to(flat.dtype)
        repeated = [i for i, (n, s) in enumerate(zip(place.shape, place.stride, strict=True)) if n > 1 and s == 0]
        amount = amount.reshape(place.shape)
        if repeated:
            amount = amount.sum(repeated, keepdim=True)
        if _overlaps(amount.shape, place.stride):
            index = torch.arange(len(flat), device=self.device).as_strided(amount.shape, place.stride, place.offset)
            flat.index_add_(0, index.flatten(), amount.flatten())
        else:
            flat.as_strided(amount.shape, place.stride, place.offset).add_(amount)

    def take(self, place: Place) -> Tensor | None:
        """Return what flowed back to a place, and leave none there; None where nothing did."""
        if place.memory not in self._flat:
            return None
        window = _typed(self._flat[place.memory], place).as_strided(place.shape, place.stride, place.offset)
        if place.fresh:
            del self._flat[place.memory]
            return window
        amount = window.clone()
        window.zero_()
        return amount


def _typed(flat: Tensor, place: Place) -> Tensor:
    return torch.view_as_complex(flat.view(-1, 2)) if place.dtype.is_complex else flat


def _overlaps(shape: Sequence[int], stride: Sequence[int]) -> bool:
    """Return whether two elements of a window may lie at one address."""
    reach = 0
    for s, n in sorted((s, n) for n, s in zip(shape, stride, strict=True) if n > 1):
        if s <= reach:
            return True
        reach += s * (n - 1)
    return False
