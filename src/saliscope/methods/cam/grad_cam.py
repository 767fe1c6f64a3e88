"""selvaraju2017, eq. 1 and 2: channels weighed by their mean gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import kernel_maps
from saliscope.methods.resolution import one_cell

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GradCAM:
    """The activation of a layer, each channel weighed by the mean over space of its gradient, with its sign.

    The ReLU of eq. 2 hides evidence against the class and blanks a map that has no other; it is off by default,
    because the positive part can always be taken later.
    """

    layer: str = "auto"
    relu: bool = False

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="selvaraju2017",
        cost="1 forward, K backward from the layer",
        blind="One weight a channel: it can light up places that the class did not use. No finer than the layer.",
    )
    resolution = one_cell

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S') of activation A and gradient g, both (N, C, *S'): sum of mean(g) A."""
        weight = gradient.flatten(2).mean(dim=2).reshape(*gradient.shape[:2], *[1] * (gradient.ndim - 2))
        found = (weight * activation).sum(dim=1)
        return found.relu() if self.relu else found

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid."""
        return kernel_maps(model, x, target, [self])[0]
