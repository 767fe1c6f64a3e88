"""jaccard1912: what the largest elements of two maps have in common, over what either of them has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MetricError
from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.agreement.pair import Part, paired, words
from saliscope.metrics.overlap import iou, random_iou
from saliscope.metrics.ranking import counts_of, top

if TYPE_CHECKING:
    from saliscope.core.metric import Map


@dataclass(frozen=True)
class TopIoU:
    """Intersection over union of the `share` of elements that is largest, by rank, in each of two maps.

    Ties at the edge count by their chance, drawn for each map by itself: where more than the share is tied, two maps
    agree there no better than chance, even two equal ones. `part`: "signed" or "magnitude" of the maps. Raises
    MetricError for a share outside 0 to 1.
    """

    share: float = 0.1
    part: Part = "signed"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="agreement",
        direction="higher",
        range=(0.0, 1.0),
        null="what two random choices of as many elements have in common",
        citation="jaccard1912",
        cost="none",
        blind="Does not see how far apart places lie that are not in common. Zero-heavy maps have no top decile; how "
        "much of it was drawn from ties stands beside the value.",
    )

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise MetricError(f"share {self.share}", expected="between 0 and 1", do="Give a part of the image.")

    def of_pair(self, first: Map, second: Map) -> Score:
        """Return the overlap of the largest elements of two maps (*S); `parts` says how much of them was tied."""
        how = (words(self.part), f"the top {100 * self.share:g} % by rank, ties by their chance")
        maps = paired(first, second, self.part)
        if isinstance(maps, Undefined):
            return Score("top-iou", maps, "higher", n=0, how=how)
        (count,) = counts_of((self.share,), maps[0].size)
        if not 0 < count < maps[0].size:
            why = Undefined(f"the share comes to {count} of {maps[0].size} elements")
            return Score("top-iou", why, "higher", n=0, how=how)
        chances = [top(m, count) for m in maps]
        tied = max(float(c[c < 1].sum()) for c in chances) / count
        null = random_iou(count, count, maps[0].size)
        return Score("top-iou", iou(*chances), "higher", null, parts={"tied": tied}, how=how)
