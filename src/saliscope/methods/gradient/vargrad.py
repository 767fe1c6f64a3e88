"""adebayo2018a, VarGrad: how much the gradient varies over noisy copies of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.slopes import noisy_moments
from saliscope.methods.gradient.smoothgrad import check_noise
from saliscope.methods.kernel import held

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VarGrad:
    """The variance over noisy copies of the gradient at the input, for each channel, then summed over them.

    It has no sign, and is SmoothGrad-squared less the square of SmoothGrad. Variance is the mean squared distance to
    the mean. `sigma` and the noise are those of SmoothGrad; `memory_mb` bounds how many copies run at once and changes
    no value.
    """

    samples: int = 32
    sigma: float = 0.15
    seed: int = 0
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="gradient",
        signed=False,
        grid="input",
        class_discriminative=True,
        citation="adebayo2018a",
        cost="`samples` forward, K x `samples` backward",
        blind="The mean slope: where the gradient is large but steady there is nothing; a linear network has no map.",
    )

    def __post_init__(self) -> None:
        check_noise(self.samples, self.sigma)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in squared score per squared unit of the view."""
        import torch

        noise = (self.samples, self.sigma, self.seed)
        found = []
        for n, image in enumerate(x.detach().split(1)):
            own = held(model, image, target, n)
            _, variance = noisy_moments(model, own, image, noise, self.memory_mb, lambda g: g)
            found.append(variance.sum(dim=1))
        return torch.stack(found)
