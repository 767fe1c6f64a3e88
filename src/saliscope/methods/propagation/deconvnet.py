"""zeiler2014, section 2.1: a deconvolutional network, in which a ReLU rectifies what it sends back."""

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
class DeconvNet:
    """The way back with a ReLU for every ReLU, whatever its input was, summed over channels with its sign.

    Max pooling goes back to the places of the maxima, the switches of the paper. A ReLU is changed however it is
    called, in place or not; leaky and smooth activations keep their gradient.
    """

    traits: ClassVar[Traits] = Traits(
        family="propagation",
        signed=True,
        grid="input",
        class_discriminative=False,
        citation="zeiler2014",
        cost="1 forward, K backward",
        blind="Without max pooling it hardly depends on the image, and elsewhere little on the class or the weights.",
        fails_randomisation=True,
    )
    resolution = one_element

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in score per unit of the view; raises MethodError for a network without a ReLU."""
        return rectified_map(model, x, target, lambda g, _passed: g.clamp(min=0))
