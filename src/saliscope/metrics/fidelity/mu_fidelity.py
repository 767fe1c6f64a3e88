"""bhatt2020, faithfulness by ranks: what a map says of random subsets is in the order of what the network says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import Fill, MetricTraits, Plan
from saliscope.core.score import Score, Undefined
from saliscope.metrics.fidelity.ends import BLUR
from saliscope.metrics.fidelity.subsets import Partition, Subsets, correlated

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.perturb.segments import Spacing


@dataclass(frozen=True)
class MuFidelity:
    """Spearman's correlation of the map summed over random subsets of segments with the drop of the score without them.

    `partition` "elements" takes single elements as the paper does, which on large images change next to nothing.
    Undefined where either side is the same for all subsets. Raises MetricError for fields out of range.
    """

    fill: Fill = BLUR
    share: float = 0.2
    samples: int = 100
    segments: int = 64
    partition: Partition = "slic"
    spacing: Spacing = None
    seed: int = 0

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="fidelity",
        direction="higher",
        range=(-1, 1),
        null="0, with a standard deviation of about one over the root of the segments, however many the subsets",
        citation="bhatt2020",
        cost="101 forward samples, shared by all maps of an image and all metrics of random subsets",
        blind="What the map says inside a segment. Segments differ in size, so a map that is nearly even goes with "
        "what is lost: compare with the part 'pearson of the area removed'.",
    )

    def __post_init__(self) -> None:
        self._subsets()

    def ask(self, plan: Plan, attribution: Tensor, k: int = 0) -> Callable[[], Score]:
        """Put the copies into a plan for a map (*S); return what gives the score once it was run."""
        subsets = self._subsets()
        correlation = correlated(plan, attribution, k, subsets, self.share)

        def score() -> Score:
            found = correlation()
            how = (*subsets.how, f"subsets of {self.share:g} of the segments; Spearman's correlation")
            if isinstance(found, Undefined):
                return Score("mu-fidelity", found, "higher", null=0.0, n=self.samples, how=how)
            return Score(
                "mu-fidelity",
                found.spearman,
                "higher",
                null=0.0,
                n=found.n,
                parts=found.parts,
                how=how,
            )

        return score

    def _subsets(self) -> Subsets:
        return Subsets(self.fill, (self.share,), self.samples, self.segments, self.partition, self.spacing, self.seed)
