"""A map beside a region, ready to be compared: what of the map counts, and why a comparison may say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from saliscope.core.errors import MetricError
from saliscope.core.score import Direction, Score, Undefined
from saliscope.metrics.ranking import finite, no_order

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from saliscope.core.metric import Map, Mask

    Floats = npt.NDArray[np.float64]

#: What of a signed map counts as pointing at a place: what speaks for the target, or everything that matters to it.
Part = Literal["positive", "magnitude"]
HOW = {
    "positive": "only the positive part of the map counts",
    "magnitude": "the map counts without its sign",
}


@dataclass(frozen=True, eq=False)
class Place:
    """The values of a map that count (*S), none negative and not all alike, and a region (*S) inside the image."""

    values: Floats
    mask: npt.NDArray[np.bool_]

    @property
    def area(self) -> float:
        """Return the share of the image that the region takes, above 0 and below 1."""
        return float(self.mask.mean())


def placed(attribution: Map, mask: Mask, part: Part) -> Place | Undefined:
    """Return a map beside a region, or why nothing can be said of them.

    Raises MetricError for another shape, a mask that is not boolean, an unknown part, or a map that is not finite.
    """
    import numpy as np

    values = counted(attribution, part)
    region = np.asarray(mask)
    if region.dtype != np.bool_ or region.shape != values.shape:
        raise MetricError(
            f"a mask of {region.dtype} {region.shape} beside a map of {values.shape}",
            expected="a boolean mask on the grid of the map",
            do="Put the region on the map's grid first, and compare it with a number to make it boolean.",
        )
    if not region.any():
        return Undefined("the mask is empty")
    if region.all():
        return Undefined("the mask covers the whole image")
    if reason := no_order(attribution):
        return Undefined(reason)
    if values.max() == 0:
        return Undefined("the map is positive nowhere")
    if values.min() == values.max():
        return Undefined("the magnitude of the map is the same everywhere")
    return Place(values, region)


def counted(attribution: Map, part: Part) -> Floats:
    """Return what of a map (*S) counts, as float64 of its own; raises MetricError for an unknown part."""
    import numpy as np

    if part not in HOW:
        raise MetricError(f"part {part!r} of a map", expected=" or ".join(HOW), do="Choose one of them.")
    values = finite(attribution)
    return np.maximum(values, 0.0) if part == "positive" else np.abs(values)


def undefined(metric: str, direction: Direction, why: Undefined, part: Part) -> Score:
    """Return the score of a map of which nothing can be said."""
    return Score(metric, why, direction, n=0, how=(HOW[part],))


def over_chance(metric: str, value: float, null: float, place: Place, part: Part, *how: str) -> Score:
    """Return a score of which more is better, with how many times chance it is and the region's share of the image."""
    parts = {"lift": value / null, "area": place.area}
    return Score(metric, value, "higher", null, parts=parts, how=(HOW[part], *how))
