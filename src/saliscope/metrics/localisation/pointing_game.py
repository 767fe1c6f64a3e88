"""zhang2018: whether the largest value of a map lies in the region."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MetricError
from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.localisation.distances import to_region, unmeasured
from saliscope.metrics.localisation.place import Part, over_chance, placed, undefined

if TYPE_CHECKING:
    from saliscope.core.geometry import Geometry
    from saliscope.core.metric import Map, Mask


@dataclass(frozen=True)
class PointingGame:
    """1 where the largest value lies in the region, else 0; of several largest ones, the share that does.

    A place within `tolerance_mm` of the region counts as in it. `part`: "positive" or "magnitude" of the map. Raises
    MetricError for a tolerance that is negative or not finite.
    """

    tolerance_mm: float = 0.0
    part: Part = "positive"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="localisation",
        direction="higher",
        range=(0.0, 1.0),
        null="the region's share of the image, tolerance included",
        citation="zhang2018",
        cost="none",
        blind="Looks at one place only, so large regions are hit by chance, and a map may hit while most of it lies "
        "elsewhere. Saturates: it cannot tell good maps apart.",
    )

    def __post_init__(self) -> None:
        if not (isfinite(self.tolerance_mm) and self.tolerance_mm >= 0):
            raise MetricError(f"tolerance {self.tolerance_mm} mm", expected="0 or more", do="Give millimetres.")

    def of_place(self, attribution: Map, mask: Mask, geometry: Geometry | None = None) -> Score:
        """Return the hit of a map (*S) beside a mask (*S); undefined where a tolerance has no millimetres."""
        name, place = "pointing-game", placed(attribution, mask, self.part)
        if isinstance(place, Undefined):
            return undefined(name, "higher", place, self.part)
        region, how = place.mask, ["of tied largest values the share inside counts"]
        if self.tolerance_mm > 0:
            if (reason := unmeasured(geometry, region.shape)) is not None or geometry is None:
                return undefined(name, "higher", reason or Undefined("no geometry"), self.part)
            region = to_region(region, geometry) <= self.tolerance_mm
            how.append(f"within {self.tolerance_mm:g} mm of the region counts as inside")
            if region.all():
                why = Undefined("with its tolerance the region is the whole image")
                return undefined(name, "higher", why, self.part)
        largest = place.values == place.values.max()
        return over_chance(name, float(region[largest].mean()), float(region.mean()), place, self.part, *how)
