"""arun2021, on thresholds over a map: the chance that an element of the region has a larger value than one outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.localisation.place import HOW, Part, placed, undefined

if TYPE_CHECKING:
    from saliscope.core.geometry import Geometry
    from saliscope.core.metric import Map, Mask


@dataclass(frozen=True)
class AUROC:
    """Area under the receiver operating characteristic of elements in the region against the rest; a tie is half.

    `part`: "positive" or "magnitude" of the map.
    """

    part: Part = "positive"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="localisation",
        direction="higher",
        range=(0.0, 1.0),
        null="0.5",
        citation="arun2021",
        cost="none",
        blind="Flatters small regions: most of the image is easily told from them, and a map that is high in many "
        "other places as well still comes near 1.",
    )

    def of_place(self, attribution: Map, mask: Mask, geometry: Geometry | None = None) -> Score:  # noqa: ARG002
        """Return the area of a map (*S) beside a mask (*S); the geometry is not looked at."""
        from scipy.stats import rankdata

        place = placed(attribution, mask, self.part)
        if isinstance(place, Undefined):
            return undefined("auroc", "higher", place, self.part)
        ranks = rankdata(place.values, axis=None).reshape(place.mask.shape)
        inside = int(place.mask.sum())
        outside = place.mask.size - inside
        value = (float(ranks[place.mask].sum()) - inside * (inside + 1) / 2) / (inside * outside)
        how = (HOW[self.part], "a tie counts as half")
        return Score("auroc", value, "higher", 0.5, parts={"area": place.area}, how=how)
