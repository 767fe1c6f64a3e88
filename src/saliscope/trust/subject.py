"""One map under examination: what checks and interventions look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.explanation import Explanation
from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Method
from saliscope.core.region import Region
from saliscope.core.target import Target
from saliscope.figures.place import placed
from saliscope.model.opened import OpenNetwork
from saliscope.model.view import View
from saliscope.perturb.plan import PerturbationPlan

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Subject:
    """A map of an image with the network that is open, the method that made it, and the one score that it explains.

    `target` has one column and is held for this image. `attribution` (*S) is the map on the elements of the view, raw
    and signed; `regions` lie on the grid of the view, by name. `plan` holds what is run of this image.
    Raises MetricError for a map of another grid.
    """

    image: MedicalImage
    view: View
    explanation: Explanation
    method: Method
    model: OpenNetwork
    target: Target
    attribution: npt.NDArray[np.float32] = field(repr=False)
    plan: PerturbationPlan = field(repr=False)
    regions: Mapping[str, Region] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.attribution.shape != self.view.geometry.shape:
            raise MetricError(
                f"a map of shape {self.attribution.shape} for a view of {self.view.geometry.shape}",
                expected="one value for each element of the view",
                do="Place it: saliscope.trust.subject.on_view.",
            )


def on_view(explanation: Explanation, view: View) -> npt.NDArray[np.float32]:
    """Return a map (*S) on the elements of the view that the network saw, linear between its own cells."""
    found: npt.NDArray[np.float32] = placed(explanation.values, explanation.geometry, view.geometry, explanation.seen)
    return found
