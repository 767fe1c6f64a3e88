"""The share that each element has in a map, taken without its sign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.core.score import Undefined
from saliscope.metrics.ranking import finite, no_order

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from saliscope.core.metric import Map

    Floats = npt.NDArray[np.float64]

HOW = ("the map counts without its sign",)


def contributions(attribution: Map) -> Floats | Undefined:
    """Return the shares (n,) of the elements of a map (*S), which add up to 1, or why there are none to speak of.

    Raises MetricError for a map that is not finite.
    """
    import numpy as np

    if reason := no_order(attribution):
        return Undefined(reason)
    size = np.abs(finite(attribution)).ravel()
    size = size / size.max()  # so that no sum overflows
    shares: Floats = size / size.sum()
    return shares
