"""adebayo2018a, VarGrad: how much the gradient varies over noisy copies of the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.slopes import noisy_maps, noisy_sampling
from saliscope.methods.resolution import one_element
from saliscope.methods.sampling import ERROR, MAP, MEASURES, Running, whole

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VarGrad:
    """The variance over noisy copies of the gradient at the input, for each channel, then summed over them.

    It has no sign, and is SmoothGrad-squared less the square of SmoothGrad. Variance is the mean squared distance to
    the mean. `sigma` and the noise are those of SmoothGrad.
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
        citation="adebayo2018a",
        cost="at most `samples` forward, K x `samples` backward",
        blind="The mean slope: where the gradient is large but steady there is nothing; a linear network has no map.",
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
        return noisy_maps(self, model, x, target, lambda g: g, Scatter)


@dataclass
class Scatter:
    """The variance of gradients g, summed over channels, and its error: sums over the draws for each element.

    The map V is the mean of Q = |g - mean|². Leaving one draw out moves it by n / (n - 1)² of Q - V, so the jackknife
    gives the error n / (n - 1) of the root of (ΣQ² / n - V²) / (n - 1). ΣQ² comes from sums of d = g - g0, the distance
    to the first draw, which do not cancel as those of g would.
    """

    plain: Running = field(default_factory=Running)
    first: Tensor | None = None
    square: Tensor | float = 0.0
    fourth: Tensor | float = 0.0
    third: Tensor | float = 0.0
    cross: Tensor | float = 0.0

    def add(self, several: Sequence[Tensor]) -> None:
        """Take in gradients that come as K tensors (m, C, *S)."""
        import torch

        self.plain.add(several)
        for one in torch.stack(list(several), dim=1).double():
            self.first = one if self.first is None else self.first
            off = one - self.first
            size = off.square().sum(dim=1)
            self.square = self.square + size
            self.fourth = self.fourth + size.square()
            self.third = self.third + size[:, None] * off
            self.cross = self.cross + off[:, :, None] * off[:, None]

    def maps(self) -> dict[str, Tensor]:
        """Return the variance (K, *S) summed over channels, and its standard error."""
        import torch

        count, variance = self.plain.count, self.plain.maps()["variance"]
        found = variance.sum(dim=1)
        if count < 2:
            return {MAP: found, ERROR: whole(found)}
        assert self.first is not None
        shift = torch.as_tensor(self.plain.mean).double() - self.first
        far = shift.square().sum(dim=1)
        along = (torch.as_tensor(self.third) * shift).sum(dim=1)
        both = (torch.as_tensor(self.cross) * shift[:, :, None] * shift[:, None]).sum(dim=(1, 2))
        # ΣQ², from Q = |d|² - 2 d·shift + |shift|², where Σd = n shift.
        total = self.fourth + 4 * both - 3 * count * far**2 - 4 * along + 2 * far * self.square
        spread = (total / count - found.double().square()).clamp(min=0)
        return {MAP: found, ERROR: (count / (count - 1) * (spread / (count - 1)).sqrt()).to(found.dtype)}
