"""vinogradova2020, eq. 1 and 2: Grad-CAM of a region of a segmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.methods.kernel import kernel_maps
from saliscope.methods.resolution import one_cell

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SegGradCAM:
    """The activation of a layer, each channel weighed by the mean gradient of the logits of a region.

    What makes it Seg-Grad-CAM is the score, and that is the target's: the logit of a class over a fixed region, by
    default where the class is predicted. The paper sums it over the region, a target takes the mean, so that regions
    of any size compare; the maps differ by that one factor. With the score of a classifier it is Grad-CAM.
    """

    layer: str = "auto"
    relu: bool = False

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="vinogradova2020",
        cost="1 forward, K backward from the layer",
        blind="One weight a channel for the whole image: blind to which part of it the region used.",
    )
    resolution = one_cell

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S') of activation A and gradient g, both (N, C, *S'): sum of mean(g) A."""
        return GradCAM(self.layer, self.relu).combine(activation, gradient)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid."""
        return kernel_maps(model, x, target, [self])[0]
