"""arun2021: average precision of a map as a classifier of elements into region and rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.localisation.place import Part, over_chance, placed, undefined

if TYPE_CHECKING:
    from saliscope.core.geometry import Geometry
    from saliscope.core.metric import Map, Mask


@dataclass(frozen=True)
class AUPRC:
    """Average precision: over all thresholds, the precision times the gain in recall.

    Elements tied in value are taken together, as scikit-learn does, so that no order within a tie is made up; of maps
    that are zero nearly everywhere this is less than the mean over orders. `part`: "positive" or "magnitude".
    """

    part: Part = "positive"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="localisation",
        direction="higher",
        range=(0.0, 1.0),
        null="the region's share of the image",
        citation="arun2021",
        cost="none",
        blind="Its floor is the region's share, so values of small and large regions do not compare; read the lift. "
        "Says nothing of whether the network uses the region.",
    )

    def of_place(self, attribution: Map, mask: Mask, geometry: Geometry | None = None) -> Score:  # noqa: ARG002
        """Return the average precision of a map (*S) beside a mask (*S); the geometry is not looked at."""
        import numpy as np

        place = placed(attribution, mask, self.part)
        if isinstance(place, Undefined):
            return undefined("auprc", "higher", place, self.part)
        order = np.argsort(-place.values, axis=None, kind="stable")
        values, hits = place.values.ravel()[order], np.cumsum(place.mask.ravel()[order])
        last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
        found, taken = hits[last], last + 1
        value = float((np.diff(found, prepend=0) * found / taken).sum() / hits[-1])
        return over_chance("auprc", value, place.area, place, self.part, "tied elements are taken together")
