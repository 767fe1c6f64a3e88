"""chalasani2020: how unequal the elements of a map are, by the Gini index of their magnitudes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.complexity.contribution import HOW, contributions

if TYPE_CHECKING:
    from saliscope.core.metric import Map


@dataclass(frozen=True)
class Gini:
    """The Gini index of the magnitudes: 0 where all are alike, near 1 where one element has everything."""

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="complexity",
        direction="neither",
        range=(0.0, 1.0),
        null="none: a map that knows nothing may be as sparse as one that knows",
        citation="chalasani2020",
        cost="none",
        blind="A sparse map is not a right one. Coarse maps that are drawn finer keep their value; rectified ones "
        "are sparse because half of them was thrown away.",
    )

    def of_map(self, attribution: Map) -> Score:
        """Return the index of a map (*S)."""
        import numpy as np

        shares = contributions(attribution)
        if isinstance(shares, Undefined):
            return Score("gini", shares, "neither", n=0, how=HOW)
        n = shares.size
        above = 2 * np.arange(1, n + 1) - n - 1
        value = float((above * np.sort(shares)).sum() / n)
        return Score("gini", max(value, 0.0), "neither", how=HOW)
