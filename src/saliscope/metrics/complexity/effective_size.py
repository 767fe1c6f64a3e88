"""hill1973: how many equal elements would be spread as widely as the map, as a share of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.complexity.contribution import HOW, contributions

if TYPE_CHECKING:
    from saliscope.core.metric import Map


@dataclass(frozen=True)
class EffectiveSize:
    """The exponential of the entropy of a map over its number of elements: near 0 for a point, 1 for a flat map."""

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="complexity",
        direction="neither",
        range=(0.0, 1.0),
        null="none: a map that knows nothing may be as compact as one that knows",
        citation="hill1973",
        cost="none",
        blind="A compact map is not a right one. Two far foci and one of their joint size are the same.",
    )

    def of_map(self, attribution: Map) -> Score:
        """Return the share of the image that a map (*S) effectively covers; `parts` has the number of elements."""
        from math import exp

        from scipy.special import entr

        shares = contributions(attribution)
        if isinstance(shares, Undefined):
            return Score("effective-size", shares, "neither", n=0, how=HOW)
        number = exp(float(entr(shares).sum()))
        value = min(1.0, number / shares.size)
        return Score("effective-size", value, "neither", parts={"elements": number}, how=HOW)
