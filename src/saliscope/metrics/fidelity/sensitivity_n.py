"""ancona2018, sensitivity-n: for subsets of n features, the sum of a map goes with what the network loses."""

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
class SensitivityN:
    """Mean, over sizes n, of Pearson's correlation of the map summed over random subsets with the drop of the score.

    Sizes are `shares` of the segments. A size at which the correlation is undefined is excluded and counted; Undefined
    where all are. Raises MetricError for fields out of range.
    """

    fill: Fill = BLUR
    shares: tuple[float, ...] = (0.05, 0.2, 0.5, 0.8)
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
        citation="ancona2018",
        cost="401 forward samples, shared by all maps of an image; those of one size with all metrics of subsets",
        blind="What the map says inside a segment. Segments differ in size, so a map that is nearly even goes with "
        "what is lost: compare with the part 'pearson of the area removed'.",
    )

    def __post_init__(self) -> None:
        self._subsets()

    def ask(self, plan: Plan, attribution: Tensor, k: int = 0) -> Callable[[], Score]:
        """Put the copies into a plan for a map (*S); return what gives the score once it was run."""
        subsets = self._subsets()
        asked = [(share, correlated(plan, attribution, k, subsets, share)) for share in sorted(self.shares)]

        def score() -> Score:
            all_ = [(share, correlation()) for share, correlation in asked]
            found = [(share, c) for share, c in all_ if not isinstance(c, Undefined)]
            reasons = [c.reason for _, c in all_ if isinstance(c, Undefined)]
            excluded = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
            how = (*subsets.how, "the mean over the sizes of the curve, which are shares of the segments")
            if not found:
                return Score("sensitivity-n", Undefined(reasons[0]), "higher", 0.0, n=0, excluded=excluded, how=how)
            mean = sum(c.pearson for _, c in found) / len(found)
            return Score(
                "sensitivity-n",
                mean,
                "higher",
                null=0.0,
                n=len(found),
                excluded=excluded,
                curve=tuple((share, c.pearson) for share, c in found),
                parts=_means([c.parts for _, c in found]),
                how=how,
            )

        return score

    def _subsets(self) -> Subsets:
        return Subsets(self.fill, self.shares, self.samples, self.segments, self.partition, self.spacing, self.seed)


def _means(parts: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(p[name] for p in parts) / len(parts) for name in parts[0] if all(name in p for p in parts)}
