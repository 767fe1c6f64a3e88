"""isensee2021, online methods, inference: overlapping tiles, each weighed by a Gaussian around its middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import prod
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Method, Model, Sizes, Traits
from saliscope.core.target import Cropping, Target
from saliscope.methods.combine.inner import adopt, layer_of, made
from saliscope.methods.combine.windows import Window, common_stride, weights, windows
from saliscope.methods.kernel import at_least_single, held
from saliscope.methods.resolution import resolution_of
from saliscope.perturb.window import per_axis

if TYPE_CHECKING:
    from torch import Tensor

#: Elements along each axis of a tile where nothing is said, by the number of axes.
TILE = {2: 512, 3: 96}


@dataclass(frozen=True)
class Tiled:
    """The map of a `method` made tile by tile, for volumes whose graph does not fit into memory at once.

    `tile` is in elements of the view, one number or one for each axis: by default 96 of a volume, 512 of an image.
    Neighbours share at least `overlap` of a tile, and are blended by Gaussian weights, in the method's own units: no
    tile is scaled. The last tile of an axis is moved back to end at the edge. Maps of a layer are blended on the
    layer's grid, the tiles beginning where a cell does. A region, component or point is found on the whole image;
    each tile explains its part of it, in units of the whole, and tiles without any are left out, with zero. Any
    other target scores each tile as an image of its own.

    Near a tile's border the network sees an edge that is not there. `margin` elements beside every such border count
    nothing: a margin of the width of the network's receptive field gives the map of the whole image exactly, where
    the score is a sum over places and no layer looks at the whole image, as instance normalisation does.
    """

    method: str | Method = "gradient"
    tile: int | tuple[int, ...] | None = None
    overlap: float = 0.25
    margin: int = 0

    traits: ClassVar[Traits] = Traits(
        family="combine",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="isensee2021",
        cost="the method's for each tile, on tiles alone; for a segmentation 1 forward of the whole",
        blind="What the method cannot see, and whatever a place owes to another that no tile shows together with it.",
    )

    def __post_init__(self) -> None:
        sizes = (self.tile,) if isinstance(self.tile, int) else self.tile or (1,)
        if min(sizes) < 1 or not 0 <= self.overlap < 1 or self.margin < 0:
            raise MethodError(
                f"tile={self.tile}, overlap={self.overlap}, margin={self.margin}",
                expected="tiles of one element or more, an overlap from 0 to below 1, no negative margin",
                do="Correct the fields",
            )
        adopt(
            self,
            citation="isensee2021",
            cost="for each tile, on the tile alone: {}; for a segmentation 1 forward of the whole",
            blind="{} What a place owes to another that no tile shows together with it.",
        )

    def tile_of(self, shape: Sequence[int]) -> list[int]:
        """Return the elements of a tile along each axis of an image; raises MethodError for another number of axes."""
        return per_axis("tile", self.tile, [TILE[len(shape)]] * len(shape), shape)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') as the method does.

        Raises MethodError for a layer whose cells do not step alike in a tile and in the whole, and TargetError for
        a segmentation on another grid than the image.
        """
        import torch

        grid = self._grid(model, x)
        count, size = prod(len(axis) for axis in grid.axes), " x ".join(map(str, self.tile_of(x.shape[2:])))
        model.note(f"Made of {count} {'tile' if count == 1 else 'tiles'} of {size} elements, in their own units.")
        images = enumerate(x.detach())
        return torch.stack([self._of_one(model, i[None], held(model, i[None], target, n), grid) for n, i in images])

    def resolution(self, model: Model, x: Tensor) -> Sizes:
        """Return the method's, for the first tile of one image x (1, C, *S)."""
        tile = x[(slice(None), slice(None), *[slice(t) for t in self.tile_of(x.shape[2:])])]
        return resolution_of(made(self.method), model, tile)

    def _grid(self, model: Model, x: Tensor) -> _Grid:
        """Return the tiles along every axis, and the grid of the whole map."""
        shape, layer = x.shape[2:], layer_of(made(self.method))
        tile, strides, size = self.tile_of(shape), [Fraction(1)] * len(shape), tuple(shape)
        if layer != INPUT:
            # A layer that looks at the whole has cells that depend on the size of what it is shown.
            part = x[(slice(None), slice(None), *[slice(t) for t in tile])]
            strides = common_stride(layer, model.cells(x, layer), model.cells(part, layer))
            size = model.size_of(x, layer)
        axes = [windows(n, t, self.overlap, self.margin, s) for n, t, s in zip(shape, tile, strides, strict=True)]
        return _Grid(axes, strides, size)

    def _of_one(self, model: Model, image: Tensor, target: Target, grid: _Grid) -> Tensor:
        """Return the map (K, *S') of one image (1, C, *S)."""
        method, shape = made(self.method), image.shape[2:]
        total = image.new_zeros(len(target.labels), *grid.size)
        weight = image.new_zeros(grid.size)
        for corner in product(*grid.axes):
            box = [slice(w.begin, w.end) for w in corner]
            part = target.cropped(box, shape) if isinstance(target, Cropping) else target
            if part is None:
                continue
            if part == target and prod(len(axis) for axis in grid.axes) > 1:
                model.note("Each tile was scored as an image of its own.")
            found = at_least_single(method.attribute(model, image[(slice(None), slice(None), *box)], part)[0])
            mine = found.new_ones(())
            for w, cells, stride in zip(corner, found.shape[1:], grid.strides, strict=True):
                mine = mine[..., None] * weights(w, cells, self.margin, stride, found)
            place = tuple(slice(w.cell, w.cell + m) for w, m in zip(corner, found.shape[1:], strict=True))
            total, weight = total.to(found), weight.to(found)
            total[(slice(None), *place)] += mine * found
            weight[place] += mine
        return (total / weight).where(weight > 0, total)


@dataclass(frozen=True)
class _Grid:
    """The tiles along every axis, the elements from cell to cell there, and the size S' of the whole map."""

    axes: list[list[Window]]
    strides: list[Fraction]
    size: tuple[int, ...]
