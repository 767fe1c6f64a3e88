"""simonyan2013, section 3, eq. 3 and 4: how much the score moves when an element of the input moves."""

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
class Gradient:
    """The gradient of the score at the input, summed over channels with its sign.

    With `magnitude` the largest absolute value over channels, as in the paper, which has no sign.
    """

    magnitude: bool = False

    traits: ClassVar[Traits] = Traits(
        family="gradient",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="simonyan2013",
        cost="1 forward, K backward",
        blind="Local slope only: evidence that is saturated has none. Noisy, and says nothing of how bright a spot is.",
    )
    resolution = one_element

    @property
    def layer(self) -> str:
        """Return `INPUT`."""
        return INPUT

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG002 - the contract of a kernel
        """Return the map (N, *S) of a gradient (N, C, *S)."""
        return gradient.abs().amax(dim=1) if self.magnitude else gradient.sum(dim=1)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in score per unit of the view."""
        return kernel_maps(model, x, target, [self])[0]
