"""Operations that slide along axes: convolutions, pools, paddings, resampling (araujo2019, eq. 5 to 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from saliscope.model.axes.meaning import Atom, Axes, Axis, atoms_of, reduced, unknown
from saliscope.model.axes.meetings import refined


def slid(
    state: Axes, out: Tensor, stride: Sequence[float], shift: Sequence[float], reach: Sequence[float], first: int = 2
) -> Axes:
    """Return the axes of an operation whose output j looks at index shift + stride * j over `reach` elements."""
    axes, lost = list(state.axes), set[int]()
    for i, (s, d, r) in enumerate(zip(stride, shift, reach, strict=True), start=first):
        size = int(out.shape[i])
        if s == 1 and d == 0 and r == 1:
            continue
        fine = refined(axes[i])
        if fine is None:
            lost |= {a.dim for a in atoms_of(axes[i]) if a.dim is not None and a.spatial}
            axes[i] = unknown([size])[0]
            continue
        dim, atom, before = fine
        axes[i] = (replace(atom, size=size, stride=atom.stride * s),)
        state = state.moved(dim, before + atom.stride * d, abs(atom.stride) * (r - 1))
    return state.having(axes).losing(lost)


def convolution(state: Axes, args: Sequence[Any], out: Tensor) -> Axes:
    """Return the axes of `convolution`, forward or transposed."""
    count = out.ndim - 2
    kernel = [int(k) for k in args[1].shape[2:]]
    stride, padding, dilation = (per_axis(args[i], count) for i in (3, 4, 5))
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    groups = int(args[8])
    by_channel = groups == args[0].shape[1] == out.shape[1]
    channel = state.axes[1] if by_channel else unknown([out.shape[1]])[0]
    gone = [] if by_channel else atoms_of(state.axes[1])
    state = reduced(state, gone, [state.axes[0], channel, *state.axes[2:]])
    if not args[6]:
        shift = [r / 2 - p for r, p in zip(reach, padding, strict=True)]
        return slid(state, out, stride, shift, [r + 1 for r in reach])
    shift = [(p - r / 2) / s for p, r, s in zip(padding, reach, stride, strict=True)]
    return slid(state, out, [1 / s for s in stride], shift, [r / s + 1 for r, s in zip(reach, stride, strict=True)])


def pool(state: Axes, args: Sequence[Any], out: Tensor, count: int) -> Axes:
    """Return the axes of a pool by windows over the last `count` axes."""
    kernel = per_axis(args[1], count)
    stride = per_axis(args[2], count) if len(args) > 2 and args[2] else kernel
    padding = per_axis(args[3], count) if len(args) > 3 else [0.0] * count
    # max_pool carries its dilation where avg_pool carries a flag.
    dilation = per_axis(args[4], count) if len(args) > 4 and not isinstance(args[4], bool) else [1.0] * count
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    shift = [r / 2 - p for r, p in zip(reach, padding, strict=True)]
    return slid(state, out, stride, shift, [r + 1 for r in reach], out.ndim - count)


def edge_to_edge(state: Axes, before: Tensor, out: Tensor, count: int) -> Axes:
    """Return the axes of a resampling of the last `count` axes that keeps their edges."""
    ratio = [i / o for i, o in zip(before.shape[-count:], out.shape[-count:], strict=True)]
    return slid(state, out, ratio, [(r - 1) / 2 for r in ratio], [max(1.0, r) for r in ratio], out.ndim - count)


def upsampled(state: Axes, args: Sequence[Any], out: Tensor, count: int) -> Axes:
    """Return the axes of an interpolation."""
    if not any(a is True for a in args[2:3]):
        return edge_to_edge(state, args[0], out, count)
    # align_corners: the first and last cells keep their centres.
    ratio = [(i - 1) / max(1, o - 1) for i, o in zip(args[0].shape[-count:], out.shape[-count:], strict=True)]
    return slid(state, out, ratio, [0.0] * count, [1.0] * count, out.ndim - count)


def padded(state: Axes, pad: Sequence[int], out: Tensor) -> Axes:
    """Return the axes of a padding, whose numbers come last axis first."""
    axes = list(state.axes)
    for i in range(len(pad) // 2):
        at, before = out.ndim - 1 - i, float(pad[2 * i])
        if before == 0 and pad[2 * i + 1] == 0:
            continue
        axis = axes[at]
        fine = refined(axis)
        if fine is None:
            axes[at] = unknown([out.shape[at]])[0]
            continue
        dim, atom, shift = fine
        axes[at] = (replace(atom, size=int(out.shape[at])),)
        state = state.moved(dim, shift - before * atom.stride)
    return state.having(axes)


def shuffled(state: Axes, factor: int, out: Tensor) -> Axes:
    """Return the axes of a pixel shuffle (*, C r r, H, W) to (*, C, H r, W r)."""
    axes: list[Axis] = [*state.axes[:-3], unknown([out.shape[-3]])[0]]
    for axis, size in zip(state.axes[-2:], out.shape[-2:], strict=True):
        fine = refined((*axis, Atom(factor)) if factor > 1 else axis)
        if fine is None:
            axes.append(unknown([size])[0])
            continue
        dim, atom, shift = fine
        axes.append((atom,))
        state = state.moved(dim, shift)
    return state.having(axes)


def unshuffled(state: Axes, factor: int, out: Tensor) -> Axes:
    """Return the axes of a pixel unshuffle (*, C, H r, W r) to (*, C r r, H, W)."""
    state = state.having([*state.axes[:-3], unknown([out.shape[-3]])[0], *state.axes[-2:]])
    middle = [(factor - 1) / 2] * 2
    return slid(state, out, [float(factor)] * 2, middle, [float(factor)] * 2, out.ndim - 2)


def per_axis(value: Any, count: int) -> list[float]:
    """Return one number for each axis."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return [float(v) for v in (values * count if len(values) == 1 else values)]
