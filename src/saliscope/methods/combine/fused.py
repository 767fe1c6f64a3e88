"""jiang2021, eq. 8 and 9 made general: a method's maps of several layers, put together into one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from saliscope.core.errors import MethodError
from saliscope.core.nesting import has
from saliscope.core.protocols import INPUT, Kernel, Method, Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.combine.inner import adopt, made
from saliscope.methods.kernel import kernel_maps
from saliscope.methods.resolution import layer_cells

if TYPE_CHECKING:
    from torch import Tensor

How = Literal["mean", "max", "product"]
Scale = Literal["none", "largest"]


@dataclass(frozen=True)
class Fused:
    """The maps of a `method` at several layers, each on the input's grid by its own cells, put together as `how` says.

    `layers` are dotted names; "auto" takes the last layer of each grid that the network passes. `how` is "mean",
    "max" (the most positive, element by element) or "product", of the positive parts, because two negative factors
    are no evidence. With `scale` "none" the maps enter in their own units, in which a layer with many or strong
    channels outweighs the others; "largest" divides each by its largest magnitude on its own grid, so that every
    layer counts alike, also one that says nothing. No map is shifted: zero stays zero, and signs stay.
    """

    method: str | Method = "grad-cam"
    layers: str | tuple[str, ...] = "auto"
    how: How = "mean"
    scale: Scale = "none"

    traits: ClassVar[Traits] = Traits(
        family="combine",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="jiang2021",
        cost="1 forward, K backward from the shallowest layer",
        blind="What the method cannot see at any of the layers; which layer a place in the map comes from.",
    )

    def __post_init__(self) -> None:
        if not all(self._named()) or self.how not in get_args(How) or self.scale not in get_args(Scale):
            raise MethodError(
                f"layers={self.layers!r}, how={self.how!r}, scale={self.scale!r}",
                expected=f"names of layers or 'auto', how {' or '.join(get_args(How))}, scale none or largest",
                do="Correct the fields",
            )
        inner = adopt(self, grid="input", citation="jiang2021", cost=type(self).traits.cost, blind="{} " + WHERE)
        if not isinstance(inner, Kernel) or not has(inner, "layer"):
            raise MethodError(
                f"fused({type(inner).__name__})",
                expected="a method that weighs the activation and gradient of one layer",
                do="Choose a CAM method, or compare methods by consensus",
            )
        if self._named() != ("auto",):
            # The layer of the method inside is of no account: the record tells the first that is.
            object.__setattr__(self, "method", replace(inner, layer=self._named()[0]))  # type: ignore[type-var]
        if self.how == "product":
            object.__setattr__(self, "traits", replace(self.traits, signed=False))

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in the method's units, their product, or as shares of the largest magnitude."""
        import torch

        named = self._layers(model, x)
        if self._named() == ("auto",):
            model.note(f"Layers fused: {', '.join(named)}.")
        kernels = [replace(made(self.method), layer=layer) for layer in named]  # type: ignore[type-var]
        maps = kernel_maps(model, x, target, kernels)  # type: ignore[arg-type]
        placed = [
            self._scaled(m) if layer == INPUT else model.onto_input(self._scaled(m), x, layer)
            for m, layer in zip(maps, named, strict=True)
        ]
        together = torch.stack(placed)
        if self.how == "product":
            return together.relu().prod(dim=0)
        return together.amax(dim=0) if self.how == "max" else together.mean(dim=0)

    def resolution(self, model: Model, x: Tensor) -> Sizes:
        """Return the cells of the layers, for x (1, C, *S)."""
        return layer_cells(model, x, self._layers(model, x))

    def _layers(self, model: Model, x: Tensor) -> tuple[str, ...]:
        return tuple(model.stages(x)) if self._named() == ("auto",) else self._named()

    def _scaled(self, values: Tensor) -> Tensor:
        """Return values (N, K, *S') as they are, or as shares of the largest magnitude of each map."""
        if self.scale == "none":
            return values
        most = values.abs().flatten(2).amax(dim=2).reshape(*values.shape[:2], *[1] * (values.ndim - 2))
        return (values / most).where(most > 0, values)

    def _named(self) -> tuple[str, ...]:
        return (self.layers,) if isinstance(self.layers, str) else self.layers or ("",)


#: What fusing adds to what a method cannot see.
WHERE = "Which layer a place in the map comes from."
