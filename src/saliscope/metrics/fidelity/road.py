"""rong2022: what is lost with the most relevant elements beside what is lost with the least, holes filled smoothly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MetricError
from saliscope.core.metric import MetricTraits, Plan
from saliscope.core.score import Score, Undefined
from saliscope.metrics.fidelity.ends import on_elements, unchanged
from saliscope.metrics.ranking import counts_of, descending, no_order
from saliscope.perturb.impute import RoadFill

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.core.metric import Map


@dataclass(frozen=True)
class ROAD:
    """Half the score with the least relevant shares removed less that with the most relevant, as a mean over shares.

    Exactly the share is removed at either end of the ranking, never all that is tied at a threshold; ties are drawn
    from `seed`. `parts` are the mean scores with the most relevant removed first (`morf`), with the least (`lerf`) and
    of the image itself; `curve` holds a share and its half difference. Undefined for maps without an order.
    Raises MetricError for shares that are none, not between 0 and 1, or twice the same.
    """

    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    fill: RoadFill = field(default=RoadFill())
    seed: int = 0

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="fidelity",
        direction="higher",
        range=(None, None),
        null="0, a random ranking's two ends being alike",
        citation="rong2022",
        cost="19 forward samples and 18 imputations",
        blind="What stands beside the rim of a hole bleeds into it, so holes of smooth maps lose less than they hold. "
        "Being in units of the score, it compares between networks by its sign alone.",
    )

    def __post_init__(self) -> None:
        if not self.shares or not all(0 < s < 1 for s in self.shares) or len(set(self.shares)) < len(self.shares):
            raise MetricError(
                f"shares={self.shares}", expected="different parts between 0 and 1", do="Give such as 0.1, 0.5, 0.9."
            )

    def ask(self, plan: Plan, attribution: Tensor, k: int = 0) -> Callable[[], Score]:
        """Put the copies into a plan for a map (*S); return what gives the score once it was run."""
        values = on_elements(plan, attribution)
        if reason := no_order(values):
            nothing = Score("road", Undefined(reason), "higher", null=0.0, n=0)
            return lambda: nothing
        most, least = (plan.removed(gone, self.fill) for gone in self._removals(values))
        whole = unchanged(plan, self.fill)
        how = (f"filled by {self.fill.name}", self._ties(values))

        def scored() -> Score:
            morf, lerf = ([float(plan.score(ticket)[k]) for ticket in tickets] for tickets in (most, least))
            gaps = [(last - first) / 2 for last, first in zip(lerf, morf, strict=True)]
            parts = {"morf": _mean(morf), "lerf": _mean(lerf), "unchanged": float(plan.score(whole)[k])}
            curve = tuple(zip(self.shares, gaps, strict=True))
            return Score("road", _mean(gaps), "higher", null=0.0, n=len(gaps), curve=curve, parts=parts, how=how)

        return scored

    def _removals(self, values: Map) -> tuple[Tensor, Tensor]:
        """Return what is gone (m, *S) at each share, the most relevant first and the least relevant first."""
        import torch

        order = torch.from_numpy(descending(values, self.seed))
        gone = torch.zeros(2, len(self.shares), order.numel(), dtype=torch.bool)
        for i, count in enumerate(counts_of(self.shares, order.numel())):
            gone[0, i, order[:count]] = True
            gone[1, i, order[order.numel() - count :]] = True
        most, least = gone.unflatten(2, values.shape)
        return most, least

    def _ties(self, values: Map) -> str:
        import numpy as np

        alike = np.unique(values, return_counts=True)[1]
        tied = int(alike[alike > 1].sum()) / values.size
        return f"{tied:.0%} of the elements tied, their order drawn from seed {self.seed}" if tied else "no ties"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
