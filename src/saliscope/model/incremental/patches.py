"""Values of a part of a map for several windows at once, and how they move between maps and parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliscope.model.incremental.rules import laid

#: For each window its first cell along each axis, (B, axes).
Corners = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Patch:
    """Values (B, C, *s) that lie at `at` (B, axes) of their maps; everywhere else a map is as without any window.

    `owned` says that nothing else reads the values, so that they may be overwritten.
    """

    values: Tensor
    at: Corners
    owned: bool = False

    @property
    def size(self) -> tuple[int, ...]:
        """Return the cells along each axis."""
        return tuple(self.values.shape[2:])


@dataclass(frozen=True, eq=False)
class Unchanged:
    """The map (1, C, *S) of the image without any window, with `margin` cells of padding before each axis."""

    padded: Tensor
    margin: tuple[int, ...]

    def gathered(self, at: Corners, size: Sequence[int]) -> Tensor:
        """Return the cells (B, C, *size) that begin at `at` (B, axes), which may lie in the padding."""
        channels_last = self.padded[0].movedim(0, -1)
        shape, stride = channels_last.shape, channels_last.stride()
        axes = len(size)
        places = tuple(n - s + 1 for n, s in zip(shape[:axes], size, strict=True))
        # Every place where such a part may begin, as a view: one indexing call copies all of the parts.
        view = channels_last.as_strided(
            (*places, *size, shape[-1]), (*stride[:axes], *stride), channels_last.storage_offset()
        )
        first = torch.from_numpy(at + np.array(self.margin)).to(self.padded.device)
        return view[tuple(first[:, a] for a in range(axes))].movedim(-1, 1)


def unchanged(base: Tensor, left: Sequence[int], right: Sequence[int], value: float) -> Unchanged:
    """Return a map (1, C, *S) with padding of a value on both sides of each axis."""
    if not any(left) and not any(right):
        return Unchanged(laid(base), tuple(left))
    sides = [side for pair in zip(reversed(left), reversed(right), strict=True) for side in pair]
    return Unchanged(laid(torch.nn.functional.pad(base, sides, value=value)), tuple(left))


def place(into: Tensor, patch: Tensor, shift: Corners) -> None:
    """Write patches (B, C, *p) into (B, C, *s), each `shift` (B, axes) cells from the first; what hangs over is cut."""
    for rows, (there, here) in _alike(shift, patch.shape[2:], into.shape[2:]):
        into[(rows, slice(None), *there)] = patch[(rows, slice(None), *here)]


def cut(patch: Tensor, begin: Corners, size: Sequence[int]) -> Tensor:
    """Return the parts (B, C, *size) of patches (B, C, *p) that begin `begin` cells from their first, inside them."""
    boxes = list(_alike(-begin, patch.shape[2:], size))
    if len(boxes) == 1:
        return patch[(slice(None), slice(None), *boxes[0][1][1])]
    found = empty(patch, patch.shape[1], size)
    for rows, (there, here) in boxes:
        found[(rows, slice(None), *there)] = patch[(rows, slice(None), *here)]
    return found


def empty(like: Tensor, channels: int, size: Sequence[int]) -> Tensor:
    """Return space for as many values (B, channels, *size) as there are rows in another tensor, channels last."""
    return torch.empty((len(like), *size, channels), dtype=like.dtype, device=like.device).movedim(-1, 1)


def _alike(
    shift: Corners, patch: Sequence[int], into: Sequence[int]
) -> Iterator[tuple[slice, tuple[list[slice], list[slice]]]]:
    """Give runs of windows with the same shift, and the overlap in cells of the target and of the patch."""
    ends = [*(np.flatnonzero((shift[1:] != shift[:-1]).any(1)) + 1).tolist(), len(shift)]
    begin = 0
    for end in ends:
        there, here = [], []
        for s, p, n in zip(shift[begin].tolist(), patch, into, strict=True):
            low, high = max(s, 0), min(s + p, n)
            there.append(slice(low, max(low, high)))
            here.append(slice(low - s, max(low, high) - s))
        yield slice(begin, end), (there, here)
        begin = end
