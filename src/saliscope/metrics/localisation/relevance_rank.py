"""arras2022, relevance rank accuracy: of as many largest elements as the region has, the share that lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.localisation.place import Part, over_chance, placed, undefined
from saliscope.metrics.ranking import top

if TYPE_CHECKING:
    from saliscope.core.geometry import Geometry
    from saliscope.core.metric import Map, Mask


@dataclass(frozen=True)
class RelevanceRank:
    """The share of the |region| largest elements that lie in the region; ties count by their chance.

    `part`: "positive" or "magnitude" of the map.
    """

    part: Part = "positive"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="localisation",
        direction="higher",
        range=(0.0, 1.0),
        null="the region's share of the image",
        citation="arras2022",
        cost="none",
        blind="Knows only the order: how much more the region has than the rest does not count. A map coarser than "
        "the region cannot reach 1.",
    )

    def of_place(self, attribution: Map, mask: Mask, geometry: Geometry | None = None) -> Score:  # noqa: ARG002
        """Return the share of a map's (*S) largest elements in a mask (*S); the geometry is not looked at."""
        place = placed(attribution, mask, self.part)
        if isinstance(place, Undefined):
            return undefined("relevance-rank", "higher", place, self.part)
        count = int(place.mask.sum())
        value = float(top(place.values, count)[place.mask].sum() / count)
        how = "tied elements count by their chance of being among the largest"
        return over_chance("relevance-rank", min(value, 1.0), place.area, place, self.part, how)
