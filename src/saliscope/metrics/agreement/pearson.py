"""pearson1895: the linear correlation of two maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.agreement.pair import Part, correlated, paired, words

if TYPE_CHECKING:
    from saliscope.core.metric import Map


@dataclass(frozen=True)
class Pearson:
    """The linear correlation of the values of two maps, of the `part` "signed" or "magnitude"."""

    part: Part = "signed"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="agreement",
        direction="higher",
        range=(-1.0, 1.0),
        null="0 for maps without any structure; maps of other patients agree more than that",
        citation="pearson1895",
        cost="none",
        blind="A few large values decide it. Two smooth maps with a bright middle agree, whatever they explain.",
    )

    def of_pair(self, first: Map, second: Map) -> Score:
        """Return the correlation of two maps (*S)."""
        maps = paired(first, second, self.part)
        if isinstance(maps, Undefined):
            return Score("pearson", maps, "higher", n=0, how=(words(self.part),))
        return Score("pearson", correlated(*maps), "higher", 0.0, how=(words(self.part),))
