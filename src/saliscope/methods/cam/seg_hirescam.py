"""hasany2023, eq. 4: HiResCAM of a region of a segmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.cam.hirescam import HiResCAM
from saliscope.methods.kernel import kernel_maps
from saliscope.methods.resolution import one_cell

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SegHiResCAM:
    """The activation of a layer times the gradient of the logits of a region, cell by cell.

    As with Seg-Grad-CAM, the region is the target's, and the score its mean logit where the paper has the sum. The
    paper draws the positive part only; `relu` is off by default.
    """

    layer: str = "auto"
    relu: bool = False

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="hasany2023",
        cost="1 forward, K backward from the layer",
        blind="Near the output it mirrors the region itself: watch a layer deep in the network. No finer than that.",
    )
    resolution = one_cell

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S') of activation A and gradient g, both (N, C, *S'): sum of g A."""
        found = HiResCAM(self.layer).combine(activation, gradient)
        return found.relu() if self.relu else found

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid, in units of the score."""
        return kernel_maps(model, x, target, [self])[0]
