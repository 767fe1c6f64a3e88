"""selvaraju2017, section 3.2: guided backpropagation, by any coarse map in place of Grad-CAM's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Method, Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.combine.inner import adopt, made, on_input
from saliscope.methods.propagation.guided_backprop import GuidedBackprop
from saliscope.methods.resolution import one_element, resolution_of, together

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Guided:
    """Guided backpropagation, element by element times a `method`'s map, a layer's interpolated onto the input.

    `relu` takes the positive part of the method's map, as in the paper, before it is interpolated: without it two
    negative factors would show as evidence.
    """

    method: str | Method = "grad-cam"
    relu: bool = True

    traits: ClassVar[Traits] = Traits(
        family="combine",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="selvaraju2017",
        cost="1 forward, K backward, and the method's",
        blind="Its fine detail is that of guided backpropagation, an edge detector that hardly depends on the weights "
        "(adebayo2018); only its coarse place is the method's.",
        fails_randomisation=True,
    )

    def __post_init__(self) -> None:
        adopt(
            self,
            signed=True,
            grid="input",
            citation="selvaraju2017",
            cost="1 forward, K backward, and {}",
            blind=type(self).traits.blind + " {}",
            fails_randomisation=True,
        )

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S); raises MethodError for a network without a ReLU."""
        method = made(self.method)
        place = method.attribute(model, x, target)
        coarse = on_input(model, place.relu() if self.relu else place, x, method)
        return GuidedBackprop().attribute(model, x, target) * coarse

    def resolution(self, model: Model, x: Tensor) -> Sizes:
        """Return one element, which guided backpropagation shows, and the method's, for one image x (1, C, *S)."""
        return together([one_element(self, model, x), resolution_of(made(self.method), model, x)])
