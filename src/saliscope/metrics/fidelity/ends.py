"""Where every removal starts and ends: a map on the image's own elements, the image, and the image all filled."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from saliscope.core.errors import MetricError
from saliscope.core.metric import Fill, Plan
from saliscope.metrics.ranking import finite
from saliscope.perturb.fill import BaselineFill

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    Floats = npt.NDArray[np.float64]

T = TypeVar("T")

#: What was found or asked for a plan whatever the map; it is forgotten with the plan.
_KEPT: WeakKeyDictionary[Plan, dict[Hashable, Any]] = WeakKeyDictionary()

#: What stands for nothing unless another fill is asked for: the image without detail.
BLUR: Fill = BaselineFill("blur")

#: Scores that differ by less than this share of their size, or of one, do not differ: a network in float32 rounds.
SMALLEST = 1e-5


def on_elements(plan: Plan, attribution: Tensor) -> Floats:
    """Return a map (*S) in float64; raises MetricError unless it is finite and on the image's own elements."""
    shape = tuple(plan.x.shape[2:])
    if tuple(attribution.shape) != shape:
        raise MetricError(
            f"a map of shape {tuple(attribution.shape)} for an image of {shape}",
            expected="one value for each element of the image",
            do="Bring the map onto the image's own elements first.",
        )
    return finite(attribution.detach().cpu().numpy())


def once(plan: Plan, key: Hashable, make: Callable[[], T]) -> T:
    """Return what `make` gives, made once for a plan: partitions, random orders and subsets serve every map."""
    kept = _KEPT.setdefault(plan, {})
    if key not in kept:
        kept[key] = make()
    found: T = kept[key]
    return found


def unchanged(plan: Plan, fill: Fill) -> int:
    """Ask for the image itself; return its ticket."""
    import torch

    return plan.removed(torch.zeros((1, *plan.x.shape[2:]), dtype=torch.bool), fill)[0]


def filled(plan: Plan, fill: Fill) -> int:
    """Ask for the image with everything filled; return its ticket."""
    import torch

    return plan.removed(torch.ones((1, *plan.x.shape[2:]), dtype=torch.bool), fill)[0]


def resolution(*scores: float) -> float:
    """Return the difference below which these scores are equal."""
    return SMALLEST * max(1.0, *(abs(s) for s in scores))
