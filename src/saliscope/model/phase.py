"""The input gradient of a first convolution, as one convolution with many output channels and a shuffle: the same sums.

On the CPU the backward run of a convolution with one to four input channels costs about ten times its forward run, in
3D half of the whole gradient, because so few channels leave the CPU's vectors empty. A pixel of phase r sees, under
stride s, the taps s·a + r of the kernel only: each phase is a plain convolution of the output's gradient. All phases,
and the pixels of a small block, are made output channels of one convolution, and laid out again. Nothing is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

CONVOLUTIONS: dict[object, int] = {functional.conv2d: 2, functional.conv3d: 3}
#: Above this many input channels the ordinary backward run is at its floor.
CHANNELS = 4
#: Single-precision numbers in a vector of the CPU.
VECTOR = 16


def phase_gradients() -> AbstractContextManager[object]:
    """Give a context in which convolutions of few channels and frozen weights take their input gradient by phases.

    It stands back where another function mode is active, which must see the network's own convolutions.
    """
    busy = torch._C._len_torch_function_stack()  # noqa: SLF001 - torch offers no public count
    return nullcontext() if busy else _Phases()


class _Phases(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> object:
        named = kwargs or {}
        if func in CONVOLUTIONS:
            found = _convolution(CONVOLUTIONS[func], *args, **named)
            if found is not None:
                return _FirstConvolution.apply(*found)  # type: ignore[no-untyped-call]
        return func(*args, **named)


def _convolution(  # the arguments and the order of torch's own convolutions
    axes: int,
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor, Tensor | None, tuple[int, ...], tuple[int, ...]] | None:
    """Return what the rewrite needs, or None for a convolution that it does not fit."""
    if isinstance(padding, str) or groups != 1 or set(_each(axes, dilation)) != {1}:
        return None
    # Inside the network's own autocast or function transforms, torch's own convolution must be seen.
    if torch.is_autocast_enabled(input.device.type) or torch._C._functorch.peek_interpreter_stack() is not None:  # noqa: SLF001 - no public name
        return None
    steps, pads = _each(axes, stride), _each(axes, padding)
    frozen = not weight.requires_grad and (bias is None or not bias.requires_grad)
    plain = type(input) is Tensor and input.requires_grad and input.ndim == weight.ndim == axes + 2
    channels, width = weight.shape[1], max(weight.shape[2:])
    # Measured: a kernel of 3 over one channel in 3D is as fast the ordinary way, and one of 1 has nothing to gain.
    pays = channels <= CHANNELS and width > 1 and (axes, channels, width) != (3, 1, 3)
    fits = pays and input.device.type == "cpu"
    return (input, weight, bias, steps, pads) if frozen and plain and fits else None


def _each(axes: int, value: int | Sequence[int]) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


class _FirstConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...]
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.stride, ctx.padding, ctx.size = stride, padding, x.shape[2:]
        convolve = functional.conv2d if len(stride) == 2 else functional.conv3d
        return convolve(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # Made of differentiable operations, so that a gradient of this gradient is right as well.
        (weight,) = ctx.saved_tensors
        return input_gradient(gradients[0], weight, ctx.stride, ctx.padding, ctx.size), None, None, None, None


def input_gradient(
    gradient: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], size: Sequence[int]
) -> Tensor:
    """Return the gradient (N, C, *S) at a convolution's input of size S, from that at its output (N, C', *O)."""
    axes, channels = len(size), weight.shape[1]
    block = blocks(channels, stride)
    phases, taps = phase_weight(weight, stride, block)
    edges = [s * b for s, b in zip(stride, block, strict=True)]
    cells = [-(-(n + p) // e) for n, p, e in zip(size, padding, edges, strict=True)]
    pad: list[int] = []
    for i in reversed(range(axes)):
        pad += [taps[i] - 1, cells[i] * block[i] - gradient.shape[2 + i]]  # below zero: what only saw padding goes
    convolve = functional.conv2d if axes == 2 else functional.conv3d
    by_phase = convolve(functional.pad(gradient, pad), phases, stride=block)
    by_phase = by_phase.reshape(-1, channels, *stride, *block, *cells)
    order = [0, 1, *(a for i in range(axes) for a in (2 + 2 * axes + i, 2 + axes + i, 2 + i))]
    whole = by_phase.permute(order).reshape(-1, channels, *(q * e for q, e in zip(cells, edges, strict=True)))
    for i, (p, n) in enumerate(zip(padding, size, strict=True)):
        whole = whole.narrow(2 + i, p, n)
    return whole


def phase_weight(weight: Tensor, stride: Sequence[int], block: Sequence[int]) -> tuple[Tensor, list[int]]:
    """Return a kernel (C', C, *k) as one of each phase of a block, flipped, and the taps of a phase, ceil(k / s).

    Its shape is (C · phases · places in the block, C', *(taps + block - 1)).
    """
    out, channels, *kernel = weight.shape
    axes = len(kernel)
    taps = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    pad: list[int] = []
    for k, a, s in reversed(list(zip(kernel, taps, stride, strict=True))):
        pad += [0, a * s - k]
    split = [n for pair in zip(taps, stride, strict=True) for n in pair]
    parts = functional.pad(weight, pad).reshape(out, channels, *split)
    tap_axes, phase_axes = [2 + 2 * i for i in range(axes)], [3 + 2 * i for i in range(axes)]
    parts = parts.flip(tap_axes).permute(1, *phase_axes, 0, *tap_axes)
    for i, b in enumerate(block):
        after = [0] * (2 * (axes - 1 - i))
        parts = torch.stack([functional.pad(parts, [*after, j, b - 1 - j]) for j in range(b)], dim=1 + axes + i)
    shape = [a + b - 1 for a, b in zip(taps, block, strict=True)]
    return parts.reshape(channels * math.prod(stride) * math.prod(block), out, *shape), taps


def blocks(channels: int, stride: Sequence[int]) -> tuple[int, ...]:
    """Return how many neighbours along each axis are output channels too: as many as fill a vector of the CPU."""
    block, i = [1] * len(stride), 0
    while channels * math.prod(stride) * math.prod(block) * 2 <= VECTOR:
        block[i % len(block)] *= 2
        i += 1
    return tuple(block)
