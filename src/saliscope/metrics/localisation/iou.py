"""saporta2022: how well what a map highlights, cut out by a fixed rule, covers the region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from saliscope.core.errors import MetricError
from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.localisation.place import Part, over_chance, placed, undefined
from saliscope.metrics.overlap import iou, random_iou
from saliscope.metrics.ranking import top

if TYPE_CHECKING:
    from saliscope.core.geometry import Geometry
    from saliscope.core.metric import Map, Mask
    from saliscope.metrics.localisation.place import Floats
    from saliscope.metrics.ranking import Share

Rule = Literal["otsu", "threshold", "area"]


@dataclass(frozen=True)
class IoU:
    """Intersection over union of a region with the part of a map that `rule` cuts out.

    "otsu": above Otsu's threshold of the map from its least to its largest value in 256 steps, as the paper's own code
    does; "threshold": above `threshold` of the map from least (0) to largest (1); "area": as many largest elements as
    the region has. `part`: "positive" or "magnitude" of the map. Raises MetricError for a rule that is unknown or a
    threshold outside 0 to 1.
    """

    rule: Rule = "otsu"
    threshold: float = 0.5
    part: Part = "positive"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="localisation",
        direction="higher",
        range=(0.0, 1.0),
        null="what a random choice of as many elements has in common with the region",
        citation="saporta2022",
        cost="none",
        blind="Depends on the rule as much as on the map. A nearly flat map is stretched, so that its noise is cut "
        "out like a finding. A map coarser than the region cannot reach 1.",
    )

    def __post_init__(self) -> None:
        if self.rule not in ("otsu", "threshold", "area") or not 0 <= self.threshold < 1:
            raise MetricError(
                f"rule {self.rule!r} with threshold {self.threshold}",
                expected="otsu, threshold or area, and a threshold from 0 to below 1",
                do="Correct the fields.",
            )

    def of_place(self, attribution: Map, mask: Mask, geometry: Geometry | None = None) -> Score:  # noqa: ARG002
        """Return the overlap of a map (*S) with a mask (*S); the geometry is not looked at."""
        place = placed(attribution, mask, self.part)
        if isinstance(place, Undefined):
            return undefined("iou", "higher", place, self.part)
        region = place.mask.astype(float)
        count = int(region.sum())
        chosen = top(place.values, count) if self.rule == "area" else self._above(place.values)
        # A selection by a threshold takes ties together, so its size is a whole number.
        null = random_iou(round(float(chosen.sum())), count, region.size)
        return over_chance("iou", iou(chosen, region), null, place, self.part, self._words())

    def _above(self, values: Floats) -> Share:
        import numpy as np
        from skimage.filters import threshold_otsu

        stretched = (values - values.min()) / (values.max() - values.min())
        steps = np.floor(255 * stretched).astype(np.uint8)
        above = stretched > self.threshold if self.rule == "threshold" else steps > threshold_otsu(steps)
        chosen: Share = above.astype(np.float64)
        return chosen

    def _words(self) -> str:
        return {
            "otsu": "cut above Otsu's threshold, in 256 steps from the least to the largest value",
            "threshold": f"cut above {self.threshold:g} of the range from the least to the largest value",
            "area": "as many largest elements as the region has, ties by their chance",
        }[self.rule]
