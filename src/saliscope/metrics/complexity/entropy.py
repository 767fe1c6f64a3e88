"""bhatt2020: how widely a map is spread, by the entropy of the shares of its elements."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.complexity.contribution import HOW, contributions

if TYPE_CHECKING:
    from saliscope.core.metric import Map


@dataclass(frozen=True)
class Entropy:
    """The entropy, in nats, of the elements' shares in the sum of magnitudes."""

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="complexity",
        direction="neither",
        range=(0.0, None),
        null="none: a map that knows nothing may be as compact as one that knows",
        citation="bhatt2020",
        cost="none",
        blind="Grows with the number of elements, so maps of different size do not compare; the most that it can be "
        "stands beside it. A compact map is not a right one.",
    )

    def of_map(self, attribution: Map) -> Score:
        """Return the entropy of a map (*S); `parts` holds the most that it can be for so many elements."""
        from scipy.special import entr

        shares = contributions(attribution)
        if isinstance(shares, Undefined):
            return Score("entropy", shares, "neither", n=0, how=HOW)
        return Score("entropy", float(entr(shares).sum()), "neither", parts={"most": log(shares.size)}, how=HOW)
