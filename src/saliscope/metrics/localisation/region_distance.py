"""zhang2018, whose game allows a tolerance: how far from the region a map points, in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from saliscope.core.errors import MetricError
from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.localisation.distances import from_points, to_region, unmeasured
from saliscope.metrics.localisation.place import HOW, Part, Place, placed, undefined

if TYPE_CHECKING:
    from saliscope.core.geometry import Geometry
    from saliscope.core.metric import Map, Mask
    from saliscope.metrics.localisation.distances import Floats


@dataclass(frozen=True)
class RegionDistance:
    """The distance in mm from where a map points to the nearest element of the region, centre to centre, 0 inside.

    `of` says where it points: "peak", its largest value, the mean over tied ones; or "centre", its centre of mass.
    `part`: "positive" or "magnitude" of the map. Raises MetricError for another `of`.
    """

    of: Literal["peak", "centre"] = "peak"
    part: Part = "positive"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="localisation",
        direction="lower",
        range=(0.0, None),
        null="of the peak: the mean distance of all elements; of the centre of mass: that of the image's middle",
        citation="zhang2018",
        cost="none",
        blind="One point stands for the map. The centre of mass of two foci lies between them, and that of any "
        "diffuse map near the image's middle.",
    )

    def __post_init__(self) -> None:
        if self.of not in ("peak", "centre"):
            raise MetricError(f"the distance of {self.of!r}", expected="peak or centre", do="Choose one of them.")

    def of_place(self, attribution: Map, mask: Mask, geometry: Geometry | None = None) -> Score:
        """Return the distance of a map (*S) from a mask (*S); undefined where the spacing is unknown."""
        name, place = "region-distance", placed(attribution, mask, self.part)
        if isinstance(place, Undefined):
            return undefined(name, "lower", place, self.part)
        if (reason := unmeasured(geometry, place.mask.shape)) is not None or geometry is None:
            return undefined(name, "lower", reason or Undefined("no geometry"), self.part)
        value, null = self._peak(place, geometry) if self.of == "peak" else self._centre(place, geometry)
        words = "the largest value, of tied ones the mean" if self.of == "peak" else "the centre of mass"
        how = (HOW[self.part], f"from {words}, in mm")
        return Score(name, value, "lower", null, parts={"area": place.area}, how=how)

    @staticmethod
    def _peak(place: Place, geometry: Geometry) -> tuple[float, float]:
        away = to_region(place.mask, geometry)
        return float(away[place.values == place.values.max()].mean()), float(away.mean())

    @staticmethod
    def _centre(place: Place, geometry: Geometry) -> tuple[float, float]:
        import numpy as np

        weight = place.values / place.values.max()
        middle = (np.array(weight.shape) - 1) / 2
        centre: Floats = np.array([
            (weight.sum(axis=tuple(a for a in range(weight.ndim) if a != axis)) * np.arange(n)).sum()
            for axis, n in enumerate(weight.shape)
        ]) / weight.sum()  # fmt: skip
        found, null = from_points(np.stack([centre, middle]), place.mask, geometry)
        return float(found), float(null)
