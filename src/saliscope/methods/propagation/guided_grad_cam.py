"""selvaraju2017, section 3.2: guided backpropagation times Grad-CAM on the input's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.methods.kernel import kernel_maps
from saliscope.methods.propagation.guided_backprop import GuidedBackprop
from saliscope.methods.resolution import one_cell, one_element, together

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GuidedGradCAM:
    """Guided backpropagation, element by element times Grad-CAM, interpolated linearly onto the input.

    The ReLU of Grad-CAM is on, as in the paper: without it, two negative factors would show as evidence.
    """

    layer: str = "auto"
    relu: bool = True

    traits: ClassVar[Traits] = Traits(
        family="propagation",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="selvaraju2017",
        cost="2 forward, K backward, K backward from the layer",
        blind="Its fine detail is that of guided backpropagation, an edge detector that hardly depends on the weights "
        "(adebayo2018); only its coarse place is of the class.",
        fails_randomisation=True,
    )

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S); raises MethodError for a network without a ReLU."""
        place = kernel_maps(model, x, target, [GradCAM(self.layer, self.relu)])[0]
        return GuidedBackprop().attribute(model, x, target) * model.onto_input(place, x, self.layer)

    def resolution(self, model: Model, x: Tensor) -> Sizes:
        """Return one element, which guided backpropagation shows, and the layer's cell, for x (1, C, *S)."""
        return together([one_element(self, model, x), one_cell(self, model, x)])
