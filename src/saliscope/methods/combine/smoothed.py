"""smilkov2017, section 3: any method, averaged over noisy copies of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Method, Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.combine.inner import adopt, made
from saliscope.methods.gradient.slopes import noisy_sampling
from saliscope.methods.kernel import held
from saliscope.methods.resolution import resolution_of
from saliscope.methods.sampling import MEASURES, Drawn, Running, Sampling
from saliscope.perturb.noise import Noise
from saliscope.perturb.stream import GRAPH, batch_size, batches

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Smoothed:
    """The mean of a `method`'s maps over noisy copies of the image, and beside it their variance, and its own error.

    `sigma` is the standard deviation of the noise as a share of the image's range (largest minus smallest value). A
    segmentation's region, and whatever else a target holds fixed, is that of the image without noise. Variance is
    the mean squared distance of the copies' maps to their mean. The error is the standard error of the mean: what other
    noise would change, not what a method inside draws by a seed of its own. With a `tolerance`, copies are drawn, up to
    `samples`, until it is below that share of the map's largest magnitude at every element. `memory_mb` bounds how many
    copies run at once.
    """

    method: str | Method = "gradient"
    samples: int = 32
    sigma: float = 0.15
    seed: int = 0
    memory_mb: float = 1024
    tolerance: float | None = None

    traits: ClassVar[Traits] = Traits(
        family="combine",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="smilkov2017",
        cost="`samples` times the method's",
        blind="What the method cannot see; and the noisy copies may be unlike any image the model has seen.",
    )
    beside: ClassVar[tuple[str, ...]] = ("error", "variance")
    measures: ClassVar[tuple[str, ...]] = MEASURES

    def __post_init__(self) -> None:
        noisy_sampling(self)
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
        """Return "map", "error", "variance" (N, K, *S'), the last in the map's squared units, and `measures` (N, K)."""
        sampling = noisy_sampling(self)
        images = enumerate(x.detach().split(1))
        return sampling.told(model, [self._of_one(model, i, held(model, i, target, n), sampling) for n, i in images])

    def resolution(self, model: Model, x: Tensor) -> Sizes:
        """Return the method's for a copy with noise, which is parted otherwise, of one image x (1, C, *S)."""
        noise = Noise(x, self.seed).next(1)
        return resolution_of(made(self.method), model, x + self.sigma * (x.max() - x.min()) * noise)

    def _of_one(self, model: Model, image: Tensor, target: Target, sampling: Sampling) -> Drawn:
        """Return the maps (K, *S') of one image (1, C, *S)."""
        method, sums, noise = made(self.method), Running(), Noise(image, self.seed)
        sigma = self.sigma * (image.max() - image.min())
        size = batch_size(image, self.memory_mb, GRAPH)

        def grow(stage: range) -> dict[str, Tensor]:
            for some in batches(len(stage), size):
                found = method.attribute(model, image + sigma * noise.next(len(some)), target)
                sums.add(list(found.movedim(1, 0)))
            return sums.maps()

        return sampling.drawn(grow)
