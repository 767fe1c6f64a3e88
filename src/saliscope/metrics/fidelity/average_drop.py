"""chattopadhay2018, average drop and increase: the score of an image that is dimmed where its map is low."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import Fill, MetricTraits, Plan
from saliscope.core.score import Direction, Score, Undefined
from saliscope.metrics.fidelity.ends import BLUR, filled, on_elements, resolution, unchanged
from saliscope.metrics.ranking import no_order

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.metrics.fidelity.ends import Floats

_BLIND = (
    "Gameable: a map that is high nearly everywhere changes nothing and is perfect. The paper's own fill, the view's "
    "zero, is the mean of the data and no absence, and a dimmed image is unlike any that the network was trained on."
)
_COST = "2 forward samples, and one that only this map asks for"
_HOW = (
    "the map's own least value is no weight and its largest is full weight, as the paper has it, negative ones too",
    "means something for probabilities; a share of a logit depends on where its zero lies",
)


@dataclass(frozen=True)
class AverageDrop:
    """Share of the score that is lost when the image is blended into a fill by the min-max normalised map.

    max(0, f(x) - f(x')) / f(x) of one image, averaged over images by whoever gathers them. Undefined for maps without
    an order and where the score is not positive.
    """

    fill: Fill = BLUR

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="fidelity",
        direction="lower",
        range=(0, None),
        null="none is known; the part 'filled' is the score when nothing is shown",
        citation="chattopadhay2018",
        cost=_COST,
        blind=_BLIND,
    )

    def ask(self, plan: Plan, attribution: Tensor, k: int = 0) -> Callable[[], Score]:
        """Put the copies into a plan for a map (*S); return what gives the score once it was run."""
        return _asked("average-drop", "lower", plan, attribution, self.fill, k)


@dataclass(frozen=True)
class AverageIncrease:
    """1 where the score rises when the image is blended into a fill by the min-max normalised map, else 0.

    Undefined for maps without an order.
    """

    fill: Fill = BLUR

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="fidelity",
        direction="higher",
        range=(0, 1),
        null="none is known",
        citation="chattopadhay2018",
        cost=_COST,
        blind=_BLIND,
    )

    def ask(self, plan: Plan, attribution: Tensor, k: int = 0) -> Callable[[], Score]:
        """Put the copies into a plan for a map (*S); return what gives the score once it was run."""
        return _asked("average-increase", "higher", plan, attribution, self.fill, k)


def _asked(name: str, direction: Direction, plan: Plan, attribution: Tensor, fill: Fill, k: int) -> Callable[[], Score]:
    values = on_elements(plan, attribution)
    if reason := no_order(values):
        return lambda: Score(name, Undefined(reason), direction, n=0)
    whole, without = unchanged(plan, fill), filled(plan, fill)
    dimmed = plan.changed(
        f"blend {fill.name} {hashlib.sha256(values.tobytes()).hexdigest()}", lambda: blended(plan.x, values, fill)
    )

    def score() -> Score:
        first, last, shown = (float(plan.score(ticket)[k]) for ticket in (whole, without, dimmed))
        parts = {"unchanged": first, "filled": last, "shown": shown}
        how = (f"blended into the image filled by {fill.name}", *_HOW)
        value: float | Undefined = float(shown - first > resolution(first, shown))
        if name == "average-drop":
            positive = first > resolution(first)
            value = max(0.0, first - shown) / first if positive else Undefined("the score is not positive")
        return Score(name, value, direction, n=3, parts=parts, how=how)

    return score


def blended(x: Tensor, values: Floats, fill: Fill) -> Tensor:
    """Return the image (C, *S) where a map (*S) is largest, its fill where it is least, and a blend between."""
    import torch

    weight = torch.from_numpy((values - values.min()) / (values.max() - values.min())).to(x)
    nothing = fill(x, torch.ones((1, *x.shape[2:]), dtype=torch.bool))[0]
    return nothing + weight * (x[0] - nothing)
