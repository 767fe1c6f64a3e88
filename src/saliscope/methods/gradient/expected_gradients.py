"""erion2021, expected gradients: integrated gradients, averaged over baselines that are real images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.slopes import moments, slopes
from saliscope.methods.kernel import held
from saliscope.perturb.baseline import absent, check_baseline
from saliscope.perturb.reference import References
from saliscope.perturb.stream import GRAPH, batch_size

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ExpectedGradients:
    """The mean over references x' and places on the line to each of (x - x') times the gradient, summed over channels.

    `references` are images as the network sees them, or the name of a baseline as the only one; there is no default,
    because no made-up image stands for other patients. Every reference serves equally often, and the places are drawn
    one from each of `samples` equal parts of the line. Beside the map stands the variance of it as an estimate, as if
    all draws were independent.
    `memory_mb` bounds how many samples run at once and changes no value.
    """

    references: References | str | None = None
    samples: int = 64
    seed: int = 0
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="path",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="erion2021",
        cost="`samples` forward, K x `samples` backward",
        blind="What all references share with the image gets nothing. Another choice of references is another map.",
    )
    beside: ClassVar[tuple[str, ...]] = ("variance",)

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise MethodError(f"samples={self.samples}", expected="at least two", do="Correct the field")
        if isinstance(self.references, str):
            check_baseline(self.references)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score. Raises MethodError without references, or for another shape."""
        return self.attribute_with(model, x, target)["map"]

    def attribute_with(self, model: Model, x: Tensor, target: Target) -> dict[str, Tensor]:
        """Return "map" and "variance", both (N, K, *S), the latter in squared units of the map."""
        import torch

        if self.references is None:
            raise MethodError(
                "expected gradients without references",
                expected="images of other patients, as the network sees them",
                do="Give references=References.of(tensor) with a tensor (M, C, *S), or use integrated-gradients",
            )
        images = x.detach().split(1)
        found = [self._of_one(model, i, self._starts(i), held(model, i, target, n)) for n, i in enumerate(images)]
        maps, variances = (torch.stack(of_all) for of_all in zip(*found, strict=True))
        return {"map": maps, "variance": variances / (self.samples - 1)}

    def _starts(self, image: Tensor) -> Tensor:
        """Return the references (M, C, *S) for an image (1, C, *S)."""
        chosen = self.references
        return chosen.like(image) if isinstance(chosen, References) else absent(image, str(chosen))

    def _of_one(self, model: Model, image: Tensor, starts: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Return mean and variance (K, *S) of the samples of one image (1, C, *S)."""
        which, places = self._drawn(image, len(starts))

        def way(some: range) -> Tensor:
            return image - starts[which[some.start : some.stop]]

        def copies(some: range) -> Tensor:
            return image - (1 - places[some.start : some.stop]) * way(some)

        run = slopes(model, target, copies, self.samples, batch_size(image, self.memory_mb, GRAPH))
        return moments([(way(s.some) * g).sum(dim=1) for g in s.gradients] for s in run)

    def _drawn(self, image: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return which of `count` references each sample starts from, and how far along it lies (samples, 1, ...)."""
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        rounds = -(-self.samples // count)
        which = torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])[: self.samples]
        part = torch.randperm(self.samples, generator=generator)
        place = (part + torch.rand(self.samples, generator=generator, dtype=torch.float64)) / self.samples
        return which.to(image.device), place.to(image.device, image.dtype).reshape(-1, *[1] * (image.ndim - 1))
