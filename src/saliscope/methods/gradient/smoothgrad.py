"""smilkov2017, section 3: the gradient, averaged over noisy copies of the input."""

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
class SmoothGrad:
    """The mean over noisy copies of the gradient at the input, summed over channels with its sign.

    `sigma` is the standard deviation of the noise as a share of the image's range (largest minus smallest value),
    as in the paper. Beside the map stands the variance over the copies of their own maps, which costs nothing.
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
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="smilkov2017",
        cost="at most `samples` forward, K x `samples` backward",
        blind="The slope around the image, not at it: the noisy copies may be unlike any image the model has seen.",
    )
    resolution = one_element
    beside: ClassVar[tuple[str, ...]] = ("error", "variance")
    measures: ClassVar[tuple[str, ...]] = MEASURES

    def __post_init__(self) -> None:
        noisy_sampling(self)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in score per unit of the view. Every image gets the same noise, alone or in a batch."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map", "error", "variance" (N, K, *S), the last in the map's squared units, and `measures` (N, K)."""
        return noisy_maps(self, model, x, target, lambda g: g.sum(dim=1))
