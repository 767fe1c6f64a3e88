"""draelos2020, the definition of HiResCAM: activation times gradient, cell by cell."""

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
class HiResCAM:
    """The activation of a layer times its gradient, summed over channels with its sign.

    Where one linear layer follows (or global average pooling and one), it is exactly what each cell adds to the score.
    """

    layer: str = "auto"

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="draelos2020",
        cost="1 forward, K backward from the layer",
        blind="Exact only where the rest of the network is linear. No finer than the layer.",
    )
    resolution = one_cell

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map (N, *S') of activation A and gradient g, both (N, C, *S'): sum of g A."""
        return (gradient * activation).sum(dim=1)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid, in units of the score."""
        return kernel_maps(model, x, target, [self])[0]
