"""spearman1904: the correlation of the ranks of two maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.agreement.pair import Part, correlated, paired, words

if TYPE_CHECKING:
    from saliscope.core.metric import Map


@dataclass(frozen=True)
class Spearman:
    """The correlation of the ranks of two maps, tied values having their mean rank.

    `part`: "signed" or "magnitude" of the maps.
    """

    part: Part = "signed"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="agreement",
        direction="higher",
        range=(-1.0, 1.0),
        null="0 for maps without any structure; maps of other patients agree more than that",
        citation="spearman1904",
        cost="none",
        blind="Every element has the same say, so the order within the background, which nobody looks at, decides.",
    )

    def of_pair(self, first: Map, second: Map) -> Score:
        """Return the correlation of the ranks of two maps (*S)."""
        from scipy.stats import rankdata

        how = (words(self.part), "tied values have their mean rank")
        maps = paired(first, second, self.part)
        if isinstance(maps, Undefined):
            return Score("spearman", maps, "higher", n=0, how=how)
        value = correlated(*(rankdata(m, axis=None) for m in maps))
        return Score("spearman", value, "higher", 0.0, how=how)
