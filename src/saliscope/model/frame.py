"""An image on its way to the network, and what a step of that way is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import Geometry

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Frame:
    """Values (C, *S) on their way to the network, their grid, and which elements (*S) are padding."""

    values: Array
    geometry: Geometry
    padding: npt.NDArray[np.bool_] | None = None

    def inside(self) -> Array:
        """Return the values that belong to the scan, for statistics."""
        if self.padding is None or self.padding.all():
            return self.values.reshape(-1)
        return self.values[:, ~self.padding].reshape(-1)


class Step(Protocol):
    """One change of an image on its way to the network: a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __call__(self, frame: Frame) -> Frame:
        """Return the changed frame; raises GeometryError when the step does not fit."""
