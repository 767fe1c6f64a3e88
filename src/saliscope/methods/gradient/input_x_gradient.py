"""shrikumar2016, section 3: each element of the input times its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import INPUT, Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import kernel_maps
from saliscope.methods.resolution import one_element

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class InputXGradient:
    """The gradient at the input times the input, summed over channels: the score's first-order share of each element.

    The reference is the view's own zero, which after a normalisation is a mean grey and not black.
    """

    traits: ClassVar[Traits] = Traits(
        family="gradient",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="shrikumar2016",
        cost="1 forward, K backward",
        blind="Whatever the view holds at zero gets nothing, however much it matters. Noisy.",
    )
    resolution = one_element

    @property
    def layer(self) -> str:
        """Return `INPUT`."""
        return INPUT

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S) of input and gradient, both (N, C, *S)."""
        return (activation * gradient).sum(dim=1)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score."""
        return kernel_maps(model, x, target, [self])[0]
