"""hooker2019, SG-SQ: the squared gradient, averaged over noisy copies of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.slopes import noisy_maps, noisy_sampling
from saliscope.methods.resolution import one_element
from saliscope.methods.sampling import MEASURES

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SmoothGradSquared:
    """The mean over noisy copies of the squared gradient at the input: squared for each channel, then summed over them.

    It has no sign: evidence for and against the class look alike. `sigma` and the noise are those of SmoothGrad.
    The standard error of each element stands beside the map. With a `tolerance`, copies are drawn, up to `samples`,
    until it is below that share of the map's largest magnitude at every element. `memory_mb` bounds how many copies run
    at once and changes no value.
    """

    samples: int = 32
    sigma: float = 0.15
    seed: int = 0
    memory_mb: float = 1024
    tolerance: float | None = None

    traits: ClassVar[Traits] = Traits(
        family="gradient",
        signed=False,
        grid="input",
        class_discriminative=True,
        citation="hooker2019",
        cost="at most `samples` forward, K x `samples` backward",
        blind="Whether evidence is for or against. A square makes the strongest elements stand alone.",
    )
    resolution = one_element
    beside: ClassVar[tuple[str, ...]] = ("error",)
    measures: ClassVar[tuple[str, ...]] = MEASURES

    def __post_init__(self) -> None:
        noisy_sampling(self)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in squared score per squared unit of the view."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map" and "error" (N, K, *S), in the same units, and `measures` (N, K)."""
        found = noisy_maps(self, model, x, target, lambda g: (g * g).sum(dim=1))
        return {name: found[name] for name in ("map", *self.beside, *self.measures)}
