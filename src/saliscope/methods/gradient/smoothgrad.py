"""smilkov2017, section 3: the gradient, averaged over noisy copies of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import INPUT, Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, held, watch
from saliscope.perturb.noise import gaussian
from saliscope.perturb.stream import GRAPH, batch_size

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SmoothGrad:
    """The mean over noisy copies of the gradient at the input, summed over channels with its sign.

    `sigma` is the standard deviation of the noise as a share of the image's range (largest minus smallest value),
    as in the paper; `memory_mb` bounds how many copies run at once and changes no value.
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

    def __post_init__(self) -> None:
        if self.samples < 1 or self.sigma < 0:
            raise MethodError(
                f"samples={self.samples}, sigma={self.sigma}",
                expected="at least one sample, sigma not negative",
                do="Correct the fields",
            )

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in score per unit of the view. Every image gets the same noise, alone or in a batch."""
        import torch

        return torch.stack([self._of_one(model, image[None], target) for image in x.detach()])

    def _of_one(self, model: Model, image: Tensor, target: Target) -> Tensor:
        import torch

        target = held(model, image, target)
        sigma = self.sigma * (image.max() - image.min())
        total = image.new_zeros(())
        for noise in gaussian(image, self.samples, batch_size(image, self.memory_mb, GRAPH), self.seed):
            _, gradients = watch(model, image + sigma * noise, target, [INPUT])
            total = total + torch.stack([at_least_single(g[INPUT]).sum(dim=(0, 1)) for g in gradients])
        return total / self.samples
