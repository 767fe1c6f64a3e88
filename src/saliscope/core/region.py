"""Elements of a grid that belong together: an organ, a finding, a marker, a drawn outline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import InputError
from saliscope.core.geometry import Geometry

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Region:
    """A mask (*S) on `geometry`, what it shows, and `source`: who drew it ("phantom", "expert", a network's name).

    The array is read-only. Raises InputError for a mask that is not boolean or does not lie on the grid.
    """

    mask: Mask = field(repr=False)
    geometry: Geometry
    label: str
    source: str

    def __post_init__(self) -> None:
        if self.mask.dtype != np.bool_ or self.mask.shape != self.geometry.shape:
            raise InputError(
                f"a region {self.label!r} of {self.mask.dtype} {self.mask.shape} on a grid of {self.geometry.shape}",
                expected="a boolean mask on the grid",
                do="Compare the labels with a number to get a mask, and give the grid on which they were drawn.",
            )
        self.mask.setflags(write=False)

    @property
    def empty(self) -> bool:
        """Return whether nothing lies in the region."""
        return not self.mask.any()

    @property
    def share(self) -> float:
        """Return the part of the grid that the region covers, 0 to 1."""
        return float(self.mask.mean())

    @property
    def extent(self) -> float:
        """Return its area or volume, in the unit of the geometry squared or cubed."""
        return float(self.mask.sum()) * self.geometry.element

    def changed(self, change: Callable[[Mask], Mask], label: str | None = None) -> Self:
        """Return the region with another mask on the same grid, under its own or another label."""
        return replace(self, mask=change(self.mask), label=self.label if label is None else label)
