"""Where tiles lie along an axis, and how much each of their cells counts."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Steps

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A tile along one axis: elements `begin` to `end`, its first cell in the whole map, whether it ends inside."""

    begin: int
    end: int
    cell: int
    cut: tuple[bool, bool]


def windows(size: int, tile: int, overlap: float, margin: int, stride: Fraction) -> list[Window]:
    """Return the tiles along an axis of `size` elements, each beginning where a cell of `stride` elements does.

    The last is moved back to end at the edge, and is longer by less than a stride where that takes it off a cell.
    Raises MethodError for a margin that leaves nothing of a tile.
    """
    snap = stride.numerator
    tile = min(size, ceil(tile / snap) * snap)
    last = (size - tile) // snap * snap
    # What is left of a tile between two margins of whole cells has to reach to the next.
    left = int((tile - 2 * ceil(margin / stride) * stride) // snap * snap)
    if last and left < snap:
        raise MethodError(
            f"tiles of {tile} elements with a margin of {margin}, which leave nothing",
            expected=f"tiles of more than {2 * ceil(margin / stride) * stride} elements",
            do="Enlarge the tile or lower the margin",
        )
    step = max(snap, min(left, (tile - ceil(tile * overlap)) // snap * snap))
    begins = [*range(0, last, step), last]
    return [Window(b, size if b == last else b + tile, int(b / stride), (b > 0, b < last)) for b in begins]


def weights(window: Window, cells: int, margin: int, stride: Fraction, like: Tensor) -> Tensor:
    """Return the weight (cells,) of each cell of a tile: a Gaussian with an eighth of it as standard deviation.

    Nothing counts within the margin of a border inside the image.
    """
    import torch

    at = torch.arange(cells, device=like.device, dtype=like.dtype)
    found = torch.exp(-((at - (cells - 1) / 2) ** 2) / (2 * (cells / 8) ** 2))
    out = ceil(margin / stride)
    for begins, cut in zip((0, cells - out), window.cut, strict=True):
        if cut and out:
            found[begins : begins + out] = 0
    return found


def common_stride(layer: str, whole: Steps | None, part: Steps | None) -> list[Fraction]:
    """Return the elements from cell to cell along every axis, as they are both in a tile and in the whole image.

    Raises MethodError where they differ or could not be followed.
    """
    if whole is None or part is None or whole.stride != part.stride or whole.offset != part.offset:
        raise MethodError(
            f"tiles for layer {layer!r}, whose cells do not lie alike in a tile and in the whole image",
            expected="a layer of convolutions and pooling",
            do="Choose a layer before any that looks at the whole image, or explain the image at once",
        )
    return [Fraction(s).limit_denominator(64) for s in whole.stride]
