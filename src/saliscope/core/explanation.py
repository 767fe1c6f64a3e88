"""One map, raw and signed, on its own grid, with where it lies and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import GeometryError, WriteError
from saliscope.core.geometry import Geometry
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import Size, Sizes, Traits
from saliscope.core.provenance import Provenance

if TYPE_CHECKING:
    from PIL.Image import Image


class Presenter(Protocol):
    """Who can show and store an explanation; given by `study`, because a noun knows neither colour nor files."""

    def overlay(self, explanation: Explanation) -> Image:
        """Return the picture of the map over its image."""

    def save(self, explanation: Explanation, folder: Path) -> Path:
        """Write the explanation's folder, whole or not at all, and return its path."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """One map: values (*S) float32, raw and signed, on `geometry`; `seen` is the grid that the network saw.

    `beside` holds maps of the same grid that belong to it, such as a variance, by name. `resolution` is the least size
    that it can show, in units of `geometry` for each axis: never less than a cell, one for each part of which the map
    is put together, finest first, and none where the method states none.
    Read-only from birth. Raises GeometryError when values and grid do not fit.
    """

    values: npt.NDArray[np.float32] = field(repr=False)
    geometry: Geometry
    seen: Geometry
    target: str
    prediction: Prediction
    traits: Traits
    provenance: Provenance
    beside: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict, repr=False)
    presenter: Presenter | None = field(default=None, repr=False)
    resolution: Sizes = ()

    def __post_init__(self) -> None:
        for values in (self.values, *self.beside.values()):
            if values.shape != self.geometry.shape:
                raise GeometryError(
                    f"a map of shape {values.shape} on a grid of {self.geometry.shape}",
                    expected="one value for each cell",
                    do="Place the map on its own grid.",
                )
            values.setflags(write=False)

    @property
    def finest(self) -> Size:
        """Return the least size that the map can show, in units of `geometry`: its cell where it states none."""
        return self.resolution[0] if self.resolution else self.geometry.spacing

    @property
    def coarsest(self) -> Size:
        """Return the least size that the coarsest part of the map can show, in units of `geometry`."""
        return self.resolution[-1] if self.resolution else self.geometry.spacing

    def overlay(self) -> Image:
        """Return the picture of the map over the image that it explains."""
        return self._presenter().overlay(self)

    def save(self, folder: str | Path) -> Path:
        """Write map, picture, page and record into a new folder, whole or not at all; return its path."""
        return self._presenter().save(self, Path(folder))

    def _repr_png_(self) -> bytes | None:
        if self.presenter is None:
            return None
        data = self.overlay()._repr_png_()
        return bytes(data) if data is not None else None

    def _presenter(self) -> Presenter:
        if self.presenter is None:
            raise WriteError(
                "an explanation without its image",
                do="Make it by saliscope.explain, which keeps image and map together",
            )
        return self.presenter
