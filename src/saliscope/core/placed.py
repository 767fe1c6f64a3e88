"""A map on a grid that it was placed on, and how any map is handed to NumPy and torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import GeometryError
from saliscope.core.geometry import Geometry

if TYPE_CHECKING:
    from torch import Tensor

#: The grids that a map can be placed on: that of the source image, and that of the tensor that the network saw.
Grid = Literal["image", "input"]


@dataclass(frozen=True, eq=False)
class PlacedMap:
    """Values (*S) float32, raw and signed, on `geometry`; zero outside what the network saw. Read-only.

    `np.asarray(placed)` is the values; `values, geometry = placed` takes both.
    Raises GeometryError when values and grid do not fit.

        >>> placed = e.on("image")
        >>> values, geometry = placed
        >>> values.shape == geometry.shape == (64, 64)
        True
    """

    values: npt.NDArray[np.float32] = field(repr=False)
    geometry: Geometry

    def __post_init__(self) -> None:
        check_fit(self.values, self.geometry)
        self.values.setflags(write=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape S of the values."""
        return self.values.shape

    def __iter__(self) -> Iterator[Any]:
        yield self.values
        yield self.geometry

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return as_array(self.values, dtype, copy)

    def to_tensor(self) -> Tensor:
        """Return the values (*S) as a float32 tensor on the CPU, a copy of its own."""
        return as_tensor(self.values)


def check_fit(values: npt.NDArray[Any], geometry: Geometry) -> None:
    """Raise GeometryError unless there is one value for each element of a grid."""
    if values.shape != geometry.shape:
        raise GeometryError(
            f"a map of shape {values.shape} on a grid of {geometry.shape}",
            expected="one value for each cell",
            do="Place the map on its own grid.",
        )


def as_array(values: npt.NDArray[Any], dtype: npt.DTypeLike | None, copy: bool | None) -> npt.NDArray[Any]:
    """Return values as NumPy asks for them: of another type if told, a copy where it must or may not be shared.

    Raises ValueError where a copy is needed and forbidden.
    """
    return np.array(values, dtype=dtype, copy=copy)


def as_tensor(values: npt.NDArray[Any]) -> Tensor:
    """Return values as a tensor with memory of its own: the values themselves are read-only."""
    import torch

    return torch.from_numpy(np.array(values, order="C"))
