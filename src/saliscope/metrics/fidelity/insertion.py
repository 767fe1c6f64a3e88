"""petsiuk2018, insertion: how soon the score comes back as the largest values of a map are put in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import Fill, MetricTraits, Plan
from saliscope.core.score import Score
from saliscope.metrics.fidelity.ends import BLUR
from saliscope.metrics.fidelity.removal_curve import RemovalCurve

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Insertion:
    """Area under the insertion curve, normalised between image and filled image, minus that of random rankings.

    `levels` steps, both ends among them; more than the map has degrees of freedom tell nothing more. Random rankings
    are of single elements, or of about `random_segments` boxes, which disturb the image as a smooth map does.
    Undefined for maps without an order, and where filling everything does not lower the score.
    Raises MetricError for fields out of range.
    """

    fill: Fill = BLUR
    levels: int = 20
    random_rankings: int = 3
    random_segments: int = 0
    seed: int = 0

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="fidelity",
        direction="higher",
        range=(None, None),
        null="0, a random ranking's area being subtracted",
        citation="petsiuk2018",
        cost="20 forward samples, and 57 for the random rankings, which all maps of an image and both metrics share",
        blind="Filled images are unlike any that the network was trained on; another fill may turn the order of maps "
        "round. Scattered removals disturb a network more than smooth ones: compare maps of one grain.",
    )

    def __post_init__(self) -> None:
        self._curve()

    def ask(self, plan: Plan, attribution: Tensor, k: int = 0) -> Callable[[], Score]:
        """Put the copies into a plan for a map (*S); return what gives the score once it was run."""
        return self._curve().ask(plan, attribution, k, inserting=True)

    def _curve(self) -> RemovalCurve:
        return RemovalCurve(self.fill, self.levels, self.random_rankings, self.random_segments, self.seed)
