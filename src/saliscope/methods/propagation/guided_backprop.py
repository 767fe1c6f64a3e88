"""springenberg2014, figure 1: a ReLU sends back what is positive, where its input was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.propagation.rectified import rectified_map
from saliscope.methods.resolution import one_element

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GuidedBackprop:
    """The gradient with its negative part cut at every ReLU, summed over channels with its sign.

    A ReLU is changed however it is called, in place or not; leaky and smooth activations keep their gradient.
    """

    traits: ClassVar[Traits] = Traits(
        family="propagation",
        signed=True,
        grid="input",
        class_discriminative=False,
        citation="springenberg2014",
        cost="1 forward, K backward",
        blind="Close to an edge detector: it changes little when the class or the weights do (adebayo2018), so it "
        "shows what the image holds rather than what the model used.",
        fails_randomisation=True,
    )
    resolution = one_element

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in score per unit of the view; raises MethodError for a network without a ReLU."""
        return rectified_map(model, x, target, lambda g, passed: g.clamp(min=0) * passed)
