"""arras2022, relevance mass accuracy: the share of a map's sum that lies in the region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.localisation.place import Part, over_chance, placed, undefined

if TYPE_CHECKING:
    from saliscope.core.geometry import Geometry
    from saliscope.core.metric import Map, Mask


@dataclass(frozen=True)
class RelevanceMass:
    """The sum of a map inside the region as a share of its whole sum, of the `part` "positive" or "magnitude"."""

    part: Part = "positive"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="localisation",
        direction="higher",
        range=(0.0, 1.0),
        null="the region's share of the image",
        citation="arras2022",
        cost="none",
        blind="A low background over a large image outweighs a sharp peak. Smooth maps spill over the edge of small "
        "regions and lose.",
    )

    def of_place(self, attribution: Map, mask: Mask, geometry: Geometry | None = None) -> Score:  # noqa: ARG002
        """Return the share of a map (*S) inside a mask (*S); the geometry is not looked at."""
        place = placed(attribution, mask, self.part)
        if isinstance(place, Undefined):
            return undefined("relevance-mass", "higher", place, self.part)
        values = place.values / place.values.max()  # so that no sum overflows, or vanishes
        value = float(values[place.mask].sum() / values.sum())
        return over_chance("relevance-mass", min(value, 1.0), place.area, place, self.part)
