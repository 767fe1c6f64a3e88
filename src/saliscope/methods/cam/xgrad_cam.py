"""fu2020, the definition of XGrad-CAM: channels weighed by their gradient, averaged where they are active."""

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
class XGradCAM:
    """The activation of a layer, each channel weighed by its gradient averaged with the activation as weight.

    The map sums to the same total as HiResCAM's, which is what each channel adds to the score to first order
    (the paper's conservation); Grad-CAM's does not. A channel whose activation sums to exactly zero has no such
    average and gets no weight. The paper draws the positive part only; `relu` is off by default, as in Grad-CAM.
    """

    layer: str = "auto"
    relu: bool = False

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="fu2020",
        cost="1 forward, K backward from the layer",
        blind="One weight a channel. Unstable at layers with negative values, where a channel can sum to nearly zero.",
    )
    resolution = one_cell

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S') of activation A and gradient g, both (N, C, *S'): sum of sum(g A) / sum(A) A."""
        axes = tuple(range(2, activation.ndim))
        total = activation.sum(dim=axes, keepdim=True)
        share = (activation / total).where(total != 0, activation.new_zeros(()))
        found = ((gradient * activation).sum(dim=axes, keepdim=True) * share).sum(dim=1)
        return found.relu() if self.relu else found

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid, in units of the score."""
        return kernel_maps(model, x, target, [self])[0]
