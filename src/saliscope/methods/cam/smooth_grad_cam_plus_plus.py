"""omeiza2019, the definition of Smooth Grad-CAM++: its derivatives averaged over noisy copies of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.cam.grad_cam_plus_plus import GradCAMPlusPlus
from saliscope.methods.kernel import at_least_single, check_named, held, on_grid, watch
from saliscope.perturb.noise import gaussian
from saliscope.perturb.stream import FORWARD, batch_size

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SmoothGradCAMPlusPlus:
    """Grad-CAM++ of the image with the first three derivatives of the score averaged over noisy copies.

    They are g, g² and g³ as in Grad-CAM++, whose map it is where `sigma` is 0. That fixes what the paper leaves
    unclear: the numerator of alpha is the second derivative, printed there as the first, and the weight takes the
    averaged first one. `sigma` is the noise as a share of the image's range. Beside the map stands the variance over
    the copies of their own Grad-CAM++ maps. `memory_mb` bounds the copies at once.
    """

    layer: str = "auto"
    samples: int = 32
    sigma: float = 0.15
    seed: int = 0
    relu: bool = False
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="omeiza2019",
        cost="`samples` + 1 forward, K x `samples` backward from the layer",
        blind="Evidence against the class has no weight. The noisy copies may be unlike any image the model has seen.",
    )
    beside: ClassVar[tuple[str, ...]] = ("variance",)

    def __post_init__(self) -> None:
        if self.samples < 1 or self.sigma < 0:
            raise MethodError(
                f"samples={self.samples}, sigma={self.sigma}",
                expected="at least one sample, sigma not negative",
                do="Correct the fields",
            )

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid. Every image gets the same noise, alone or in a batch."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map" and "variance", both (N, K, *S'), the latter in squared units of the map."""
        import torch

        check_named(self, self.layer)
        found = [self._of_one(model, image[None], target, n) for n, image in enumerate(x.detach())]
        maps, variances = (torch.stack(of_all) for of_all in zip(*found, strict=True))
        return {"map": maps, "variance": variances}

    def _of_one(self, model: Model, image: Tensor, target: Target, n: int) -> tuple[Tensor, Tensor]:
        """Return the map and the variance (K, *S') of one image (1, C, *S)."""
        import torch

        target = held(model, image, target, n)
        activation = on_grid(self.layer, model.probe(image, [self.layer]).activations[self.layer], image)
        sigma = self.sigma * (image.max() - image.min())
        # The graph begins at the layer, so a copy holds no more than a forward run does.
        size = batch_size(image, self.memory_mb, FORWARD)
        plain = GradCAMPlusPlus(self.layer, self.relu)
        mean = spread = activation.new_zeros(())
        powers, count = [activation.new_zeros((), dtype=torch.float64)] * 3, 0
        for noise in gaussian(image, self.samples, size, self.seed):
            probe, gradients = watch(model, image + sigma * noise, target, [self.layer])
            own = on_grid(self.layer, probe.activations[self.layer], image)
            several = [at_least_single(g[self.layer]) for g in gradients]
            # In float64, because the powers of a small gradient underflow in float32.
            powers = [
                total + torch.stack([(g.double() ** p).sum(dim=0) for g in several])
                for p, total in enumerate(powers, start=1)
            ]
            for one in torch.stack([plain.combine(own, g) for g in several], dim=1):
                count += 1
                off = one - mean
                mean = mean + off / count
                spread = spread + off * (one - mean)
        found = self._combined(activation.double(), *(p / count for p in powers))
        return found.to(activation.dtype), spread / count

    def _combined(self, activation: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        """Return the map (K, *S') of activation (1, C, *S') and averaged derivatives (K, C, *S')."""
        axes = tuple(range(2, activation.ndim))
        denominator = 2 * second + third * activation.sum(dim=axes, keepdim=True)
        alpha = (second / denominator).where(denominator != 0, second.new_zeros(()))
        found = ((alpha * first.relu()).sum(dim=axes, keepdim=True) * activation).sum(dim=1)
        return found.relu() if self.relu else found
