"""Where the cells of a layer lie on the input: stride and offset carried through every operation of a run.

The centre of cell j is at input index offset + stride * j (receptive field arithmetic, araujo2019, eq. 5 to 8).
A map that is merely stretched edge to edge over the input assumes offset (stride - 1) / 2, which a padded strided
convolution does not have: in a ResNet the last layer's cell 0 is centred on pixel 0, not on pixel 15.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Cells:
    """Per axis, in input elements: step between cells, centre of cell 0, width of the receptive field."""

    stride: Numbers
    offset: Numbers
    field: Numbers

    def moved(self, stride: Sequence[float], shift: Sequence[float], reach: Sequence[float]) -> Cells:
        """Return the cells of an operation whose output j looks at index shift + stride * j over `reach` elements."""
        return Cells(
            tuple(s * t for s, t in zip(self.stride, stride, strict=True)),
            tuple(o + s * d for o, s, d in zip(self.offset, self.stride, shift, strict=True)),
            tuple(f + s * (r - 1) for f, s, r in zip(self.field, self.stride, reach, strict=True)),
        )


def untouched(axes: int) -> Cells:
    """Return the cells of the input itself."""
    return Cells((1.0,) * axes, (0.0,) * axes, (1.0,) * axes)


def joined(several: Sequence[Cells]) -> Cells | None:
    """Return the cells where branches meet: the middle of their centres; None if they step differently."""
    first = several[0]
    if any(abs(a - b) > 1e-9 for c in several for a, b in zip(c.stride, first.stride, strict=True)):
        return None
    offset = tuple((min(o) + max(o)) / 2 for o in zip(*(c.offset for c in several), strict=True))
    return Cells(first.stride, offset, tuple(max(f) for f in zip(*(c.field for c in several), strict=True)))


def after(op: str, args: Sequence[Any], out: Tensor, known: Callable[[Tensor], Cells | None]) -> Cells | None:
    """Return the cells of an ATen operation's output (N, C, *S), or None where they can no longer be told."""
    axes = out.ndim - 2
    for names, rule in RULES:
        if op.startswith(names):
            cells = known(args[0]) if args and isinstance(args[0], Tensor) and args[0].ndim == out.ndim else None
            return rule(cells, args, out, axes) if cells is not None else None
    return _same_grid(op, args, out, known)


def _same_grid(op: str, args: Sequence[Any], out: Tensor, known: Callable[[Tensor], Cells | None]) -> Cells | None:
    """Return the cells of an operation that works element by element, over channels, or joins channels."""
    tensors = [t for a in args for t in (a if isinstance(a, list | tuple) else [a]) if isinstance(t, Tensor)]
    alike = [t for t in tensors if t.ndim == out.ndim and t.shape[2:] == out.shape[2:]]
    cells = [c for c in map(known, alike) if c is not None]
    return joined(cells) if cells and not op.startswith(MOVING) else None


def _convolution(cells: Cells, args: Sequence[Any], _out: Tensor, axes: int) -> Cells | None:
    kernel = [int(k) for k in args[1].shape[2:]]
    stride, padding, dilation = (_per_axis(args[i], axes) for i in (3, 4, 5))
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if not args[6]:
        shift = [r / 2 - p for r, p in zip(reach, padding, strict=True)]
        return cells.moved(stride, shift, [r + 1 for r in reach])
    inverse = [1 / s for s in stride]
    shift = [(p - r / 2) / s for p, r, s in zip(padding, reach, stride, strict=True)]
    return cells.moved(inverse, shift, [r / s + 1 for r, s in zip(reach, stride, strict=True)])


def _pool(cells: Cells, args: Sequence[Any], _out: Tensor, axes: int) -> Cells | None:
    kernel = _per_axis(args[1], axes)
    stride = _per_axis(args[2], axes) if len(args) > 2 and args[2] else kernel
    padding = _per_axis(args[3], axes) if len(args) > 3 else [0.0] * axes
    # max_pool carries its dilation where avg_pool carries a flag.
    dilation = _per_axis(args[4], axes) if len(args) > 4 and not isinstance(args[4], bool) else [1.0] * axes
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    return cells.moved(stride, [r / 2 - p for r, p in zip(reach, padding, strict=True)], [r + 1 for r in reach])


def _edge_to_edge(cells: Cells, args: Sequence[Any], out: Tensor, _axes: int) -> Cells | None:
    ratio = [i / o for i, o in zip(args[0].shape[2:], out.shape[2:], strict=True)]
    return cells.moved(ratio, [(r - 1) / 2 for r in ratio], [max(1.0, r) for r in ratio])


def _upsample(cells: Cells, args: Sequence[Any], out: Tensor, axes: int) -> Cells | None:
    if not any(a is True for a in args[2:3]):
        return _edge_to_edge(cells, args, out, axes)
    # align_corners: the first and last cells keep their centres.
    ratio = [(i - 1) / max(1, o - 1) for i, o in zip(args[0].shape[2:], out.shape[2:], strict=True)]
    return cells.moved(ratio, [0.0] * axes, [1.0] * axes)


def _pad(cells: Cells, args: Sequence[Any], _out: Tensor, axes: int) -> Cells | None:
    before = [0.0] * axes
    for i, low in enumerate(args[1][::2]):
        if i < axes:
            before[axes - 1 - i] = float(low)
    return cells.moved([1.0] * axes, [-b for b in before], [1.0] * axes)


def _slice(cells: Cells, args: Sequence[Any], _out: Tensor, axes: int) -> Cells | None:
    given: list[Any] = [*args[1:], *[0, None, None, 1][len(args) - 1 :]]
    dim, start, _end, step = given
    axis = (dim % (axes + 2)) - 2
    if axis < 0:
        return cells
    size = args[0].shape[axis + 2]
    first = 0 if start is None else max(0, start + size if start < 0 else start)
    stride, shift = [1.0] * axes, [0.0] * axes
    stride[axis], shift[axis] = float(step), float(first)
    return cells.moved(stride, shift, [1.0] * axes)


def _per_axis(value: Any, axes: int) -> list[float]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    return [float(v) for v in (values * axes if len(values) == 1 else values)]


Rule = Callable[[Cells, Sequence[Any], Tensor, int], Cells | None]

#: First match wins; the names are ATen's.
RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("convolution", "_convolution"), _convolution),
    (("max_pool", "avg_pool"), _pool),
    (("_adaptive_avg_pool", "adaptive_avg_pool", "adaptive_max_pool"), _edge_to_edge),
    (("upsample_",), _upsample),
    (("constant_pad_nd", "reflection_pad", "replication_pad"), _pad),
    (("slice.",), _slice),
)
#: Operations that keep a shape and move what is inside it.
MOVING = ("flip", "roll", "permute", "transpose", "rot90", "t.", "grid_sampler", "index", "gather", "_fft", "cumsum")
