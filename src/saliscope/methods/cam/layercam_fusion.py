"""jiang2021, eq. 8 and 9: the LayerCAM maps of several layers, the shallow ones amplified, and their maximum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.cam.layercam import LayerCAM
from saliscope.methods.kernel import kernel_maps
from saliscope.methods.resolution import layer_cells

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LayerCAMFusion:
    """The largest of the LayerCAM maps of several layers, each as a share of its own largest value.

    `layers` go from shallow to deep; "auto" takes the last layer of each grid that the network passes. Of all but
    the deepest it is tanh(`gamma` M / max M) that counts, because weak responses of shallow layers are many and
    right; the deepest is M / max M. A layer without positive evidence counts nothing. Lies on the input's grid, each
    layer by its own cells.
    """

    layers: str | tuple[str, ...] = "auto"
    gamma: float = 2.0

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=False,
        grid="input",
        class_discriminative=True,
        citation="jiang2021",
        cost="1 forward, K backward from the shallowest layer",
        blind="Only positive evidence, each layer stretched to 1: where one has next to none, its noise is shown.",
    )

    def __post_init__(self) -> None:
        if not all(self._named()) or self.gamma <= 0:
            raise MethodError(
                f"layers={self.layers!r}, gamma={self.gamma}",
                expected="dotted names of layers or 'auto', and gamma above zero",
                do="Correct the fields",
            )

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S) with values from 0 to 1."""
        import torch

        named = self._layers(model, x)
        if self._named() == ("auto",):
            model.note(f"Layers fused: {', '.join(named)}.")
        maps = kernel_maps(model, x, target, [LayerCAM(layer, relu=True) for layer in named])
        fused = x.new_zeros(())
        for found, layer in zip(maps, named, strict=True):
            most = found.flatten(2).amax(dim=2).reshape(*found.shape[:2], *[1] * (found.ndim - 2))
            share = (found / most).where(most > 0, found.new_zeros(()))
            scaled = share if layer == named[-1] else (self.gamma * share).tanh()
            fused = torch.maximum(fused.to(scaled), model.onto_input(scaled, x, layer))
        return fused

    def resolution(self, model: Model, x: Tensor) -> Sizes:
        """Return the cells of the layers, for x (1, C, *S)."""
        return layer_cells(model, x, self._layers(model, x))

    def _layers(self, model: Model, x: Tensor) -> tuple[str, ...]:
        return tuple(model.stages(x)) if self._named() == ("auto",) else self._named()

    def _named(self) -> tuple[str, ...]:
        return (self.layers,) if isinstance(self.layers, str) else self.layers or ("",)
