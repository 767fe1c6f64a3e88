"""omeiza2019, the definition of Smooth Grad-CAM++: its derivatives averaged over noisy copies of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.cam.grad_cam_plus_plus import GradCAMPlusPlus
from saliscope.methods.gradient.slopes import noisy_sampling
from saliscope.methods.kernel import at_least_single, check_named, held, on_grid, watch
from saliscope.methods.resolution import one_cell
from saliscope.methods.sampling import ERROR, GROUPS, MAP, MEASURES, Drawn, Running, Sampling, jackknife, whole
from saliscope.perturb.noise import Noise
from saliscope.perturb.stream import FORWARD, batch_size, batches

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SmoothGradCAMPlusPlus:
    """Grad-CAM++ of the image with the first three derivatives of the score averaged over noisy copies.

    They are g, g² and g³ as in Grad-CAM++, whose map it is where `sigma` is 0. That fixes what the paper leaves
    unclear: the numerator of alpha is the second derivative, printed there as the first, and the weight takes the
    averaged first one. `sigma` is the noise as a share of the image's range. Beside the map stands the variance over
    the copies of their own Grad-CAM++ maps, and the standard error of the map itself, by leaving out each of 16 groups
    of copies (busing1999). With a `tolerance`, copies are drawn, up to `samples`, until that is below this share of the
    map's largest magnitude in every cell. Where activations are negative, as before a GELU, the denominator of alpha
    may come near zero and the map has no steady value: the error may exceed it. `memory_mb` bounds the copies at once.
    """

    layer: str = "auto"
    samples: int = 32
    sigma: float = 0.15
    seed: int = 0
    relu: bool = False
    memory_mb: float = 1024
    tolerance: float | None = None

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="omeiza2019",
        cost="at most `samples` + 1 forward, K x `samples` backward from the layer",
        blind="Evidence against the class has no weight. The noisy copies may be unlike any image the model has seen.",
    )
    resolution = one_cell
    beside: ClassVar[tuple[str, ...]] = ("error", "variance")
    measures: ClassVar[tuple[str, ...]] = MEASURES

    def __post_init__(self) -> None:
        noisy_sampling(self)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid. Every image gets the same noise, alone or in a batch."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map", "error", "variance" (N, K, *S'), the last in the map's squared units, and `measures` (N, K)."""
        check_named(self, self.layer)
        sampling = noisy_sampling(self)
        images = enumerate(x.detach().split(1))
        return sampling.told(model, [self._of_one(model, i, held(model, i, target, n), sampling) for n, i in images])

    def _of_one(self, model: Model, image: Tensor, target: Target, sampling: Sampling) -> Drawn:
        """Return the maps (K, *S') of one image (1, C, *S)."""
        activation = on_grid(self.layer, model.probe(image, [self.layer]).activations[self.layer], image)
        sigma, noise = self.sigma * (image.max() - image.min()), Noise(image, self.seed)
        # The graph begins at the layer, so a copy holds no more than a forward run does.
        size = batch_size(image, self.memory_mb, FORWARD)
        plain = GradCAMPlusPlus(self.layer, self.relu)
        copies, groups = Running(), _Groups(min(GROUPS, self.samples))

        def grow(stage: range) -> dict[str, Tensor]:
            for some in batches(len(stage), size):
                probe, gradients = watch(model, image + sigma * noise.next(len(some)), target, [self.layer])
                own = on_grid(self.layer, probe.activations[self.layer], image)
                several = [at_least_single(g[self.layer]) for g in gradients]
                groups.add(several)
                copies.add([plain.combine(own, g) for g in several])
            found, error = groups.estimate(lambda powers: self._combined(activation.double(), *powers))
            return {MAP: found.to(activation), ERROR: error.to(activation), "variance": copies.maps()["variance"]}

        return sampling.drawn(grow)

    def _combined(self, activation: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        """Return the map (K, *S') of activation (1, C, *S') and averaged derivatives (K, C, *S')."""
        axes = tuple(range(2, activation.ndim))
        denominator = 2 * second + third * activation.sum(dim=axes, keepdim=True)
        alpha = (second / denominator).where(denominator != 0, second.new_zeros(()))
        found = ((alpha * first.relu()).sum(dim=axes, keepdim=True) * activation).sum(dim=1)
        return found.relu() if self.relu else found


class _Groups:
    """Sums of the first three powers of a gradient over copies, dealt to groups in turn: (3, K, C, *S') for each."""

    def __init__(self, count: int) -> None:
        self.sums: list[Tensor | float] = [0.0] * count
        self.sizes = [0] * count

    def add(self, several: Sequence[Tensor]) -> None:
        """Take in gradients that come as K tensors (m, C, *S')."""
        import torch

        # In float64, because the powers of a small gradient underflow in float32.
        for one in torch.stack(list(several), dim=1).double():
            at = sum(self.sizes) % len(self.sizes)
            self.sums[at] = self.sums[at] + torch.stack([one**p for p in (1, 2, 3)])
            self.sizes[at] += 1

    def estimate(self, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return what `of` makes of the mean powers, and its standard error by leaving out one group at a time."""
        import torch

        total, count = torch.as_tensor(sum(self.sums)), sum(self.sizes)
        found = of(total / count)
        if len(self.sizes) < 2:
            return found, whole(found)
        without = [of((total - s) / (count - n)) for s, n in zip(self.sums, self.sizes, strict=True)]
        return found, jackknife(found, without, self.sizes)
