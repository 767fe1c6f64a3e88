"""sundararajan2017, section 3, completeness: a map adds up to the score above that of an input without evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import Fill, MetricTraits, Plan
from saliscope.core.score import Score, Undefined
from saliscope.metrics.fidelity.ends import BLUR, filled, on_elements, resolution, unchanged

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Completeness:
    """How far the sum of a map is from f(x) - f(x'), as a share of the latter: |sum a - df| / |df|.

    x' is the image with everything filled; it means something only where the map was made against the same x'.
    Undefined where both scores are equal.
    """

    fill: Fill = BLUR

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="fidelity",
        direction="lower",
        range=(0, None),
        null="1 for a map that adds up to nothing; a random one may be anywhere above",
        citation="sundararajan2017",
        cost="2 forward samples, shared by all maps of an image",
        blind="Where the values lie: any map can be multiplied until it is complete. Maps that are no contributions "
        "(class activation, saliency) are not meant to be.",
    )

    def ask(self, plan: Plan, attribution: Tensor, k: int = 0) -> Callable[[], Score]:
        """Put the copies into a plan for a map (*S); return what gives the score once it was run."""
        total = float(on_elements(plan, attribution).sum())
        whole, without = unchanged(plan, self.fill), filled(plan, self.fill)

        def score() -> Score:
            first, last = float(plan.score(whole)[k]), float(plan.score(without)[k])
            change = first - last
            parts = {"sum of the map": total, "change of the score": change}
            how = (f"against the image filled by {self.fill.name}, which must be the map's own baseline",)
            if abs(change) <= resolution(first, last):
                reason = Undefined("the fill does not change the score")
                return Score("completeness", reason, "lower", null=1.0, n=2, parts=parts, how=how)
            value = abs(total - change) / abs(change)
            return Score("completeness", value, "lower", null=1.0, n=2, parts=parts, how=how)

        return score
