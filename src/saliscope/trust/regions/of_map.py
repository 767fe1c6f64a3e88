"""The region that a map itself names by rank: its largest tenth. What it points at is `trust.claim`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.core.region import Mask, Region
from saliscope.metrics.ranking import counts_of, descending, finite, no_order

if TYPE_CHECKING:
    from saliscope.core.geometry import Geometry
    from saliscope.core.metric import Map

#: The share that a decile is.
DECILE = 0.1
SOURCE = "the map"


def top_share(attribution: Map, geometry: Geometry, share: float = DECILE, seed: int = 0) -> tuple[Region | None, str]:
    """Return the share of the elements (*S) with the largest values, exact by rank, and how, or None and why not.

    Of elements that tie with the last, some are drawn from `seed`. A map with fewer positive elements gives those
    only: what is zero or below speaks for nothing, and drawing among it would fill the region with chance.
    """
    import numpy as np

    values = finite(attribution)
    if reason := no_order(attribution):
        return None, reason
    positive = int((values > 0).sum())
    if positive == 0:
        return None, "nothing in the map is positive"
    asked = max(1, counts_of((share,), values.size)[0])
    count = min(asked, positive)
    chosen = np.zeros(values.size, np.bool_)
    chosen[descending(values, seed)[:count]] = True
    mask: Mask = chosen.reshape(values.shape)
    limit = values[mask].min()
    tied = int((values == limit).sum()) - int((values[mask] == limit).sum())
    how = f"the {count / values.size:.1%} of elements with the largest values"
    how += f"; only {positive} of {asked} asked for are positive" if positive < asked else ""
    how += f"; {tied} elements that tie with the last were left out by lot" if tied else ""
    name = "top decile of the map" if share == DECILE else f"top {share:.0%} of the map"
    return Region(mask, geometry, name, SOURCE), how
