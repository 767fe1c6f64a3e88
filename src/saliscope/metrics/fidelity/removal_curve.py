"""petsiuk2018, deletion and insertion: the score while elements are removed in an order, beside that of random orders.

Insertion in an order is removal in the reverse order, read from the other end; so both metrics, and the random orders
of both, ask for copies of one kind, and those that are equal are run once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.metric import Fill, Plan
from saliscope.core.score import Direction, Interval, Score, Undefined
from saliscope.metrics.fidelity.ends import on_elements, once, resolution
from saliscope.metrics.fidelity.subsets import parted
from saliscope.metrics.ranking import descending, no_order

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.metrics.fidelity.ends import Floats
    from saliscope.metrics.ranking import Order


#: Random curves that leave the scores between both ends by more than this share of the way say so (a convention).
FAR = 0.5


@dataclass(frozen=True)
class RemovalCurve:
    """How elements are removed: by which fill, in how many steps, and which random orders stand beside."""

    fill: Fill
    levels: int
    random_rankings: int
    random_segments: int
    seed: int

    def __post_init__(self) -> None:
        if self.levels < 1 or self.random_rankings < 1 or self.random_segments < 0 or self.random_segments == 1:
            raise MetricError(
                f"{self.levels} levels, {self.random_rankings} random rankings of {self.random_segments} segments",
                expected="one level and one ranking or more, and 0 or at least 2 segments",
                do="Correct the fields.",
            )

    def ask(self, plan: Plan, attribution: Tensor, k: int, *, inserting: bool) -> Callable[[], Score]:
        """Put the copies of a map's order and of the random orders into a plan; return what gives the score."""
        values = on_elements(plan, attribution)
        name = "insertion" if inserting else "deletion"
        direction: Direction = "higher" if inserting else "lower"
        if reason := no_order(values):
            return lambda: Score(name, Undefined(reason), direction, null=0.0, n=0)
        order = descending(values, self.seed)
        counts = steps(values.size, self.levels)
        asked = [removals(plan, order[::-1] if inserting else order, counts, self.fill)]
        asked += once(plan, self, lambda: [removals(plan, o, counts, self.fill) for o in self.random_orders(plan)])
        shares = [count / values.size for count in counts]

        def score() -> Score:
            import numpy as np

            curves = [np.array([float(plan.score(ticket)[k]) for ticket in tickets]) for tickets in asked]
            return self._summed_up(name, direction, shares, curves, inserting)

        return score

    def random_orders(self, plan: Plan) -> list[Order]:
        """Return the random orders: of an image and a seed, whatever the map."""
        import numpy as np

        size = plan.x[0, 0].numel()
        found = []
        for ranking in range(self.random_rankings):
            stream = np.random.default_rng([self.seed, 1 + ranking])
            drawn = stream.permutation(size)
            if self.random_segments:
                labels = parted(plan, self.random_segments, "grid").numpy().ravel()
                rank = stream.permutation(int(labels.max()) + 1)
                drawn = drawn[np.argsort(rank[labels[drawn]], kind="stable")]
            found.append(drawn)
        return found

    def _summed_up(
        self, name: str, direction: Direction, shares: list[float], curves: list[Floats], inserting: bool
    ) -> Score:
        first, last = float(curves[0][0]), float(curves[0][-1])
        parts = {"unchanged": first, "filled": last}
        how = self._how(inserting)
        if first - last <= resolution(first, last):
            reason = (
                "the fill does not change the score"
                if abs(first - last) <= resolution(first, last)
                else "the score rises when everything is filled, so there is no evidence to remove"
            )
            return Score(name, Undefined(reason), direction, null=0.0, n=len(shares), parts=parts, how=how)
        own, *random = [area(shares, (c - last) / (first - last)) for c in curves]
        mean = sum(random) / len(random)
        beyond = max(max(float(c.max()) - first, last - float(c.min())) for c in curves[1:]) / (first - last)
        if beyond > FAR:
            how += ("partly filled images score far beyond the image and the filled image: the fill itself speaks",)
        curve = tuple(zip(shares, ((curves[0] - last) / (first - last)).tolist(), strict=True))
        if inserting:
            curve = tuple((1 - share, value) for share, value in reversed(curve))
        parts |= {
            "raw auc": area(shares, curves[0]),
            "normalised auc": own,
            "random auc": mean,
            "random auc, least": min(random),
            "random auc, most": max(random),
            "random curves beyond the ends": beyond,
        }
        kind = f"range over {len(random)} random rankings"
        return Score(
            name,
            own - mean,
            direction,
            null=0.0,
            interval=Interval(own - max(random), own - min(random), kind, None),
            n=len(shares),
            curve=curve,
            parts=parts,
            how=how,
        )

    def _how(self, inserting: bool) -> tuple[str, ...]:
        grain = f"about {self.random_segments} boxes" if self.random_segments else "single elements"
        verb = "inserted into the filled image" if inserting else "removed"
        ties, random = f"ties drawn from seed {self.seed}", f"{self.random_rankings} random rankings of {grain}"
        return (
            f"the largest values {verb} first, all channels together, in {self.levels} steps; {ties}",
            f"filled by {self.fill.name}",
            f"area under the curve from 0 (filled) to 1 (the image), minus the mean of {random}",
        )


def steps(size: int, levels: int) -> list[int]:
    """Return how many of `size` elements are gone at each step, from none to all, both ends among them."""
    levels = min(levels, size)
    return [(2 * step * size + levels) // (2 * levels) for step in range(levels + 1)]


def removals(plan: Plan, order: Order, counts: Sequence[int], fill: Fill) -> Sequence[int]:
    """Ask for the image without the first elements of an order, at every count; return the tickets."""
    import numpy as np
    import torch

    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    gone = rank[None] < np.array(counts)[:, None]
    return plan.removed(torch.from_numpy(gone.reshape(len(counts), *plan.x.shape[2:])), fill)


def area(shares: Sequence[float], values: Floats) -> float:
    """Return the area by the trapezoidal rule, over shares from 0 to 1."""
    import numpy as np

    return float((np.diff(shares) * (values[1:] + values[:-1]) / 2).sum())
