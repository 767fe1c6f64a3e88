"""How fine a thing a map can show: one element, a cell of a layer, a window, a segment, or what stands inside.

A size is in elements of the input, one number for each axis. Nothing finer can be shown: what lies nearer together is
told alike, or follows from what is told of its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from saliscope.core.protocols import Method, Model, Resolving, Size, Sizes

if TYPE_CHECKING:
    from torch import Tensor


def one_element(_method: object, model: Model, x: Tensor) -> Sizes:  # noqa: ARG001 - the contract of a method
    """Return one element of x (1, C, *S): every one has a value of its own."""
    return ((1.0,) * (x.ndim - 2),)


def one_cell(method: Method, model: Model, x: Tensor) -> Sizes:
    """Return the step between the cells of the layer, in elements of x (1, C, *S)."""
    return (layer_cell(model, x, str(method.layer)),)  # type: ignore[attr-defined]


def layer_cell(model: Model, x: Tensor, layer: str) -> Size:
    """Return the step between the cells of a layer on x (1, C, *S), edge to edge where they could not be followed."""
    cells = model.cells(x, layer)
    if cells is not None:
        return tuple(float(s) for s in cells.stride)
    return even(x.shape[2:], model.size_of(x, layer))


def layer_cells(model: Model, x: Tensor, layers: Iterable[str]) -> Sizes:
    """Return the resolution of a map put together from several layers, for x (1, C, *S)."""
    return together((layer_cell(model, x, layer),) for layer in layers)


def even(shape: Sequence[int], cells: Sequence[int]) -> Size:
    """Return the size of cells that divide the axes of an image of this shape evenly."""
    return tuple(n / g for n, g in zip(shape, cells, strict=True))


def pieces(labels: Tensor) -> Size:
    """Return the size of the typical piece of labels (*S): the mean length of what stays one along each axis."""
    lengths = []
    for axis, size in enumerate(labels.shape):
        rows = labels.numel() / size
        lengths.append(labels.numel() / (rows + int((labels.diff(dim=axis) != 0).sum())))
    return tuple(lengths)


def resolution_of(method: Method, model: Model, x: Tensor) -> Sizes:
    """Return the sizes that a method states for one image x (1, C, *S), finest first; none where it states none."""
    return together([method.resolution(model, x)]) if isinstance(method, Resolving) else ()


def together(several: Iterable[Sizes]) -> Sizes:
    """Return the sizes of maps that are put together into one, each once, finest first; none where one is unknown."""
    every = list(several)
    found = {size for sizes in every for size in sizes}
    return tuple(sorted(found, key=lambda size: (max(size), size))) if all(every) else ()
