"""muhammad2020, the definition of Eigen-CAM: the layer's activation along its first principal component."""

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
class EigenCAM:
    """The activation of a layer projected on its first right singular vector: where the layer is most active.

    It knows no class: the maps of all targets are equal. The paper does not centre the channels before the
    decomposition; `centred` takes the mean over space from each first, as pytorch-grad-cam does. A singular vector
    has no sign of its own: here the map's product with the sum over channels of the activation is not negative.
    """

    layer: str = "auto"
    centred: bool = False

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=False,
        citation="muhammad2020",
        cost="1 forward, and K backward from the layer that other CAM methods share and this one ignores",
        blind="Knows neither class nor score. Arbitrary where two components are about equally strong.",
    )
    resolution = one_cell

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG002 - the kernel's signature
        """Return the map (N, *S') of an activation (N, C, *S'), in its units; the gradient is not used."""
        return first_component(activation, centred=self.centred)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid, the same K times."""
        return kernel_maps(model, x, target, [self])[0]


def first_component(values: Tensor, *, centred: bool) -> Tensor:
    """Return values (N, C, *S') along the first right singular vector of the cells x C matrix of each image, (N, *S').

    Its product with the sum of the values over channels is not negative. The decomposition is that of the smaller
    Gram matrix, C x C or cells x cells, in float64; a full one of the values themselves would be cells x cells.
    """
    import torch

    matrix = values.flatten(2).double()
    if centred:
        matrix = matrix - matrix.mean(dim=2, keepdim=True)
    channels, cells = matrix.shape[1:]
    if channels <= cells:
        _, vectors = torch.linalg.eigh(matrix @ matrix.mT)
        found = (vectors[..., -1:].mT @ matrix)[:, 0]
    else:
        squares, vectors = torch.linalg.eigh(matrix.mT @ matrix)
        found = squares[:, -1:].clamp(min=0).sqrt() * vectors[..., -1]
    against = (found * matrix.sum(dim=1)).sum(dim=1, keepdim=True) < 0
    signed: Tensor = torch.where(against, -found, found)
    return signed.reshape(values.shape[0], *values.shape[2:]).to(values.dtype)
