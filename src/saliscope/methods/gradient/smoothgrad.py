"""smilkov2017, section 3: the gradient, averaged over noisy copies of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.slopes import noisy_moments
from saliscope.methods.kernel import held

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SmoothGrad:
    """The mean over noisy copies of the gradient at the input, summed over channels with its sign.

    `sigma` is the standard deviation of the noise as a share of the image's range (largest minus smallest value),
    as in the paper. Beside the map stands the variance over the copies of their own maps, which costs nothing;
    `memory_mb` bounds how many copies run at once and changes no value.
    """

    samples: int = 32
    sigma: float = 0.15
    seed: int = 0
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="gradient",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="smilkov2017",
        cost="`samples` forward, K x `samples` backward",
        blind="The slope around the image, not at it: the noisy copies may be unlike any image the model has seen.",
    )
    beside: ClassVar[tuple[str, ...]] = ("variance",)

    def __post_init__(self) -> None:
        check_noise(self.samples, self.sigma)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in score per unit of the view. Every image gets the same noise, alone or in a batch."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map" and "variance", both (N, K, *S), the latter in squared units of the map."""
        import torch

        noise = (self.samples, self.sigma, self.seed)
        found = []
        for n, image in enumerate(x.detach().split(1)):
            own = held(model, image, target, n)
            found.append(noisy_moments(model, own, image, noise, self.memory_mb, lambda g: g.sum(dim=1)))
        maps, variances = (torch.stack(of_all) for of_all in zip(*found, strict=True))
        return {"map": maps, "variance": variances}


def check_noise(samples: int, sigma: float) -> None:
    """Raise MethodError unless there is a copy to run and its noise has a width."""
    if samples < 1 or sigma < 0:
        raise MethodError(
            f"samples={samples}, sigma={sigma}",
            expected="at least one sample, sigma not negative",
            do="Correct the fields",
        )
