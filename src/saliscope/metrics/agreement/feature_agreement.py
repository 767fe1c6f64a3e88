"""krishna2022: of the k largest elements of two maps, the share that both have, and have with the same sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MetricError
from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.agreement.pair import Part, paired, words
from saliscope.metrics.ranking import finite, top

if TYPE_CHECKING:
    from saliscope.core.metric import Map


@dataclass(frozen=True)
class FeatureAgreement:
    """The share of the `k` largest elements of one map that are also among those of the other.

    Ties count by their chance, drawn for each map by itself. By magnitude as in the paper, or by the `part` "signed".
    Raises MetricError for k below 1.
    """

    k: int = 100
    part: Part = "magnitude"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="agreement",
        direction="higher",
        range=(0.0, 1.0),
        null="k over the number of elements",
        citation="krishna2022",
        cost="none",
        blind="Depends on k, and neighbours that are as good as the same place count as different.",
    )

    def __post_init__(self) -> None:
        if self.k < 1:
            raise MetricError(f"k = {self.k}", expected="1 or more", do="Give a number of elements.")

    def of_pair(self, first: Map, second: Map) -> Score:
        """Return the share that two maps (*S) have in common; `parts` has that of the same sign."""
        name, how = "feature-agreement", (words(self.part), f"the {self.k} largest, ties by their chance")
        maps = paired(first, second, self.part)
        if isinstance(maps, Undefined):
            return Score(name, maps, "higher", n=0, how=how)
        size = maps[0].size
        if self.k >= size:
            return Score(name, Undefined(f"the maps have no more than k = {self.k} elements"), "higher", n=0, how=how)
        both = top(maps[0], self.k) * top(maps[1], self.k)
        same = finite(first) * finite(second) > 0
        parts = {"same sign": min(1.0, float(both[same].sum()) / self.k)}
        return Score(name, min(1.0, float(both.sum()) / self.k), "higher", self.k / size, parts=parts, how=how)
