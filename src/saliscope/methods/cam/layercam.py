"""jiang2021, eq. 5 to 7: activation times the positive part of its gradient, cell by cell."""

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
class LayerCAM:
    """The activation of a layer times the positive part of its gradient, summed over channels.

    The sign that remains is the activation's. The ReLU of eq. 7 is off by default, as in Grad-CAM.
    """

    layer: str = "auto"
    relu: bool = False

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="jiang2021",
        cost="1 forward, K backward from the layer",
        blind="Evidence against the class is dropped before the sum: the values add up to nothing known.",
    )
    resolution = one_cell

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S') of activation A and gradient g, both (N, C, *S'): sum of relu(g) A."""
        found = (gradient.relu() * activation).sum(dim=1)
        return found.relu() if self.relu else found

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid."""
        return kernel_maps(model, x, target, [self])[0]
