"""gildenblat2021, EigenGradCAM, after muhammad2020: activation times gradient along its first principal component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.cam.eigen_cam import first_component
from saliscope.methods.kernel import kernel_maps
from saliscope.methods.resolution import one_cell

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EigenGradCAM:
    """The activation of a layer times its gradient, projected on its first right singular vector.

    As Eigen-CAM, but it knows the class. `centred` takes the mean over space from each channel first, as its only
    source does; the sign is such that the map's product with HiResCAM's is not negative.
    """

    layer: str = "auto"
    centred: bool = True

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="gildenblat2021",
        cost="1 forward, K backward from the layer",
        blind="Keeps the strongest pattern only, of evidence for and against alike; arbitrary where two are equal.",
    )
    resolution = one_cell

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S') of activation A and gradient g, both (N, C, *S'): g A along its first component."""
        return first_component(gradient * activation, centred=self.centred)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid."""
        return kernel_maps(model, x, target, [self])[0]
