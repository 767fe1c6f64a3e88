"""smilkov2017, section 3: any method, averaged over noisy copies of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Method, Model, Traits
from saliscope.core.target import Target
from saliscope.methods.combine.inner import adopt, made
from saliscope.methods.kernel import held
from saliscope.perturb.noise import gaussian
from saliscope.perturb.stream import GRAPH, batch_size

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Smoothed:
    """The mean of a `method`'s maps over noisy copies of the image, and beside it their variance.

    `sigma` is the standard deviation of the noise as a share of the image's range (largest minus smallest value). A
    segmentation's region, and whatever else a target holds fixed, is that of the image without noise. Variance is
    the mean squared distance of the copies' maps to their mean. `memory_mb` bounds how many copies run at once.
    """

    method: str | Method = "gradient"
    samples: int = 32
    sigma: float = 0.15
    seed: int = 0
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="combine",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="smilkov2017",
        cost="`samples` times the method's",
        blind="What the method cannot see; and the noisy copies may be unlike any image the model has seen.",
    )
    beside: ClassVar[tuple[str, ...]] = ("variance",)

    def __post_init__(self) -> None:
        if self.samples < 1 or self.sigma < 0:
            raise MethodError(
                f"samples={self.samples}, sigma={self.sigma}",
                expected="at least one sample, sigma not negative",
                do="Correct the fields",
            )
        adopt(
            self,
            citation="smilkov2017",
            cost="`samples` times: {}",
            blind="{} The noisy copies may be unlike any image the model has seen.",
        )

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return the mean (N, K, *S'), in the method's units. Every image gets the same noise, alone or in a batch."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map" and "variance", both (N, K, *S'), the latter in squared units of the map."""
        import torch

        images = enumerate(x.detach())
        found = [self._of_one(model, image[None], held(model, image[None], target, n)) for n, image in images]
        maps, variances = (torch.stack(of_all) for of_all in zip(*found, strict=True))
        return {"map": maps, "variance": variances}

    def _of_one(self, model: Model, image: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Return mean and variance (K, *S') of one image (1, C, *S)."""
        method = made(self.method)
        sigma = self.sigma * (image.max() - image.min())
        mean = spread = image.new_zeros(())
        count = 0
        for noise in gaussian(image, self.samples, batch_size(image, self.memory_mb, GRAPH), self.seed):
            # Each by itself, so that the sums do not depend on how many ran at once.
            for one in method.attribute(model, image + sigma * noise, target):
                count += 1
                off = one - mean
                mean = mean + off / count
                spread = spread + off * (one - mean)
        return mean, spread / count
