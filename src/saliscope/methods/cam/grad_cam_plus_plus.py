"""chattopadhay2018, eq. 19 for the coefficients of the positive gradients: Grad-CAM for several objects of a class."""

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
class GradCAMPlusPlus:
    """The activation of a layer, each channel weighed by a weighted sum over space of its positive gradient.

    The paper explains Y = exp(score): that factor is positive and common to a whole map, and overflows, so it is
    left out. Elsewhere one finds a denominator with the sum of A g³, which is not eq. 19: there the sum is over A
    alone. The last ReLU is off by default, as in Grad-CAM.
    """

    layer: str = "auto"
    relu: bool = False

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="chattopadhay2018",
        cost="1 forward, K backward from the layer",
        blind="Evidence against the class has no weight. Unstable where a layer's activation sums below zero.",
    )
    resolution = one_cell

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S') of activation A and gradient g, both (N, C, *S').

        With alpha = g² / (2 g² + g³ sum(A)), the weight of a channel is the sum of alpha relu(g).
        """
        axes = tuple(range(2, gradient.ndim))
        # alpha with g² divided out: no underflow of small gradients, and where g is 0 relu(g) drops the term.
        denominator = 2 + gradient * activation.sum(dim=axes, keepdim=True)
        positive = gradient.relu()
        term = (positive / denominator).where(denominator != 0, positive.new_zeros(()))
        found = (term.sum(dim=axes, keepdim=True) * activation).sum(dim=1)
        return found.relu() if self.relu else found

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid."""
        return kernel_maps(model, x, target, [self])[0]
