"""What an operation does to a changed region: which cells of its output change, and how they are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


@dataclass(frozen=True, eq=False)
class Rule:
    """An operation that is known; `affine` is its scale and shift (C,) where it is nothing else."""

    @property
    def affine(self) -> tuple[Tensor, Tensor] | None:
        """Return scale and shift for each channel, or None."""
        return None

    def flops(self, inputs: int, out: Sequence[int]) -> float:  # noqa: ARG002 - convolutions need it
        """Return the operations of an output (C, *S) from so many input channels; one for each element."""
        return float(prod(out))


@dataclass(frozen=True, eq=False)
class Local(Rule):
    """An operation on each place by itself: `apply` takes the values of all inputs at the same places."""

    apply: Callable[..., Any]
    #: The same, overwriting the first value given, where that is possible; of two values either may come first.
    inplace: Callable[..., Tensor] | None = None
    scale_shift: tuple[Tensor, Tensor] | None = None
    rectifies: bool = False

    @property
    def affine(self) -> tuple[Tensor, Tensor] | None:
        """Return scale and shift for each channel, or None."""
        return self.scale_shift


@dataclass(frozen=True, eq=False)
class Join(Rule):
    """A concatenation of channels."""


@dataclass(frozen=True, eq=False)
class SpaceMean(Rule):
    """The mean over all of space, with the axes kept or not."""

    keep: bool


@dataclass(frozen=True, eq=False)
class Shape(Rule):
    """A question about the shape or type alone."""


@dataclass(frozen=True, eq=False)
class Sliding(Rule):
    """A kernel that slides: `left` cells of `value` stand before the map; `apply` runs it without any padding."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    left: tuple[int, ...]
    dilation: tuple[int, ...]
    value: float

    def apply(self, x: Tensor) -> Tensor:
        """Return the output of x (N, C, *S) that is already padded."""
        raise NotImplementedError

    def reach(self, axis: int, cells: int) -> int:
        """Return how many elements of the padded input `cells` cells of the output look at along an axis."""
        return (cells - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1

    @property
    def local(self) -> bool:
        """Return whether the kernel sees one place and visits all of them."""
        return all(k == 1 for k in self.kernel) and all(s == 1 for s in self.stride) and not any(self.left)


@dataclass(frozen=True, eq=False)
class Conv(Sliding):
    """A convolution with zeros around."""

    right: tuple[int, ...]
    weight: Tensor
    bias: Tensor | None
    groups: int

    def apply(self, x: Tensor) -> Tensor:
        """Return the output of x (N, C, *S) that is already padded."""
        return CONV[len(self.kernel)](x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def whole(self, values: Sequence[Any]) -> Tensor:
        """Return the output of a whole map."""
        x, pad = values[0], self.left
        if self.left != self.right:
            sides = [side for pair in zip(reversed(self.left), reversed(self.right), strict=True) for side in pair]
            x, pad = functional.pad(x, sides), (0,) * len(self.left)
        return CONV[len(self.kernel)](x, self.weight, self.bias, self.stride, pad, self.dilation, self.groups)

    @property
    def pointwise(self) -> bool:
        """Return whether it mixes the channels of each place and nothing else."""
        return self.local and not any(self.right) and self.groups == 1

    def after(self, scale: Tensor, shift: Tensor) -> Conv:
        """Return a 1x1 convolution of x * scale + shift."""
        flat = self.weight.flatten(1)
        moved = flat @ shift
        weight = (flat * scale).reshape(self.weight.shape)
        return replace(self, weight=laid(weight), bias=moved if self.bias is None else self.bias + moved)

    def scaled(self, scale: Tensor, shift: Tensor) -> Conv:
        """Return the convolution followed by a scale and a shift of each channel."""
        weight = self.weight * scale.reshape(-1, *[1] * (self.weight.ndim - 1))
        return replace(self, weight=laid(weight), bias=shift if self.bias is None else self.bias * scale + shift)

    def flops(self, inputs: int, out: Sequence[int]) -> float:
        """Return two operations for each product."""
        return 2.0 * prod(out) * prod(self.kernel) * inputs / self.groups


@dataclass(frozen=True, eq=False)
class Pool(Sliding):
    """A maximum (value -inf) or a mean with zeros around that count."""

    pool: Callable[[Tensor], Tensor]

    @property
    def linear(self) -> bool:
        """Return whether it is a mean without padding."""
        return self.value == 0 and not any(self.left)

    def apply(self, x: Tensor) -> Tensor:
        """Return the output of x (N, C, *S) that is already padded."""
        return self.pool(x)

    def flops(self, inputs: int, out: Sequence[int]) -> float:  # noqa: ARG002 - convolutions need it
        """Return one operation for each element seen."""
        return float(prod(out) * prod(self.kernel))


def laid(x: Tensor) -> Tensor:
    """Return x (N, C, *S) with its channels last in memory, where convolutions are fast and places lie together."""
    if x.ndim == 4:
        return x.contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last_3d) if x.ndim == 5 else x.contiguous()


def affine(scale: Tensor, shift: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the function x * scale + shift of x (N, C, *S)."""

    def apply(x: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2))
        return torch.addcmul(shift.reshape(shape), x, scale.reshape(shape))

    return apply


def clamp(scale: Tensor, shift: Tensor) -> Local:
    """Return the rule whose result, times scale and plus shift, is max(x * scale + shift, 0); no scale may be 0."""
    turn = -shift / scale
    low = turn.where(scale > 0, -torch.inf)
    high = turn.where(scale < 0, torch.inf)

    def apply(x: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2))
        return torch.clamp(x, low.reshape(shape), high.reshape(shape))

    def rising(x: Tensor) -> Tensor:
        return torch.maximum(x, low.reshape(1, -1, *[1] * (x.ndim - 2)))

    return Local(rising if bool((scale > 0).all()) else apply)
