"""yeh2019, definition 2.1, optimally scaled: what a map foretells of a change of the image, beside what happens.

E[(beta I.a - (f(x) - f(x - I)))^2] with beta = E[(I.a)(f(x) - f(x - I))] / E[(I.a)^2], the mean over the removals I of
random subsets of segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from saliscope.core.errors import MetricError
from saliscope.core.metric import Fill, MetricTraits, Plan
from saliscope.core.score import Score, Undefined
from saliscope.metrics.fidelity.ends import BLUR, on_elements, resolution
from saliscope.metrics.fidelity.subsets import Partition, Subsets, summed

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.metrics.fidelity.ends import Floats
    from saliscope.metrics.fidelity.subsets import Members
    from saliscope.perturb.segments import Spacing

Units = Literal["contribution", "gradient"]


@dataclass(frozen=True)
class Infidelity:
    """Mean squared error, in squared units of the score, of the best multiple of a map in foretelling removals.

    A map in `units` of "contribution" (gradient times input, path, relevance and removal methods, and any map of
    places) is summed over what is gone; one in units of "gradient" is multiplied with the change I = x - x' first. The
    null is the infidelity of a map of one value everywhere. Undefined for a map that is zero or foretells nothing, and
    where no removal changes the score. Raises MetricError for fields out of range.
    """

    fill: Fill = BLUR
    units: Units = "contribution"
    share: float = 0.2
    samples: int = 100
    segments: int = 64
    partition: Partition = "slic"
    spacing: Spacing = None
    seed: int = 0

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="fidelity",
        direction="lower",
        range=(0, None),
        null="what a map of one value everywhere gives, measured on the same removals",
        citation="yeh2019",
        cost="101 forward samples, shared by all maps of an image and all metrics of random subsets",
        blind="The sign: a map and its negative have one infidelity, because the scale is fitted (part 'beta' tells "
        "them apart). Its size has the units of the score squared: compare maps of one image only.",
    )

    def __post_init__(self) -> None:
        self._subsets()
        if self.units not in ("contribution", "gradient"):
            raise MetricError(
                f"units {self.units!r}", expected="contribution or gradient", do="Say what the map's values are."
            )

    def ask(self, plan: Plan, attribution: Tensor, k: int = 0) -> Callable[[], Score]:
        """Put the copies into a plan for a map (*S); return what gives the score once it was run."""
        import numpy as np

        values, subsets = on_elements(plan, attribution), self._subsets()
        labels, gone = subsets.drawn(plan, self.share)
        ones = np.ones_like(values)
        if self.units == "gradient":
            said, constant = _along(plan, labels, gone, self.fill, values, ones)
        else:
            said, constant = summed(values, labels, gone), summed(ones, labels, gone)
        drops = subsets.asked(plan, self.share, k)

        def score() -> Score:
            dropped, whole = drops()
            reason = ""
            if float(np.abs(dropped).max()) <= resolution(whole):
                reason = "no removal changes the score"
            elif not said.any():
                reason = "the map is zero everywhere" if not values.any() else "the map foretells no change"
            how = (*subsets.how, *self._how(plan))
            null = scaled(constant, dropped)[0]
            if reason:
                return Score("infidelity", Undefined(reason), "lower", null, n=self.samples, how=how)
            value, beta = scaled(said, dropped)
            parts = {"beta": beta, "share unexplained": value / float((dropped**2).mean())}
            return Score("infidelity", value, "lower", null, n=self.samples, parts=parts, how=how)

        return score

    def _how(self, plan: Plan) -> tuple[str, ...]:
        if self.units == "contribution":
            units = "the map is summed over what is gone, as one of contributions; other units make it meaningless"
        else:
            units = "the map is multiplied with the change of the image, as a gradient; other units make it meaningless"
            if plan.x.shape[1] > 1:
                units += "; the changes of all channels are added, because the map has no channels"
        return (f"subsets of {self.share:g} of the segments", units, "scaled by the best factor beta")

    def _subsets(self) -> Subsets:
        return Subsets(self.fill, (self.share,), self.samples, self.segments, self.partition, self.spacing, self.seed)


def scaled(said: Floats, dropped: Floats) -> tuple[float, float]:
    """Return the mean squared error of the best multiple of what was said, and that multiple; 0 of nothing."""
    size = float(said @ said)
    beta = float(said @ dropped) / size if size else 0.0
    return float(((beta * said - dropped) ** 2).mean()), beta


def _along(plan: Plan, labels: Tensor, gone: Members, fill: Fill, *maps: Floats) -> list[Floats]:
    """Return for each map its products (m,) with the changes of the image where segments (m, count) are gone."""
    import numpy as np
    import torch

    found = []
    for one in torch.from_numpy(gone).split(1):
        # One at a time: a hundred copies of a volume would fill the memory.
        change = (plan.x - fill(plan.x, one[:, labels]))[0].double().sum(0).detach().cpu().numpy()
        found.append([float((change * values).sum()) for values in maps])
    return list(np.array(found).T)
